-- topics.sql - who may join which topic, and messages to those who have.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.topic (
    shape text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL CHECK (action IN ('join', 'broadcast', 'presence')),
    pattern text NOT NULL,
    condition text NOT NULL,
    PRIMARY KEY (shape, action)
);
COMMENT ON TABLE sync.topic IS 'Patterns of private topics, and under which condition a caller may do what there. shape: the pattern without the names of its variables.';

CREATE FUNCTION sync.topic_shape(pattern text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'sync_topic_shape';
COMMENT ON FUNCTION sync.topic_shape(text) IS 'A topic pattern without the names of its variables; fails when it is none.';

CREATE FUNCTION sync.topic_validate(pattern text, condition text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_topic_validate';
COMMENT ON FUNCTION sync.topic_validate(text, text) IS 'Fails unless the condition is SQL over the pattern''s variables that gives one boolean. Runs nothing.';

CREATE FUNCTION sync.allow_topic(pattern text, condition text, actions text[] DEFAULT '{join,broadcast,presence}') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NOT sync.caller_owns_database() THEN
        RAISE EXCEPTION 'must be owner of the database to allow a topic'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Its condition runs as every caller.';
    END IF;
    IF allow_topic.pattern IS NULL OR allow_topic.condition IS NULL THEN
        RAISE EXCEPTION 'a topic needs a pattern and a condition'
            USING ERRCODE = 'null_value_not_allowed', HINT = 'The condition true lets everybody in who has a token.';
    END IF;
    IF coalesce(cardinality(actions), 0) = 0 OR NOT actions <@ '{join,broadcast,presence}' THEN
        RAISE EXCEPTION 'actions of topic pattern "%" must be some of join, broadcast and presence', allow_topic.pattern
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'join: be there and receive; broadcast: send; presence: see who is there, and be seen.';
    END IF;
    PERFORM sync.topic_shape(allow_topic.pattern);
    BEGIN
        PERFORM sync.topic_validate(allow_topic.pattern, allow_topic.condition);
    EXCEPTION WHEN OTHERS THEN
        RAISE EXCEPTION 'the condition of topic pattern "%" cannot be used: %', allow_topic.pattern, SQLERRM
            USING ERRCODE = SQLSTATE,
                  HINT = 'It is SQL that gives one boolean, over the pattern''s variables, which are texts: EXISTS (SELECT FROM public.member m WHERE m.team_id = {team}::int AND m.user_id = sync.user_id()). Name tables and functions with their schema.';
    END;
    INSERT INTO sync.topic (shape, action, pattern, condition)
    SELECT DISTINCT sync.topic_shape(allow_topic.pattern), a, allow_topic.pattern, allow_topic.condition FROM unnest(actions) a
    ON CONFLICT (shape, action) DO UPDATE SET pattern = EXCLUDED.pattern, condition = EXCLUDED.condition;
END
$$;
COMMENT ON FUNCTION sync.allow_topic(text, text, text[]) IS
'Lets callers into private topics. pattern: segments between colons, each a text or a {variable} that stands for one segment, as journey:{journey}:{client}; at most 240 bytes. Of several patterns that take a topic
the most specific counts alone: at the first segment where they differ a text beats a variable. condition: SQL that gives one boolean, run as the caller, under role and claims; variables are text parameters in it.
actions: join (be there, receive), broadcast (send), presence (see who is there, be seen). Called again for a pattern it replaces the condition of the actions named, so that each action may have its own.
Only a superuser or the owner of the database may.';

CREATE FUNCTION sync.drop_topic(pattern text, actions text[] DEFAULT '{join,broadcast,presence}') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NOT sync.caller_owns_database() THEN
        RAISE EXCEPTION 'must be owner of the database to drop a topic' USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM sync.topic t WHERE t.shape = sync.topic_shape(drop_topic.pattern) AND t.action = ANY (actions);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'topic pattern "%" does not allow this', drop_topic.pattern
            USING ERRCODE = 'undefined_object', HINT = 'sync.topics() lists what is allowed.';
    END IF;
END
$$;
COMMENT ON FUNCTION sync.drop_topic(text, text[]) IS
'Takes back what sync.allow_topic() allowed for a pattern: all of it, or some actions. Who has joined is put out at the next check of rights. Only a superuser or the owner of the database may.';

CREATE FUNCTION sync.topics() RETURNS TABLE (pattern text, actions text[], condition text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF NOT sync.caller_owns_database() THEN
        RAISE EXCEPTION 'must be owner of the database to list topics' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY SELECT t.pattern, array_agg(t.action ORDER BY t.action)::text[], t.condition FROM sync.topic t GROUP BY t.pattern, t.condition ORDER BY 1, 2;
END
$$;
COMMENT ON FUNCTION sync.topics() IS 'The patterns of private topics, one row for each condition of each. Only a superuser or the owner of the database may.';

CREATE FUNCTION sync.topic_rights(topic text) RETURNS json
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_topic_rights';
COMMENT ON FUNCTION sync.topic_rights(text) IS
'What the caller may do in a topic (without realtime: before it): {"pattern": the one that counts, or null, "actions": [some of "broadcast", "join", "presence"]}. A condition that cannot read a segment as the type it needs does not hold.
Error: SY400 for a name that is empty or over 240 bytes.';

CREATE FUNCTION sync.broadcast(topic text, event text, payload jsonb, private boolean DEFAULT true) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_broadcast';
COMMENT ON FUNCTION sync.broadcast(text, text, jsonb, boolean) IS
'Sends a message to everybody who has joined a topic (without realtime: before it) when the transaction commits, in the order of commits; nothing when it rolls back. It is not kept. private false: to those who joined the public topic of this name.
It asks nobody''s rights: it is for owners and for those they grant it to, such as a trigger function that is SECURITY DEFINER. payload: at most 64 KiB of text; NULL is {}. Errors: SY400 for a topic that is empty or over 240 bytes, an event over 255; SY413.';

CREATE FUNCTION sync.relay(message json) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_relay';
COMMENT ON FUNCTION sync.relay(json) IS 'For the streamer, as sync_upkeep: tells the other streamers of this database, at once and whatever becomes of the transaction. At most 512 KiB.';

SELECT pg_catalog.pg_extension_config_dump('sync.topic', '');

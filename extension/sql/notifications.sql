-- notifications.sql - what users are told: in their feed, by deliveries that workers take, and when a reminder falls due.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.notification (
    notification_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    audience text NOT NULL,
    user_id text NOT NULL,
    type text NOT NULL,
    importance text NOT NULL CHECK (importance IN ('low', 'normal', 'high', 'urgent')),
    title text NOT NULL,
    body text,
    entity_type text,
    entity_id text,
    data jsonb,
    actor text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    read_at timestamptz
);
CREATE INDEX notification_user ON sync.notification (user_id, created_at, notification_id);
CREATE INDEX notification_unread ON sync.notification (user_id) WHERE read_at IS NULL;
CREATE INDEX notification_actor ON sync.notification (actor) WHERE actor IS NOT NULL;
COMMENT ON TABLE sync.notification IS 'Each user''s feed, synced to the user; bounded by sync.max_notifications, the oldest read ones go first.';
SELECT sync.enable_builtin('sync.notification', 10, 2);

CREATE TABLE sync.channel (
    kind text PRIMARY KEY CHECK (kind <> 'in_app'),
    threshold text NOT NULL CHECK (threshold IN ('low', 'normal', 'high', 'urgent', 'off'))
);
COMMENT ON TABLE sync.channel IS 'Channels that workers serve, and the least importance they carry for users who said nothing.';

CREATE TABLE sync.delivery (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    user_id text NOT NULL,
    notification_id uuid,
    message jsonb NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'failed')),
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX delivery_waiting ON sync.delivery (kind, next_at) WHERE state = 'waiting';
CREATE INDEX delivery_notification ON sync.delivery (notification_id) WHERE state = 'waiting';
CREATE INDEX delivery_user ON sync.delivery (user_id);
COMMENT ON TABLE sync.delivery IS 'Messages for workers. A waiting one is due at next_at; one that was taken is due again when its lease ends.';

CREATE TABLE sync.reminder (
    reminder_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    due_at timestamptz NOT NULL,
    actor text,
    request jsonb NOT NULL
);
CREATE INDEX reminder_due ON sync.reminder (due_at);
CREATE INDEX reminder_actor ON sync.reminder (actor);
COMMENT ON TABLE sync.reminder IS 'Notifications that are to be sent later.';

CREATE FUNCTION sync.importance_rank(importance text) RETURNS integer
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT coalesce(array_position('{low,normal,high,urgent}'::text[], importance), 9) $$;
COMMENT ON FUNCTION sync.importance_rank(text) IS 'Thresholds in order: low, normal, high, urgent, and off above all.';

CREATE FUNCTION sync.set_channel(kind text, threshold text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF threshold IS NULL THEN
        DELETE FROM sync.channel c WHERE c.kind = set_channel.kind;
        DELETE FROM sync.delivery d WHERE d.kind = set_channel.kind AND d.state = 'waiting';
        RETURN;
    END IF;
    INSERT INTO sync.channel VALUES (set_channel.kind, set_channel.threshold)
    ON CONFLICT ON CONSTRAINT channel_pkey DO UPDATE SET threshold = excluded.threshold;
END
$$;
COMMENT ON FUNCTION sync.set_channel(text, text) IS
'Opens a channel that workers serve, such as email, sms or web_push: notifications of this importance or above are queued for users without a preference (off: for nobody else). NULL closes it and drops what waits.';

CREATE FUNCTION sync.set_preference(request jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := sync.need_user();
    kind text := coalesce(sync.request_text(request, 'type', 100, false), '*');
    chosen jsonb := coalesce(request -> 'channels', '{}');
BEGIN
    IF jsonb_typeof(chosen) <> 'object' OR octet_length(chosen::text) > 1024 OR EXISTS (
        SELECT FROM jsonb_each(chosen) c WHERE c.value #>> '{}' IS NULL OR c.value #>> '{}' NOT IN ('low', 'normal', 'high', 'urgent', 'off')) THEN
        RAISE EXCEPTION 'member "channels" of the request must give each channel low, normal, high, urgent or off' USING ERRCODE = 'SY400';
    END IF;
    IF jsonb_typeof(request -> 'show_last_seen') NOT IN ('boolean', 'null') THEN
        RAISE EXCEPTION 'member "show_last_seen" of the request must be true or false' USING ERRCODE = 'SY400';
    END IF;
    IF (SELECT count(*) FROM sync.preference p WHERE p.user_id = who) >= 200 AND NOT EXISTS (
        SELECT FROM sync.preference p WHERE p.user_id = who AND p.type = kind) THEN
        RAISE EXCEPTION 'you have 200 preferences already' USING ERRCODE = 'SY429';
    END IF;
    INSERT INTO sync.preference AS p (user_id, type, audience, channels, show_last_seen)
    VALUES (who, kind, 'user:' || who, chosen, coalesce((request ->> 'show_last_seen')::boolean, true))
    ON CONFLICT (user_id, type) DO UPDATE
    SET channels = p.channels || excluded.channels, show_last_seen = coalesce((request ->> 'show_last_seen')::boolean, p.show_last_seen);
END
$$;
COMMENT ON FUNCTION sync.set_preference(jsonb) IS
'What the caller wants to be told, and how: {"type"?: of notification, default all others, "channels"?: {"in_app"|"email"|…: least importance or "off"}, "show_last_seen"?: on the default type}. Channels not named stay.';

CREATE FUNCTION sync.threshold(user_id text, type text, channel text, fallback text) RETURNS integer
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT sync.importance_rank(coalesce(
    (SELECT p.channels ->> channel FROM sync.preference p WHERE p.user_id = threshold.user_id AND p.type = threshold.type),
    (SELECT p.channels ->> channel FROM sync.preference p WHERE p.user_id = threshold.user_id AND p.type = '*'), fallback))
$$;
COMMENT ON FUNCTION sync.threshold(text, text, text, text) IS 'The least importance that a channel carries to a user, by the preference for the type, for all others, or else the channel''s own.';

CREATE FUNCTION sync.trim_notifications(user_id text, most integer) RETURNS void
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$
DELETE FROM sync.notification n WHERE n.notification_id IN (
    SELECT o.notification_id FROM sync.notification o WHERE o.user_id = trim_notifications.user_id
    ORDER BY o.read_at IS NULL, o.created_at
    LIMIT greatest((SELECT count(*) FROM sync.notification c WHERE c.user_id = trim_notifications.user_id) - most, 0))
$$;
COMMENT ON FUNCTION sync.trim_notifications(text, integer) IS 'Deletes what is above the limit: read ones first, then the oldest.';

-- The work of notify(), for callers whose rights are settled.
CREATE FUNCTION sync.send_notification(users text[], request jsonb, actor text) RETURNS integer
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    what text := sync.request_text(request, 'type', 100);
    weight text := coalesce(sync.request_text(request, 'importance', 10, false), 'normal');
    most integer := current_setting('sync.max_notifications')::integer;
    recipient text;
    id uuid;
    message jsonb;
    reached integer := 0;
BEGIN
    message := jsonb_strip_nulls(jsonb_build_object('type', what, 'importance', weight, 'title', request -> 'title', 'body', request -> 'body',
        'entity_type', request -> 'entity_type', 'entity_id', request -> 'entity_id', 'data', request -> 'data', 'actor', actor));
    FOR recipient IN SELECT DISTINCT u FROM unnest(users) u WHERE u <> '' ORDER BY u LOOP
        id := NULL;
        IF sync.importance_rank(weight) >= sync.threshold(recipient, what, 'in_app', 'low') THEN
            INSERT INTO sync.notification (audience, user_id, type, importance, title, body, entity_type, entity_id, data, actor)
            VALUES ('user:' || recipient, recipient, what, weight, request ->> 'title', request ->> 'body', request ->> 'entity_type',
                    request ->> 'entity_id', request -> 'data', send_notification.actor)
            RETURNING notification_id INTO id;
            PERFORM sync.trim_notifications(recipient, most);
        END IF;
        INSERT INTO sync.delivery (kind, user_id, notification_id, message)
        SELECT c.kind, recipient, id, message || jsonb_build_object('notification_id', id)
        FROM sync.channel c WHERE sync.importance_rank(weight) >= sync.threshold(recipient, what, c.kind, c.threshold);
        reached := reached + (id IS NOT NULL OR FOUND)::integer;
    END LOOP;
    RETURN reached;
END
$$;
COMMENT ON FUNCTION sync.send_notification(text[], jsonb, text) IS 'Puts a notification into each user''s feed and queues its deliveries, as preferences say; how many users it reached. Checks no rights.';

CREATE FUNCTION sync.recipients(request jsonb, actor text) RETURNS text[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    users text[];
BEGIN
    IF jsonb_typeof(request -> 'users') = 'array' AND request -> 'scope' IS NULL THEN
        users := ARRAY(SELECT jsonb_array_elements_text(request -> 'users'));
    ELSIF jsonb_typeof(request -> 'scope') = 'object' AND request -> 'users' IS NULL THEN
        users := ARRAY(SELECT u FROM sync.scope_users(sync.request_text(request -> 'scope', 'name', 200), request -> 'scope' ->> 'value') u
                       WHERE u IS DISTINCT FROM actor);
    ELSE
        RAISE EXCEPTION 'a notification goes to "users": [ids] or to "scope": {"name", "value"}' USING ERRCODE = 'SY400';
    END IF;
    IF cardinality(users) > 10000 THEN
        RAISE EXCEPTION 'a notification goes to at most 10000 users' USING ERRCODE = 'SY413';
    END IF;
    RETURN users;
END
$$;
COMMENT ON FUNCTION sync.recipients(jsonb, text) IS 'The users a request names, or those of its scope but the actor.';

CREATE FUNCTION sync.check_notification(request jsonb, who text) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    weight text := sync.request_text(request, 'importance', 10, false);
BEGIN
    PERFORM sync.request_text(request, 'type', 100), sync.request_text(request, 'title', 400), sync.request_text(request, 'body', 8192, false),
            sync.request_text(request, 'entity_type', 256, false), sync.request_text(request, 'entity_id', 2048, false);
    IF weight IS NOT NULL AND weight NOT IN ('low', 'normal', 'high', 'urgent') THEN
        RAISE EXCEPTION 'member "importance" of the request must be low, normal, high or urgent' USING ERRCODE = 'SY400';
    END IF;
    IF octet_length((request -> 'data')::text) > 16384 THEN
        RAISE EXCEPTION 'the data of a notification have at most 16384 bytes' USING ERRCODE = 'SY413';
    END IF;
    IF sync.caller_is_owner() THEN
        RETURN;
    END IF;
    -- A user may tell those with whom it shares a scope's value, and itself, of what it sees.
    IF request ? 'entity_id' THEN
        PERFORM sync.seen_table(sync.request_text(request, 'entity_type', 256), sync.request_text(request, 'entity_id', 2048));
    END IF;
    IF request -> 'scope' IS NOT NULL THEN
        IF coalesce(sync.scope_audience(request -> 'scope' ->> 'name', request -> 'scope' ->> 'value') = ANY (sync.caller_audiences()), false) THEN
            RETURN;
        END IF;
    ELSIF NOT EXISTS (SELECT u FROM unnest(sync.recipients(request, who)) u WHERE u <> who EXCEPT SELECT f FROM sync.fellow_users() f) THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'you may notify only users who share a scope with you'
        USING ERRCODE = 'SY403', HINT = 'The back end may notify anybody, as a role that owns the extension or by sync.notify_trigger().';
END
$$;
COMMENT ON FUNCTION sync.check_notification(jsonb, text) IS 'Raises what is wrong with a request for a notification, or that the caller may not send it.';

CREATE FUNCTION sync.notify(request jsonb) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := CASE WHEN sync.caller_is_owner() THEN sync.user_id() ELSE sync.need_user() END;
    due timestamptz;
    id uuid;
BEGIN
    PERFORM sync.check_notification(request, who);
    BEGIN
        due := sync.request_text(request, 'remind_at', 64, false)::timestamptz;
    EXCEPTION WHEN data_exception THEN
        RAISE EXCEPTION 'member "remind_at" of the request must be a time' USING ERRCODE = 'SY400', HINT = 'Such as 2026-12-24T18:00:00Z.';
    END;
    IF due > clock_timestamp() THEN
        IF who IS NOT NULL AND (SELECT count(*) FROM sync.reminder r WHERE r.actor = who) >= 1000 THEN
            RAISE EXCEPTION 'you have 1000 reminders waiting already' USING ERRCODE = 'SY429';
        END IF;
        PERFORM sync.recipients(request, who);
        INSERT INTO sync.reminder (due_at, actor, request) VALUES (due, who, request - 'remind_at') RETURNING reminder_id INTO id;
        RETURN json_build_object('success', true, 'reminder_id', id);
    END IF;
    RETURN json_build_object('success', true, 'notified', sync.send_notification(sync.recipients(request, who), request, who));
END
$$;
COMMENT ON FUNCTION sync.notify(jsonb) IS
'Notifies users: {"users": [ids] | "scope": {"name", "value"}, "type", "title", "body"?, "importance"?: low|normal|high|urgent (normal), "entity_type"?, "entity_id"?, "data"?: up to 16 KiB, "remind_at"?: later}
→ {"success", "notified": users reached} or {"success", "reminder_id"}. A scope means all who hold the value but the sender, see sync.set_scope_users(). Users may notify themselves and those who share a scope''s value with them, about rows
they see; the extension''s owner anybody. Errors: SY400, SY401 nobody, SY403, SY404, SY413, SY429 over 1,000 reminders.';

CREATE FUNCTION sync.cancel_reminder(reminder_id uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH gone AS (DELETE FROM sync.reminder r WHERE r.reminder_id = cancel_reminder.reminder_id AND (r.actor = sync.user_id() OR sync.caller_is_owner()) RETURNING 1)
SELECT EXISTS (SELECT FROM gone)
$$;
COMMENT ON FUNCTION sync.cancel_reminder(uuid) IS 'Takes back one of the caller''s reminders; false: there is none.';

CREATE FUNCTION sync.remind_due() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    r record;
    n integer := 0;
BEGIN
    FOR r IN DELETE FROM sync.reminder d WHERE d.reminder_id IN (
                 SELECT reminder_id FROM sync.reminder WHERE due_at <= clock_timestamp() ORDER BY due_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
             RETURNING d.actor, d.request LOOP
        -- One that cannot be sent any more, its scope being gone, must not hold up the others.
        BEGIN
            PERFORM sync.send_notification(sync.recipients(r.request, r.actor), r.request, r.actor);
            n := n + 1;
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'a reminder of % could not be sent: %', r.actor, sqlerrm;
        END;
    END LOOP;
    RETURN n;
END
$$;
COMMENT ON FUNCTION sync.remind_due() IS 'For upkeep: sends up to 1,000 reminders that have fallen due; how many.';

CREATE FUNCTION sync.notifications(type text DEFAULT NULL, unread boolean DEFAULT false, before uuid DEFAULT NULL, most integer DEFAULT 50)
    RETURNS TABLE (notification_id uuid, type text, importance text, title text, body text, entity_type text, entity_id text, data jsonb,
                   actor text, created_at timestamptz, read_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
SELECT n.notification_id, n.type, n.importance, n.title, n.body, n.entity_type, n.entity_id, n.data, n.actor, n.created_at, n.read_at
FROM sync.notification n
WHERE n.user_id = sync.user_id() AND ($1 IS NULL OR n.type = $1) AND (NOT coalesce($2, false) OR n.read_at IS NULL)
  AND ($3 IS NULL OR (n.created_at, n.notification_id) < (SELECT b.created_at, b.notification_id FROM sync.notification b
                                                          WHERE b.notification_id = $3 AND b.user_id = sync.user_id()))
ORDER BY n.created_at DESC, n.notification_id DESC LIMIT least(greatest(coalesce($4, 50), 0), 1000)
$$;
COMMENT ON FUNCTION sync.notifications(text, boolean, uuid, integer) IS
'The caller''s notifications, newest first: of one type, unread only; before: a notification_id, for the next page; most: up to 1,000.';

CREATE FUNCTION sync.unread_count(type text DEFAULT NULL) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT count(*) FROM sync.notification n WHERE n.user_id = sync.user_id() AND n.read_at IS NULL AND ($1 IS NULL OR n.type = $1) $$;
COMMENT ON FUNCTION sync.unread_count(text) IS 'How many of the caller''s notifications are unread, of one type or all.';

CREATE FUNCTION sync.mark_read(ids uuid[] DEFAULT NULL) RETURNS integer
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH marked AS (
    UPDATE sync.notification n SET read_at = clock_timestamp()
    WHERE n.user_id = sync.user_id() AND n.read_at IS NULL AND ($1 IS NULL OR n.notification_id = ANY ($1)) RETURNING n.notification_id),
quiet AS (
    DELETE FROM sync.delivery d WHERE d.state = 'waiting' AND d.attempts = 0 AND d.notification_id IN (SELECT m.notification_id FROM marked m))
SELECT count(*)::integer FROM marked
$$;
COMMENT ON FUNCTION sync.mark_read(uuid[]) IS 'Marks the caller''s notifications as read, these or all; what no worker has taken yet is not delivered any more. How many.';

CREATE FUNCTION sync.clear(ids uuid[] DEFAULT NULL, only_read boolean DEFAULT true) RETURNS integer
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH gone AS (
    DELETE FROM sync.notification n WHERE n.user_id = sync.user_id() AND CASE WHEN $1 IS NULL THEN n.read_at IS NOT NULL OR NOT $2 ELSE n.notification_id = ANY ($1) END
    RETURNING n.notification_id),
quiet AS (
    DELETE FROM sync.delivery d WHERE d.state = 'waiting' AND d.attempts = 0 AND d.notification_id IN (SELECT g.notification_id FROM gone g))
SELECT count(*)::integer FROM gone
$$;
COMMENT ON FUNCTION sync.clear(uuid[], boolean) IS 'Deletes the caller''s notifications: these, or all that are read (only_read => false: all). How many.';

CREATE FUNCTION sync.take_deliveries(kind text, most integer DEFAULT 100, lease interval DEFAULT '5 minutes')
    RETURNS TABLE (delivery_id bigint, user_id text, attempts integer, message jsonb)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH due AS (
    SELECT d.delivery_id FROM sync.delivery d WHERE d.kind = $1 AND d.state = 'waiting' AND d.next_at <= clock_timestamp()
    ORDER BY d.next_at LIMIT $2 FOR UPDATE SKIP LOCKED),
taken AS (
    UPDATE sync.delivery d SET attempts = d.attempts + 1, next_at = clock_timestamp() + $3,
           state = CASE WHEN d.attempts >= 8 THEN 'failed' ELSE 'waiting' END, error = CASE WHEN d.attempts >= 8 THEN coalesce(d.error, 'never finished') ELSE d.error END
    FROM due WHERE d.delivery_id = due.delivery_id RETURNING d.*)
SELECT t.delivery_id, t.user_id, t.attempts, t.message FROM taken t WHERE t.state = 'waiting' ORDER BY t.delivery_id
$$;
COMMENT ON FUNCTION sync.take_deliveries(text, integer, interval) IS
'For workers of a channel: up to most messages that are due, each taken by one worker for the length of the lease; finish_delivery() says how it went, else the message is due again. Commit before sending. Given up after 8 attempts.';

CREATE FUNCTION sync.finish_delivery(delivery_id bigint, ok boolean, error text DEFAULT NULL) RETURNS text
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
UPDATE sync.delivery d
SET state = CASE WHEN ok THEN 'done' WHEN d.attempts >= 8 THEN 'failed' ELSE 'waiting' END, error = CASE WHEN ok THEN NULL ELSE left(finish_delivery.error, 1000) END,
    next_at = clock_timestamp() + least(interval '30 seconds' * 2 ^ (d.attempts - 1), interval '6 hours')
WHERE d.delivery_id = finish_delivery.delivery_id AND d.state = 'waiting' RETURNING d.state
$$;
COMMENT ON FUNCTION sync.finish_delivery(bigint, boolean, text) IS
'What became of a message: done, waiting (again after 30 s, doubled with each attempt, at most 6 h) or failed after the eighth; NULL when it was finished already.';

CREATE FUNCTION sync.notify_trigger() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    content jsonb := to_jsonb(coalesce(new, old));
    title text := tg_argv[2];
    name text;
    users text[];
    t sync.synced_table;
    id text;
    who text := sync.user_id();
BEGIN
    IF tg_nargs NOT BETWEEN 3 AND 4 OR tg_level <> 'ROW' THEN
        RAISE EXCEPTION 'sync.notify_trigger() is a row trigger with arguments (type, recipients, title, importance)'
            USING ERRCODE = 'trigger_protocol_violated', HINT = 'recipients: a column with a user, a list of users, or scope:<scope name>:<column with the value>.';
    END IF;
    FOR name IN SELECT m[1] FROM regexp_matches(tg_argv[2], '\{(\w+)\}', 'g') m LOOP
        title := replace(title, '{' || name || '}', coalesce(content ->> name, ''));
    END LOOP;
    IF tg_argv[1] LIKE 'scope:%' THEN
        name := substring(tg_argv[1] FROM ':([^:]*)$');
        users := ARRAY(SELECT u FROM sync.scope_users(substring(tg_argv[1] FROM '^scope:(.*):[^:]*$'), content ->> name) u);
    ELSIF jsonb_typeof(content -> tg_argv[1]) = 'array' THEN
        users := ARRAY(SELECT jsonb_array_elements_text(content -> tg_argv[1]));
    ELSE
        users := ARRAY[content ->> tg_argv[1]];
    END IF;
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = tg_relid;
    SELECT CASE count(*) WHEN 1 THEN min(content ->> a.attname) ELSE json_agg(content ->> a.attname ORDER BY k.n)::text END INTO id
    FROM pg_index i, unnest(i.indkey::smallint[]) WITH ORDINALITY k (attnum, n), pg_attribute a
    WHERE i.indrelid = tg_relid AND i.indisprimary AND a.attrelid = tg_relid AND a.attnum = k.attnum;
    PERFORM sync.send_notification(array_remove(users, who), jsonb_build_object('type', tg_argv[0], 'title', left(title, 200), 'importance', coalesce(tg_argv[3], 'normal'),
        'entity_type', t.entity_type, 'entity_id', id), CASE WHEN NOT coalesce(t.anonymous, false) THEN who END);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sync.notify_trigger() IS
'An AFTER ROW trigger for tables of the application: EXECUTE FUNCTION sync.notify_trigger(type, recipients, title, importance). recipients: a column that holds a user or a list of users, or scope:<scope name>:<column>;
{column} in the title is replaced. Whoever made the change is not told. Who makes the trigger needs EXECUTE on this function.';

SELECT pg_catalog.pg_extension_config_dump('sync.notification', '');
SELECT pg_catalog.pg_extension_config_dump('sync.channel', '');
SELECT pg_catalog.pg_extension_config_dump('sync.delivery', '');
SELECT pg_catalog.pg_extension_config_dump('sync.delivery_delivery_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.reminder', '');

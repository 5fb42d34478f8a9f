-- builtin.sql - the extension's own synced tables: how they are made, and who gets their rows.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.audiences() RETURNS text[]
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_audiences';
COMMENT ON FUNCTION sync.audiences() IS
'Whose rows of the extension''s own synced tables the caller gets: user:<user id>, <scope name>:<value> for each value held of a scope whose tables the caller may read, and
table:<table id> for tables that everybody with the privilege reads. A scope named user or table, or with a : or ", is quoted. A members query that fails holds nothing.';

CREATE FUNCTION sync.caller_audiences() RETURNS text[]
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_caller_audiences';
COMMENT ON FUNCTION sync.caller_audiences() IS 'sync.audiences() of the role that called the running definer function.';

CREATE FUNCTION sync.scope_audience(scope text, value text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'sync_scope_audience';
COMMENT ON FUNCTION sync.scope_audience(text, text) IS 'The audience of a scope''s value.';

CREATE FUNCTION sync.row_audience(relation regclass, entity_id text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_row_audience';
COMMENT ON FUNCTION sync.row_audience(regclass, text) IS 'The audience of what is told about a row; NULL when the row is absent, in no scope, or under policies of its own.';

CREATE FUNCTION sync.may_see(relation regclass, entity_id text) RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_may_see';
COMMENT ON FUNCTION sync.may_see(regclass, text) IS
'Whether the caller may see a living row of a synced table: by privileges, policies and scope. Inside a definer function the role that called it counts.';

CREATE FUNCTION sync.caller_columns(relation regclass) RETURNS text[]
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_caller_columns';
COMMENT ON FUNCTION sync.caller_columns(regclass) IS 'The columns of a synced table that the role that called the running definer function may read; NULL: not the table.';

CREATE FUNCTION sync.caller_is_owner() RETURNS boolean
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_caller_is_owner';
COMMENT ON FUNCTION sync.caller_is_owner() IS 'Whether the role that called the running definer function may act as the extension''s owner.';

CREATE FUNCTION sync.request_text(request jsonb, name text, most integer, required boolean DEFAULT true) RETURNS text
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    value text := request ->> name;
BEGIN
    IF jsonb_typeof(request) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the request must be a JSON object' USING ERRCODE = 'SY400';
    END IF;
    IF (value IS NULL AND required) OR (value IS NOT NULL AND jsonb_typeof(request -> name) <> 'string')
        OR octet_length(value) > most OR (value = '' AND required) THEN
        RAISE EXCEPTION 'member "%" of the request must be a string of % to % bytes', name, CASE WHEN required THEN 1 ELSE 0 END, most
            USING ERRCODE = 'SY400';
    END IF;
    RETURN value;
END
$$;
COMMENT ON FUNCTION sync.request_text(jsonb, text, integer, boolean) IS 'A text member of a request; SY400 when it is missing, no string or too long.';

CREATE FUNCTION sync.need_user() RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF sync.user_id() IS NULL THEN
        RAISE EXCEPTION 'nobody is signed in' USING ERRCODE = 'SY401', HINT = 'request.jwt.claims must hold a sub.';
    END IF;
    RETURN sync.user_id();
END
$$;
COMMENT ON FUNCTION sync.need_user() IS 'The caller''s user; SY401 for nobody.';

-- Refused with the same words whether the entity is unknown, absent or hidden.
CREATE FUNCTION sync.seen_table(entity_type text, entity_id text) RETURNS sync.synced_table
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.entity_type = seen_table.entity_type AND s.id >= 100;
    IF NOT FOUND OR NOT sync.may_see(t.relation, seen_table.entity_id) THEN
        RAISE EXCEPTION 'there is no such row for you' USING ERRCODE = 'SY404';
    END IF;
    RETURN t;
EXCEPTION WHEN data_exception THEN
    RAISE EXCEPTION 'there is no such row for you' USING ERRCODE = 'SY404';
END
$$;
COMMENT ON FUNCTION sync.seen_table(text, text) IS 'The table of a row that the caller may see; SY404 otherwise.';

-- The scope by which the extension's own tables travel
INSERT INTO sync.scope (id, name, members) OVERRIDING SYSTEM VALUE
VALUES (1, 'sync.audience', 'SELECT pg_catalog.unnest(sync.audiences())');

CREATE FUNCTION sync.enable_builtin(relation regclass, id integer, priority integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    target text;
    keys text;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname) INTO target
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = enable_builtin.relation;
    EXECUTE format('ALTER TABLE %s ADD COLUMN sync_version bigint NOT NULL DEFAULT 1, '
                   'ADD COLUMN sync_xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), '
                   'ADD COLUMN sync_at timestamptz NOT NULL DEFAULT pg_catalog.now(), ADD COLUMN sync_by text, ADD COLUMN sync_clock bytea', target);
    INSERT INTO sync.synced_table (id, relation, entity_type, scope, scope_column, rule, deletes, delete_rule, priority, policy_is_scope, enabled_xid, epoch)
    OVERRIDING SYSTEM VALUE
    VALUES (enable_builtin.id, enable_builtin.relation, replace(target, '"', ''), 'sync.audience', 'audience', 'lww', 'hard', 'delete_wins',
            enable_builtin.priority, true, pg_current_xact_id(), pg_current_xact_id());
    EXECUTE format('CREATE INDEX ON %s (audience, sync_xid) WHERE sync_xid > %L::xid8', target, pg_current_xact_id());
    EXECUTE format('CREATE TRIGGER "~sync_stamp" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION sync.stamp()', target);
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.leave_tombstone()', target);
    SELECT string_agg(format('old.%1$I IS DISTINCT FROM new.%1$I', a.attname), ' OR ') INTO keys
    FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = enable_builtin.relation AND a.attnum > 0 AND (a.attnum = ANY (i.indkey) OR a.attname = 'audience');
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_update" AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sync.leave_tombstone()', target, keys);
    EXECUTE format('CREATE TRIGGER "~sync_truncated" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION sync.truncated()', target);
    EXECUTE (SELECT format('ALTER TABLE %s %s', target, string_agg(format('ENABLE ALWAYS TRIGGER %I', tgname), ', '))
             FROM pg_trigger WHERE tgrelid = enable_builtin.relation AND tgname LIKE '~sync\_%');
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY audience ON %s FOR SELECT USING (audience = ANY ((SELECT sync.audiences())::text[]))', target);
END
$$;
COMMENT ON FUNCTION sync.enable_builtin(regclass, integer, integer) IS
'Makes an empty table of the extension a synced one, with an id below 100: a row goes to its audience. SELECT is granted in privileges.sql.';

CREATE FUNCTION sync.set_scope_users(name text, query text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    value_type text;
BEGIN
    IF NOT sync.caller_is_owner() THEN
        RAISE EXCEPTION 'only the extension''s owner may set the users of a scope' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF set_scope_users.query IS NOT NULL THEN
        EXECUTE format('SELECT pg_typeof(u.value)::text FROM (SELECT 1) one LEFT JOIN (SELECT * FROM (%s) q LIMIT 0) AS u (value, user_id) ON true', query)
        INTO value_type;
    END IF;
    UPDATE sync.scope s SET users = format('SELECT DISTINCT u.user_id::pg_catalog.text FROM (%s) AS u (value, user_id) '
                                           'WHERE u.value = $1::%s AND u.user_id IS NOT NULL', query, value_type)
    WHERE s.name = set_scope_users.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" does not exist', set_scope_users.name USING ERRCODE = 'undefined_object', HINT = 'Declare it with sync.create_scope().';
    END IF;
    IF set_scope_users.query IS NULL THEN
        UPDATE sync.scope s SET users = NULL WHERE s.name = set_scope_users.name;
    END IF;
END
$$;
COMMENT ON FUNCTION sync.set_scope_users(text, text) IS
'The other way round of a scope''s members: a query of (value, user_id), run as the extension''s owner, of who holds which value. Notifications to a scope and last_seen() need it.
Name its tables with their schema. NULL takes it away.';

CREATE FUNCTION sync.scope_users(scope text, value text) RETURNS SETOF text
    LANGUAGE plpgsql STABLE STRICT SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    query text := (SELECT s.users FROM sync.scope s WHERE s.name = scope_users.scope);
BEGIN
    IF query IS NULL THEN
        RAISE EXCEPTION 'nobody said who holds the values of scope "%"', scope_users.scope
            USING ERRCODE = 'SY400', HINT = 'sync.set_scope_users(name, query of (value, user_id)).';
    END IF;
    RETURN QUERY EXECUTE query USING value;
END
$$;
COMMENT ON FUNCTION sync.scope_users(text, text) IS 'The users who hold a scope''s value, whoever asks; SY400 when no query says so.';

CREATE FUNCTION sync.fellow_users() RETURNS SETOF text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    s record;
    audience text;
BEGIN
    FOR s IN SELECT name, sync.scope_audience(name, '') AS prefix FROM sync.scope WHERE users IS NOT NULL LOOP
        FOREACH audience IN ARRAY sync.caller_audiences() LOOP
            IF starts_with(audience, s.prefix) THEN
                RETURN QUERY SELECT sync.scope_users(s.name, substr(audience, length(s.prefix) + 1));
            END IF;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.fellow_users() IS 'The users who share a scope''s value with the role that called the running definer function; may repeat.';

-- sync--1.0.sql - the schema, functions and triggers of the extension; public objects first, each with its comment.
-- SPDX-License-Identifier: PostgreSQL

\echo Use "CREATE EXTENSION sync" to load this file. \quit

----------------------------------------------------------------------------------------------------
-- Private: tables
----------------------------------------------------------------------------------------------------

CREATE TABLE sync.instance (
    incarnation bigint NOT NULL,
    horizon xid8 NOT NULL DEFAULT '0'
);
CREATE UNIQUE INDEX instance_one ON sync.instance ((true));
INSERT INTO sync.instance (incarnation) VALUES (1 + floor(random() * 2147483646)::bigint);
COMMENT ON TABLE sync.instance IS 'One row: the number that every sync token carries (another one resets clients) and the highest purged tombstone id.';

CREATE TABLE sync.scope (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    members text NOT NULL,
    watch text[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE sync.scope IS 'Declared scopes: which values a caller holds, and which columns say whom a change of membership concerns.';

CREATE TABLE sync.synced_table (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation regclass NOT NULL UNIQUE,
    entity_type text NOT NULL UNIQUE,
    scope text REFERENCES sync.scope (name),
    scope_column name,
    rule text NOT NULL,
    deletes text NOT NULL,
    delete_rule text NOT NULL,
    priority integer NOT NULL,
    policy_is_scope boolean NOT NULL,
    updated_at name,
    deleted_at name,
    added_deleted_at boolean NOT NULL DEFAULT false,
    enabled_xid xid8 NOT NULL,
    epoch xid8 NOT NULL
);
COMMENT ON TABLE sync.synced_table IS 'Tables that are synced. id is new at each enable; clients whose cursor does not see epoch start the table anew.';

CREATE TABLE sync.tombstone (
    id bigint GENERATED ALWAYS AS IDENTITY,
    table_id integer NOT NULL,
    entity_id text NOT NULL,
    scope_value text,
    old_values jsonb,
    version bigint NOT NULL,
    sync_xid xid8 NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    changed_by text
);
CREATE INDEX tombstone_entity ON sync.tombstone (table_id, entity_id);
CREATE INDEX tombstone_xid ON sync.tombstone (table_id, sync_xid, id);
COMMENT ON TABLE sync.tombstone IS 'Append-only: deletions, and moves out of a scope or a key. Holds the key and the old scope value, never the row''s contents.';

CREATE TABLE sync.ledger (
    user_id text NOT NULL,
    device_id text NOT NULL,
    queue_id text NOT NULL,
    body_hash bigint NOT NULL,
    answer json NOT NULL,
    table_id integer,
    entity_id text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, device_id, queue_id)
);
COMMENT ON TABLE sync.ledger IS 'The first verdict of each pushed change, so that a repeat gets the same one.';

CREATE TABLE sync.conflict (
    conflict_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    table_id integer NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('edit', 'delete', 'constraint', 'version')),
    fields text[] NOT NULL,
    local_data jsonb,
    server_data jsonb,
    base_data jsonb,
    local_version bigint,
    server_version bigint,
    pushed_by text,
    device_id text,
    changed_by text,
    rule text NOT NULL,
    outcome text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conflict_entity ON sync.conflict (table_id, entity_id);
COMMENT ON TABLE sync.conflict IS 'Both versions of each collision, the rule that decided, and how: a losing value is kept here.';

SELECT pg_catalog.pg_extension_config_dump('sync.scope', '');
SELECT pg_catalog.pg_extension_config_dump('sync.synced_table', '');
SELECT pg_catalog.pg_extension_config_dump('sync.tombstone', '');
SELECT pg_catalog.pg_extension_config_dump('sync.ledger', '');
SELECT pg_catalog.pg_extension_config_dump('sync.conflict', '');

----------------------------------------------------------------------------------------------------
-- Public: for applications
----------------------------------------------------------------------------------------------------

CREATE FUNCTION sync.user_id() RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'sync_user_id_sql';
COMMENT ON FUNCTION sync.user_id() IS 'The caller''s user: claim sub of the setting request.jwt.claims; NULL for nobody.';

CREATE FUNCTION sync.pull(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_pull';
COMMENT ON FUNCTION sync.pull(jsonb) IS
'What changed since a token. request: {"device_id", "sync_token"?, "tables"?: [entity types], "priority"?: 1..3, "limit"?: 1..10000 rows (1000)}.
Answer: {"changes", "withdrawn"?, "reset"?, "has_more", "next_sync_token", "server_time", "n"}; apply reset, withdrawn, changes in this order.
Runs under the caller''s rights and policies; never writes. Errors: SY400 bad request, SY409 on a standby or after a write in the same transaction.';

CREATE FUNCTION sync.push(request jsonb) RETURNS json
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_push';
COMMENT ON FUNCTION sync.push(jsonb) IS
'Applies a device''s changes under the caller''s rights. request: {"device_id", "atomic"?: false, "changes": [{"queue_id"?, "operation": create|update|delete,
"entity_type", "entity_id", "data", "base"?, "local_version"?, "timestamp"}]}. Answer: {"success", "processed": [a verdict per change], "server_time"}.
Each change stands alone unless atomic. Errors of the whole request: SY400 bad request, SY401 nobody, SY413 over 10,000 changes or 16 MiB.';

CREATE FUNCTION sync.session_state(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_session_state';
COMMENT ON FUNCTION sync.session_state(jsonb) IS
'For the streamer, as the client: {"tables": [{"id", "full"}], "scopes": {name: [values held]}} for the tables a pull with the same request covers. full: all columns may be read.';

----------------------------------------------------------------------------------------------------
-- Public: for the streamer (role sync_upkeep)
----------------------------------------------------------------------------------------------------

CREATE FUNCTION sync.checkpoint(nonce bigint) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_checkpoint';
COMMENT ON FUNCTION sync.checkpoint(bigint) IS
'Takes a snapshot, then writes and flushes a WAL message that holds only the nonce; returns the snapshot. Whatever the snapshot sees stands in WAL before the message.';

CREATE FUNCTION sync.feed_tables() RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_feed_tables';
COMMENT ON FUNCTION sync.feed_tables() IS 'What the streamer must know of the synced tables: names, keys, scopes, the rendering kind of each column.';

CREATE FUNCTION sync.feed_rows(table_id integer, keys text[]) RETURNS json
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_feed_rows';
COMMENT ON FUNCTION sync.feed_rows(integer, text[]) IS
'Rows as they are now, for changes that the decoder cannot show whole: [{"entity_id", "xid", "change"}]. Reads every row: never grant it to an application.';

----------------------------------------------------------------------------------------------------
-- Private: triggers and helpers
----------------------------------------------------------------------------------------------------

CREATE FUNCTION sync.stamp() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_stamp';
COMMENT ON FUNCTION sync.stamp() IS 'BEFORE INSERT OR UPDATE: sets version, transaction, time, user and clock from the old row.';
CREATE FUNCTION sync.soft_delete() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_soft_delete';
COMMENT ON FUNCTION sync.soft_delete() IS 'BEFORE DELETE: turns the deletion into a mark.';
CREATE FUNCTION sync.leave_tombstone() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_leave_tombstone';
COMMENT ON FUNCTION sync.leave_tombstone() IS 'AFTER DELETE, and AFTER an UPDATE of key, scope or mark: leaves a tombstone.';
CREATE FUNCTION sync.truncated() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_truncated';
COMMENT ON FUNCTION sync.truncated() IS 'AFTER TRUNCATE: everybody starts the table anew.';

CREATE FUNCTION sync.column_kind(type oid) RETURNS "char"
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_column_kind';
COMMENT ON FUNCTION sync.column_kind(oid) IS 'How values of a type are written as JSON; the letters are explained in render.c.';

CREATE FUNCTION sync.caller_owns(relation regclass) RETURNS boolean
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_caller_owns';
COMMENT ON FUNCTION sync.caller_owns(regclass) IS 'Whether the role that called the running definer function owns the table or is a member of its owner.';

----------------------------------------------------------------------------------------------------
-- Public: setting up (owners)
----------------------------------------------------------------------------------------------------

CREATE FUNCTION sync.create_scope(name text, members text, watch text[] DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    entry text;
    parts text[];
BEGIN
    IF create_scope.name IS NULL OR create_scope.name = '' THEN
        RAISE EXCEPTION 'a scope needs a name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF create_scope.members IS NULL OR create_scope.members !~* '^\s*(select|with|values|table)\y' THEN
        RAISE EXCEPTION 'members of scope "%" must be a query', create_scope.name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'One column with the values the caller holds, such as: SELECT team_id FROM public.member WHERE user_id = sync.user_id()';
    END IF;
    FOREACH entry IN ARRAY create_scope.watch LOOP
        parts := pg_catalog.parse_ident(entry);
        IF array_length(parts, 1) = 2 THEN
            parts := 'public'::text || parts;
        END IF;
        IF array_length(parts, 1) <> 3 OR NOT EXISTS (
            SELECT FROM pg_attribute a
            WHERE a.attrelid = to_regclass(array_to_string(ARRAY(SELECT quote_ident(p) FROM unnest(parts[:array_length(parts, 1) - 1]) p), '.'))
              AND a.attname = parts[array_length(parts, 1)] AND a.attnum > 0 AND NOT a.attisdropped) THEN
            RAISE EXCEPTION 'watch entry "%" names no column', entry
                USING ERRCODE = 'undefined_column', HINT = 'Write table.column, or schema.table.column outside public: the column that names the user concerned.';
        END IF;
    END LOOP;
    INSERT INTO sync.scope (name, members, watch) VALUES (create_scope.name, create_scope.members, create_scope.watch);
END
$$;
COMMENT ON FUNCTION sync.create_scope(text, text, text[]) IS
'Declares a scope. members: a query of one column, run as the caller, of the values the caller holds (name its tables with their schema).
watch: table.column entries (schema.table.column outside public); a change there makes connected clients'' scopes be read again.';

-- Refuses what cannot be synced, each with its reason.
CREATE FUNCTION sync.check_relation(relation regclass) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    c pg_class;
    reason text;
    cure text;
BEGIN
    SELECT * INTO c FROM pg_class WHERE oid = relation;
    IF c.relkind <> 'r' OR c.relispartition THEN
        reason := CASE c.relkind WHEN 'p' THEN 'is partitioned' WHEN 'v' THEN 'is a view' WHEN 'm' THEN 'is a materialized view'
                  WHEN 'f' THEN 'is a foreign table' WHEN 'r' THEN 'is a partition' ELSE 'is not a table' END;
        cure := 'Only ordinary tables can be synced so far.';
    ELSIF c.relpersistence = 't' THEN
        reason := 'is temporary'; cure := 'Its rows are in no WAL and in no other session.';
    ELSIF c.relpersistence = 'u' THEN
        reason := 'is unlogged'; cure := 'ALTER TABLE … SET LOGGED first: unlogged rows are in no WAL.';
    ELSIF c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema', 'sync', 'pg_toast')) THEN
        reason := 'belongs to the system'; cure := 'Only tables of the application can be synced.';
    ELSIF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = relation OR inhparent = relation) THEN
        reason := 'takes part in inheritance'; cure := 'Inheritance parents and children cannot be synced.';
    ELSIF NOT EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisprimary) THEN
        reason := 'has no primary key'; cure := 'ALTER TABLE … ADD PRIMARY KEY first: clients name rows by it.';
    ELSIF c.relreplident = 'n' OR (c.relreplident = 'i' AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = relation AND indisreplident)) THEN
        reason := 'has a replica identity without a key'; cure := 'ALTER TABLE … REPLICA IDENTITY DEFAULT first.';
    ELSIF EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = ANY (i.indkey)
                  WHERE i.indrelid = relation AND i.indisprimary AND a.attgenerated <> '') THEN
        reason := 'has a generated column in its key'; cure := 'Its value is not known yet when the row is stamped.';
    END IF;
    IF reason IS NOT NULL THEN
        RAISE EXCEPTION 'table % %', relation, reason USING ERRCODE = 'object_not_in_prerequisite_state', HINT = cure;
    END IF;
END
$$;
COMMENT ON FUNCTION sync.check_relation(regclass) IS 'Raises the reason why a table cannot be synced, with its cure.';

CREATE FUNCTION sync.enable(relation regclass, scope text DEFAULT NULL, scope_column name DEFAULT NULL, via name DEFAULT NULL,
                            rule text DEFAULT 'merge', deletes text DEFAULT NULL, delete_rule text DEFAULT 'delete_wins',
                            priority integer DEFAULT 2, history boolean DEFAULT false, edit_window interval DEFAULT NULL,
                            enforce_locks boolean DEFAULT false, anonymous boolean DEFAULT false,
                            policy_is_scope boolean DEFAULT false, verify boolean DEFAULT false, entity_type text DEFAULT NULL,
                            updated_at name DEFAULT NULL, deleted_at name DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    started timestamptz := clock_timestamp();
    c pg_class;
    kind text;
    missing text;
    column_name name;
    when_clause text;
    add_deleted_at boolean := false;
    -- Quoted with its schema: this function's own search_path is not the caller's.
    target text;
    attempt integer := 0;
    grantee oid;
BEGIN
    IF enable.relation IS NULL THEN
        RAISE EXCEPTION 'sync.enable() needs a table' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT sync.caller_owns(enable.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', enable.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT * INTO c FROM pg_class WHERE oid = enable.relation;
    SELECT format('%I.%I', n.nspname, c.relname) INTO target FROM pg_namespace n WHERE n.oid = c.relnamespace;
    PERFORM sync.check_relation(enable.relation);
    IF EXISTS (SELECT FROM sync.synced_table t WHERE t.relation = enable.relation) THEN
        RAISE EXCEPTION 'table % is synced already', enable.relation
            USING ERRCODE = 'duplicate_object', HINT = 'sync.disable() it first to enable it with other options.';
    END IF;

    SELECT string_agg(format('%s => %s', o.name, o.given), ', ') INTO missing FROM (VALUES
        ('via', enable.via::text), ('history', nullif(enable.history, false)::text), ('edit_window', enable.edit_window::text),
        ('enforce_locks', nullif(enable.enforce_locks, false)::text), ('anonymous', nullif(enable.anonymous, false)::text),
        ('verify', nullif(enable.verify, false)::text),
        ('rule', CASE WHEN enable.rule IN ('reject', 'manual') THEN enable.rule END),
        ('delete_rule', CASE WHEN enable.delete_rule IN ('edit_wins', 'lww') THEN enable.delete_rule END)) o (name, given)
    WHERE o.given IS NOT NULL;
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'not built yet: %', missing
            USING ERRCODE = 'feature_not_supported', HINT = 'Leave it out for now; the README lists what works.';
    END IF;
    IF enable.rule IS DISTINCT FROM 'merge' AND enable.rule IS DISTINCT FROM 'lww' THEN
        RAISE EXCEPTION 'unknown rule "%"', enable.rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Rules are merge, lww, reject and manual.';
    END IF;
    IF enable.delete_rule IS DISTINCT FROM 'delete_wins' THEN
        RAISE EXCEPTION 'unknown delete_rule "%"', enable.delete_rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Delete rules are delete_wins, edit_wins and lww.';
    END IF;
    IF enable.priority IS NULL OR enable.priority NOT BETWEEN 1 AND 3 THEN
        RAISE EXCEPTION 'priority must be 1 (critical), 2 (important) or 3 (optional)' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    kind := coalesce(enable.deletes, CASE WHEN enable.deleted_at IS NULL THEN 'hard' ELSE 'soft' END);
    IF kind NOT IN ('hard', 'soft') THEN
        RAISE EXCEPTION 'unknown kind of deletes "%"', kind
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Deletes are hard or soft.';
    END IF;

    IF (enable.scope IS NULL) <> (enable.scope_column IS NULL) THEN
        RAISE EXCEPTION 'scope and scope_column go together' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF enable.scope IS NOT NULL AND NOT EXISTS (SELECT FROM sync.scope s WHERE s.name = enable.scope) THEN
        RAISE EXCEPTION 'scope "%" does not exist', enable.scope
            USING ERRCODE = 'undefined_object', HINT = 'Declare it with sync.create_scope().';
    END IF;
    IF c.relrowsecurity AND NOT (enable.policy_is_scope AND enable.scope IS NOT NULL) THEN
        RAISE EXCEPTION 'table % has row-level security', enable.relation
            USING ERRCODE = 'feature_not_supported',
                  HINT = 'Declare a scope that says what its policies say: sync.create_scope(), then enable with scope, scope_column and policy_is_scope => true.';
    END IF;
    FOREACH column_name IN ARRAY ARRAY[enable.scope_column, enable.updated_at, enable.deleted_at] LOOP
        CONTINUE WHEN column_name IS NULL;
        IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = enable.relation AND attname = column_name
                       AND attnum > 0 AND NOT attisdropped AND attgenerated = '') THEN
            RAISE EXCEPTION 'table % has no column "%" that can be used so', enable.relation, column_name
                USING ERRCODE = 'undefined_column', HINT = 'It must exist and not be generated.';
        END IF;
    END LOOP;
    FOREACH column_name IN ARRAY ARRAY[enable.updated_at, enable.deleted_at] LOOP
        IF column_name IS NOT NULL AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = enable.relation AND attname = column_name
            AND atttypid NOT IN ('timestamptz'::regtype, 'timestamp'::regtype)) THEN
            RAISE EXCEPTION 'column "%" must be a timestamp', column_name USING ERRCODE = 'datatype_mismatch';
        END IF;
    END LOOP;
    IF kind = 'soft' AND enable.deleted_at IS NULL THEN
        IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = enable.relation AND attname = 'deleted_at' AND NOT attisdropped) THEN
            RAISE EXCEPTION 'table % has a column deleted_at', enable.relation
                USING ERRCODE = 'duplicate_column', HINT = 'Name it: deleted_at => ''deleted_at''.';
        END IF;
        add_deleted_at := true;
    END IF;
    enable.entity_type := coalesce(enable.entity_type, (SELECT CASE nspname WHEN 'public' THEN '' ELSE nspname || '.' END || c.relname
                                                        FROM pg_namespace WHERE oid = c.relnamespace));
    -- Tables dropped while they were synced.
    DELETE FROM sync.synced_table t WHERE NOT EXISTS (SELECT FROM pg_class dropped WHERE dropped.oid = t.relation);
    IF EXISTS (SELECT FROM sync.synced_table t WHERE t.entity_type = enable.entity_type) THEN
        RAISE EXCEPTION 'entity type "%" is taken', enable.entity_type
            USING ERRCODE = 'duplicate_object', HINT = 'Give the table another entity_type.';
    END IF;
    IF enable.rule = 'merge' THEN
        RAISE NOTICE 'rule "merge" acts as "lww" for now: the later edit of a row wins as a whole';
    END IF;

    -- One ALTER under a short lock: ACCESS EXCLUSIVE queues everybody behind it while it waits for a long reader.
    LOOP
        attempt := attempt + 1;
        BEGIN
            PERFORM set_config('lock_timeout', '2s', true);
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', target);
            EXIT;
        EXCEPTION WHEN lock_not_available THEN
            IF attempt >= 5 THEN
                RAISE EXCEPTION 'could not lock table % in % attempts of 2 s', enable.relation, attempt
                    USING ERRCODE = 'lock_not_available', HINT = 'A long transaction uses it; see pg_stat_activity and try again.';
            END IF;
            RAISE NOTICE 'table % is in use, trying again', enable.relation;
            PERFORM pg_sleep(0.2 * attempt);
        END;
    END LOOP;

    EXECUTE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS sync_version bigint NOT NULL DEFAULT 1, '
                   'ADD COLUMN IF NOT EXISTS sync_xid xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(), '
                   'ADD COLUMN IF NOT EXISTS sync_at timestamptz NOT NULL DEFAULT pg_catalog.now(), '
                   'ADD COLUMN IF NOT EXISTS sync_by text, ADD COLUMN IF NOT EXISTS sync_clock bytea%s',
                   target, CASE WHEN add_deleted_at THEN ', ADD COLUMN deleted_at timestamptz' ELSE '' END);
    IF add_deleted_at THEN
        deleted_at := 'deleted_at';
    END IF;

    INSERT INTO sync.synced_table (relation, entity_type, scope, scope_column, rule, deletes, delete_rule, priority, policy_is_scope,
                                   updated_at, deleted_at, added_deleted_at, enabled_xid, epoch)
    VALUES (enable.relation,
            enable.entity_type, enable.scope, enable.scope_column, enable.rule, kind, enable.delete_rule, enable.priority, enable.policy_is_scope,
            enable.updated_at, enable.deleted_at, add_deleted_at, pg_current_xact_id(), pg_current_xact_id());

    EXECUTE format('CREATE INDEX ON %s (%s sync_xid) WHERE sync_xid > %L::xid8', target,
                   CASE WHEN enable.scope_column IS NULL THEN '' ELSE quote_ident(enable.scope_column) || ',' END, pg_current_xact_id());

    -- Named so that they sort, and fire, after the application's own triggers.
    EXECUTE format('CREATE TRIGGER "~sync_stamp" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION sync.stamp()', target);
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_delete" AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.leave_tombstone()', target);
    SELECT string_agg(format('old.%1$I IS DISTINCT FROM new.%1$I', a.attname), ' OR ') INTO when_clause
    FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = enable.relation AND a.attnum > 0
      AND (a.attnum = ANY (i.indkey) OR a.attname IN (enable.scope_column, enable.deleted_at));
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_update" AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sync.leave_tombstone()',
                   target, when_clause);
    EXECUTE format('CREATE TRIGGER "~sync_truncated" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION sync.truncated()', target);
    IF kind = 'soft' THEN
        EXECUTE format('CREATE TRIGGER "~sync_soft_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.soft_delete()', target);
    END IF;
    EXECUTE (SELECT format('ALTER TABLE %s %s', target, string_agg(format('ENABLE ALWAYS TRIGGER %I', tgname), ', '))
             FROM pg_trigger WHERE tgrelid = enable.relation AND tgname LIKE '~sync\_%');

    -- Who may read columns of the table may read what says which version they hold.
    FOR grantee IN SELECT DISTINCT x.grantee FROM pg_attribute a, aclexplode(a.attacl) x
                   WHERE a.attrelid = enable.relation AND x.privilege_type = 'SELECT' LOOP
        EXECUTE format('GRANT SELECT (sync_version, sync_xid, sync_at, sync_by, sync_clock) ON %s TO %s', target,
                       CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END);
    END LOOP;
    RAISE NOTICE 'table % is synced (ACCESS EXCLUSIVE lock, no rewrite, % ms)', enable.relation,
        round(extract(epoch FROM clock_timestamp() - started) * 1000);
END
$$;
COMMENT ON FUNCTION sync.enable(regclass, text, name, name, text, text, text, integer, boolean, interval, boolean, boolean, boolean, boolean, text, name, name) IS
'Turns sync on for a table: adds the sync_ columns (no rewrite), an index and triggers. scope with scope_column: only holders of a row''s value get it.
Refused with a reason and a hint: no primary key, views, partitions, unlogged and temporary tables, and tables with policies unless a scope says the same (policy_is_scope).';

CREATE FUNCTION sync.disable(relation regclass, keep_columns boolean DEFAULT false) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
    target text;
    trigger_name name;
    index_name regclass;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = disable.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not synced', disable.relation USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF NOT sync.caller_owns(disable.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', disable.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT format('%I.%I', n.nspname, c.relname) INTO target
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = disable.relation;
    FOR trigger_name IN SELECT tgname FROM pg_trigger WHERE tgrelid = disable.relation AND tgname LIKE '~sync\_%' LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, target);
    END LOOP;
    FOR index_name IN SELECT i.indexrelid::regclass FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                      WHERE i.indrelid = disable.relation AND pg_get_expr(i.indpred, i.indrelid) LIKE '%sync_xid > %' LOOP
        EXECUTE format('DROP INDEX %s', index_name);
    END LOOP;
    IF NOT keep_columns THEN
        EXECUTE format('ALTER TABLE %s %s%s', target,
            'DROP COLUMN sync_version, DROP COLUMN sync_xid, DROP COLUMN sync_at, DROP COLUMN sync_by, DROP COLUMN sync_clock',
            CASE WHEN t.added_deleted_at THEN ', DROP COLUMN deleted_at' ELSE '' END);
    END IF;
    DELETE FROM sync.tombstone WHERE table_id = t.id;
    DELETE FROM sync.synced_table WHERE id = t.id;
END
$$;
COMMENT ON FUNCTION sync.disable(regclass, boolean) IS
'Turns sync off and leaves the table as it was; keep_columns => true keeps the sync_ columns. A soft table''s marked rows stay, so with a deleted_at that sync added, they come back to life.';

CREATE FUNCTION sync.disable_all() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    DELETE FROM sync.synced_table WHERE relation NOT IN (SELECT oid FROM pg_class);
    PERFORM sync.disable(relation) FROM sync.synced_table;
END
$$;
COMMENT ON FUNCTION sync.disable_all() IS 'Turns sync off for every table; run it before DROP EXTENSION sync.';

CREATE FUNCTION sync.tables() RETURNS TABLE (relation regclass, entity_type text, scope text, scope_column name, rule text, deletes text, priority integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT t.relation, t.entity_type, t.scope, t.scope_column, t.rule, t.deletes, t.priority FROM sync.synced_table t ORDER BY t.priority, t.id $$;
COMMENT ON FUNCTION sync.tables() IS 'The synced tables and their options.';

CREATE FUNCTION sync.new_incarnation() RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$ UPDATE sync.instance SET incarnation = 1 + floor(random() * 2147483646)::bigint RETURNING incarnation $$;
COMMENT ON FUNCTION sync.new_incarnation() IS 'Resets every client at its next pull. Run it after storage was rolled back to an earlier copy.';

----------------------------------------------------------------------------------------------------
-- Privileges: applications may call what is meant for them and read nothing of the schema
----------------------------------------------------------------------------------------------------

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sync FROM PUBLIC;
GRANT USAGE ON SCHEMA sync TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.user_id(), sync.pull(jsonb), sync.push(jsonb), sync.session_state(jsonb) TO PUBLIC;

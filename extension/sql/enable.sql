-- enable.sql - turning sync on and off for a table.
-- SPDX-License-Identifier: PostgreSQL

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

    IF enable.rule IS NULL OR enable.rule NOT IN ('merge', 'lww', 'reject', 'manual') THEN
        RAISE EXCEPTION 'unknown rule "%"', enable.rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Rules are merge, lww, reject and manual.';
    END IF;
    IF enable.delete_rule IS NULL OR enable.delete_rule NOT IN ('delete_wins', 'edit_wins', 'lww') THEN
        RAISE EXCEPTION 'unknown delete_rule "%"', enable.delete_rule
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Delete rules are delete_wins, edit_wins and lww.';
    END IF;
    IF enable.edit_window <= interval '0' THEN
        RAISE EXCEPTION 'edit_window must be positive' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF enable.priority IS NULL OR enable.priority NOT BETWEEN 1 AND 3 THEN
        RAISE EXCEPTION 'priority must be 1 (critical), 2 (important) or 3 (optional)' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    kind := coalesce(enable.deletes, CASE WHEN enable.deleted_at IS NULL THEN 'hard' ELSE 'soft' END);
    IF kind NOT IN ('hard', 'soft') THEN
        RAISE EXCEPTION 'unknown kind of deletes "%"', kind
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Deletes are hard or soft.';
    END IF;
    IF enable.delete_rule = 'edit_wins' AND kind = 'hard' AND NOT coalesce(enable.history, false) THEN
        RAISE EXCEPTION 'delete_rule edit_wins needs something to bring a deleted row back from'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Add history => true, or deletes => ''soft''.';
    END IF;
    IF enable.via IS NOT NULL OR enable.verify THEN
        RAISE EXCEPTION 'via and verify are not built yet' USING ERRCODE = 'feature_not_supported';
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

    INSERT INTO sync.synced_table (relation, entity_type, scope, scope_column, rule, deletes, delete_rule, priority, history, edit_window,
                                   enforce_locks, anonymous, policy_is_scope, updated_at, deleted_at, added_deleted_at, enabled_xid, epoch)
    VALUES (enable.relation, enable.entity_type, enable.scope, enable.scope_column, enable.rule, kind, enable.delete_rule, enable.priority,
            coalesce(enable.history, false), enable.edit_window, coalesce(enable.enforce_locks, false), coalesce(enable.anonymous, false),
            enable.policy_is_scope, enable.updated_at, enable.deleted_at, add_deleted_at, pg_current_xact_id(), pg_current_xact_id());

    -- Without deduplication: single writes have an id each, and rows of one large transaction that are updated one by one would make the
    -- index look through all of them (CPU of such an update measured 26 µs with, 20 µs without).
    EXECUTE format('CREATE INDEX ON %s (%s sync_xid) WITH (deduplicate_items = off) WHERE sync_xid > %L::xid8', target,
                   CASE WHEN enable.scope_column IS NULL THEN '' ELSE quote_ident(enable.scope_column) || ',' END, pg_current_xact_id());

    -- Named so that they sort, and fire, after the application's own triggers.
    EXECUTE format('CREATE TRIGGER "~sync_stamp" BEFORE INSERT OR UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION sync.stamp()', target);
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_delete" BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.leave_tombstone()', target);
    SELECT string_agg(format('old.%1$I IS DISTINCT FROM new.%1$I', a.attname), ' OR ') INTO when_clause
    FROM pg_attribute a LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
    WHERE a.attrelid = enable.relation AND a.attnum > 0
      AND (a.attnum = ANY (i.indkey) OR a.attname IN (enable.scope_column, enable.deleted_at));
    EXECUTE format('CREATE TRIGGER "~sync_tombstone_update" AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) EXECUTE FUNCTION sync.leave_tombstone()',
                   target, when_clause);
    IF enable.history THEN
        EXECUTE format('CREATE TRIGGER "~sync_history" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sync.keep_history()', target);
    END IF;
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
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = disable.relation AND s.id >= 100;
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
    PERFORM sync.drop_traces(t.id);
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
    PERFORM sync.disable(relation) FROM sync.synced_table WHERE id >= 100;
END
$$;
COMMENT ON FUNCTION sync.disable_all() IS 'Turns sync off for every table; run it before DROP EXTENSION sync.';

CREATE FUNCTION sync.tables() RETURNS TABLE (relation regclass, entity_type text, scope text, scope_column name, rule text, deletes text, priority integer)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT t.relation, t.entity_type, t.scope, t.scope_column, t.rule, t.deletes, t.priority FROM sync.synced_table t WHERE t.id >= 100 ORDER BY t.priority, t.id $$;
COMMENT ON FUNCTION sync.tables() IS 'The application''s synced tables and their options.';

CREATE FUNCTION sync.new_incarnation() RETURNS bigint
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$ UPDATE sync.instance SET incarnation = 1 + floor(random() * 2147483646)::bigint RETURNING incarnation $$;
COMMENT ON FUNCTION sync.new_incarnation() IS 'Resets every client at its next pull. Run it after storage was rolled back to an earlier copy.';

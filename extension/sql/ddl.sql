-- ddl.sql - what happens to synced tables by DDL: clients start a table anew when its shape or what they may see of it changed.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.origin(relation regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT md5(concat_ws('/', s.system_identifier, d.oid, relation::oid)) FROM pg_control_system() s, pg_database d WHERE d.datname = current_database() $$;
COMMENT ON FUNCTION sync.origin(regclass) IS 'What a table is on this server; another one after a dump was restored.';

CREATE FUNCTION sync.fingerprint(relation regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT sync.origin(relation) || ':' || md5(concat_ws('/',
        (SELECT concat_ws(':', c.relowner, c.relrowsecurity, c.relforcerowsecurity, n.nspname,
             ARRAY(SELECT x.grantee FROM aclexplode(c.relacl) x WHERE x.privilege_type = 'SELECT' ORDER BY 1),
             ARRAY(SELECT x.grantee FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) x WHERE x.privilege_type = 'USAGE' ORDER BY 1))
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation),
        (SELECT string_agg(concat_ws(':', a.attnum, a.attname, a.atttypid, a.atttypmod,
             ARRAY(SELECT x.grantee FROM aclexplode(a.attacl) x WHERE x.privilege_type = 'SELECT' ORDER BY 1)), ',' ORDER BY a.attnum)
         FROM pg_attribute a WHERE a.attrelid = relation AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT i.indkey::text FROM pg_index i WHERE i.indrelid = relation AND i.indisprimary),
        (SELECT string_agg(concat_ws(':', p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, p.polrelid)), ',' ORDER BY p.oid)
         FROM pg_policy p WHERE p.polrelid = relation AND p.polcmd IN ('r', '*')),
        (SELECT sync.policy_functions(relation) WHERE EXISTS (SELECT FROM pg_class c WHERE c.oid = relation AND c.relrowsecurity)),
        (SELECT string_agg(l.relid::oid::text, ',' ORDER BY l.relid) FROM pg_partition_tree(relation) l)))
$$;
COMMENT ON FUNCTION sync.fingerprint(regclass) IS 'A hash of a table''s columns, key, partitions, and who may read what of it.';

CREATE FUNCTION sync.column_numbers(t sync.synced_table) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT jsonb_object_agg(a.attname, a.attnum) FROM pg_attribute a
    WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
      AND (a.attname IN (t.scope_column, t.updated_at, t.deleted_at, t.via)
           OR a.attname IN (SELECT r.column_name FROM sync.column_rule r WHERE r.table_id = t.id))
$$;
COMMENT ON FUNCTION sync.column_numbers(sync.synced_table) IS 'The numbers of the columns that a table''s options name.';

CREATE FUNCTION sync.remember_shape(table_id integer) RETURNS void
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS
$$
    UPDATE sync.synced_table t SET fingerprint = sync.fingerprint(t.relation), named_columns = sync.column_numbers(t) WHERE t.id = table_id
$$;
COMMENT ON FUNCTION sync.remember_shape(integer) IS 'From now on DDL on the table is noticed.';

-- After a rename the old name is gone and the column's number has another.
CREATE FUNCTION sync.present_name(t sync.synced_table, column_name name) RETURNS name
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT coalesce(
        (SELECT a.attname FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped),
        (SELECT a.attname FROM pg_attribute a
         WHERE a.attrelid = t.relation AND a.attnum = (t.named_columns ->> column_name::text)::smallint AND NOT a.attisdropped),
        column_name)
$$;
COMMENT ON FUNCTION sync.present_name(sync.synced_table, name) IS 'What a column named in the options is called now.';

CREATE FUNCTION sync.follow_renames(INOUT t sync.synced_table)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    t.scope_column := sync.present_name(t, t.scope_column);
    t.updated_at := sync.present_name(t, t.updated_at);
    t.deleted_at := sync.present_name(t, t.deleted_at);
    t.via := sync.present_name(t, t.via);
    UPDATE sync.column_rule r SET column_name = sync.present_name(t, r.column_name),
        path = sync.present_name(t, r.column_name) || substr(r.path, length(r.column_name) + 1)
    WHERE r.table_id = t.id AND sync.present_name(t, r.column_name) <> r.column_name;
END
$$;
COMMENT ON FUNCTION sync.follow_renames(sync.synced_table) IS 'The registry''s row with columns under their present names.';

-- Reason and cure, separated by ": ", which neither holds.
CREATE FUNCTION sync.table_problem(t sync.synced_table) RETURNS text
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    problem text := 'it ' || sync.relation_problem(t.relation);
    again constant text := 'run sync.disable() and sync.enable() on it again';
    missing text;
BEGIN
    IF problem IS NOT NULL THEN
        RETURN problem;
    END IF;
    SELECT w.name INTO missing
    FROM unnest(ARRAY['sync_version', 'sync_xid', 'sync_at', 'sync_by', 'sync_clock', t.scope_column, t.updated_at, t.deleted_at, t.via]) w (name)
    WHERE w.name IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = t.relation AND a.attname = w.name AND NOT a.attisdropped) LIMIT 1;
    IF FOUND THEN
        RETURN format('its column %I is gone: %s', missing, again);
    END IF;
    IF t.via IS NOT NULL AND t.parent IS NULL THEN
        RETURN format('the table it was synced via is gone: %s', again);
    END IF;
    SELECT w.name INTO missing
    FROM unnest(ARRAY['~sync_stamp', '~sync_tombstone_delete', '~sync_tombstone_update', '~sync_truncated',
                      CASE WHEN t.deletes = 'soft' OR (SELECT c.relkind FROM pg_class c WHERE c.oid = t.relation) = 'p' THEN '~sync_soft_delete' END,
                      CASE WHEN t.history THEN '~sync_history' END,
                      CASE WHEN t.via IS NOT NULL THEN '~sync_orphan' END,
                      CASE WHEN EXISTS (SELECT FROM sync.synced_table c WHERE c.parent = t.id) THEN '~sync_cascade' END]) w (name)
    WHERE w.name IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_trigger g WHERE g.tgrelid = t.relation AND g.tgname = w.name AND g.tgenabled <> 'D') LIMIT 1;
    IF FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relation AND g.tgname = missing)
                    THEN format('its trigger %I is disabled: ALTER TABLE … ENABLE ALWAYS TRIGGER', missing)
                    ELSE format('its trigger %I is gone: %s', missing, again) END;
    END IF;
    problem := 'in its scope column ' || sync.scope_problem(t);
    IF problem IS NULL AND (SELECT c.relrowsecurity FROM pg_class c WHERE c.oid = t.relation) AND NOT t.policy_is_scope AND NOT t.verify THEN
        SELECT format('%s: Declare a scope that says the same, or sync.enable() it with verify => true', p.reason) INTO problem
        FROM sync.policy_columns(t.relation) p WHERE p.reason IS NOT NULL;
    END IF;
    RETURN problem;
END
$$;
COMMENT ON FUNCTION sync.table_problem(sync.synced_table) IS 'Why a synced table cannot be pulled as it is, with the cure after ": "; NULL: it can.';

CREATE FUNCTION sync.refresh_update_trigger(t sync.synced_table) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    -- The columns that the trigger's condition names, as PostgreSQL keeps them
    IF (SELECT array_agg(DISTINCT d.refobjsubid ORDER BY d.refobjsubid) FROM pg_trigger g
        JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = g.oid AND d.refobjid = t.relation AND d.refobjsubid > 0
        WHERE g.tgrelid = t.relation AND g.tgname = '~sync_tombstone_update')
       IS DISTINCT FROM
       (SELECT array_agg(DISTINCT a.attnum::integer ORDER BY a.attnum::integer) FROM pg_attribute a
        LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
        WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
          AND (a.attnum = ANY (i.indkey) OR a.attname IN (t.scope_column, t.deleted_at) OR a.attname = ANY (t.policy_columns))) THEN
        PERFORM sync.make_update_trigger(t);
    END IF;
END
$$;
COMMENT ON FUNCTION sync.refresh_update_trigger(sync.synced_table) IS 'Makes the trigger that looks at updates anew when it should look at other columns.';

CREATE FUNCTION sync.refresh_table(table_id integer, is_quiet boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
    problem text;
    shape text;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.id = table_id AND s.fingerprint IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF split_part(t.fingerprint, ':', 1) <> sync.origin(t.relation) THEN
        -- The registry's row came with a dump: nothing is mended until all of the table has come too. It may also have come with all of the
        -- database (a template, pg_upgrade), and this is the first command that changes the table here.
        IF sync.table_problem(t) IS NULL THEN
            PERFORM sync.remember_shape(t.id);
            UPDATE sync.synced_table s SET epoch = pg_current_xact_id() WHERE s.id = t.id;
            PERFORM sync.changed_table(t.id);
        END IF;
        PERFORM sync.unpublish();
        RETURN;
    END IF;
    -- What is done here is DDL too, and must not be taken for the application's.
    UPDATE sync.synced_table s SET fingerprint = NULL WHERE s.id = t.id;
    t := sync.follow_renames(t);
    problem := sync.table_problem(t);
    IF problem IS NULL THEN
        t.policy_columns := sync.check_policies(t);
        PERFORM sync.refresh_update_trigger(t);
        PERFORM sync.arm_triggers(t);
    END IF;
    shape := sync.fingerprint(t.relation);
    IF problem IS NULL AND shape <> t.fingerprint THEN
        PERFORM sync.arm_partitions(t);
    END IF;
    UPDATE sync.synced_table s SET fingerprint = shape, broken = problem, named_columns = sync.column_numbers(t), policy_columns = t.policy_columns,
        scope_column = t.scope_column, updated_at = t.updated_at, deleted_at = t.deleted_at, via = t.via,
        epoch = CASE WHEN (shape <> t.fingerprint AND NOT is_quiet) OR problem IS DISTINCT FROM t.broken THEN pg_current_xact_id() ELSE s.epoch END
    WHERE s.id = t.id;
    PERFORM sync.changed_table(t.id);
    PERFORM sync.unpublish();
    -- Not at every refresh: a dump that is being restored adds its tables itself.
    IF problem IS NULL AND t.broken IS NOT NULL THEN
        PERFORM sync.publish();
    END IF;
END
$$;
COMMENT ON FUNCTION sync.refresh_table(integer, boolean) IS
'Takes over what DDL did to a table: new names, other policies, what is broken or mended; clients start it anew when its shape or rights changed. is_quiet: they need not.';

CREATE FUNCTION sync.has_own_functions(relation regclass) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
    SELECT EXISTS (SELECT FROM pg_policy p JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
                   JOIN pg_proc f ON f.oid = d.refobjid WHERE p.polrelid = relation AND f.pronamespace <> 'sync'::regnamespace)
$$;
COMMENT ON FUNCTION sync.has_own_functions(regclass) IS 'Whether a table''s policies call functions of the application.';

CREATE FUNCTION sync.ddl_ended() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF tg_tag IN ('GRANT', 'REVOKE', 'DROP OWNED') THEN
        -- They do not say what they changed: only tables whose catalogue rows are as young as this transaction are looked at.
        IF tg_tag = 'DROP OWNED' OR EXISTS (
            SELECT FROM pg_event_trigger_ddl_commands() c WHERE c.object_type IN ('TABLE', 'SCHEMA') AND NOT c.in_extension) THEN
            PERFORM sync.refresh_table(t.id, false)
            FROM sync.synced_table t JOIN pg_class c ON c.oid = t.relation JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE t.fingerprint IS NOT NULL
              AND (age(c.xmin) <= age(pg_current_xact_id()::xid) OR age(n.xmin) <= age(pg_current_xact_id()::xid)
                   OR EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND age(a.xmin) <= age(pg_current_xact_id()::xid)))
              AND t.fingerprint <> sync.fingerprint(t.relation);
        END IF;
        RETURN;
    END IF;
    -- A watched table made again, a partition attached, triggers demoted by ENABLE TRIGGER ALL. No more: while a dump is restored its own triggers are still to come.
    IF tg_tag IN ('ALTER TABLE', 'CREATE TABLE') AND EXISTS (SELECT FROM sync.scope s WHERE s.watch <> '{}') THEN
        PERFORM sync.arm_watch(w.relation)
        FROM sync.watched_tables() w
        JOIN (SELECT DISTINCT coalesce(pg_partition_root(c.objid::regclass), c.objid) AS root
              FROM pg_event_trigger_ddl_commands() c WHERE c.classid = 'pg_class'::regclass) touched ON touched.root = w.relation
        WHERE tg_tag = 'CREATE TABLE'
           OR EXISTS (SELECT FROM pg_trigger g WHERE (g.tgrelid = w.relation OR g.tgrelid IN (SELECT l.relid FROM pg_partition_tree(w.relation) l))
                      AND g.tgfoid = 'sync.watched'::regproc AND g.tgenabled IN ('O', 'R'))
           OR (EXISTS (SELECT FROM pg_partition_tree(w.relation) l JOIN pg_inherits i ON i.inhrelid = l.relid WHERE age(i.xmin) <= age(pg_current_xact_id()::xid))
               AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = w.relation AND g.tgname = '~~sync_watch' AND age(g.xmin) > age(pg_current_xact_id()::xid)));
    END IF;
    PERFORM sync.refresh_table(t.id, tg_tag = 'CREATE TABLE')
    FROM (SELECT DISTINCT coalesce(pg_partition_root(o.relid::regclass), o.relid) AS relid
          FROM pg_event_trigger_ddl_commands() c, LATERAL (
              SELECT c.objid WHERE c.classid = 'pg_class'::regclass
              UNION ALL SELECT p.polrelid FROM pg_policy p WHERE c.classid = 'pg_policy'::regclass AND p.oid = c.objid
              UNION ALL SELECT g.tgrelid FROM pg_trigger g WHERE c.classid = 'pg_trigger'::regclass AND g.oid = c.objid
              UNION ALL SELECT r.oid FROM pg_class r WHERE c.classid = 'pg_namespace'::regclass AND r.relnamespace = c.objid
              UNION ALL SELECT p.polrelid FROM pg_depend d JOIN pg_policy p ON p.oid = d.objid
                        WHERE c.classid = 'pg_proc'::regclass AND d.refclassid = c.classid AND d.refobjid = c.objid
                          AND d.classid = 'pg_policy'::regclass
              -- a function that policies call may call the one that was replaced
              UNION ALL SELECT n.relation FROM sync.synced_table n
                        WHERE c.classid = 'pg_proc'::regclass AND n.fingerprint IS NOT NULL AND sync.has_own_functions(n.relation)
                          AND n.fingerprint <> sync.fingerprint(n.relation)) o (relid)) touched
    JOIN sync.synced_table t ON t.relation = touched.relid;
END
$$;
COMMENT ON FUNCTION sync.ddl_ended() IS 'ddl_command_end: refreshes the synced tables that a command touched.';

CREATE FUNCTION sync.ddl_dropped() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    dropped integer[];
BEGIN
    SELECT array_agg(t.id) INTO dropped FROM pg_event_trigger_dropped_objects() o
    JOIN sync.synced_table t ON t.relation = o.objid WHERE o.classid = 'pg_class'::regclass AND o.objsubid = 0;
    IF dropped IS NOT NULL THEN
        UPDATE sync.synced_table t SET parent = NULL WHERE t.parent = ANY (dropped);
        DELETE FROM sync.tombstone s WHERE s.table_id = ANY (dropped);
        PERFORM sync.drop_traces(d) FROM unnest(dropped) d;
        DELETE FROM sync.synced_table t WHERE t.id = ANY (dropped);
        PERFORM sync.refresh_table(t.id, false) FROM sync.synced_table t WHERE t.via IS NOT NULL AND t.parent IS NULL;
    END IF;
    -- A column, constraint, policy or trigger names its table; a partition that is gone does not.
    PERFORM sync.refresh_table(t.id, false)
    FROM (SELECT DISTINCT coalesce(pg_partition_root(n.relation), n.relation) AS relid
          FROM pg_event_trigger_dropped_objects() o, LATERAL (
              SELECT to_regclass(format('%I.%I', o.address_names[1], o.address_names[2]))) n (relation)
          WHERE o.object_type IN ('table column', 'table constraint', 'policy', 'trigger')
          UNION
          SELECT p.relation FROM sync.synced_table p JOIN pg_class c ON c.oid = p.relation AND c.relkind = 'p'
          WHERE EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o WHERE o.object_type = 'table')
            AND p.fingerprint <> sync.fingerprint(p.relation)
          UNION
          -- one whose replica identity was that index
          SELECT p.relation FROM sync.synced_table p
          WHERE p.broken IS NULL AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() o WHERE o.object_type = 'index')
            AND NOT EXISTS (SELECT FROM sync.published() w WHERE w.relation = p.relation)) touched
    JOIN sync.synced_table t ON t.relation = touched.relid;
END
$$;
COMMENT ON FUNCTION sync.ddl_dropped() IS 'sql_drop: a dropped table leaves the registry with its tombstones; one that lost something is refreshed.';

CREATE EVENT TRIGGER sync_ddl_ended ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE POLICY', 'ALTER POLICY', 'GRANT', 'REVOKE', 'DROP OWNED', 'ALTER SCHEMA',
                 'CREATE FUNCTION', 'ALTER FUNCTION', 'ALTER TRIGGER')
    EXECUTE FUNCTION sync.ddl_ended();
ALTER EVENT TRIGGER sync_ddl_ended ENABLE ALWAYS;
CREATE EVENT TRIGGER sync_ddl_dropped ON sql_drop EXECUTE FUNCTION sync.ddl_dropped();
ALTER EVENT TRIGGER sync_ddl_dropped ENABLE ALWAYS;

-- From here on enable, disable and DDL keep them.
SELECT sync.publish();

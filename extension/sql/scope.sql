-- scope.sql - declaring scopes, and the triggers on the tables that their members depend on.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.watched() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_watched';
COMMENT ON FUNCTION sync.watched() IS
'AFTER INSERT, UPDATE, DELETE or TRUNCATE of a watched table: tells the streamers at the end of the transaction whose scopes may have changed. Arguments: the columns that hold the users; none: everyone.';

CREATE FUNCTION sync.watch_entry(entry text, OUT relation regclass, OUT column_name name)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    parts text[] := parse_ident(entry);
    n integer := array_length(parts, 1);
    place text;
BEGIN
    -- table, table.column and schema.table.column; and schema.table, where that is no column of a table in public.
    IF n = 3 OR (n = 2 AND EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(format('public.%I', parts[1])) AND a.attname = parts[2] AND a.attnum > 0 AND NOT a.attisdropped)) THEN
        column_name := parts[n];
        parts := parts[:n - 1];
    END IF;
    place := CASE array_length(parts, 1) WHEN 1 THEN format('public.%I', parts[1]) WHEN 2 THEN format('%I.%I', parts[1], parts[2]) END;
    SELECT c.oid INTO relation FROM pg_class c WHERE c.oid = to_regclass(place) AND c.relkind IN ('r', 'p');
    IF column_name IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = column_name AND a.attnum > 0 AND NOT a.attisdropped) THEN
        relation := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION sync.watch_entry(text) IS 'What an entry of a scope''s watch list names; relation is NULL if there is no such table, or no such column in it; column_name is NULL for everyone.';

CREATE FUNCTION sync.watched_tables(without text DEFAULT NULL) RETURNS TABLE (relation regclass, columns name[])
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT e.relation, CASE WHEN bool_and(e.column_name IS NOT NULL) THEN array_agg(DISTINCT e.column_name) ELSE '{}' END
FROM sync.scope s, unnest(s.watch) w, sync.watch_entry(w) e WHERE e.relation IS NOT NULL AND s.name IS DISTINCT FROM without GROUP BY e.relation
$$;
COMMENT ON FUNCTION sync.watched_tables(text) IS 'The tables that scopes watch, one of them left out, each with the columns that hold the users concerned; none: everyone is.';

-- Named so that they fire last, and stay when the table itself is disabled. Triggers for statements are not cloned to partitions, and TRUNCATE can name one.
CREATE FUNCTION sync.arm_watch(root regclass DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    watched regclass;
    call text;
    part regclass;
    trigger_name name;
BEGIN
    FOR watched, call IN
        SELECT w.relation, format('sync.watched(%s)', (SELECT string_agg(quote_literal(c), ', ' ORDER BY c) FROM unnest(w.columns) c))
        FROM sync.watched_tables() w WHERE root IS NULL OR w.relation = root LOOP
        IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = watched AND g.tgname = '~~sync_watch'
                       AND right(pg_get_triggerdef(g.oid), length(call)) = call) THEN
            PERFORM sync.lock_table(watched, 'SHARE ROW EXCLUSIVE');
            IF EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = watched AND g.tgname = '~~sync_watch') THEN
                EXECUTE format('DROP TRIGGER "~~sync_watch" ON %s', watched);
            END IF;
            EXECUTE format('CREATE TRIGGER "~~sync_watch" AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %s', watched, call);
        END IF;
        FOR part IN SELECT watched UNION SELECT l.relid FROM pg_partition_tree(watched) l LOOP
            IF NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = part AND g.tgname = '~~sync_watch_truncate') THEN
                EXECUTE format('CREATE TRIGGER "~~sync_watch_truncate" AFTER TRUNCATE ON %s FOR EACH STATEMENT EXECUTE FUNCTION sync.watched()', part);
            END IF;
            FOR trigger_name IN SELECT g.tgname FROM pg_trigger g WHERE g.tgrelid = part AND g.tgname LIKE '~~sync\_watch%' AND g.tgenabled IN ('O', 'R') LOOP
                EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', part, trigger_name);
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.arm_watch(regclass) IS 'Makes the triggers on watched tables that are not there or do not fire always; root: of this table only.';

CREATE FUNCTION sync.disarm_watch(is_all boolean, without text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    watched regclass;
    trigger_name name;
BEGIN
    FOR watched, trigger_name IN
        SELECT g.tgrelid::regclass, g.tgname FROM pg_trigger g
        WHERE g.tgfoid = 'sync.watched'::regproc AND g.tgparentid = 0
          AND (is_all OR NOT EXISTS (SELECT FROM sync.watched_tables(without) w WHERE w.relation IN (g.tgrelid, pg_partition_root(g.tgrelid)))) LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, watched);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sync.disarm_watch(boolean, text) IS 'Drops the triggers on tables that no scope watches (any more), or none but the one left out; or all of them.';

CREATE FUNCTION sync.create_scope(name text, members text, watch text[] DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    entry text;
BEGIN
    IF NOT sync.caller_owns_database() THEN
        RAISE EXCEPTION 'must be owner of the database to declare a scope'
            USING ERRCODE = 'insufficient_privilege', HINT = 'Its query runs as every caller.';
    END IF;
    IF create_scope.name IS NULL OR create_scope.name = '' THEN
        RAISE EXCEPTION 'a scope needs a name' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF create_scope.members IS NULL OR create_scope.members !~* '^\s*(select|with|values|table)\y' THEN
        RAISE EXCEPTION 'members of scope "%" must be a query', create_scope.name
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'One column with the values the caller holds, such as: SELECT team_id FROM public.member WHERE user_id = sync.user_id()';
    END IF;
    FOREACH entry IN ARRAY create_scope.watch LOOP
        IF (SELECT e.relation IS NULL FROM sync.watch_entry(entry) e) THEN
            RAISE EXCEPTION 'watch entry "%" names no column', entry
                USING ERRCODE = 'undefined_column', HINT = 'Write table.column, or schema.table.column outside public: the column that names the user concerned, as the claim sub does; the table alone where none does.';
        END IF;
    END LOOP;
    INSERT INTO sync.scope (name, members, watch) VALUES (create_scope.name, create_scope.members, create_scope.watch);
    PERFORM sync.arm_watch();
END
$$;
COMMENT ON FUNCTION sync.create_scope(text, text, text[]) IS
'Declares a scope. members: a query of one column, run as the caller, of the values the caller holds (name its tables with their schema).
watch: table.column entries (schema.table.column outside public); the column names the user concerned, as the claim sub does, and a row written there makes that user''s scopes be read again;
a table without a column, and TRUNCATE: everyone''s. It gets triggers, which tell the streamers, until no scope watches it or the last table that uses the scope is disabled.
Only a superuser or the owner of the database may.';

CREATE FUNCTION sync.drop_scope(name text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    used regclass;
BEGIN
    IF NOT sync.caller_owns_database() THEN
        RAISE EXCEPTION 'must be owner of the database to drop a scope' USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT t.relation INTO used FROM sync.synced_table t WHERE t.scope = drop_scope.name ORDER BY t.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'scope "%" is used by table %', drop_scope.name, used
            USING ERRCODE = 'dependent_objects_still_exist', HINT = 'sync.disable() the tables that use it first.';
    END IF;
    DELETE FROM sync.scope s WHERE s.name = drop_scope.name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'scope "%" does not exist', drop_scope.name USING ERRCODE = 'undefined_object';
    END IF;
    PERFORM sync.disarm_watch(false);
    PERFORM sync.arm_watch();
END
$$;
COMMENT ON FUNCTION sync.drop_scope(text) IS 'Takes a scope away that no table uses. Only a superuser or the owner of the database may.';

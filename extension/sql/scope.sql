-- scope.sql - declaring scopes.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.create_scope(name text, members text, watch text[] DEFAULT '{}') RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    entry text;
    parts text[];
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
watch: table.column entries (schema.table.column outside public); a change there makes connected clients'' scopes be read again.
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
END
$$;
COMMENT ON FUNCTION sync.drop_scope(text) IS 'Takes a scope away that no table uses. Only a superuser or the owner of the database may.';

-- rules.sql - how collisions are decided column by column, and which clients are too old.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.set_column_rule(relation regclass, path text, rule text, resolver regprocedure DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    t sync.synced_table;
    a pg_attribute;
    parts text[] := regexp_split_to_array(set_column_rule.path, '\.');
    base regtype;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = set_column_rule.relation;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not synced', set_column_rule.relation
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run sync.enable() on it.';
    END IF;
    IF NOT sync.caller_owns(set_column_rule.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', set_column_rule.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF set_column_rule.rule IS NULL THEN
        DELETE FROM sync.column_rule r WHERE r.table_id = t.id AND r.path = set_column_rule.path;
        PERFORM sync.changed_table(t.id);
        RETURN;
    END IF;
    IF t.rule = 'lww' THEN
        RAISE EXCEPTION 'rule lww decides rows of % as a whole', set_column_rule.relation
            USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Enable the table with rule merge to have rules for its columns.';
    END IF;
    -- A column whose own name holds a dot is meant as a whole.
    SELECT * INTO a FROM pg_attribute WHERE attrelid = t.relation AND attname = set_column_rule.path AND attnum > 0 AND NOT attisdropped;
    IF FOUND THEN
        parts := ARRAY[set_column_rule.path];
    ELSE
        SELECT * INTO a FROM pg_attribute WHERE attrelid = t.relation AND attname = parts[1] AND attnum > 0 AND NOT attisdropped;
    END IF;
    IF a.attname IS NULL OR array_length(parts, 1) NOT IN (1, 2) OR '' = ANY (parts) OR a.attname LIKE 'sync\_%' THEN
        RAISE EXCEPTION 'table % has no column "%" that can have a rule', set_column_rule.relation, set_column_rule.path
            USING ERRCODE = 'undefined_column', HINT = 'A path is a column, or column.member of a JSON column.';
    END IF;
    base := coalesce((SELECT nullif(typbasetype, 0) FROM pg_type WHERE oid = a.atttypid), a.atttypid);
    IF array_length(parts, 1) = 2 AND base NOT IN ('json'::regtype, 'jsonb'::regtype) THEN
        RAISE EXCEPTION 'column "%" is no JSON column: it has no members', parts[1] USING ERRCODE = 'datatype_mismatch';
    END IF;
    PERFORM sync.check_column_rule(set_column_rule.path, set_column_rule.rule, base, array_length(parts, 1) = 2, set_column_rule.resolver);
    INSERT INTO sync.column_rule (table_id, path, column_name, member, rule, resolver)
    VALUES (t.id, set_column_rule.path, parts[1], parts[2], set_column_rule.rule, set_column_rule.resolver)
    ON CONFLICT ON CONSTRAINT column_rule_pkey DO UPDATE SET rule = excluded.rule, resolver = excluded.resolver;
    PERFORM sync.changed_table(t.id);
END
$$;
COMMENT ON FUNCTION sync.set_column_rule(regclass, text, text, regprocedure) IS
'How collisions in a column, or in column.member of a JSON column, are decided: lww, union, append, counter, text, server, client, max, min, object, or resolver with
a function of (local jsonb, server jsonb, base jsonb) RETURNS jsonb, run as the pushing user. NULL takes the rule away.';

CREATE FUNCTION sync.check_column_rule(path text, rule text, base regtype, is_member boolean, resolver regprocedure) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    is_json boolean := base IN ('json'::regtype, 'jsonb'::regtype);
    is_array boolean := EXISTS (SELECT FROM pg_type WHERE oid = base AND typcategory = 'A');
    is_number boolean := EXISTS (SELECT FROM pg_type WHERE oid = base AND typcategory = 'N' AND oid <> 'oid'::regtype);
    is_text boolean := EXISTS (SELECT FROM pg_type WHERE oid = base AND typcategory = 'S');
BEGIN
    IF rule NOT IN ('lww', 'union', 'append', 'counter', 'text', 'server', 'client', 'max', 'min', 'object', 'resolver') THEN
        RAISE EXCEPTION 'unknown column rule "%"', rule
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Column rules are lww, union, append, counter, text, server, client, max, min, object and resolver.';
    END IF;
    IF (rule = 'resolver') <> (resolver IS NOT NULL) THEN
        RAISE EXCEPTION 'rule resolver and a resolver function go together' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF resolver IS NOT NULL AND NOT EXISTS (
        SELECT FROM pg_proc WHERE oid = resolver AND prorettype = 'jsonb'::regtype AND NOT proretset
        AND pronargs = 3 AND 'jsonb'::regtype = ALL (proargtypes::oid[])) THEN
        RAISE EXCEPTION 'resolver % has the wrong shape', resolver
            USING ERRCODE = 'invalid_function_definition', HINT = 'It must be a function (local jsonb, server jsonb, base jsonb) RETURNS jsonb.';
    END IF;
    IF (rule IN ('union', 'append') AND NOT (is_array OR is_json)) OR (rule = 'counter' AND NOT (is_number OR is_member))
        OR (rule = 'text' AND NOT (is_text OR is_member)) OR (rule = 'object' AND NOT is_json) THEN
        RAISE EXCEPTION 'rule % does not fit "%" of type %', rule, path, base
            USING ERRCODE = 'datatype_mismatch',
                  HINT = 'union and append take arrays and JSON lists, counter numbers, text strings, object JSON objects.';
    END IF;
END
$$;
COMMENT ON FUNCTION sync.check_column_rule(text, text, regtype, boolean, regprocedure) IS 'Raises why a rule does not fit a column.';

CREATE FUNCTION sync.changed_table(table_id integer) RETURNS void
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'sync_changed_table';
COMMENT ON FUNCTION sync.changed_table(integer) IS 'Makes every backend read the registry''s row of a table again.';

CREATE FUNCTION sync.set_schema_version(current integer, oldest integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF set_schema_version.oldest > set_schema_version.current OR set_schema_version.oldest < 0 THEN
        RAISE EXCEPTION 'the oldest schema version must lie between 0 and the current one' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    DELETE FROM sync.client_schema;
    INSERT INTO sync.client_schema VALUES (set_schema_version.current, set_schema_version.oldest);
END
$$;
-- Restoring a dump inserts here too.
CREATE FUNCTION sync.use_client_schema() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    UPDATE sync.instance SET schema_current = new.current, schema_oldest = new.oldest;
    RETURN new;
END
$$;
COMMENT ON FUNCTION sync.use_client_schema() IS 'AFTER INSERT on sync.client_schema: the versions are in force.';
CREATE TRIGGER use_client_schema AFTER INSERT ON sync.client_schema FOR EACH ROW EXECUTE FUNCTION sync.use_client_schema();

COMMENT ON FUNCTION sync.set_schema_version(integer, integer) IS
'Which schema versions of clients are served: requests with an older schema_version are answered with SY426. NULL, NULL takes the limit away.';

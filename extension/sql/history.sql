-- history.sql - versions of rows, and going back to them.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.history (
    history_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_id integer NOT NULL,
    entity_id text NOT NULL,
    version bigint NOT NULL,
    operation text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id text,
    device_id text,
    fields text[] NOT NULL,
    old_row jsonb,
    new_row jsonb,
    scope_value text
);
CREATE INDEX history_entity ON sync.history (table_id, entity_id, version);
CREATE INDEX history_at ON sync.history USING brin (at);
COMMENT ON TABLE sync.history IS
'Each version of each row of the tables enabled with history: who wrote what, the true user also in anonymous tables. old_row: what an update changed, or the whole deleted row; new_row: the whole row after it.';

CREATE FUNCTION sync.keep_history() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_keep_history';
COMMENT ON FUNCTION sync.keep_history() IS 'AFTER INSERT, UPDATE or DELETE of tables with history: keeps the version, and tells the row''s audience of it in sync.activity.';

CREATE FUNCTION sync.pick(image jsonb, columns text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT jsonb_object_agg(key, value) FROM jsonb_each(image) WHERE key = ANY (columns) $$;
COMMENT ON FUNCTION sync.pick(jsonb, text[]) IS 'The members of an image that have these names; NULL for none.';

-- Of a deleted row: whoever holds its last scope value. What policies of the table's own would have said of it is not known any more.
CREATE FUNCTION sync.may_see_history(t sync.synced_table, entity_id text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    last sync.history;
BEGIN
    IF sync.caller_owns(t.relation) OR sync.may_see(t.relation, may_see_history.entity_id) THEN
        RETURN true;
    END IF;
    SELECT * INTO last FROM sync.history h WHERE h.table_id = t.id AND h.entity_id = may_see_history.entity_id ORDER BY h.history_id DESC LIMIT 1;
    IF last.operation IS DISTINCT FROM 'delete' OR (NOT t.policy_is_scope AND (SELECT relrowsecurity FROM pg_class WHERE oid = t.relation)) THEN
        RETURN false;
    END IF;
    RETURN t.scope IS NULL OR coalesce(sync.scope_audience(t.scope, last.scope_value) = ANY (sync.caller_audiences()), false);
END
$$;
COMMENT ON FUNCTION sync.may_see_history(sync.synced_table, text) IS 'Whether the caller sees the row, or held its scope value when it was deleted; table owners always.';

CREATE FUNCTION sync.history(relation regclass, entity_id text, before bigint DEFAULT NULL, most integer DEFAULT 100)
    RETURNS TABLE (version bigint, operation text, at timestamptz, user_id text, device_id text, fields text[], old_data jsonb, data jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_column
DECLARE
    t sync.synced_table;
    readable text[];
    is_owner boolean;
BEGIN
    SELECT * INTO t FROM sync.synced_table s WHERE s.relation = history.relation AND s.id >= 100;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'table % is not synced', history.relation USING ERRCODE = 'SY404';
    END IF;
    readable := sync.caller_columns(t.relation);
    is_owner := sync.caller_owns(t.relation);
    IF readable IS NULL OR NOT sync.may_see_history(t, history.entity_id) THEN
        RETURN;
    END IF;
    RETURN QUERY
        SELECT h.version, h.operation, h.at, CASE WHEN is_owner OR NOT t.anonymous THEN h.user_id END,
               CASE WHEN is_owner OR h.user_id = sync.user_id() THEN h.device_id END,
               ARRAY(SELECT f FROM unnest(h.fields) f WHERE f = ANY (readable)), sync.pick(h.old_row, readable), sync.pick(h.new_row, readable)
        FROM sync.history h
        WHERE h.table_id = t.id AND h.entity_id = history.entity_id AND (before IS NULL OR h.version < before)
        ORDER BY h.version DESC, h.history_id DESC LIMIT least(greatest(coalesce(most, 100), 0), 1000);
END
$$;
COMMENT ON FUNCTION sync.history(regclass, text, bigint, integer) IS
'The versions of a row, newest first, if the caller may see the row, or held its scope value when it was deleted: columns the caller may read only. old_data: what the version changed, data: the row after it (NULL: deleted).
before: a version, for the next page; most: up to 1,000. Of anonymous tables and of others'' devices only the table''s owner learns. SY404 for a table that is not synced.';

CREATE FUNCTION sync.last_image(table_id integer, entity_id text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    RETURN (SELECT coalesce(h.new_row, h.old_row) FROM sync.history h
            WHERE h.table_id = last_image.table_id AND h.entity_id = last_image.entity_id ORDER BY h.version DESC, h.history_id DESC LIMIT 1);
END
$$;
COMMENT ON FUNCTION sync.last_image(integer, text) IS 'For push, as the extension''s owner: a row as it was last, in the one JSON rendering; NULL without history.';

CREATE FUNCTION sync.rollback_to(relation regclass, entity_id text, version bigint) RETURNS json
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_rollback_to';
COMMENT ON FUNCTION sync.rollback_to(regclass, text, bigint) IS
'Writes a row back to an earlier version, as a new one: {"success", "entity_id", "version"}. Needs the caller''s right to update it, or to insert it when it is gone; columns the caller may not read stay.
SY404 for a version that is not there or is a deletion, SY403 when the result would be out of the caller''s sight.';

CREATE FUNCTION sync.restore(relation regclass, entity_id text) RETURNS json
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_restore';
COMMENT ON FUNCTION sync.restore(regclass, text) IS
'Brings a deleted row back: {"success", "entity_id", "version"}. A mark is cleared, a row that is gone is inserted as its history saw it last. Needs the right to update or insert the living row. SY404 when there is nothing to bring back.';

CREATE FUNCTION sync.erase_history(relation regclass, entity_id text DEFAULT NULL) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    erased bigint;
BEGIN
    IF NOT sync.caller_owns(erase_history.relation) THEN
        RAISE EXCEPTION 'must be owner of table %', erase_history.relation USING ERRCODE = 'insufficient_privilege';
    END IF;
    DELETE FROM sync.history h USING sync.synced_table t
    WHERE t.relation = erase_history.relation AND h.table_id = t.id AND (erase_history.entity_id IS NULL OR h.entity_id = erase_history.entity_id);
    GET DIAGNOSTICS erased = ROW_COUNT;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION sync.erase_history(regclass, text) IS 'Erases the history of one row, or of a whole table; for the table''s owner. How many versions.';

SELECT pg_catalog.pg_extension_config_dump('sync.history', '');
SELECT pg_catalog.pg_extension_config_dump('sync.history_history_id_seq', '');

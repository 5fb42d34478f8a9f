-- activity.sql - who did what: changes of tables with history, and events that change no row.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.activity (
    activity_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    audience text,
    table_id integer NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    actor text,
    action text NOT NULL,
    fields text[],
    data jsonb,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX activity_entity ON sync.activity (table_id, entity_id, activity_id);
CREATE INDEX activity_at ON sync.activity USING brin (at);
CREATE INDEX activity_audience ON sync.activity (audience, activity_id);
COMMENT ON TABLE sync.activity IS
'Who did what to which row, never its values; synced to whoever gets the row. action: create, update, delete, restore, or an event of the application. fields are left out where columns are granted one by one; actor in anonymous tables.';
SELECT sync.enable_builtin('sync.activity', 14, 3);

CREATE FUNCTION sync.record_activity(request jsonb) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := sync.need_user();
    what text := sync.request_text(request, 'action', 64);
    id text := sync.request_text(request, 'entity_id', 2048);
    t sync.synced_table := sync.seen_table(sync.request_text(request, 'entity_type', 256), id);
    answer bigint;
BEGIN
    IF octet_length((request -> 'data')::text) > 4096 THEN
        RAISE EXCEPTION 'the data of an event have at most 4096 bytes' USING ERRCODE = 'SY413';
    END IF;
    IF what IN ('create', 'update', 'delete', 'restore') THEN
        RAISE EXCEPTION 'action "%" is recorded when the row is written', what USING ERRCODE = 'SY400', HINT = 'Events have names of their own, such as viewed.';
    END IF;
    -- Looking at the same thing twice in a minute is one event.
    SELECT a.activity_id INTO answer FROM sync.activity a
    WHERE a.table_id = t.id AND a.entity_id = id AND a.actor = who AND a.action = what AND a.data IS NOT DISTINCT FROM request -> 'data'
      AND a.at > clock_timestamp() - interval '1 minute' ORDER BY a.activity_id DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO sync.activity (audience, table_id, entity_type, entity_id, actor, action, data)
        VALUES (sync.row_audience(t.relation, id), t.id, t.entity_type, id, CASE WHEN t.anonymous THEN NULL ELSE who END, what, request -> 'data')
        RETURNING activity_id INTO answer;
    END IF;
    RETURN json_build_object('success', true, 'activity_id', answer::text);
END
$$;
COMMENT ON FUNCTION sync.record_activity(jsonb) IS
'Records an event that changes no row: {"entity_type", "entity_id", "action": such as viewed, "data"?: up to 4 KiB} → {"success", "activity_id"}. The same event within a minute is the same. SY404 for a row the caller does not see.';

CREATE FUNCTION sync.activity(entity_type text DEFAULT NULL, entity_id text DEFAULT NULL, actor text DEFAULT NULL, action text DEFAULT NULL,
                              before bigint DEFAULT NULL, most integer DEFAULT 50)
    RETURNS TABLE (activity_id bigint, at timestamptz, actor text, action text, entity_type text, entity_id text, fields text[], data jsonb)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
SELECT a.activity_id, a.at, a.actor, a.action, a.entity_type, a.entity_id, a.fields, a.data
FROM sync.activity a JOIN sync.synced_table t ON t.id = a.table_id
WHERE ($1 IS NULL OR a.entity_type = $1) AND ($2 IS NULL OR a.entity_id = $2) AND ($3 IS NULL OR a.actor = $3) AND ($4 IS NULL OR a.action = $4)
  AND ($5 IS NULL OR a.activity_id < $5)
  AND CASE WHEN a.audience IS NULL THEN sync.may_see(t.relation, a.entity_id) ELSE a.audience = ANY ((SELECT sync.caller_audiences())::text[]) END
ORDER BY a.activity_id DESC LIMIT least(greatest(coalesce($6, 50), 0), 1000)
$$;
COMMENT ON FUNCTION sync.activity(text, text, text, text, bigint, integer) IS
'The activity the caller may see, newest first, by entity, actor and action; before: an activity_id, for the next page; most: up to 1,000. Rows under policies of their own are checked one by one.';

SELECT pg_catalog.pg_extension_config_dump('sync.activity', '');
SELECT pg_catalog.pg_extension_config_dump('sync.activity_activity_id_seq', '');

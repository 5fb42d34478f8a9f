-- audit.sql - a log of each sync, and one call that erases a person everywhere.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.sync_log (
    log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    user_id text,
    device_id text,
    kind text NOT NULL,
    changes integer NOT NULL,
    bytes bigint NOT NULL,
    status text NOT NULL,
    ms real NOT NULL
);
CREATE INDEX sync_log_user ON sync.sync_log (user_id, log_id);
CREATE INDEX sync_log_at ON sync.sync_log USING brin (at);
COMMENT ON TABLE sync.sync_log IS 'One row for each push, and for each pull as the streamer reports them: who, by which device, how many changes and bytes, how it ended, how long it took.';

CREATE FUNCTION sync.log_sync(device_id text, kind text, changes integer, bytes bigint, status text, ms double precision) RETURNS void
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_log_sync';
COMMENT ON FUNCTION sync.log_sync(text, text, integer, bigint, text, double precision) IS 'For push, with the caller''s claims: adds a line to sync.sync_log. Only device_id may be NULL.';

CREATE FUNCTION sync.log_syncs(entries jsonb) RETURNS integer
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH added AS (
    INSERT INTO sync.sync_log (at, user_id, device_id, kind, changes, bytes, status, ms)
    SELECT coalesce(e.at, clock_timestamp()), e.user_id, e.device_id, e.kind, coalesce(e.changes, 0), coalesce(e.bytes, 0), coalesce(e.status, 'ok'), coalesce(e.ms, 0)
    FROM jsonb_to_recordset(entries) AS e (at timestamptz, user_id text, device_id text, kind text, changes integer, bytes bigint, status text, ms real) RETURNING 1)
SELECT count(*)::integer FROM added
$$;
COMMENT ON FUNCTION sync.log_syncs(jsonb) IS
'For the streamer, as sync_upkeep: many lines at once, [{"user_id", "device_id", "kind": push|pull, "changes", "bytes", "status", "ms", "at"?}]; how many. Pull itself never writes.';

CREATE FUNCTION sync.sync_log(user_id text DEFAULT NULL, since timestamptz DEFAULT NULL, most integer DEFAULT 100)
    RETURNS TABLE (log_id bigint, at timestamptz, user_id text, device_id text, kind text, changes integer, bytes bigint, status text, ms real)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT l.log_id, l.at, l.user_id, l.device_id, l.kind, l.changes, l.bytes, l.status, l.ms FROM sync.sync_log l
WHERE ($1 IS NULL OR l.user_id = $1) AND ($2 IS NULL OR l.at >= $2) ORDER BY l.log_id DESC LIMIT $3
$$;
COMMENT ON FUNCTION sync.sync_log(text, timestamptz, integer) IS 'For administrators: who synced when, newest first.';

CREATE FUNCTION sync.drop_traces(table_id integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    DELETE FROM sync.lock l WHERE l.table_id = drop_traces.table_id;
    DELETE FROM sync.activity a WHERE a.table_id = drop_traces.table_id;
    DELETE FROM sync.history h WHERE h.table_id = drop_traces.table_id;
END
$$;
COMMENT ON FUNCTION sync.drop_traces(integer) IS 'For sync.disable(): deletes locks, activity and history of a table.';

CREATE FUNCTION sync.forget_rows(relation regclass, user_id text) RETURNS bigint
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_forget_rows';
COMMENT ON FUNCTION sync.forget_rows(regclass, text) IS 'Takes a user''s name from sync_by of a table''s rows; the rows travel again without it. How many.';

-- The application's own triggers and rules do not fire here; sync's always do.
CREATE FUNCTION sync.forget_in_tables(user_id text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET session_replication_role = replica AS
$$
DECLARE
    n bigint := 0;
    t regclass;
BEGIN
    FOR t IN SELECT s.relation FROM sync.synced_table s JOIN pg_class c ON c.oid = s.relation ORDER BY s.id LOOP
        n := n + sync.forget_rows(t, forget_in_tables.user_id);
    END LOOP;
    RETURN n;
END
$$;
COMMENT ON FUNCTION sync.forget_in_tables(text) IS 'sync.forget_rows() for every synced table; how many rows.';

CREATE FUNCTION sync.forget_user(user_id text) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := forget_user.user_id;
    counts jsonb := '{}';
    step record;
    n bigint;
BEGIN
    IF who IS NULL OR who = '' THEN
        RAISE EXCEPTION 'sync.forget_user() needs a user' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- What is the user's own goes; what belongs to others only loses the name.
    FOR step IN SELECT * FROM (VALUES
        ('lock', 'DELETE FROM sync.lock l USING sync.lock_owner o WHERE o.lock_id = l.lock_id AND o.user_id = $1'),
        ('device', 'DELETE FROM sync.device WHERE user_id = $1'),
        ('preference', 'DELETE FROM sync.preference WHERE user_id = $1'),
        ('delivery', 'DELETE FROM sync.delivery WHERE user_id = $1'),
        ('notification', 'DELETE FROM sync.notification WHERE user_id = $1'),
        ('reminder', 'DELETE FROM sync.reminder WHERE actor = $1 OR request -> ''users'' = jsonb_build_array($1)'),
        ('activity', 'DELETE FROM sync.activity WHERE actor = $1'),
        ('ledger', 'DELETE FROM sync.ledger l USING sync.ledger_device d WHERE l.device = d.id AND d.user_id = $1'),
        ('ledger_device', 'DELETE FROM sync.ledger_device WHERE user_id = $1'),
        ('sync_log', 'DELETE FROM sync.sync_log WHERE user_id = $1'),
        ('sent', 'UPDATE sync.notification SET actor = NULL WHERE actor = $1'),
        ('sent_deliveries', 'UPDATE sync.delivery SET message = message - ''actor'' WHERE message ->> ''actor'' = $1'),
        ('reminders_to', 'UPDATE sync.reminder SET request = jsonb_set(request, ''{users}'', (request -> ''users'') - $1) WHERE request -> ''users'' ? $1'),
        ('history', 'UPDATE sync.history SET user_id = NULL, device_id = NULL WHERE user_id = $1'),
        ('conflicts_pushed', 'UPDATE sync.conflict SET pushed_by = NULL, device_id = NULL, local_data = NULL, base_data = NULL WHERE pushed_by = $1'),
        ('conflicts_resolved', 'UPDATE sync.conflict SET resolved_by = NULL WHERE resolved_by = $1'),
        ('conflicts_met', 'UPDATE sync.conflict SET changed_by = NULL WHERE changed_by = $1'),
        ('tombstone', 'UPDATE sync.tombstone SET changed_by = NULL WHERE changed_by = $1')) AS s (name, command)
    LOOP
        EXECUTE step.command USING who;
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object(step.name, n);
    END LOOP;
    -- What tells of these deletions names the person too, and nobody else is told.
    DELETE FROM sync.tombstone t WHERE t.table_id < 100 AND t.scope_value = 'user:' || who;
    counts := counts || jsonb_build_object('rows', sync.forget_in_tables(who));
    RETURN counts;
END
$$;
COMMENT ON FUNCTION sync.forget_user(text) IS
'Erases a person everywhere in this schema, and says how many of each: devices, preferences, notifications, deliveries, reminders, locks, activity, ledger and sync log are deleted, and what the person wrote in the conflict log; the name goes from
history, tombstones, conflicts, others'' notifications and sync_by of rows, which travel once more so that clients lose it too. Images in the history belong to the business and stay: sync.erase_history(). Columns of the application are the application''s.';

SELECT pg_catalog.pg_extension_config_dump('sync.sync_log', '');
SELECT pg_catalog.pg_extension_config_dump('sync.sync_log_log_id_seq', '');

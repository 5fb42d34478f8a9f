-- upkeep.sql - what keeps the extension's tables small, and what says how it is.
-- SPDX-License-Identifier: PostgreSQL

-- A restored table goes on counting where it was.
SELECT pg_catalog.pg_extension_config_dump('sync.scope_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.synced_table_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.tombstone_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.ledger_device_id_seq', '');

-- Old entries lie together: a summary per range of pages finds them at no cost for the writers.
CREATE INDEX ledger_at ON sync.ledger USING brin (at) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX conflict_at ON sync.conflict USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

CREATE FUNCTION sync.purge_rows(relation regclass, rows tid[]) RETURNS bigint
    LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'sync_purge_rows';
COMMENT ON FUNCTION sync.purge_rows(regclass, tid[]) IS 'For sync.purge(): really deletes marked rows by their place, as the table''s owner. Returns how many.';

CREATE FUNCTION sync.unreferenced(relation regclass) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT coalesce(string_agg(format('NOT EXISTS (SELECT FROM %I.%I c WHERE %s%s)', n.nspname, child.relname, f.columns,
                                  CASE WHEN f.conrelid = f.confrelid THEN ' AND (c.tableoid, c.ctid) <> (t.tableoid, t.ctid)' ELSE '' END), ' AND '), 'true')
FROM (SELECT k.conrelid, k.confrelid,
             (SELECT string_agg(format('t.%I OPERATOR(%I.%s) c.%I', pk.attname, o.oprnamespace::regnamespace::name, o.oprname, fk.attname), ' AND ')
              FROM generate_subscripts(k.conkey, 1) i
              JOIN pg_attribute pk ON pk.attrelid = k.confrelid AND pk.attnum = k.confkey[i]
              JOIN pg_attribute fk ON fk.attrelid = k.conrelid AND fk.attnum = k.conkey[i]
              JOIN pg_operator o ON o.oid = k.conpfeqop[i]) AS columns
      FROM pg_constraint k
      WHERE k.contype = 'f' AND k.conparentid = 0
        AND (k.confrelid = relation OR k.confrelid IN (SELECT relid FROM pg_partition_ancestors(relation)))) f
JOIN pg_class child ON child.oid = f.conrelid JOIN pg_namespace n ON n.oid = child.relnamespace
$$;
COMMENT ON FUNCTION sync.unreferenced(regclass) IS 'For sync.purge(): a condition that holds for rows t of a table which no foreign key points to.';

CREATE FUNCTION sync.purge_tombstones(cutoff timestamptz, batch integer) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    purged bigint := 0;
    entry integer;
    n bigint;
    highest xid8;
BEGIN
    -- The tables that have any: one probe of the index each.
    FOR entry IN WITH RECURSIVE entries AS (
                     SELECT min(table_id) AS id FROM sync.tombstone
                     UNION ALL
                     SELECT (SELECT min(table_id) FROM sync.tombstone WHERE table_id > e.id) FROM entries e WHERE e.id IS NOT NULL)
                 SELECT e.id FROM entries e WHERE e.id IS NOT NULL LOOP
        EXIT WHEN purged >= batch;
        -- Ids below every running transaction's: whoever pulls from now on sees them. The horizon rises with what goes, so that a cursor
        -- which may not have seen one of them is told to start anew.
        WITH gone AS (
            DELETE FROM sync.tombstone WHERE ctid = ANY (ARRAY(
                SELECT o.place FROM (
                    SELECT ctid AS place, at FROM sync.tombstone
                    WHERE table_id = entry AND sync_xid < pg_snapshot_xmin(pg_current_snapshot())
                    ORDER BY sync_xid LIMIT batch - purged) o
                WHERE o.at < cutoff))
            RETURNING sync_xid)
        SELECT count(*), max(sync_xid) INTO n, highest FROM gone;
        UPDATE sync.instance SET horizon = highest WHERE horizon < highest;
        purged := purged + n;
        -- Ids that this cluster has not given out yet came with a dump: no cursor of this cluster waits for them, and as a horizon they
        -- would reset everybody at each pull.
        DELETE FROM sync.tombstone WHERE ctid = ANY (ARRAY(
            SELECT o.place FROM (
                SELECT ctid AS place, at FROM sync.tombstone
                WHERE table_id = entry AND sync_xid >= pg_snapshot_xmax(pg_current_snapshot())
                ORDER BY sync_xid DESC LIMIT batch - purged) o
            WHERE o.at < cutoff));
        GET DIAGNOSTICS n = ROW_COUNT;
        purged := purged + n;
    END LOOP;
    RETURN purged;
END
$$;
COMMENT ON FUNCTION sync.purge_tombstones(timestamptz, integer) IS
'For sync.purge(): removes tombstones made before cutoff that every running transaction sees, and raises sync.instance.horizon with them. Returns how many, at most batch.';

CREATE FUNCTION sync.purge_places(relation regclass, rows tid[]) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    middle integer := coalesce(array_length(rows, 1), 0) / 2;
BEGIN
    IF rows IS NULL OR rows = '{}' THEN
        RETURN 0;
    END IF;
    -- The table's triggers run: they find the search path they know.
    PERFORM set_config('search_path', (SELECT reset_val FROM pg_settings WHERE name = 'search_path'), true);
    RETURN sync.purge_rows(relation, rows);
EXCEPTION WHEN OTHERS THEN
    -- A trigger of the application refused one of them: halve until it stands alone.
    IF middle = 0 THEN
        RAISE NOTICE 'a deleted row of % cannot be purged: %', relation, SQLERRM;
        RETURN 0;
    END IF;
    RETURN sync.purge_places(relation, rows[:middle]) + sync.purge_places(relation, rows[middle + 1:]);
END
$$;
COMMENT ON FUNCTION sync.purge_places(regclass, tid[]) IS 'For sync.purge(): deletes rows by their place; one that refuses to go is left, with a notice. Returns how many went.';

CREATE FUNCTION sync.purge_marked(relation regclass, mark name, cutoff timestamptz, batch integer) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    target text := (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation);
    free text := sync.unreferenced(relation);
    places tid[];
BEGIN
    -- A row that anything points to stays, whatever the foreign key would do: a cascade would take living rows along. Two steps: once locked,
    -- no reference can be added, and the second statement sees those that were added before.
    EXECUTE format('SELECT array_agg(r.place) FROM (SELECT t.ctid AS place FROM ONLY %s t
                    WHERE t.%I < $1 AND t.sync_at < $1 AND %s LIMIT $2 FOR UPDATE SKIP LOCKED) r', target, mark, free)
        INTO places USING cutoff, batch;
    IF places IS NULL THEN
        RETURN 0;
    END IF;
    EXECUTE format('SELECT array_agg(t.ctid) FROM ONLY %s t WHERE t.ctid = ANY ($1) AND t.%I < $2 AND %s', target, mark, free)
        INTO places USING places, cutoff;
    RETURN sync.purge_places(relation, places);
END
$$;
COMMENT ON FUNCTION sync.purge_marked(regclass, name, timestamptz, integer) IS
'For sync.purge(): really deletes rows marked before cutoff that nothing references. Returns how many, at most batch.';

-- What goes by its age alone: $1 is the cutoff of what clients need, $2 that of what people look up, $3 the most rows of a call.
CREATE FUNCTION sync.purge_kinds() RETURNS TABLE (kind text, relation regclass, condition text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT k.kind, to_regclass('sync.' || k.relation), k.condition FROM (VALUES
    ('ledger', 'ledger', 'at < $1'),
    ('conflicts', 'conflict', 'at < $1 AND coalesce(resolved_at < $1, outcome <> ''open'')'),
    ('locks', 'lock', 'expires_at < clock_timestamp()'),
    ('notifications', 'notification', 'read_at < $1'),
    ('deliveries', 'delivery', 'created_at < $1 AND state <> ''waiting'''),
    ('activity', 'activity', 'at < $2'),
    ('history', 'history', 'at < $2'),
    ('sync_log', 'sync_log', 'at < $2'),
    -- a revoked one stays, or it could register again
    ('devices', 'device', 'last_seen < $2 AND revoked_at IS NULL')) k (kind, relation, condition)
WHERE to_regclass('sync.' || k.relation) IS NOT NULL
$$;
COMMENT ON FUNCTION sync.purge_kinds() IS 'For sync.purge(): what goes by its age alone, and when.';

CREATE FUNCTION sync.purge(keep interval DEFAULT '30 days', batch integer DEFAULT 10000, keep_log interval DEFAULT '1 year') RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    cutoff timestamptz := now() - purge.keep;
    done jsonb := '{}';
    went bigint := 0;
    more boolean;
    n bigint;
    t record;
BEGIN
    IF purge.keep IS NULL OR purge.keep_log IS NULL OR purge.batch IS NULL OR least(purge.keep, purge.keep_log) < interval '0' OR purge.batch < 1 THEN
        RAISE EXCEPTION 'keep and keep_log must be intervals of 0 or more, batch 1 or more' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'sync.purge() needs READ COMMITTED' USING ERRCODE = 'active_sql_transaction',
            HINT = 'It must see references that were added while it waited: SET TRANSACTION ISOLATION LEVEL READ COMMITTED.';
    END IF;
    PERFORM FROM sync.instance FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN json_build_object('busy', true, 'more', false);
    END IF;

    FOR t IN SELECT coalesce(p.relid, s.relation) AS relation, s.deleted_at
             FROM sync.synced_table s JOIN pg_class c ON c.oid = s.relation
             LEFT JOIN LATERAL (SELECT l.partition::regclass AS relid FROM sync.partitions(s.relation) l WHERE l.is_leaf) p ON c.relkind = 'p'
             WHERE s.deletes = 'soft' AND s.deleted_at IS NOT NULL LOOP
        went := went + sync.purge_marked(t.relation, t.deleted_at, cutoff, purge.batch);
    END LOOP;
    -- What one row pointed to may go at the next call.
    more := went > 0;
    n := sync.purge_tombstones(cutoff, purge.batch);
    more := more OR n >= purge.batch;
    done := jsonb_build_object('rows', went, 'tombstones', n);
    FOR t IN SELECT k.kind, k.relation, k.condition FROM sync.purge_kinds() k LOOP
        EXECUTE format('DELETE FROM %s WHERE ctid = ANY (ARRAY(SELECT k.ctid FROM %s k WHERE %s LIMIT $3))', t.relation, t.relation, t.condition)
            USING cutoff, now() - purge.keep_log, purge.batch;
        GET DIAGNOSTICS n = ROW_COUNT;
        more := more OR n >= purge.batch;
        done := done || jsonb_build_object(t.kind, n);
    END LOOP;
    RETURN done || jsonb_build_object('more', more, 'horizon', (SELECT horizon::text FROM sync.instance));
END
$$;
COMMENT ON FUNCTION sync.purge(interval, integer, interval) IS
'Removes what is old, at most batch of each kind, so that a call is short. Older than keep: rows marked as deleted that nothing references, tombstones, verdicts of the ledger, settled conflicts, read
notifications, deliveries that were taken; older than keep_log: history, activity, the sync log, devices not used since; and expired locks. Answer: {"more": call again, "horizon", and for each kind how many went};
{"busy": true, "more": false} while another call runs. Clients whose cursor lies before the horizon start anew. Errors: invalid_parameter_value; active_sql_transaction above READ COMMITTED.';

CREATE FUNCTION sync.status() RETURNS json
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
SELECT json_build_object(
    'server_time', now(),
    'server_version', current_setting('server_version'),
    'extension_version', (SELECT extversion FROM pg_extension WHERE extname = 'sync'),
    'system_id', (SELECT system_identifier::text FROM pg_control_system()),
    'incarnation', i.incarnation,
    'schema_version', json_build_object('current', i.schema_current, 'oldest', i.schema_oldest),
    'horizon', json_build_object('xid', i.horizon::text, 'transactions_ago',
        CASE WHEN i.horizon <> '0' THEN pg_snapshot_xmax(pg_current_snapshot())::text::numeric - i.horizon::text::numeric END),
    'tables', coalesce((
        SELECT json_agg(json_build_object('entity_type', t.entity_type, 'relation', t.relation, 'scope', t.scope, 'deletes', t.deletes,
                   'rows', (SELECT sum(greatest(reltuples, 0))::bigint FROM pg_class
                            WHERE oid = t.relation OR oid IN (SELECT l.partition FROM sync.partitions(t.relation) l WHERE l.is_leaf)),
                   'tombstones', (SELECT count(*) FROM sync.tombstone d WHERE d.table_id = t.id),
                   'oldest_tombstone', (SELECT d.at FROM sync.tombstone d WHERE d.table_id = t.id ORDER BY d.sync_xid LIMIT 1)) ORDER BY t.id)
        FROM sync.synced_table t), '[]'),
    'ledger', (SELECT json_build_object('entries', greatest(reltuples, 0)::bigint, 'bytes', pg_total_relation_size(oid)) FROM pg_class WHERE oid = 'sync.ledger'::regclass),
    'conflicts', (SELECT json_build_object('open', count(*), 'oldest_open', min(at)) FROM sync.conflict c
                  WHERE c.outcome = 'open' AND c.resolution IS NULL),
    'streamers', coalesce((
        SELECT json_agg(json_build_object('slot', s.slot_name, 'plugin', s.plugin, 'active', s.active, 'client', r.client_addr, 'connected_since', r.backend_start,
                   'lag_bytes', pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, s.confirmed_flush_lsn)) ORDER BY s.slot_name)
        FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
        WHERE s.database = current_database() AND s.slot_name LIKE 'sync\_%'), '[]'),
    'oldest_transaction', (
        SELECT json_build_object('pid', a.pid, 'user', a.usename, 'application', a.application_name, 'state', a.state,
                   'seconds', round(extract(epoch FROM now() - a.xact_start)))
        FROM pg_stat_activity a WHERE a.backend_xid IS NOT NULL AND a.xact_start IS NOT NULL ORDER BY a.xact_start LIMIT 1),
    'prepared_transactions', coalesce((
        SELECT json_agg(json_build_object('gid', p.gid, 'seconds', round(extract(epoch FROM now() - p.prepared))) ORDER BY p.prepared)
        FROM pg_prepared_xacts p WHERE p.database = current_database()), '[]'))
FROM sync.instance i
$$;
COMMENT ON FUNCTION sync.status() IS
'How it is, as JSON: incarnation, horizon, rows (estimated) and tombstones per table, size of the ledger, open conflicts, the streamers'' slots and their lag, the oldest transaction that
holds cursors back, prepared transactions. For administrators and sync_upkeep..';

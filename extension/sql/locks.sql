-- locks.sql - fields and rows that somebody is editing.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.lock (
    lock_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    audience text,
    table_id integer NOT NULL,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    field text,
    holder text,
    expires_at timestamptz NOT NULL
);
CREATE UNIQUE INDEX lock_place ON sync.lock (table_id, entity_id, coalesce(field, ''));
CREATE INDEX lock_expiry ON sync.lock (expires_at);
COMMENT ON TABLE sync.lock IS 'Fields, or whole rows (field NULL), that are being edited; synced to whoever gets the row. One past expires_at counts as absent. holder is NULL in anonymous tables.';
SELECT sync.enable_builtin('sync.lock', 13, 1);

CREATE TABLE sync.lock_owner (
    lock_id uuid PRIMARY KEY REFERENCES sync.lock ON DELETE CASCADE,
    user_id text NOT NULL,
    device_id text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX lock_owner_device ON sync.lock_owner (user_id, device_id);
COMMENT ON TABLE sync.lock_owner IS 'Who really holds a lock, by which device, and when it last asked for it; not synced.';

CREATE FUNCTION sync.blocking_locks(table_id integer, entity_ids text[], user_id text, device_id text)
    RETURNS TABLE (entity_id text, field text, holder text, expires_at timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT l.entity_id, l.field, l.holder, l.expires_at FROM sync.lock l JOIN sync.lock_owner o USING (lock_id)
        WHERE l.table_id = blocking_locks.table_id AND l.entity_id = ANY (blocking_locks.entity_ids) AND l.expires_at > clock_timestamp()
          AND (o.user_id, o.device_id) IS DISTINCT FROM (blocking_locks.user_id, blocking_locks.device_id);
END
$$;
COMMENT ON FUNCTION sync.blocking_locks(integer, text[], text, text) IS
'For push, as the extension''s owner: locks on these rows that another user or device holds; field NULL covers the row.';

CREATE FUNCTION sync.lock_answer(granted boolean, lock_id uuid, device_id text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT json_build_object('success', granted, 'lock', json_build_object('lock_id', l.lock_id, 'entity_type', l.entity_type, 'entity_id', l.entity_id,
    'field', l.field, 'holder', l.holder, 'device', CASE WHEN o.user_id = sync.user_id() THEN o.device_id END,
    'expires_at', to_char(l.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')))
FROM sync.lock l JOIN sync.lock_owner o USING (lock_id) WHERE l.lock_id = lock_answer.lock_id
$$;
COMMENT ON FUNCTION sync.lock_answer(boolean, uuid, text) IS 'What sync.lock() says of a lock; the device only to its own user.';

CREATE FUNCTION sync.lock(request jsonb) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := sync.need_user();
    device text := sync.request_text(request, 'device_id', 256);
    id text := sync.request_text(request, 'entity_id', 2048);
    part text := sync.request_text(request, 'field', 63, false);
    seconds numeric := 30;
    t sync.synced_table;
    held uuid;
    mine boolean;
    until timestamptz;
BEGIN
    IF jsonb_typeof(request -> 'seconds') = 'number' THEN
        seconds := (request ->> 'seconds')::numeric;
    ELSIF jsonb_typeof(request -> 'seconds') <> 'null' THEN
        seconds := NULL;
    END IF;
    IF seconds IS NULL OR seconds NOT BETWEEN 1 AND 600 THEN
        RAISE EXCEPTION 'member "seconds" of the request must be a number from 1 to 600' USING ERRCODE = 'SY400';
    END IF;
    t := sync.seen_table(sync.request_text(request, 'entity_type', 256), id);
    IF part IS NOT NULL AND part <> ALL (coalesce(sync.caller_columns(t.relation), '{}')) THEN
        RAISE EXCEPTION 'there is no field "%"', part USING ERRCODE = 'SY400';
    END IF;
    PERFORM sync.check_device(device);
    -- A lock of the row and one of its fields exclude each other: who asks for this row waits here.
    PERFORM pg_advisory_xact_lock(hashtextextended(format('sync.lock %s %s', t.id, id), 0));
    until := clock_timestamp() + seconds * interval '1 second';
    DELETE FROM sync.lock l WHERE l.table_id = t.id AND l.entity_id = id AND l.expires_at <= clock_timestamp();
    SELECT l.lock_id INTO held FROM sync.lock l JOIN sync.lock_owner o USING (lock_id)
    WHERE l.table_id = t.id AND l.entity_id = id AND (o.user_id, o.device_id) <> (who, device)
      AND (part IS NULL OR l.field IS NULL OR l.field = part) ORDER BY l.expires_at DESC LIMIT 1;
    IF FOUND THEN
        RETURN sync.lock_answer(false, held, device);
    END IF;
    UPDATE sync.lock l SET expires_at = greatest(l.expires_at, until)
    WHERE l.table_id = t.id AND l.entity_id = id AND coalesce(l.field, '') = coalesce(part, '') RETURNING l.lock_id INTO held;
    IF FOUND THEN
        UPDATE sync.lock_owner o SET asked_at = clock_timestamp() WHERE o.lock_id = held;
    ELSE
        IF (SELECT count(*) FROM sync.lock_owner o WHERE o.user_id = who) >= 1000 THEN
            RAISE EXCEPTION 'you hold 1000 locks already' USING ERRCODE = 'SY429', HINT = 'Release some, or wait until they expire.';
        END IF;
        INSERT INTO sync.lock (audience, table_id, entity_type, entity_id, field, holder, expires_at)
        VALUES (sync.row_audience(t.relation, id), t.id, t.entity_type, id, part, CASE WHEN t.anonymous THEN NULL ELSE who END, until)
        RETURNING lock_id INTO held;
        INSERT INTO sync.lock_owner VALUES (held, who, device);
    END IF;
    RETURN sync.lock_answer(true, held, device);
END
$$;
COMMENT ON FUNCTION sync.lock(jsonb) IS
'Locks a field of a row, or the row: {"device_id", "entity_type", "entity_id", "field"?, "seconds"?: 1..600 (30)} → {"success", "lock": {"lock_id", "entity_type", "entity_id", "field", "holder",
"device" (your own), "expires_at"}}. Asked again by the same device it is extended. success false: another holds it, named in "lock". Visible to whoever sees the row.
Errors: SY400, SY401 nobody, SY403 revoked device, SY404 a row you do not see, SY429 over 1,000 locks.';

CREATE FUNCTION sync.unlock(request jsonb) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    who text := sync.need_user();
    device text := sync.request_text(request, 'device_id', 256);
    kind text := sync.request_text(request, 'entity_type', 256);
    id text := sync.request_text(request, 'entity_id', 2048);
    part text := sync.request_text(request, 'field', 63, false);
    released bigint;
BEGIN
    WITH gone AS (
        DELETE FROM sync.lock l USING sync.lock_owner o
        WHERE o.lock_id = l.lock_id AND l.entity_type = kind AND l.entity_id = id AND coalesce(l.field, '') = coalesce(part, '')
          AND (o.user_id, o.device_id) = (who, device) RETURNING 1)
    SELECT count(*) INTO released FROM gone;
    RETURN json_build_object('success', released > 0);
END
$$;
COMMENT ON FUNCTION sync.unlock(jsonb) IS
'Releases a lock of this device: {"device_id", "entity_type", "entity_id", "field"?} → {"success"}; false: the device held none there.';

CREATE FUNCTION sync.holds_locks(user_id text, device_id text) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    RETURN EXISTS (SELECT FROM sync.lock_owner o WHERE o.user_id = holds_locks.user_id AND o.device_id = holds_locks.device_id);
END
$$;
COMMENT ON FUNCTION sync.holds_locks(text, text) IS 'For push: whether a device holds any lock, so that release_locks() is called only then.';

-- plpgsql, where push calls it row by row: its plans are kept, those of SQL functions are not.
CREATE FUNCTION sync.release_locks(table_id integer, entity_id text, fields text[], user_id text, device_id text) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    released integer;
BEGIN
    DELETE FROM sync.lock l USING sync.lock_owner o
    WHERE o.lock_id = l.lock_id AND l.table_id = release_locks.table_id AND l.entity_id = release_locks.entity_id
      AND (l.field IS NULL OR release_locks.fields IS NULL OR l.field = ANY (release_locks.fields))
      AND (o.user_id, o.device_id) = (release_locks.user_id, release_locks.device_id);
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
COMMENT ON FUNCTION sync.release_locks(integer, text, text[], text, text) IS
'For push, after a save: releases the device''s locks on the row and on the fields written (NULL: on all, as after a deletion); how many.';

CREATE FUNCTION sync.release_device_locks(user_id text, device_id text, unasked_since timestamptz DEFAULT 'infinity') RETURNS integer
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
WITH gone AS (
    DELETE FROM sync.lock l USING sync.lock_owner o
    WHERE o.lock_id = l.lock_id AND (o.user_id, o.device_id) = (release_device_locks.user_id, release_device_locks.device_id)
      AND o.asked_at <= release_device_locks.unasked_since RETURNING 1)
SELECT count(*)::integer FROM gone
$$;
COMMENT ON FUNCTION sync.release_device_locks(text, text, timestamptz) IS
'For the streamer, as sync_upkeep, when a device has gone: releases its locks, but for those it has asked for since, perhaps connected elsewhere; how many.';

CREATE FUNCTION sync.expire_locks() RETURNS integer
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ WITH gone AS (DELETE FROM sync.lock WHERE expires_at <= clock_timestamp() RETURNING 1) SELECT count(*)::integer FROM gone $$;
COMMENT ON FUNCTION sync.expire_locks() IS 'For upkeep: removes locks that have expired, so that clients are told; how many.';

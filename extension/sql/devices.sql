-- devices.sql - devices of a user, and when users were seen last.
-- SPDX-License-Identifier: PostgreSQL

CREATE TABLE sync.device (
    user_id text NOT NULL,
    device_id text NOT NULL,
    audience text NOT NULL,
    name text,
    client jsonb,
    first_seen timestamptz NOT NULL DEFAULT date_trunc('hour', now()),
    last_seen timestamptz NOT NULL DEFAULT date_trunc('hour', now()),
    revoked_at timestamptz,
    PRIMARY KEY (user_id, device_id)
);
COMMENT ON TABLE sync.device IS 'Devices, each registered at its first push or connection; synced to their user. last_seen is the hour. A revoked one is refused.';
SELECT sync.enable_builtin('sync.device', 11, 3);

CREATE TABLE sync.preference (
    user_id text NOT NULL,
    type text NOT NULL,
    audience text NOT NULL,
    channels jsonb NOT NULL DEFAULT '{}',
    show_last_seen boolean NOT NULL DEFAULT true,
    PRIMARY KEY (user_id, type)
);
COMMENT ON TABLE sync.preference IS 'What users want to be told, and how: per type of notification (* for all others) the least importance for each channel. Synced to their user. show_last_seen counts on type *.';
SELECT sync.enable_builtin('sync.preference', 12, 3);

CREATE FUNCTION sync.note_device(device_id text) RETURNS void
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_note_device';
COMMENT ON FUNCTION sync.note_device(text) IS
'For push and the streamer, with the caller''s claims: registers the device at its first use, notes the hour it was seen. SY403 for a revoked one, SY429 above sync.max_devices. Nobody''s devices are not kept.';

CREATE FUNCTION sync.check_device(device_id text) RETURNS void
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_check_device';
COMMENT ON FUNCTION sync.check_device(text) IS 'For pull and the streamer: SY403 for a revoked device of the caller''s user; never writes.';

CREATE FUNCTION sync.register_device(user_id text, device_id text, seen timestamptz, most integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    -- Two new devices of one user must not both take the last place.
    PERFORM pg_advisory_xact_lock(hashtextextended('sync.device ' || register_device.user_id, 0));
    IF (SELECT count(*) FROM sync.device d WHERE d.user_id = register_device.user_id) >= most THEN
        RAISE EXCEPTION 'this user has % devices already', most
            USING ERRCODE = 'SY429', HINT = 'Devices not used for long go with sync.purge(); the setting sync.max_devices says how many are allowed.';
    END IF;
    INSERT INTO sync.device (user_id, device_id, audience, first_seen, last_seen)
    VALUES (register_device.user_id, register_device.device_id, 'user:' || register_device.user_id, seen, seen)
    ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION sync.register_device(text, text, timestamptz, integer) IS 'Adds a device; SY429 when the user has as many already.';

CREATE FUNCTION sync.devices() RETURNS TABLE (device_id text, name text, client jsonb, first_seen timestamptz, last_seen timestamptz, revoked_at timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
SELECT d.device_id, d.name, d.client, d.first_seen, d.last_seen, d.revoked_at
FROM sync.device d WHERE d.user_id = sync.user_id() ORDER BY d.last_seen DESC, d.device_id
$$;
COMMENT ON FUNCTION sync.devices() IS 'The caller''s devices, the last used first; times are hours.';

CREATE FUNCTION sync.revoke_device(device_id text, user_id text DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    whose text := coalesce(revoke_device.user_id, sync.need_user());
BEGIN
    IF whose IS DISTINCT FROM sync.user_id() AND NOT sync.caller_is_owner() THEN
        RAISE EXCEPTION 'only your own devices can be revoked' USING ERRCODE = 'SY403';
    END IF;
    UPDATE sync.device d SET revoked_at = coalesce(d.revoked_at, now()) WHERE d.user_id = whose AND d.device_id = revoke_device.device_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such device' USING ERRCODE = 'SY404';
    END IF;
    PERFORM sync.release_device_locks(whose, revoke_device.device_id);
END
$$;
COMMENT ON FUNCTION sync.revoke_device(text, text) IS
'Refuses a device from now on and releases its locks. user_id: somebody else, for the extension''s owner only. SY404 when there is none.';

CREATE FUNCTION sync.rename_device(device_id text, name text, client jsonb DEFAULT NULL) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
    IF octet_length(rename_device.name) > 200 OR octet_length(rename_device.client::text) > 4096 THEN
        RAISE EXCEPTION 'a device''s name has at most 200 bytes, what its client says of itself 4096' USING ERRCODE = 'SY413';
    END IF;
    UPDATE sync.device d SET name = rename_device.name, client = coalesce(rename_device.client, d.client)
    WHERE d.user_id = sync.need_user() AND d.device_id = rename_device.device_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such device' USING ERRCODE = 'SY404';
    END IF;
END
$$;
COMMENT ON FUNCTION sync.rename_device(text, text, jsonb) IS 'Names one of the caller''s devices; client: what it says of itself (version, system), kept as it is.';

CREATE FUNCTION sync.last_seen(users text[] DEFAULT NULL) RETURNS TABLE (user_id text, last_seen timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
SELECT d.user_id, CASE WHEN max(d.last_seen) > now() - interval '1 day' THEN max(d.last_seen) ELSE date_trunc('day', max(d.last_seen), 'UTC') END
FROM sync.device d
WHERE d.user_id IN (SELECT f FROM sync.fellow_users() f) AND (last_seen.users IS NULL OR d.user_id = ANY (last_seen.users))
  AND NOT EXISTS (SELECT FROM sync.preference p WHERE p.user_id = d.user_id AND p.type = '*' AND NOT p.show_last_seen)
GROUP BY d.user_id ORDER BY d.user_id
$$;
COMMENT ON FUNCTION sync.last_seen(text[]) IS
'When those who share a scope''s value with the caller were seen last: the hour, or the day when it is longer ago. Who does not want it shown is left out, and so is everybody of scopes without sync.set_scope_users().';

SELECT pg_catalog.pg_extension_config_dump('sync.device', '');
SELECT pg_catalog.pg_extension_config_dump('sync.preference', '');

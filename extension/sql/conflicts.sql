-- conflicts.sql - the conflict log for applications: what collided, and a person's decision.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.reads_whole(table_id integer) RETURNS boolean
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_reads_whole';
COMMENT ON FUNCTION sync.reads_whole(integer) IS 'Whether the caller may read every column of a synced table: an entry of the conflict log holds what somebody else wrote.';

-- The log is synced like a table: to those whom an entry concerns, as long as they get the row it is about.
SELECT sync.enable_builtin('sync.conflict', 15, 2);
UPDATE sync.synced_table SET policy_is_scope = false, policy_columns = '{table_id,audience,pushed_by,changed_by}' WHERE id = 15;
DROP POLICY audience ON sync.conflict;
CREATE POLICY concerned ON sync.conflict FOR SELECT USING (
    (pushed_by = sync.user_id() OR (changed_by = sync.user_id() AND sync.reads_whole(table_id))) AND audience = ANY (sync.audiences()));

CREATE FUNCTION sync.conflicts(open boolean DEFAULT true)
    RETURNS TABLE (conflict_id uuid, kind text, entity_type text, entity_id text, operation text, fields text[], local_data json, server_data json,
                   base_data json, local_version bigint, server_version bigint, pushed_by text, device_id text, changed_by text, rule text, outcome text,
                   edited_at timestamptz, at timestamptz, resolution text, resolved_by text, resolved_at timestamptz)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
$$
SELECT c.conflict_id, c.kind, c.entity_type, c.entity_id, c.operation, c.fields, c.local_data, c.server_data, c.base_data, c.local_version, c.server_version,
       c.pushed_by, c.device_id, c.changed_by, c.rule, c.outcome, c.edited_at, c.at, c.resolution, c.resolved_by, c.resolved_at
FROM sync.conflict c
WHERE (c.pushed_by = sync.user_id() OR c.changed_by = sync.user_id())
  AND (NOT conflicts.open OR (c.outcome = 'open' AND c.resolution IS NULL))
ORDER BY c.at DESC, c.conflict_id
$$;
COMMENT ON FUNCTION sync.conflicts(boolean) IS
'The caller''s conflicts, newest first: those they pushed, and those in which their write was met, as long as they get the row. open => true: only what waits for a person (rule
manual, refused by a constraint, or sent by a client of an older schema); false: everything kept, with rule and outcome (local, server, merged, open).';

CREATE FUNCTION sync.trim_conflicts(user_id text, most integer) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
    excess bigint;
BEGIN
    SELECT count(*) - trim_conflicts.most INTO excess
    FROM (SELECT FROM sync.conflict c WHERE c.pushed_by = trim_conflicts.user_id LIMIT trim_conflicts.most + 20000) kept;
    IF excess <= 0 THEN
        RETURN;
    END IF;
    DELETE FROM sync.conflict d USING (
        SELECT c.conflict_id FROM sync.conflict c
        WHERE c.pushed_by = trim_conflicts.user_id AND (c.outcome <> 'open' OR c.resolution IS NOT NULL)
        ORDER BY c.at LIMIT excess) old
    WHERE d.conflict_id = old.conflict_id;
    GET DIAGNOSTICS excess = ROW_COUNT;
    IF (SELECT count(*) FROM (SELECT FROM sync.conflict c WHERE c.pushed_by = trim_conflicts.user_id LIMIT trim_conflicts.most + 1) kept) > trim_conflicts.most THEN
        RAISE EXCEPTION 'more than % conflicts of this user wait for a decision', trim_conflicts.most
            USING ERRCODE = 'SY429', HINT = 'Resolve some: sync.conflicts() lists them. sync.max_conflicts is the limit.';
    END IF;
END
$$;
COMMENT ON FUNCTION sync.trim_conflicts(text, integer) IS 'For push: keeps a user''s part of the conflict log within its limit; the oldest settled ones go first, SY429 when only open ones are left.';

CREATE FUNCTION sync.resolve_conflict(request jsonb) RETURNS json
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_resolve_conflict';
COMMENT ON FUNCTION sync.resolve_conflict(jsonb) IS
'Decides a conflict as one of those concerned, under their rights. request: {"conflict_id", "resolution": keep_local|keep_server|merge|keep_both, "merged_data"?: {columns}, "device_id"?}.
keep_local writes the pushed values (or deletes, or brings back); merge writes the pushed values that did not collide and merged_data over them; keep_both makes the local version a new row
with a new key. merged_data overrides column by column. Answer: {"success", "resolved_entity": {"id", "data", "version"}, "resolution"}; the same again answers alike; with success false
and error moved_on when the row has changed since, with the row as it is now. Errors: SY400, SY401, SY404 no such conflict of the caller, SY409 resolved otherwise already.';

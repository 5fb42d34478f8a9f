-- push_conflict.sql - when edits collide the later one wins, by the time of the edit and not of its arrival, and the loser is kept in the log.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each verdict
CREATE FUNCTION verdicts(answer json) RETURNS TABLE (verdict text) LANGUAGE sql AS
$$
(SELECT concat_ws(' ', v ->> 'index', v ->> 'queue_id', v ->> 'status', v ->> 'outcome', v ->> 'entity_id', 'v' || (v ->> 'server_version'),
                 v -> 'error' ->> 'code', v -> 'error' ->> 'message', 'hint: ' || (v -> 'error' ->> 'hint'), 'data ' || (v ->> 'data'),
                 CASE WHEN v ->> 'conflict_id' IS NOT NULL THEN 'logged' END, CASE WHEN (v ->> 'repeat')::boolean THEN 'repeat' END)
FROM json_array_elements(answer -> 'processed') WITH ORDINALITY AS p (v, n) ORDER BY n)
UNION ALL
SELECT 'success ' || (answer ->> 'success')
$$;
CREATE TABLE conflict_note (id int PRIMARY KEY, body text, n int DEFAULT 0);
SELECT sync.enable('conflict_note', rule => 'lww');
CREATE VIEW conflict_log AS
    SELECT entity_id, kind, fields, local_data, server_data, base_data, local_version AS local, server_version AS server, pushed_by, device_id, changed_by, rule, outcome
    FROM sync.conflict ORDER BY at, entity_id;
CREATE FUNCTION edit(who text, device text, id text, body text, at text, version int DEFAULT NULL) RETURNS SETOF text LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, true);
    RETURN QUERY SELECT * FROM verdicts(sync.push(jsonb_build_object('device_id', device, 'changes', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
        'operation', 'update', 'entity_type', 'conflict_note', 'entity_id', id, 'data', jsonb_build_object('body', body), 'timestamp', at, 'local_version', version))))))
        LIMIT 1;
END
$$;
SET request.jwt.claims = '{"sub":"root"}';
SELECT json_array_length(sync.push('{"device_id":"start","changes":[
    {"operation":"create","entity_type":"conflict_note","entity_id":"1","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_note","entity_id":"2","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_note","entity_id":"3","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_note","entity_id":"4","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_note","entity_id":"5","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_note","entity_id":"6","data":{"body":"start"},"timestamp":"2026-01-01T00:00:00Z"}]}') -> 'processed');

-- Two offline edits, in both orders of arrival: the later edit stands
SELECT edit('ada', 'a', '1', 'earlier', '2026-01-02T10:00:00Z', 1);
SELECT edit('bob', 'b', '1', 'later', '2026-01-02T11:00:00Z', 1);
SELECT edit('bob', 'b', '2', 'later', '2026-01-02T11:00:00Z', 1);
SELECT edit('ada', 'a', '2', 'earlier', '2026-01-02T10:00:00Z', 1);
SELECT id, body, sync_version, sync_by FROM conflict_note WHERE id < 3 ORDER BY id;

-- The same time: the server's copy stands
SELECT edit('ada', 'a', '3', 'first', '2026-01-02T10:00:00Z', 1);
SELECT edit('bob', 'b', '3', 'second', '2026-01-02T10:00:00Z', 1);
SELECT id, body, sync_version, sync_by FROM conflict_note WHERE id = 3;

-- Without a version or base the times decide as well
SELECT edit('bob', 'b', '4', 'unbased, earlier', '2025-01-01T00:00:00Z');
SELECT edit('bob', 'b', '4', 'unbased, later', '2026-01-03T00:00:00Z');

-- A version from the future is no base either
SELECT edit('bob', 'z', '4', 'version of elsewhere', '2025-01-01T00:00:00Z', 99);

-- A write by SQL counts with the server's time
UPDATE conflict_note SET body = 'by sql' WHERE id = 4;
SELECT edit('bob', 'b', '4', 'an hour ago', to_json(now() - interval '1 hour') #>> '{}', 1);
SELECT edit('bob', 'b', '4', 'in a moment', to_json(clock_timestamp() + interval '30 s') #>> '{}', 1);

-- Who lost what: the log
SELECT * FROM conflict_log \gx
-- The loser's answer shows the same
SELECT jsonb_pretty(sync.push('{"device_id":"a","changes":[{"queue_id":"q","operation":"update","entity_type":"conflict_note","entity_id":"5","data":{"body":"lost","n":7},
    "base":{"body":"never"},"local_version":0,"timestamp":"2025-01-01T00:00:00Z"}]}')::jsonb -> 'processed' -> 0 #- '{conflict_id}' #- '{conflict_data,conflict_id}') AS answer;
SELECT (answer ->> 'conflict_id') = (answer -> 'conflict_data' ->> 'conflict_id') AS same, (SELECT count(*) FROM sync.conflict WHERE conflict_id::text = answer ->> 'conflict_id') AS in_log
FROM (SELECT sync.push('{"device_id":"a","changes":[{"queue_id":"q","operation":"update","entity_type":"conflict_note","entity_id":"5","data":{"body":"lost","n":7},
    "base":{"body":"never"},"local_version":0,"timestamp":"2025-01-01T00:00:00Z"}]}') -> 'processed' -> 0 AS answer OFFSET 0) a;

-- A clock that leads is set back to a minute from now: others are not locked out for years
SELECT edit('ada', 'a', '5', 'from the future', '2099-01-01T00:00:00Z', 0);
SELECT edit('bob', 'b', '5', 'also from the future', 'infinity', 0);
SELECT edit('bob', 'c', '5', 'from long ago', '-infinity', 0);

-- A device's own earlier change is no collision, whatever its clock says: neither refused nor logged, in a later push too
DELETE FROM sync.conflict;
SELECT edit('ada', 'a', '6', 'first', '2026-01-02T10:00:00Z', 1);
SELECT edit('ada', 'a', '6', 'at the same time', '2026-01-02T10:00:00Z', 1);
SELECT edit('ada', 'a', '6', 'the clock was set back', '2026-01-02T09:00:00Z', 1);
SELECT count(*) FROM sync.conflict;

-- Delete against edit: the deletion wins, the edit it ran over is kept
DELETE FROM sync.conflict;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT * FROM verdicts(sync.push('{"device_id":"x","changes":[{"operation":"delete","entity_type":"conflict_note","entity_id":"5","local_version":1,"timestamp":"2025-01-01T00:00:00Z"}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"b","changes":[{"operation":"delete","entity_type":"conflict_note","entity_id":"6"}]}'));
SELECT edit('ada', 'a', '6', 'edit of a deleted row', '2090-01-01T00:00:00Z', 1);
SELECT count(*) FROM conflict_note WHERE id IN (5, 6);
SELECT * FROM conflict_log \gx

-- Soft tables alike; only a create made after the deletion, or by one who knew of it, brings a row back
CREATE TABLE conflict_soft (id int PRIMARY KEY, body text, gone timestamptz);
INSERT INTO conflict_soft VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd');
SELECT sync.enable('conflict_soft', rule => 'lww', deleted_at => 'gone');
DELETE FROM conflict_soft;
SELECT * FROM verdicts(sync.push('{"device_id":"b","changes":[
    {"operation":"update","entity_type":"conflict_soft","entity_id":"1","data":{"body":"x"},"local_version":1},
    {"operation":"create","entity_type":"conflict_soft","entity_id":"2","data":{"body":"x"},"timestamp":"2020-01-01T00:00:00Z"},
    {"operation":"create","entity_type":"conflict_soft","entity_id":"3","data":{"body":"again"}},
    {"operation":"create","entity_type":"conflict_soft","entity_id":"4","data":{"body":"on purpose"},"local_version":2,"timestamp":"2020-01-01T00:00:00Z"},
    {"operation":"update","entity_type":"conflict_soft","entity_id":"1","data":{"gone":null},"local_version":2}]}'));
SELECT id, body, gone IS NULL AS living FROM conflict_soft ORDER BY id;

-- An atomic batch that fails takes its log entries back
DELETE FROM sync.conflict;
SELECT * FROM verdicts(sync.push('{"device_id":"b","atomic":true,"changes":[
    {"operation":"update","entity_type":"conflict_note","entity_id":"1","data":{"body":"wins"},"local_version":1,"timestamp":"2026-06-01T00:00:00Z"},
    {"operation":"update","entity_type":"conflict_note","entity_id":"9","data":{"body":"x"}}]}'));
SELECT count(*) FROM sync.conflict;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DROP VIEW conflict_log;
DROP TABLE conflict_note, conflict_soft;
DROP FUNCTION verdicts(json), edit(text, text, text, text, text, int);

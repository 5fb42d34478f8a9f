-- pull.sql - sync.pull() sends everything once, then what changed since the token, then the same token again.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer; :next pulls with the last answer's token and keeps the new answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), 'scope ' || (c ->> 'scope'),
                 c ->> 'reason', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (reset text, withdrawn text, has_more text) LANGUAGE sql AS
$$ SELECT answer ->> 'reset', answer ->> 'withdrawn', answer ->> 'has_more' $$;
\set next 'SELECT answer, answer ->> ''next_sync_token'' AS token FROM sync.pull(jsonb_build_object(''device_id'', ''d'', ''sync_token'', :''token'')) AS answer \\gset'
CREATE TABLE pull_note (id int PRIMARY KEY, body text);
CREATE TABLE pull_late (id text PRIMARY KEY);
INSERT INTO pull_note VALUES (1, 'a'), (2, 'b'), (3, 'c');
SELECT sync.enable('pull_note');
SELECT sync.enable('pull_late', priority => 1);
INSERT INTO pull_late VALUES ('ä');
DELETE FROM pull_note WHERE id = 3;

-- A first pull: tables by priority, rows by key, no deletions, nothing to reset
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull('{"device_id":"d"}') AS answer \gset
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');
SELECT array_agg(k) AS members FROM json_object_keys(:'answer') k;
SELECT array_agg(k) AS members FROM json_object_keys(:'answer'::json -> 'changes' -> 0) k;

-- Nothing new: nothing, and the same token
SELECT :'token' AS before \gset
:next
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');
SELECT :'token' = :'before' AS same_token;
-- also when WAL was written in between, as background processes always do
SELECT pg_logical_emit_message(false, 'pull', 'nothing of ours') IS NOT NULL AS written;
:next
SELECT :'token' = :'before' AS same_token;

-- Changes of every kind, in the order of their transactions: deletions first
SET request.jwt.claims = '';
UPDATE pull_note SET body = 'aa' WHERE id = 1;
INSERT INTO pull_note VALUES (4, 'd');
UPDATE pull_note SET body = 'aaa' WHERE id = 1;
DELETE FROM pull_note WHERE id = 2;
INSERT INTO pull_late VALUES ('z');
:next
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');
SELECT :'token' = :'before' AS same_token;
:next
SELECT * FROM changes(:'answer');

-- Deleted and inserted again: a row, not its tombstone; inserted and deleted since: a deletion that does no harm
DELETE FROM pull_note WHERE id = 1;
INSERT INTO pull_note VALUES (1, 'again'), (5, 'short');
DELETE FROM pull_note WHERE id = 5;
:next
SELECT * FROM changes(:'answer');

-- A change of the key: the old one goes, the new one comes
UPDATE pull_note SET id = 40 WHERE id = 4;
:next
SELECT * FROM changes(:'answer');

-- An update that changes nothing is no change; neither is one that was rolled back
UPDATE pull_note SET body = body;
BEGIN;
UPDATE pull_note SET body = 'never';
ROLLBACK;
:next
SELECT * FROM changes(:'answer');

-- An older token still gets everything since then, once
SELECT :'before' AS token \gset
:next
SELECT * FROM changes(:'answer');

-- Soft deletes: a mark is a deletion, clearing it sends the row again
CREATE TABLE pull_soft (id int PRIMARY KEY, body text, gone timestamptz);
SELECT sync.enable('pull_soft', deleted_at => 'gone');
INSERT INTO pull_soft VALUES (1, 'a'), (2, 'b');
:next
DELETE FROM pull_soft WHERE id = 1;
UPDATE pull_soft SET gone = '2026-01-01' WHERE id = 2;
:next
SELECT * FROM changes(:'answer');
UPDATE pull_soft SET gone = NULL WHERE id = 2;
:next
SELECT * FROM changes(:'answer');
UPDATE pull_soft SET body = 'changed while marked' WHERE id = 1;
:next
SELECT * FROM changes(:'answer');

-- Who changed it and when; origin marks what the asking device pushed itself
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO pull_note VALUES (6, 'by sql');
DELETE FROM pull_note WHERE id = 40;
SELECT json_array_length(sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"pull_note","entity_id":"7","data":{"body":"by d"}}]}')
                         -> 'processed');
SELECT answer FROM sync.pull('{"device_id":"d"}') AS answer \gset
SELECT c ->> 'entity_id' AS entity_id, c ->> 'changed_by' AS changed_by, now() - (c ->> 'timestamp')::timestamptz BETWEEN '0' AND '1 hour' AS recent, c -> 'origin' AS origin
FROM json_array_elements(:'answer'::json -> 'changes') c WHERE c ->> 'entity_type' = 'pull_note';
SELECT count(c -> 'origin') FROM json_array_elements(sync.pull('{"device_id":"other"}') -> 'changes') c;
SELECT count(c -> 'origin') FROM json_array_elements(sync.pull('{}') -> 'changes') c;
SET request.jwt.claims = '';

-- Right after a WAL switch there is no record yet to flush up to
SELECT pg_switch_wal() IS NOT NULL AS switched;
:next
SELECT * FROM rest(:'answer');
INSERT INTO pull_late VALUES ('wal');
SELECT pg_switch_wal() IS NOT NULL AS switched;
:next
SELECT * FROM changes(:'answer');

-- Refused after a write in the same transaction, whose own later changes it would miss; allowed in one that only reads
BEGIN;
INSERT INTO pull_late VALUES ('own');
SELECT sync.pull('{}');
\echo :LAST_ERROR_SQLSTATE
ROLLBACK;
BEGIN;
SAVEPOINT one;
INSERT INTO pull_late VALUES ('own');
ROLLBACK TO one;
SELECT sync.pull('{}');
ROLLBACK;
BEGIN READ ONLY;
SELECT json_array_length(sync.pull('{"tables":["pull_late"]}') -> 'changes');
SELECT json_array_length(sync.pull('{"tables":["pull_late"]}') -> 'changes');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT json_array_length(sync.pull('{"tables":["pull_late"]}') -> 'changes');
COMMIT;

-- Requests that are no requests
SELECT sync.pull(NULL);
SELECT sync.pull('[]');
SELECT sync.pull('"all"');
SELECT sync.pull('{"sync_token":5}');
SELECT sync.pull('{"tables":"pull_note"}');
SELECT sync.pull('{"tables":{"pull_note":1}}');
SELECT sync.pull('{"tables":["pull_nowhere"]}');
SELECT sync.pull('{"tables":["pull_note",7]}');
SELECT sync.pull('{"priority":0}');
SELECT sync.pull('{"priority":"high"}');
SELECT sync.pull('{"limit":0}');
SELECT sync.pull('{"limit":10001}');
SELECT sync.pull('{"limit":1.5}');
SELECT sync.pull('{"device_id":7}');
SELECT sync.pull('{"device_id":""}');
\echo :LAST_ERROR_SQLSTATE
-- members without a value, unknown ones, and last_pull_at, which never chooses rows
SELECT json_array_length(sync.pull('{"device_id":null,"sync_token":null,"tables":null,"limit":null,"priority":null,"later":1,"last_pull_at":"2030-01-01"}')
                         -> 'changes') > 3 AS all_rows;
SELECT json_array_length(sync.pull('{"tables":[]}') -> 'changes');

-- n for clients that want a number: at most 2^53, and as input it starts anew
SELECT (sync.pull('{}') ->> 'n')::numeric BETWEEN 0 AND 9007199254740992 AS fits;
SELECT json_array_length(answer -> 'changes') > 3 AS all_rows, answer ->> 'reset' AS reset FROM sync.pull('{"n":123}') AS answer;

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE pull_note, pull_late, pull_soft;
DROP FUNCTION changes(json), rest(json);

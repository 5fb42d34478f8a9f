-- lost_key.sql - a synced table that lost its primary key made every pull fail; now it alone is left out, says why, and comes back with a key.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE lost_note (id int PRIMARY KEY, body text);
CREATE TABLE kept_note (id int PRIMARY KEY);
INSERT INTO lost_note VALUES (1, 'one');
INSERT INTO kept_note VALUES (1);
SELECT sync.enable('lost_note');
SELECT sync.enable('kept_note');
SELECT sync.pull('{}') ->> 'next_sync_token' AS token \gset
SELECT sync.pull('{"tables":["kept_note"]}') ->> 'next_sync_token' AS kept \gset

ALTER TABLE lost_note DROP CONSTRAINT lost_note_pkey;
SELECT c ->> 'entity_type' AS sent FROM json_array_elements(sync.pull('{}') -> 'changes') c;
SELECT sync.pull('{"tables":["lost_note","kept_note"]}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.pull(jsonb_build_object('tables', '{kept_note}'::text[], 'sync_token', :'kept')) -> 'reset' AS reset;
SELECT sync.session_state('{}') -> 'tables' -> 0 ->> 'full' AS full, json_array_length(sync.session_state('{}') -> 'tables') AS tables;
SELECT t ->> 'table' AS fed FROM json_array_elements(sync.feed_tables() -> 'tables') t WHERE t ->> 'schema' = 'public';
SET request.jwt.claims = '{"sub":"ada"}';
SELECT v ->> 'entity_type' AS entity_type, v ->> 'status' AS status FROM json_array_elements(sync.push('{"device_id":"lost key","changes":[
  {"queue_id":"1","operation":"create","entity_type":"kept_note","entity_id":"2","data":{}},
  {"queue_id":"2","operation":"update","entity_type":"lost_note","entity_id":"1","data":{"body":"x"}}]}') -> 'processed') v;
SET request.jwt.claims = '';
-- The application writes on
INSERT INTO lost_note VALUES (2, 'two');
UPDATE lost_note SET body = 'uno' WHERE id = 1;
DELETE FROM lost_note WHERE id = 2;
INSERT INTO lost_note VALUES (3, 'three');

-- With a key again, another one even, clients start it anew
ALTER TABLE lost_note ADD PRIMARY KEY (id, body);
SELECT sync.pull(jsonb_build_object('sync_token', :'token')) AS a \gset
SELECT c ->> 'entity_type' AS entity_type, c ->> 'entity_id' AS entity_id, c ->> 'data' AS data FROM json_array_elements(:'a'::json -> 'changes') c;
SELECT :'a'::json -> 'reset' AS reset;
UPDATE lost_note SET body = 'tre' WHERE id = 3;
SELECT entity_id, version, reason FROM sync.tombstone;
SELECT sync.disable_all();
DROP TABLE lost_note, kept_note;

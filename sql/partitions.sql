-- partitions.sql - a partitioned table is synced as one: rows move between partitions and go on counting, and every partition is watched.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION changes(answer json) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_id', 'v' || (c ->> 'server_version'), c ->> 'data', c ->> 'scope', c ->> 'reason')
    FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n)
    UNION ALL SELECT 'reset ' || (answer ->> 'reset') WHERE answer -> 'reset' IS NOT NULL $$;
-- Partitions whose columns stand in another order, and have dropped ones
CREATE TABLE parted (id int, region text, body text, team int, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE parted_eu (team int, gone int, region text NOT NULL, body text, id int NOT NULL);
ALTER TABLE parted_eu DROP gone;
ALTER TABLE parted ATTACH PARTITION parted_eu FOR VALUES IN ('eu');
CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE parted_us_low PARTITION OF parted_us FOR VALUES FROM (0) TO (100);
INSERT INTO parted VALUES (1, 'eu', 'one', 1), (2, 'us', 'two', 1);
SELECT sync.create_scope('parted teams', 'SELECT 1');
SELECT sync.enable('parted_eu');
SELECT sync.enable('parted_us');
SELECT sync.enable('parted', scope => 'parted teams', scope_column => 'team');
SELECT tgrelid::regclass, string_agg(tgname || ' ' || tgenabled::text, ', ' ORDER BY tgname COLLATE "C") FROM pg_trigger
WHERE tgname LIKE '~sync%' AND tgrelid::regclass::text NOT LIKE 'sync.%' GROUP BY 1 ORDER BY 1;
SELECT t -> 'partitions' AS partitions FROM json_array_elements(sync.feed_tables() -> 'tables') t WHERE t ->> 'table' = 'parted';
SELECT sync.pull('{}') AS a0 \gset
SELECT * FROM changes(:'a0');

-- Writes land as in one table
INSERT INTO parted VALUES (3, 'us', 'three', 1);
UPDATE parted SET body = 'uno' WHERE id = 1;
UPDATE parted_us_low SET body = 'dos' WHERE id = 2;
SELECT sync.pull(jsonb_build_object('sync_token', :'a0'::json ->> 'next_sync_token')) AS a1 \gset
SELECT * FROM changes(:'a1');

-- A row that moves between partitions goes on counting; the key it left is reported, as the region is part of it
UPDATE parted SET region = 'us', body = 'moved' WHERE id = 1;
SELECT tableoid::regclass, id, region, body, sync_version FROM parted ORDER BY id;
SELECT entity_id, version, reason FROM sync.tombstone ORDER BY id;
SELECT sync.pull(jsonb_build_object('sync_token', :'a1'::json ->> 'next_sync_token')) AS a2 \gset
SELECT * FROM changes(:'a2');
DELETE FROM sync.tombstone;

-- With soft deletes, though a trigger of the application writes other partitioned rows in the middle of the move
CREATE TABLE moving (id int PRIMARY KEY, body text, team int) PARTITION BY RANGE (id);
CREATE TABLE moving_low PARTITION OF moving FOR VALUES FROM (0) TO (100);
CREATE TABLE moving_high PARTITION OF moving FOR VALUES FROM (100) TO (200);
CREATE FUNCTION moving_busy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN UPDATE parted SET body = body || '!' WHERE id = 3; RETURN old; END $$;
CREATE TRIGGER busy BEFORE DELETE ON moving FOR EACH ROW EXECUTE FUNCTION moving_busy();
INSERT INTO moving VALUES (1, 'one', 1), (2, 'two', 1);
SELECT sync.enable('moving', scope => 'parted teams', scope_column => 'team', deletes => 'soft');
SELECT sync.pull('{"tables":["moving"]}') AS m0 \gset
UPDATE moving SET id = id + 100;
SELECT tableoid::regclass, id, body, deleted_at IS NOT NULL AS marked, sync_version FROM moving ORDER BY id;
SELECT entity_id, version, reason FROM sync.tombstone WHERE table_id = (SELECT max(id) FROM sync.synced_table) ORDER BY id;
SELECT * FROM changes(sync.pull(jsonb_build_object('tables', '{moving}'::text[], 'sync_token', :'m0'::json ->> 'next_sync_token')));
-- A failed move leaves nothing behind that a later deletion could take for one
BEGIN;
SAVEPOINT s;
UPDATE moving SET id = 1000 WHERE id = 101;
ROLLBACK TO s;
DELETE FROM moving WHERE id = 101;
COMMIT;
-- Nor is a row updated, deleted and inserted again in one transaction a move: what it says of its version counts for nothing
BEGIN;
UPDATE moving SET body = 'zwei' WHERE id = 102;
UPDATE parted SET body = 'drei' WHERE id = 3;
DELETE FROM parted WHERE id = 3;
INSERT INTO parted (id, region, body, team, sync_version) VALUES (3, 'us', 'again', 1, 1) RETURNING sync_version;
COMMIT;
SELECT id, deleted_at IS NOT NULL AS marked, sync_version FROM moving ORDER BY id;

-- Pushed changes find rows wherever they are
SET request.jwt.claims = '{"sub":"ada"}';
SELECT v ->> 'status' AS status, v ->> 'server_version' AS version, v -> 'data' AS data
FROM json_array_elements(sync.push('{"device_id":"parted","changes":[
  {"queue_id":"1","operation":"update","entity_type":"parted","entity_id":"[\"3\",\"us\"]","data":{"body":"pushed"},"local_version":1},
  {"queue_id":"2","operation":"create","entity_type":"parted","entity_id":"[\"9\",\"eu\"]","data":{"body":"new","team":1}},
  {"queue_id":"3","operation":"update","entity_type":"parted","entity_id":"[\"9\",\"eu\"]","data":{"region":"us"},"local_version":1},
  {"queue_id":"4","operation":"delete","entity_type":"parted","entity_id":"[\"2\",\"us\"]"}]}') -> 'processed') v;
SET request.jwt.claims = '';
SELECT entity_id, version, reason FROM sync.tombstone ORDER BY id DESC LIMIT 1;

-- A new partition is watched from its first row on, and nobody starts anew for it
SELECT sync.pull('{"tables":["parted"]}') AS p0 \gset
CREATE TABLE parted_us_high PARTITION OF parted_us FOR VALUES FROM (100) TO (200);
INSERT INTO parted VALUES (150, 'us', 'high', 1);
SELECT sync.pull(jsonb_build_object('tables', '{parted}'::text[], 'sync_token', :'p0'::json ->> 'next_sync_token')) AS p1 \gset
SELECT * FROM changes(:'p1');
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'parted_us_high'::regclass AND tgname LIKE '~sync%' ORDER BY tgname COLLATE "C";
-- TRUNCATE of one partition, attaching rows and taking them away: everybody starts anew
TRUNCATE parted_us_high;
SELECT sync.pull(jsonb_build_object('tables', '{parted}'::text[], 'sync_token', :'p1'::json ->> 'next_sync_token')) AS p2 \gset
SELECT * FROM changes(:'p2');
CREATE TABLE parted_asia (LIKE parted INCLUDING ALL);
INSERT INTO parted_asia (id, region, team) VALUES (20, 'asia', 1);
ALTER TABLE parted ATTACH PARTITION parted_asia FOR VALUES IN ('asia');
SELECT sync.pull(jsonb_build_object('tables', '{parted}'::text[], 'sync_token', :'p2'::json ->> 'next_sync_token')) AS p3 \gset
SELECT * FROM changes(:'p3') WHERE changes NOT LIKE '%"us"%';
UPDATE parted SET body = 'a' WHERE id = 20 RETURNING sync_version;
ALTER TABLE parted DETACH PARTITION parted_asia;
TRUNCATE parted_asia;
INSERT INTO parted_asia (id, region) VALUES (21, 'asia');
SELECT * FROM changes(sync.pull(jsonb_build_object('tables', '{parted}'::text[], 'sync_token', :'p3'::json ->> 'next_sync_token'))) WHERE changes LIKE '%asia%' OR changes LIKE 'reset%';
SELECT sync.pull('{"tables":["parted"]}') AS p4 \gset
DROP TABLE parted_us_low;
SELECT * FROM changes(sync.pull(jsonb_build_object('tables', '{parted}'::text[], 'sync_token', :'p4'::json ->> 'next_sync_token')));
-- A partition that is in no WAL breaks the table until it is gone
CREATE UNLOGGED TABLE parted_us_none PARTITION OF parted_us FOR VALUES FROM (300) TO (400);
SELECT sync.pull('{"tables":["parted"]}');
DROP TABLE parted_us_none;
SELECT json_array_length(sync.pull('{"tables":["parted"]}') -> 'changes') AS rows;

SELECT sync.disable_all();
SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE tgname LIKE '~sync%' AND tgrelid <> 'parted_asia'::regclass AND tgrelid::regclass::text NOT LIKE 'sync.%';
SELECT attrelid::regclass, attname FROM pg_attribute WHERE attname LIKE 'sync\_%' AND attrelid IN (SELECT oid FROM pg_class WHERE relname ~ '^(parted|moving)' AND relname !~ 'asia');
SELECT sync.drop_scope('parted teams');
DROP TABLE parted, parted_asia, moving;
DROP FUNCTION changes(json), moving_busy();

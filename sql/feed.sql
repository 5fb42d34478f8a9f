-- feed.sql - what the streamer is told: tables and the kinds of their columns, rows as pull renders them, snapshots in step with WAL.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE feed_member (who text, team int);
CREATE TABLE feed_note (id bigint, gone_column int, part text, body text, secret text, f float8, team int, gone timestamptz, tags int[], PRIMARY KEY (part, id));
ALTER TABLE feed_note DROP COLUMN gone_column;
SELECT sync.create_scope('feed scope', 'SELECT team FROM public.feed_member WHERE who = sync.user_id()', '{public.feed_member.who}');
SELECT sync.enable('feed_note', scope => 'feed scope', scope_column => 'team', deleted_at => 'gone', priority => 1, entity_type => 'note');
INSERT INTO feed_note (id, part, body, f, team, tags) VALUES (1, 'a', 'b', 'NaN', 1, '{1,NULL}'), (2, 'a', NULL, 0.5, NULL, NULL);

-- Tables: names, key in its order, user columns in attnum order with their kinds; the registry
SELECT regexp_replace(jsonb_pretty(t.value - 'id'), '"hash": \d+', '"hash": 0', 'g') AS feed_table FROM jsonb_array_elements(sync.feed_tables()::jsonb -> 'tables') t WHERE (t.value ->> 'id')::int >= 100;
SELECT (t ->> 'id')::int = s.id AS same_id FROM json_array_elements(sync.feed_tables() -> 'tables') t, sync.synced_table s WHERE s.id >= 100 AND (t ->> 'id')::int >= 100;
SELECT f -> 'registry' AS registry, f -> 'tombstone' AS tombstone, f ->> 'timeline' AS timeline,
       (f ->> 'incarnation')::bigint = incarnation AS same_incarnation, (f ->> 'system_id')::numeric = system_identifier AS same_system
FROM sync.feed_tables() f, sync.instance, pg_control_system();

-- Rows: the change that pull sends, and the transaction of its stamp; what is not there or marked is left out
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO feed_member VALUES ('ada', 1);
SELECT id AS table_id FROM sync.synced_table WHERE id >= 100 \gset
SELECT r ->> 'entity_id' AS entity_id, (r ->> 'xid')::xid8 = n.sync_xid AS same_xid,
       (r -> 'change')::text = (sync.pull('{}') -> 'changes' -> 0)::text AS same_as_pull, r -> 'change' ->> 'scope' AS scope, r -> 'change' -> 'data' AS data
FROM json_array_elements(sync.feed_rows(:table_id, ARRAY['["a","1"]', '["a","77"]', NULL])) r, feed_note n WHERE n.id = 1;
DELETE FROM feed_note WHERE id = 1;
SELECT json_array_length(sync.feed_rows(:table_id, ARRAY['["a","1"]', '["a","2"]']));
SELECT json_array_length(sync.feed_rows(:table_id, '{}'));
SELECT json_array_length(sync.feed_rows(0, ARRAY['1']));
SELECT sync.feed_rows(NULL, '{}') IS NULL;

-- A checkpoint's snapshot is the current one, and its message holds the number only
SELECT sync.checkpoint(-5) = pg_current_snapshot()::text AS same;
SELECT split_part(sync.checkpoint(1), ':', 1) = pg_snapshot_xmin(pg_current_snapshot())::text AS same_xmin;
SELECT count(*) = 1 AS one_slot FROM pg_create_logical_replication_slot('sync_feed_test', 'test_decoding', true);
SELECT sync.checkpoint(42) IS NOT NULL AS made;
SELECT data FROM pg_logical_slot_peek_changes('sync_feed_test', NULL, NULL) WHERE data LIKE 'message%';
SELECT pg_drop_replication_slot('sync_feed_test');

-- What a gap hid: rows and deletions since a snapshot, tombstones first, with their own transactions; a row that came and went is a deletion only
INSERT INTO feed_note (id, part, body, team) SELECT i, 'gap', 'before', 1 FROM generate_series(1, 4) i;
SELECT pg_current_snapshot() AS before \gset
SELECT sync.feed_changes(:'before')::jsonb -> 'changes' AS nothing;
UPDATE feed_note SET body = 'after' WHERE part = 'gap' AND id = 1;
DELETE FROM feed_note WHERE part = 'gap' AND id = 2;
UPDATE feed_note SET team = 2 WHERE part = 'gap' AND id = 3;
INSERT INTO feed_note (id, part, team) VALUES (5, 'gap', 1);
DELETE FROM feed_note WHERE part = 'gap' AND id = 5;
SELECT c -> 'change' ->> 'operation' AS operation, c -> 'change' ->> 'entity_id' AS entity_id, c -> 'change' ->> 'scope' AS scope, c -> 'change' ->> 'reason' AS reason,
       c -> 'change' ->> 'server_version' AS version, (c ->> 'xid')::xid8 >= pg_snapshot_xmax(:'before') AS is_new, (c ->> 'table')::int = :table_id AS same_table
FROM json_array_elements(sync.feed_changes(:'before') -> 'changes') WITH ORDINALITY e (c, n) ORDER BY (c -> 'change' -> 'reason') IS NULL, n;
SELECT c -> 'change' ->> 'entity_id' AS "and what ran then" FROM json_array_elements(sync.feed_changes(
    (SELECT format('%s:%s:%s', sync_xid, pg_snapshot_xmax(pg_current_snapshot()), sync_xid) FROM feed_note WHERE part = 'gap' AND id = 4)) -> 'changes') c
WHERE c -> 'change' ->> 'entity_id' LIKE '%"4"%';
SELECT f -> 'committed' = jsonb_build_array(pg_snapshot_xmin(:'before')::text) AS committed, f ->> 'snapshot' = pg_current_snapshot()::text AS same_snapshot
FROM (SELECT sync.feed_changes(format('%1$s:%2$s:%1$s', pg_snapshot_xmin(:'before'), pg_snapshot_xmin(:'before')::text::bigint + 1))::jsonb) c (f);

-- What rows cannot tell is said: too much, a table that started anew, purged tombstones, a snapshot of another history
SELECT sync.feed_changes(:'before', 3) -> 'obstacle' AS obstacle;
SELECT sync.feed_changes(:'before', 3, 10) -> 'obstacle' AS obstacle;
SELECT sync.feed_changes('900000000:900000000:') -> 'obstacle' AS obstacle;
BEGIN;
UPDATE sync.instance SET horizon = pg_snapshot_xmin(:'before');
SELECT sync.feed_changes(:'before') -> 'obstacle' AS obstacle;
ROLLBACK;
TRUNCATE feed_note;
SELECT sync.feed_changes(:'before') -> 'obstacle' AS obstacle;
SELECT sync.feed_changes('rubbish');
SELECT sync.feed_changes('1:1:', -1);

-- Kinds of types, domains and arrays
SELECT type, sync.column_kind(type) AS kind FROM unnest('{int2,int4,int8,oid,float4,float8,numeric,bool,json,jsonb,bytea,timestamp,timestamptz,date,time,interval,uuid,text,varchar,bpchar,
    name,money,xid8,inet,int4[],text[],int4range,pg_class,jsonpath,bit}'::regtype[]) type;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE name = 'feed scope';
DROP TABLE feed_note, feed_member;

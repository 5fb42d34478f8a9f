-- watch.sql - a transaction that writes to a watched table says whose scopes it may have changed, once; the triggers follow scopes, DDL and partitions.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION watch_messages() RETURNS SETOF text LANGUAGE sql AS
$$ SELECT substr(data, position('{' in data)) FROM pg_logical_slot_get_changes('sync_watch_test', NULL, NULL) WHERE data LIKE 'message: transactional: 1 prefix: sync%' $$;
CREATE VIEW watch_triggers AS
SELECT tgrelid::regclass AS "table", tgname, tgenabled, regexp_replace(pg_get_triggerdef(oid), '.*FUNCTION ', '') AS call FROM pg_trigger WHERE tgfoid = 'sync.watched'::regproc;
CREATE TABLE watch_member (user_id text, invited_by text, team int);
CREATE TABLE watch_team (id int PRIMARY KEY, open boolean);

-- Entries: a column of a table, a table alone; nothing else
SELECT sync.create_scope('watch a', 'SELECT 1', '{watch_member.user_id}');
SELECT sync.create_scope('watch b', 'SELECT 1', '{public.watch_member.invited_by, public.watch_team}');
SELECT sync.create_scope('watch c', 'SELECT 1', '{watch_member.nothing}');
SELECT sync.create_scope('watch c', 'SELECT 1', '{no_table}');
SELECT sync.create_scope('watch c', 'SELECT 1', '{watch_triggers}');
SELECT * FROM watch_triggers ORDER BY "table"::text, tgname COLLATE "C";

SELECT count(*) AS slots FROM pg_create_logical_replication_slot('sync_watch_test', 'test_decoding', true);

-- Users of OLD and NEW, each once; NULL is nobody; what was rolled back to a savepoint may be named too
BEGIN;
INSERT INTO watch_member VALUES ('ada', 'ben', 1), ('cleo', NULL, 1);
UPDATE watch_member SET user_id = 'd"ora' WHERE user_id = 'cleo';
COMMIT;
SELECT watch_messages();
DELETE FROM watch_member WHERE user_id = 'ada';
SELECT watch_messages();
BEGIN;
DELETE FROM watch_member;
ROLLBACK;
INSERT INTO watch_member VALUES (NULL, NULL, 1);
SELECT count(*) AS messages FROM watch_messages();

-- Everyone: a table watched as a whole, TRUNCATE, more than 100 users, a column that is gone
INSERT INTO watch_team VALUES (1, true);
TRUNCATE watch_team;
INSERT INTO watch_member SELECT 'user ' || i FROM generate_series(1, 101) i;
SELECT watch_messages();
INSERT INTO watch_member SELECT 'user ' || i FROM generate_series(1, 100) i;
SELECT json_array_length(m::json -> 'users') AS users FROM watch_messages() m;
ALTER TABLE watch_member RENAME user_id TO who;
INSERT INTO watch_member VALUES ('eve');
SELECT watch_messages();
ALTER TABLE watch_member RENAME who TO user_id;

-- Writers that fire no ordinary trigger are seen; ENABLE TRIGGER ALL demotes nothing for long
ALTER TABLE watch_member DISABLE TRIGGER ALL;
ALTER TABLE watch_member ENABLE TRIGGER ALL;
SET session_replication_role = replica;
INSERT INTO watch_member VALUES ('finn');
RESET session_replication_role;
SELECT watch_messages();

-- Triggers go when no scope watches; a table made again has them again
SELECT sync.drop_scope('watch b');
SELECT * FROM watch_triggers ORDER BY "table"::text, tgname COLLATE "C";
DROP TABLE watch_member;
CREATE TABLE watch_member (user_id text, team int) PARTITION BY LIST (team);
CREATE TABLE watch_member_1 PARTITION OF watch_member FOR VALUES IN (1);
CREATE TABLE watch_member_2 (LIKE watch_member);
ALTER TABLE watch_member ATTACH PARTITION watch_member_2 FOR VALUES IN (2);
SELECT * FROM watch_triggers ORDER BY "table"::text, tgname COLLATE "C";
INSERT INTO watch_member VALUES ('ada', 1);
UPDATE watch_member SET team = 2;
TRUNCATE watch_member_2;
SELECT watch_messages();
SELECT sync.disable_all();
SELECT count(*) AS triggers FROM watch_triggers;

-- Cleaning up
SELECT pg_drop_replication_slot('sync_watch_test');
SELECT sync.drop_scope('watch a');
DROP TABLE watch_member, watch_team;
DROP VIEW watch_triggers;
DROP FUNCTION watch_messages();

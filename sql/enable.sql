-- enable.sql - sync.enable() refuses what cannot be synced, each with its reason and cure, and takes all other tables without a rewrite.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- No key
CREATE TABLE enable_keyless (id int, body text);
SELECT sync.enable('enable_keyless');
DROP TABLE enable_keyless;

-- Views, materialized views, sequences
CREATE TABLE enable_base (id int PRIMARY KEY, body text);
CREATE VIEW enable_view AS SELECT * FROM enable_base;
CREATE MATERIALIZED VIEW enable_matview AS SELECT * FROM enable_base;
CREATE SEQUENCE enable_sequence;
SELECT sync.enable('enable_view');
SELECT sync.enable('enable_matview');
SELECT sync.enable('enable_sequence');
DROP SEQUENCE enable_sequence;
DROP MATERIALIZED VIEW enable_matview;
DROP VIEW enable_view;

-- Partitioned tables and partitions
CREATE TABLE enable_parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE enable_part PARTITION OF enable_parted FOR VALUES FROM (0) TO (10);
SELECT sync.enable('enable_part');
CREATE UNLOGGED TABLE enable_unlogged PARTITION OF enable_parted FOR VALUES FROM (10) TO (20);
SELECT sync.enable('enable_parted');
DROP TABLE enable_parted;

-- Tables without WAL
CREATE UNLOGGED TABLE enable_unlogged (id int PRIMARY KEY);
CREATE TEMPORARY TABLE enable_temporary (id int PRIMARY KEY);
SELECT sync.enable('enable_unlogged');
SELECT sync.enable('enable_temporary');
DROP TABLE enable_unlogged, enable_temporary;

-- Foreign tables
CREATE FOREIGN DATA WRAPPER enable_wrapper;
CREATE SERVER enable_server FOREIGN DATA WRAPPER enable_wrapper;
CREATE FOREIGN TABLE enable_foreign (id int) SERVER enable_server;
SELECT sync.enable('enable_foreign');
DROP FOREIGN DATA WRAPPER enable_wrapper CASCADE;

-- Inheritance, parent and child
CREATE TABLE enable_child (PRIMARY KEY (id)) INHERITS (enable_base);
SELECT sync.enable('enable_base');
SELECT sync.enable('enable_child');
DROP TABLE enable_child;

-- A replica identity without a key, a key that is generated, tables of the system
ALTER TABLE enable_base REPLICA IDENTITY NOTHING;
SELECT sync.enable('enable_base');
ALTER TABLE enable_base REPLICA IDENTITY DEFAULT;
CREATE TABLE enable_generated (a int, b int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY);
SELECT sync.enable('enable_generated');
DROP TABLE enable_generated;
SELECT sync.enable('pg_catalog.pg_class');
SELECT sync.enable('sync.tombstone');
SELECT sync.enable(NULL);

-- Policies that look at other tables, without a scope that says the same; which policies are row-local is in test row_local
CREATE TABLE enable_member (id int PRIMARY KEY);
CREATE POLICY enable_members ON enable_base USING (id IN (SELECT m.id FROM enable_member m));
ALTER TABLE enable_base ENABLE ROW LEVEL SECURITY;
SELECT sync.enable('enable_base');
SELECT sync.enable('enable_base', policy_is_scope => true);
SELECT sync.enable('enable_base', policy_is_scope => true, verify => true);
ALTER TABLE enable_base DISABLE ROW LEVEL SECURITY;
DROP POLICY enable_members ON enable_base;
DROP TABLE enable_member;

-- Scopes: bad declarations, an unknown one, half of the pair
SELECT sync.create_scope('', 'SELECT 1');
SELECT sync.create_scope('enable scope', 'DELETE FROM enable_base');
SELECT sync.create_scope('enable scope', 'SELECT 1', '{public.enable_base.nowhere}');
SELECT sync.create_scope('enable scope', 'SELECT 1', '{public.enable_base.id}');
SELECT sync.enable('enable_base', scope => 'nobody''s scope', scope_column => 'id');
SELECT sync.enable('enable_base', scope => 'enable scope');
SELECT sync.enable('enable_base', scope_column => 'id');

-- Columns that are not there, or of another type
SELECT sync.enable('enable_base', scope => 'enable scope', scope_column => 'team_id');
SELECT sync.enable('enable_base', updated_at => 'changed');
SELECT sync.enable('enable_base', deleted_at => 'gone');
SELECT sync.enable('enable_base', updated_at => 'body');
SELECT sync.enable('enable_base', deleted_at => 'ctid');

-- Values that options do not take
SELECT sync.enable('enable_base', rule => 'coin');
SELECT sync.enable('enable_base', rule => NULL);
SELECT sync.enable('enable_base', delete_rule => 'coin');
SELECT sync.enable('enable_base', deletes => 'gentle');
SELECT sync.enable('enable_base', priority => 0);
SELECT sync.enable('enable_base', priority => 4);

SELECT sync.enable('enable_base', edit_window => '-1 hour');
SELECT sync.enable('enable_base', delete_rule => 'edit_wins');
SELECT sync.enable('enable_base', via => 'body', scope => 'enable scope', scope_column => 'id');
SELECT sync.enable('enable_base', via => 'body');

-- It says what it did; the time is in the detail
\set VERBOSITY terse
SET client_min_messages = notice;
SELECT sync.enable('enable_base');
SELECT sync.disable('enable_base');
SELECT sync.enable('enable_base', rule => 'lww', deletes => 'soft', delete_rule => 'edit_wins', priority => 1, history => true, edit_window => '1 hour',
                   enforce_locks => true, anonymous => true, entity_type => 'alias', scope => 'enable scope', scope_column => 'id');
SELECT rule, deletes, delete_rule, priority, history, edit_window, enforce_locks, anonymous, policy_is_scope, verify, deleted_at FROM sync.synced_table WHERE id >= 100;
SELECT sync.disable('enable_base');
SET client_min_messages = warning;
\set VERBOSITY default

-- Only owners; the right to call it is granted separately
CREATE ROLE "enable o'role";
SET ROLE "enable o'role";
SELECT sync.enable('enable_base');
RESET ROLE;
GRANT EXECUTE ON FUNCTION sync.enable, sync.disable TO "enable o'role";
SET ROLE "enable o'role";
SELECT sync.enable('enable_base');
RESET ROLE;
ALTER TABLE enable_base OWNER TO "enable o'role";
SET ROLE "enable o'role";
SELECT sync.enable('enable_base');
SELECT sync.disable('enable_base');
RESET ROLE;
ALTER TABLE enable_base OWNER TO CURRENT_USER;
SELECT sync.enable('enable_base');
SET ROLE "enable o'role";
SELECT sync.disable('enable_base');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION sync.enable, sync.disable FROM "enable o'role";

-- Nothing of the refusals is left; twice is refused; an alias is used once
SELECT relation, entity_type, scope, rule, deletes, priority FROM sync.tables();
SELECT sync.enable('enable_base');
CREATE TABLE enable_other (id int PRIMARY KEY);
SELECT sync.enable('enable_other', entity_type => 'enable_base');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'enable_other'::regclass;
SELECT sync.disable('enable_base');
SELECT sync.disable('enable_base');
DROP TABLE enable_other;

-- Existing rows are not rewritten, and start at version 1 with nobody as their user
INSERT INTO enable_base SELECT g, 'row ' || g FROM generate_series(1, 1000) g;
SELECT pg_relation_filenode('enable_base') AS filenode \gset
SELECT sync.enable('enable_base');
SELECT pg_relation_filenode('enable_base') = :filenode AS same_file,
       count(*), min(sync_version), max(sync_version), count(DISTINCT sync_xid) AS xids, count(sync_by) AS users, count(sync_clock) AS clocks
FROM enable_base;
SELECT json_array_length(sync.pull('{"tables":["enable_base"]}')->'changes') AS sent;
SELECT sync.disable('enable_base');
DROP TABLE enable_base;

-- Keys of several columns and types, in the key's order; names that need quotes; a schema outside public; an alias; priorities
CREATE SCHEMA "Enable Schema";
CREATE TABLE "Enable Schema"."Odd "" name" ("B b" date, note text, "a'" uuid, c text, PRIMARY KEY (c, "a'", "B b"));
CREATE TABLE enable_alias (id uuid PRIMARY KEY);
CREATE TABLE enable_soft (id timestamptz PRIMARY KEY);
INSERT INTO "Enable Schema"."Odd "" name" VALUES ('2026-03-01', 'n', '00000000-0000-0000-0000-00000000000a', 'k "1"');
INSERT INTO enable_alias VALUES ('00000000-0000-0000-0000-00000000000b');
INSERT INTO enable_soft VALUES ('2026-03-01 12:00+02');
SELECT sync.enable('"Enable Schema"."Odd "" name"', priority => 3);
SELECT sync.enable('enable_alias', entity_type => 'alias', priority => 1, scope => 'enable scope', scope_column => 'id');
SELECT sync.enable('enable_soft', deletes => 'soft', rule => 'lww');
SELECT * FROM sync.tables();
SELECT c ->> 'entity_type' AS entity_type, c ->> 'entity_id' AS entity_id, c ->> 'data' AS data
FROM json_array_elements(sync.pull('{"tables":["Enable Schema.Odd \" name","enable_soft"]}') -> 'changes') c;
UPDATE "Enable Schema"."Odd "" name" SET c = c || '2';
DELETE FROM "Enable Schema"."Odd "" name";
SELECT entity_id, version, reason FROM sync.tombstone
WHERE table_id = (SELECT id FROM sync.synced_table WHERE relation = '"Enable Schema"."Odd "" name"'::regclass) ORDER BY id;

-- Names so long that what sync adds to them has to be cut
CREATE TABLE enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_1 (id int PRIMARY KEY);
CREATE TABLE enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_2 (id int PRIMARY KEY);
SELECT sync.enable('enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_1');
SELECT sync.enable('enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_2');

-- Cleaning up
SELECT sync.disable_all();
SELECT count(*) FROM sync.tables();
DROP TABLE enable_alias, enable_soft, enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_1,
    enable_a_table_with_a_name_that_is_as_long_as_names_ever_get_2;
DROP SCHEMA "Enable Schema" CASCADE;
DELETE FROM sync.scope WHERE name = 'enable scope';
DROP ROLE "enable o'role";

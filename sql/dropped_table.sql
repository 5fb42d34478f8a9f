-- dropped_table.sql - a table that is dropped while it is synced stands in nobody's way afterwards.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE dropped_note (id int PRIMARY KEY);
CREATE TABLE dropped_other (id int PRIMARY KEY);
INSERT INTO dropped_other VALUES (1);
SELECT sync.enable('dropped_note');
SELECT sync.enable('dropped_other');
SELECT sync.pull('{}') ->> 'next_sync_token' AS token \gset
DROP TABLE dropped_note;

-- Others go on, also with a token that covered the table
INSERT INTO dropped_other VALUES (2);
SELECT c ->> 'entity_id' AS entity_id FROM json_array_elements(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') c;

-- A new table of the same name can be enabled
CREATE TABLE dropped_note (id int PRIMARY KEY);
SELECT sync.enable('dropped_note');
SELECT relation, entity_type FROM sync.tables();

-- disable_all() gets through
DROP TABLE dropped_note;
SELECT sync.disable_all();
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'dropped_other'::regclass;

-- Cleaning up, whatever came of the above
DELETE FROM sync.synced_table t WHERE NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.relation);
SELECT sync.disable_all();
DROP TABLE dropped_other;

-- added_columns.sql - what README says of statements that meet the added columns.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE TABLE added (id int PRIMARY KEY, body text);
CREATE TABLE added_other (id int PRIMARY KEY, body text);
INSERT INTO added_other VALUES (10, 'ten');
CREATE VIEW added_view AS SELECT * FROM added;
SELECT sync.enable('added');

-- What works as before
INSERT INTO added VALUES (1, 'one');
INSERT INTO added (id, body) SELECT * FROM added_other;
INSERT INTO added VALUES (1, 'uno') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
COPY added (id, body) FROM stdin;
2	two
\.
MERGE INTO added t USING added_other o ON t.id = o.id WHEN MATCHED THEN UPDATE SET body = upper(o.body);
SELECT * FROM added_view ORDER BY id;

-- An upsert cannot set the bookkeeping, nor can a plain statement
INSERT INTO added (id, body, sync_version) VALUES (1, 'eins', 99) ON CONFLICT (id) DO UPDATE SET body = excluded.body, sync_version = excluded.sync_version;
UPDATE added SET body = 'zwei', sync_version = 77, sync_by = 'mallory' WHERE id = 2;
SELECT id, body, sync_version, sync_by FROM added ORDER BY id;

-- What does not
COPY added FROM stdin;
3	three
\.
INSERT INTO added_other SELECT * FROM added;
SELECT * FROM added UNION SELECT * FROM added_other;
CREATE FUNCTION added_row() RETURNS SETOF added LANGUAGE sql AS 'SELECT id, body FROM added_other';
-- and its cures
CREATE FUNCTION added_row() RETURNS TABLE (id int, body text) LANGUAGE sql AS 'SELECT id, body FROM added_other';
SELECT id, body FROM added UNION SELECT id, body FROM added_other ORDER BY id;

-- No rewrite, and the columns stand at the end
SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'added'::regclass AND attnum > 0;

SELECT sync.disable('added');
INSERT INTO added_other SELECT * FROM added WHERE id < 10;
DROP FUNCTION added_row();
DROP VIEW added_view;
DROP TABLE added, added_other;

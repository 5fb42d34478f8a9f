-- disable.sql - sync.disable() leaves a table as it was; after disable_all() the extension can be dropped without CASCADE.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- A table with everything that could be lost on the way
CREATE ROLE disable_reader;
CREATE TABLE disable_note (
    id int PRIMARY KEY,
    body text NOT NULL DEFAULT 'empty' CHECK (body <> ''),
    twice int GENERATED ALWAYS AS (id * 2) STORED,
    gone int,
    at timestamp
);
ALTER TABLE disable_note DROP COLUMN gone;
CREATE INDEX disable_note_body ON disable_note (body) WHERE id > 5;
CREATE FUNCTION disable_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER disable_own BEFORE INSERT ON disable_note FOR EACH ROW EXECUTE FUNCTION disable_trigger();
ALTER TABLE disable_note DISABLE TRIGGER disable_own;
GRANT SELECT (id, body), UPDATE (body) ON disable_note TO disable_reader;
GRANT SELECT ON disable_note TO PUBLIC;
INSERT INTO disable_note VALUES (1, 'one');

-- What the catalogue says of it, without the columns that are no more
CREATE FUNCTION disable_look(relation regclass) RETURNS TABLE (what text, name text, definition text) LANGUAGE sql AS
$$
SELECT 'column', attname::text, concat_ws(' ', attnum, format_type(atttypid, atttypmod), attnotnull, attgenerated, attacl,
                                    (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = attrelid AND adnum = attnum))
FROM pg_attribute WHERE attrelid = relation AND NOT attisdropped
UNION ALL
SELECT 'trigger', tgname, concat_ws(' ', tgenabled, pg_get_triggerdef(oid)) FROM pg_trigger WHERE tgrelid = relation
UNION ALL
SELECT 'index', indexrelid::regclass::text, concat_ws(' ', indisvalid, pg_get_indexdef(indexrelid)) FROM pg_index WHERE indrelid = relation
UNION ALL
SELECT 'constraint', conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = relation
UNION ALL
SELECT 'table', relname, concat_ws(' ', relacl, relreplident, relrowsecurity, relowner) FROM pg_class WHERE oid = relation
$$;
CREATE TEMPORARY TABLE disable_before AS SELECT * FROM disable_look('disable_note');
SELECT count(*) FROM disable_before;

-- While it is synced, the catalogue differs; afterwards it does not
SELECT sync.enable('disable_note', updated_at => 'at', deletes => 'soft');
SELECT what, name FROM disable_look('disable_note') EXCEPT SELECT what, name FROM disable_before ORDER BY 1, 2;
SELECT id AS table_id FROM sync.synced_table WHERE relation = 'disable_note'::regclass \gset
DELETE FROM disable_note;
INSERT INTO disable_note VALUES (2, 'two');
DELETE FROM disable_note WHERE id = 2;
SELECT count(*) FROM sync.tombstone WHERE table_id = :table_id;
SELECT sync.disable('disable_note');
SELECT * FROM disable_look('disable_note') EXCEPT SELECT * FROM disable_before;
SELECT * FROM disable_before EXCEPT SELECT * FROM disable_look('disable_note');
SELECT count(*) FROM sync.synced_table WHERE relation = 'disable_note'::regclass;
SELECT count(*) FROM sync.tombstone WHERE table_id = :table_id;
-- marked rows come back to life, as the function's comment says
SELECT id, body FROM disable_note ORDER BY id;

-- A hard table, with a scope
SELECT sync.create_scope('disable scope', 'SELECT 1');
SELECT sync.enable('disable_note', scope => 'disable scope', scope_column => 'id');
DELETE FROM disable_note WHERE id = 2;
SELECT sync.disable('disable_note');
SELECT * FROM disable_look('disable_note') EXCEPT SELECT * FROM disable_before;
SELECT * FROM disable_before EXCEPT SELECT * FROM disable_look('disable_note');
SELECT id, body FROM disable_note ORDER BY id;

-- keep_columns keeps the columns and nothing else; enabling again goes on with them
SELECT sync.enable('disable_note');
UPDATE disable_note SET body = 'uno';
SELECT sync.disable('disable_note', keep_columns => true);
SELECT what, name FROM disable_look('disable_note') EXCEPT SELECT what, name FROM disable_before ORDER BY 1, 2;
UPDATE disable_note SET body = 'un';
SELECT id, body, sync_version FROM disable_note;
SELECT sync.enable('disable_note');
UPDATE disable_note SET body = 'ein';
SELECT id, body, sync_version, sync_xid = pg_current_xact_id() AS this_transaction FROM disable_note;

-- A rolled back disable() changes nothing
BEGIN;
SELECT sync.disable('disable_note');
ROLLBACK;
UPDATE disable_note SET body = 'eins';
SELECT id, body, sync_version FROM disable_note;

-- Tables that are not synced
CREATE TABLE disable_never (id int PRIMARY KEY);
SELECT sync.disable('disable_never');
SELECT sync.disable('disable_nowhere');

-- DROP EXTENSION is refused while a table is synced, and needs no CASCADE after disable_all()
\set VERBOSITY sqlstate
DROP EXTENSION sync;
\set VERBOSITY default
DROP TABLE disable_never;
SELECT sync.disable_all();
SELECT * FROM disable_look('disable_note') EXCEPT SELECT * FROM disable_before;
SELECT * FROM disable_before EXCEPT SELECT * FROM disable_look('disable_note');
DROP EXTENSION sync;
SELECT count(*) FROM pg_proc WHERE probin LIKE '%/sync';
INSERT INTO disable_note VALUES (3, 'three');
UPDATE disable_note SET body = 'drei' WHERE id = 3;
DELETE FROM disable_note WHERE id = 1;
SELECT id, body FROM disable_note ORDER BY id;
CREATE EXTENSION sync;
SELECT sync.enable('disable_note');
SELECT json_array_length(sync.pull('{}') -> 'changes');
SELECT sync.disable('disable_note');

-- Cleaning up
DROP TABLE disable_note, disable_before;
DROP FUNCTION disable_trigger(), disable_look(regclass);
DROP ROLE disable_reader;

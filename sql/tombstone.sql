-- tombstone.sql - deletions and moves leave a tombstone that says who is concerned; a key that lives again goes on counting.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE tombstone_app;
SELECT sync.create_scope('tombstone scope', 'VALUES (1), (2)');
CREATE TABLE tombstone_note (id int PRIMARY KEY, team int, body text);
SELECT sync.enable('tombstone_note', scope => 'tombstone scope', scope_column => 'team');
CREATE FUNCTION tombstones(relation regclass) RETURNS TABLE (entity_id text, scope text, version bigint, reason text, by text, contents jsonb)
    LANGUAGE sql AS
$$
SELECT t.entity_id, t.scope_value, t.version, t.reason, t.changed_by, t.old_values
FROM sync.tombstone t JOIN sync.synced_table s ON s.id = t.table_id WHERE s.relation = tombstones.relation ORDER BY t.id
$$;

-- A deletion: key, scope, the version after the row's last, who did it; stamped with the deleting transaction; no contents
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO tombstone_note VALUES (1, 1, 'secret'), (2, 1, 'b'), (3, NULL, 'c'), (4, 2, 'd');
UPDATE tombstone_note SET body = body || '!' WHERE id = 1;
BEGIN;
DELETE FROM tombstone_note WHERE id IN (1, 3);
SELECT * FROM tombstones('tombstone_note');
SELECT DISTINCT sync_xid = pg_current_xact_id() AS this_transaction, at BETWEEN now() AND clock_timestamp() AS at_now FROM sync.tombstone
WHERE sync_xid = pg_current_xact_id();
COMMIT;

-- A deletion that is rolled back, and one in a savepoint that is
BEGIN;
DELETE FROM tombstone_note WHERE id = 2;
ROLLBACK;
BEGIN;
SAVEPOINT one;
DELETE FROM tombstone_note WHERE id = 2;
ROLLBACK TO one;
COMMIT;
SELECT count(*) FROM tombstones('tombstone_note') WHERE entity_id = '2';

-- Insert after delete continues the version, and the tombstone stays
INSERT INTO tombstone_note VALUES (1, 1, 'again');
SELECT id, sync_version FROM tombstone_note WHERE id = 1;
SELECT entity_id, version, reason FROM tombstones('tombstone_note') WHERE entity_id = '1';

-- Delete and insert in one transaction too
BEGIN;
DELETE FROM tombstone_note WHERE id = 1;
INSERT INTO tombstone_note VALUES (1, 1, 'once more');
COMMIT;
SELECT id, sync_version FROM tombstone_note WHERE id = 1;
BEGIN;
DELETE FROM tombstone_note WHERE id = 1;
INSERT INTO tombstone_note VALUES (1, 1, 'and');
DELETE FROM tombstone_note WHERE id = 1;
INSERT INTO tombstone_note VALUES (1, 1, 'on');
COMMIT;
SELECT id, sync_version FROM tombstone_note WHERE id = 1;
SELECT entity_id, version, reason FROM tombstones('tombstone_note') WHERE entity_id = '1';

-- A change of the key: the old one moved away, the new one is a row whose version goes on
UPDATE tombstone_note SET id = 20 WHERE id = 2;
SELECT id, sync_version FROM tombstone_note WHERE id = 20;
SELECT * FROM tombstones('tombstone_note') WHERE entity_id IN ('2', '20');

-- A key that another row takes over goes on counting as well: no client may take the new row for an older one
UPDATE tombstone_note SET body = 'v' WHERE id = 1;
DELETE FROM tombstone_note WHERE id = 1;
SELECT max(version) FROM tombstones('tombstone_note') WHERE entity_id = '1';
UPDATE tombstone_note SET id = 1 WHERE id = 4;
SELECT id, sync_version > (SELECT max(version) FROM tombstones('tombstone_note') WHERE entity_id = '1') AS goes_on FROM tombstone_note WHERE id = 1;

-- A change of the scope: the old value's holders are told; other columns and equal values leave nothing
INSERT INTO tombstone_note VALUES (5, 1, 'e'), (6, NULL, 'f');
UPDATE tombstone_note SET team = 2 WHERE id = 5;
UPDATE tombstone_note SET team = 2 WHERE id = 5;
UPDATE tombstone_note SET body = 'ee' WHERE id = 5;
UPDATE tombstone_note SET team = NULL WHERE id = 5;
UPDATE tombstone_note SET team = 1 WHERE id = 6;
UPDATE tombstone_note SET team = 2, id = 60 WHERE id = 6;
SELECT * FROM tombstones('tombstone_note') WHERE entity_id IN ('5', '6', '60');

-- No caller can write or read tombstones by itself; a deletion by an ordinary role leaves one all the same
GRANT SELECT, INSERT, UPDATE, DELETE ON tombstone_note TO tombstone_app;
SET ROLE tombstone_app;
DELETE FROM tombstone_note WHERE id = 60;
SELECT count(*) FROM sync.tombstone;
DELETE FROM sync.tombstone;
INSERT INTO sync.tombstone (table_id, entity_id, version, sync_xid, reason, at) VALUES (1, '1', 1, '1', 'deleted', now());
RESET ROLE;
SELECT * FROM tombstones('tombstone_note') WHERE entity_id = '60';

-- Soft deletes: DELETE becomes the mark; the tombstone is left once
CREATE TABLE tombstone_soft (id int PRIMARY KEY, body text, gone timestamp);
INSERT INTO tombstone_soft VALUES (1, 'a'), (2, 'b'), (3, 'c'), (4, 'd'), (5, 'e');
SELECT sync.enable('tombstone_soft', deleted_at => 'gone');
SELECT relation, deletes FROM sync.tables() WHERE relation = 'tombstone_soft'::regclass;
DELETE FROM tombstone_soft WHERE id = 1;
DELETE FROM tombstone_soft WHERE id = 1;
SELECT id, body, sync_at AT TIME ZONE 'UTC' - gone BETWEEN '0' AND '1 minute' AS marked_now, sync_version, sync_by FROM tombstone_soft WHERE id = 1;
SELECT * FROM tombstones('tombstone_soft');

-- An UPDATE that sets the mark is a deletion; changes of a marked row are none
UPDATE tombstone_soft SET gone = '2026-01-01', body = 'bb' WHERE id = 2;
UPDATE tombstone_soft SET gone = '2026-01-02' WHERE id = 2;
UPDATE tombstone_soft SET body = 'bbb' WHERE id = 2;
SELECT id, body, gone, sync_version FROM tombstone_soft WHERE id = 2;
SELECT * FROM tombstones('tombstone_soft') WHERE entity_id = '2';

-- One that clears it is a restore, and the next deletion leaves another tombstone
UPDATE tombstone_soft SET gone = NULL WHERE id = 2;
SELECT id, body, gone, sync_version FROM tombstone_soft WHERE id = 2;
DELETE FROM tombstone_soft WHERE id = 2;
SELECT * FROM tombstones('tombstone_soft') WHERE entity_id = '2';

-- A row that is inserted with the mark never lived
INSERT INTO tombstone_soft VALUES (9, 'born dead', '2026-01-01');
SELECT count(*) FROM tombstones('tombstone_soft') WHERE entity_id = '9';
SELECT c ->> 'entity_id' AS entity_id FROM json_array_elements(sync.pull('{"tables":["tombstone_soft"]}') -> 'changes') c;

-- DELETE rights alone are enough, under the usual SELECT policy that hides marked rows; without DELETE rights nothing is marked
ALTER TABLE tombstone_soft ENABLE ROW LEVEL SECURITY;
ALTER TABLE tombstone_soft FORCE ROW LEVEL SECURITY;
CREATE POLICY tombstone_visible ON tombstone_soft FOR SELECT USING (gone IS NULL);
CREATE POLICY tombstone_deletable ON tombstone_soft FOR DELETE USING (id <> 4);
GRANT SELECT, DELETE ON tombstone_soft TO tombstone_app;
SET ROLE tombstone_app;
UPDATE tombstone_soft SET gone = now() WHERE id = 3;
DELETE FROM tombstone_soft WHERE id IN (3, 4);
SELECT id FROM tombstone_soft ORDER BY id;
RESET ROLE;
REVOKE DELETE ON tombstone_soft FROM tombstone_app;
SET ROLE tombstone_app;
DELETE FROM tombstone_soft WHERE id = 5;
RESET ROLE;
ALTER TABLE tombstone_soft DISABLE ROW LEVEL SECURITY;
SELECT id, gone IS NOT NULL AS marked FROM tombstone_soft WHERE id IN (3, 4, 5) ORDER BY id;
SELECT * FROM tombstones('tombstone_soft') WHERE entity_id IN ('3', '4', '5');

-- deletes => 'soft' without a column adds one, refuses to guess, and takes it away again
CREATE TABLE tombstone_added (id int PRIMARY KEY, body text);
CREATE TABLE tombstone_guess (id int PRIMARY KEY, deleted_at timestamptz);
INSERT INTO tombstone_added VALUES (1, 'a');
SELECT sync.enable('tombstone_guess', deletes => 'soft');
SELECT sync.enable('tombstone_added', deletes => 'soft');
DELETE FROM tombstone_added;
SELECT id, sync_at - deleted_at BETWEEN '0' AND '1 minute' AS marked_now, sync_version FROM tombstone_added;
SELECT * FROM tombstones('tombstone_added');
-- a marked row stays whatever DELETE says: others may not have heard of it yet
DELETE FROM tombstone_added WHERE deleted_at IS NOT NULL;
SELECT id FROM tombstone_added;

-- Cleaning up
SELECT sync.disable_all();
DROP FUNCTION tombstones(regclass);
DROP TABLE tombstone_note, tombstone_soft, tombstone_added, tombstone_guess;
DELETE FROM sync.scope WHERE name = 'tombstone scope';
DROP ROLE tombstone_app;

-- stamp.sql - every write is stamped with version, transaction and user, computed from the old row, so that no statement can forge it.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE stamp_note (id int PRIMARY KEY, body text, twice int GENERATED ALWAYS AS (length(body) * 2) STORED);
SELECT sync.enable('stamp_note');
CREATE VIEW stamp_now AS
    SELECT id, body, twice, sync_version AS version, sync_xid = pg_current_xact_id_if_assigned() AS this_transaction, sync_by AS by,
           sync_at BETWEEN now() AND clock_timestamp() AS at_now, NOT EXISTS (SELECT FROM jsonb_each(sync.clock('stamp_note', id::text)) w WHERE w.value ? 'device') AS by_sql
    FROM stamp_note ORDER BY id;

-- Insert, update, update again
SET request.jwt.claims = '{"sub":"ada"}';
BEGIN;
INSERT INTO stamp_note VALUES (1, 'a'), (2, 'b');
TABLE stamp_now;
COMMIT;
SET request.jwt.claims = '{"sub":"bob"}';
BEGIN;
UPDATE stamp_note SET body = 'aa' WHERE id = 1;
UPDATE stamp_note SET body = 'aaa' WHERE id = 1;
TABLE stamp_now;
COMMIT;
SET request.jwt.claims = '';
UPDATE stamp_note SET body = 'bb' WHERE id = 2;
TABLE stamp_now;

-- An update that changes nothing leaves the stamp alone, generated columns or not
BEGIN;
CREATE TEMPORARY TABLE stamp_before AS SELECT * FROM stamp_note;
UPDATE stamp_note SET body = body;
UPDATE stamp_note SET body = 'bb', id = 2 WHERE id = 2;
SELECT * FROM stamp_note EXCEPT SELECT * FROM stamp_before;
COMMIT;

-- NULL to a value, a value to NULL, and NULL to NULL
UPDATE stamp_note SET body = NULL WHERE id = 2;
UPDATE stamp_note SET body = NULL WHERE id = 2;
SELECT id, body, version FROM stamp_now WHERE id = 2;
UPDATE stamp_note SET body = 'b' WHERE id = 2;
SELECT id, body, version FROM stamp_now WHERE id = 2;

-- Forged columns: in INSERT
BEGIN;
INSERT INTO stamp_note (id, body, sync_version, sync_xid, sync_at, sync_by, sync_clock)
VALUES (3, 'c', 99, '99', 'infinity', 'mallory', '\x00'), (4, 'd', NULL, NULL, NULL, NULL, NULL);
SELECT * FROM stamp_now WHERE id > 2;
COMMIT;

-- in UPDATE, alone and beside a real change
BEGIN;
UPDATE stamp_note SET sync_version = 99, sync_xid = '99', sync_at = 'infinity', sync_by = 'mallory', sync_clock = '\x00' WHERE id = 3;
UPDATE stamp_note SET body = 'dd', sync_version = 99, sync_xid = '99', sync_at = NULL, sync_by = 'mallory', sync_clock = '\x00' WHERE id = 4;
SELECT id, body, version, this_transaction, by, at_now, by_sql FROM stamp_now WHERE id > 2;
SELECT id, sync_at < 'infinity' AS finite FROM stamp_note WHERE id = 3;
COMMIT;

-- in COPY
BEGIN;
COPY stamp_note (id, body, sync_version, sync_xid, sync_at, sync_by, sync_clock) FROM stdin;
5	e	99	99	infinity	mallory	\\x00
\.
SELECT * FROM stamp_now WHERE id = 5;
COMMIT;

-- in an upsert, whose excluded row carries defaults
BEGIN;
INSERT INTO stamp_note (id, body, sync_version) VALUES (5, 'ee', 77)
    ON CONFLICT (id) DO UPDATE SET body = excluded.body, sync_version = excluded.sync_version, sync_xid = excluded.sync_xid,
        sync_at = '-infinity', sync_by = 'mallory', sync_clock = excluded.sync_clock;
SELECT * FROM stamp_now WHERE id = 5;
COMMIT;
INSERT INTO stamp_note (id, body) VALUES (5, 'x') ON CONFLICT DO NOTHING;
SELECT id, body, version FROM stamp_now WHERE id = 5;

-- Triggers of the application: what they set is stamped too, and they cannot set the stamp
CREATE FUNCTION stamp_shout() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN new.body := upper(new.body); new.sync_version := 1000; new.sync_by := 'mallory'; RETURN new; END $$;
CREATE TRIGGER stamp_shout BEFORE INSERT OR UPDATE ON stamp_note FOR EACH ROW EXECUTE FUNCTION stamp_shout();
UPDATE stamp_note SET body = 'E' WHERE id = 5;
UPDATE stamp_note SET body = 'e' WHERE id = 5;
SELECT id, body, twice, version, by FROM stamp_now WHERE id = 5;
DROP TRIGGER stamp_shout ON stamp_note;

-- Replication and restores with session_replication_role = replica are stamped as well, unlike ordinary triggers
SET session_replication_role = replica;
BEGIN;
UPDATE stamp_note SET body = 'replica', sync_version = 99 WHERE id = 5;
INSERT INTO stamp_note (id, body, sync_version) VALUES (6, 'f', 99);
SELECT id, body, version, this_transaction FROM stamp_now WHERE id > 4;
COMMIT;
DELETE FROM stamp_note WHERE id = 6;
RESET session_replication_role;
SELECT entity_id, version FROM sync.tombstone WHERE table_id = (SELECT id FROM sync.synced_table WHERE relation = 'stamp_note'::regclass);

-- Savepoints: the stamp is the top-level transaction's id, never a subtransaction's
BEGIN;
SAVEPOINT one;
UPDATE stamp_note SET body = 'lost' WHERE id = 1;
ROLLBACK TO one;
SAVEPOINT two;
UPDATE stamp_note SET body = 'kept' WHERE id = 1;
DELETE FROM stamp_note WHERE id = 2;
RELEASE two;
SELECT id, body, version, this_transaction FROM stamp_now WHERE id = 1;
SELECT t.entity_id, t.sync_xid = pg_current_xact_id() AS this_transaction, t.sync_xid = n.sync_xid AS same
FROM sync.tombstone t, stamp_note n
WHERE t.table_id = (SELECT id FROM sync.synced_table WHERE relation = 'stamp_note'::regclass) AND t.entity_id = '2' AND n.id = 1;
COMMIT;

-- updated_at of both timestamp types: the time of the write, in UTC where the type has no zone
SET TimeZone = 'Asia/Kolkata';
CREATE TABLE stamp_zoned (id int PRIMARY KEY, body text, updated timestamptz DEFAULT '2000-01-01');
CREATE TABLE stamp_plain (id int PRIMARY KEY, body text, updated timestamp DEFAULT '2000-01-01');
INSERT INTO stamp_zoned VALUES (1), (2);
INSERT INTO stamp_plain VALUES (1), (2);
SELECT sync.enable('stamp_zoned', updated_at => 'updated');
SELECT sync.enable('stamp_plain', updated_at => 'updated');
INSERT INTO stamp_zoned VALUES (3, 'new', '1999-09-09');
INSERT INTO stamp_plain VALUES (3, 'new', '1999-09-09');
UPDATE stamp_zoned SET body = 'x', updated = '1999-09-09' WHERE id = 1;
UPDATE stamp_plain SET body = 'x', updated = '1999-09-09' WHERE id = 1;
UPDATE stamp_zoned SET body = NULL WHERE id = 2;
UPDATE stamp_plain SET body = NULL WHERE id = 2;
SELECT id, sync_version, updated = sync_at AS in_step FROM stamp_zoned ORDER BY id;
SELECT id, sync_version, updated = sync_at AT TIME ZONE 'UTC' AS in_step FROM stamp_plain ORDER BY id;
RESET TimeZone;

-- Columns added, dropped, renamed and of another type while the table is synced
DROP VIEW stamp_now;
ALTER TABLE stamp_note ADD COLUMN extra int DEFAULT 7, DROP COLUMN twice;
UPDATE stamp_note SET extra = 7 WHERE id = 1;
SELECT id, extra, sync_version FROM stamp_note WHERE id = 1;
UPDATE stamp_note SET extra = 8 WHERE id = 1;
SELECT id, extra, sync_version FROM stamp_note WHERE id = 1;
ALTER TABLE stamp_note ALTER COLUMN body TYPE varchar(10);
ALTER TABLE stamp_note RENAME COLUMN extra TO more;
ALTER TABLE stamp_note RENAME TO stamp_renamed;
UPDATE stamp_renamed SET more = 9 WHERE id = 1;
SELECT id, more, sync_version FROM stamp_renamed WHERE id = 1;
SELECT c ->> 'entity_type' AS entity_type, c ->> 'data' AS data
FROM json_array_elements(sync.pull('{"tables":["stamp_note"]}') -> 'changes') c WHERE c ->> 'entity_id' = '1';

-- The trigger functions are of no use elsewhere
SELECT sync.stamp();
CREATE TABLE stamp_never (id int PRIMARY KEY);
CREATE TRIGGER stamp_wrong BEFORE INSERT ON stamp_never FOR EACH ROW EXECUTE FUNCTION sync.stamp();
INSERT INTO stamp_never VALUES (1);

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE stamp_renamed, stamp_zoned, stamp_plain, stamp_never, stamp_before;
DROP FUNCTION stamp_shout();

-- insert_after_rollback.sql - one statement inserts many keys whose deletion was rolled back: it ends, and so does the next.
-- SPDX-License-Identifier: PostgreSQL
--
-- The tombstones that were rolled back are dead entries of an index. What its scan remembers of them, to mark them, must outlive the row.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE rolled (id int PRIMARY KEY, body text);
INSERT INTO rolled SELECT i, 'first' FROM generate_series(1, 500) i;
SELECT sync.enable('rolled');
BEGIN;
SAVEPOINT before;
DELETE FROM rolled;
ROLLBACK TO before;
COMMIT;
INSERT INTO rolled SELECT i, repeat(chr(97 + i % 26), 10000 * (i % 7)) FROM generate_series(1, 500) i ON CONFLICT (id) DO UPDATE SET body = excluded.body;
INSERT INTO rolled SELECT i, repeat('again', 2000 * (i % 5)) FROM generate_series(1, 500) i ON CONFLICT (id) DO UPDATE SET body = excluded.body;
SELECT count(*), min(sync_version), max(sync_version), sum(length(body)) FROM rolled;

-- Cleaning up
SELECT sync.disable('rolled');
DROP TABLE rolled;

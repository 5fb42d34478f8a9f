-- undone_delete.sql - keys whose deletion was rolled back are written again by one statement: what its index scan remembers of dead tombstones outlives a row.
-- SPDX-License-Identifier: PostgreSQL
\set VERBOSITY terse
CREATE TABLE undone (id int PRIMARY KEY, label text NOT NULL);
SELECT sync.enable('undone');
INSERT INTO undone SELECT g, 'first' FROM generate_series(1, 2000) g;

BEGIN;
DELETE FROM undone;
ROLLBACK;
INSERT INTO undone SELECT g, 'second' FROM generate_series(1, 2000) g ON CONFLICT (id) DO UPDATE SET label = excluded.label;

BEGIN;
SAVEPOINT s;
DELETE FROM undone WHERE id % 2 = 0;
ROLLBACK TO s;
INSERT INTO undone SELECT g, 'third' FROM generate_series(1, 4000) g ON CONFLICT (id) DO UPDATE SET label = excluded.label;
COMMIT;

SELECT label, sync_version, count(*) FROM undone GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM sync.tombstone;
DROP TABLE undone;

-- streamer_locks.sql - what a streamer asks every so often keeps no lock on partitions: beside ALTER TABLE, which locks the table first, it ended in a deadlock.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
CREATE TABLE locked (id int, kind text, PRIMARY KEY (id, kind)) PARTITION BY RANGE (id);
CREATE TABLE locked_1 PARTITION OF locked FOR VALUES FROM (0) TO (10) PARTITION BY LIST (kind);
CREATE TABLE locked_1_a PARTITION OF locked_1 FOR VALUES IN ('a');
CREATE TABLE locked_2 PARTITION OF locked FOR VALUES FROM (10) TO (20);
SELECT sync.enable('locked');
CREATE VIEW locks AS SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE l.pid = pg_backend_pid() AND c.relname ~ '^locked' ORDER BY 1, 2;

BEGIN;
SELECT t -> 'partitions' AS partitions FROM json_array_elements(sync.feed_tables() -> 'tables') t WHERE t ->> 'table' = 'locked';
SELECT * FROM locks;
COMMIT;
BEGIN;
SELECT t ->> 'rows' AS rows FROM json_array_elements(sync.status() -> 'tables') t WHERE t ->> 'entity_type' = 'locked';
SELECT * FROM locks;
COMMIT;
SELECT * FROM sync.publication_problems();

-- A partition that cannot be decoded still keeps its table out, wherever in the tree it is
ALTER TABLE locked_1_a REPLICA IDENTITY NOTHING;
SELECT finding FROM sync.publication_problems() WHERE object = 'locked';
SELECT count(*) FROM sync.published() WHERE relation = 'locked'::regclass;

SELECT sync.disable('locked');
DROP VIEW locks;
DROP TABLE locked;

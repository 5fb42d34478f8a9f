-- publications.sql - what pgoutput decodes: kept as tables come, go and change; an application's writes never fail because of it.
-- SPDX-License-Identifier: PostgreSQL
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE SCHEMA pub_home;
CREATE VIEW pub_home.published AS
    SELECT p.pubname, p.tablename FROM pg_publication_tables p WHERE p.schemaname IN ('pub_home', 'pub_moved') AND p.pubname LIKE 'sync%' ORDER BY 1, 2;

-- From the start: our own synced tables and lists; tombstones only as they come
SELECT pubname, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot FROM pg_publication WHERE pubname LIKE 'sync%' ORDER BY 1;
SELECT p.pubname, string_agg(p.tablename, ' ' ORDER BY p.tablename) FROM pg_publication_tables p
WHERE p.schemaname = 'sync' AND p.tablename IN ('synced_table', 'scope', 'instance', 'tombstone', 'lock', 'ledger') GROUP BY 1 ORDER BY 1;
DROP PUBLICATION sync;

-- enable and disable
CREATE TABLE pub_home.note (id int PRIMARY KEY, body text);
SELECT sync.enable('pub_home.note');
TABLE pub_home.published;
SELECT sync.disable('pub_home.note', keep_columns => true);
TABLE pub_home.published;
SELECT sync.enable('pub_home.note');
INSERT INTO pub_home.note VALUES (1);

-- A table that loses its replica identity leaves: its rows can be updated and deleted all the while
ALTER TABLE pub_home.note REPLICA IDENTITY NOTHING;
UPDATE pub_home.note SET body = 'nothing';
TABLE pub_home.published;
ALTER TABLE pub_home.note REPLICA IDENTITY FULL;
UPDATE pub_home.note SET body = 'full';
TABLE pub_home.published;
ALTER TABLE pub_home.note REPLICA IDENTITY DEFAULT;
ALTER TABLE pub_home.note DROP CONSTRAINT note_pkey;
UPDATE pub_home.note SET body = 'no key';
TABLE pub_home.published;
ALTER TABLE pub_home.note ADD PRIMARY KEY (id);
UPDATE pub_home.note SET body = 'a key';
TABLE pub_home.published;
ALTER TABLE pub_home.note ALTER body SET NOT NULL;
CREATE UNIQUE INDEX note_body ON pub_home.note (body);
ALTER TABLE pub_home.note REPLICA IDENTITY USING INDEX note_body;
UPDATE pub_home.note SET body = 'an index';
TABLE pub_home.published;
DROP INDEX pub_home.note_body;
UPDATE pub_home.note SET body = 'no index';
DELETE FROM pub_home.note;
TABLE pub_home.published;
SELECT broken FROM sync.synced_table WHERE relation = 'pub_home.note'::regclass;
ALTER TABLE pub_home.note REPLICA IDENTITY DEFAULT;
TABLE pub_home.published;

-- Renames and moves change nothing; a dropped table is gone
CREATE SCHEMA pub_moved;
ALTER TABLE pub_home.note RENAME TO memo;
ALTER TABLE pub_home.memo SET SCHEMA pub_moved;
TABLE pub_home.published;
DROP TABLE pub_moved.memo;
TABLE pub_home.published;

-- Partitions are published by their root; one that has no identity takes it out
CREATE TABLE pub_home.parted (id int PRIMARY KEY, body text) PARTITION BY RANGE (id);
CREATE TABLE pub_home.low PARTITION OF pub_home.parted FOR VALUES FROM (0) TO (10);
SELECT sync.enable('pub_home.parted');
CREATE TABLE pub_home.high PARTITION OF pub_home.parted FOR VALUES FROM (10) TO (20);
TABLE pub_home.published;
INSERT INTO pub_home.parted VALUES (1), (11);
ALTER TABLE pub_home.high REPLICA IDENTITY NOTHING;
UPDATE pub_home.parted SET body = 'x';
TABLE pub_home.published;
ALTER TABLE pub_home.parted DETACH PARTITION pub_home.high;
TABLE pub_home.published;
ALTER TABLE pub_home.parted ATTACH PARTITION pub_home.high FOR VALUES FROM (10) TO (20);
UPDATE pub_home.parted SET body = 'y';
TABLE pub_home.published;
ALTER TABLE pub_home.high REPLICA IDENTITY DEFAULT;
TABLE pub_home.published;
DELETE FROM pub_home.parted;

-- A key that may be broken within a transaction tells no rows apart
CREATE TABLE pub_home.late (id int PRIMARY KEY DEFERRABLE);
SELECT sync.enable('pub_home.late');
ALTER TABLE pub_home.late REPLICA IDENTITY FULL;
SELECT sync.enable('pub_home.late');

-- What somebody changed is told and mended
ALTER PUBLICATION sync DROP TABLE pub_home.parted;
ALTER PUBLICATION sync SET (publish = 'insert');
CREATE TABLE pub_home.other (id int);
ALTER PUBLICATION sync ADD TABLE pub_home.other;
SELECT severity, object, finding, cure FROM sync.check() WHERE cure = 'SELECT sync.publish();';
SELECT sync.publish();
SELECT * FROM sync.publication_problems();
TABLE pub_home.published;

-- Our own bookkeeping goes on beside a publication of everything, or it is said how it can
CREATE PUBLICATION pub_all FOR ALL TABLES;
UPDATE sync.instance SET horizon = horizon;
SELECT object, finding, cure FROM sync.check() WHERE object = 'sync.tombstone';
DROP PUBLICATION pub_all;

SELECT sync.disable('pub_home.late');
SELECT sync.disable('pub_home.parted');
TABLE pub_home.published;
DROP SCHEMA pub_home, pub_moved CASCADE;

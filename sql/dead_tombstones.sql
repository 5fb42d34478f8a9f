-- dead_tombstones.sql - a statement that meets tombstones which are dead already ends well: their scan kept its notes in memory that was gone.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE dead_note (id int PRIMARY KEY, body text);
SELECT sync.enable('dead_note');
INSERT INTO dead_note SELECT g, 'first' FROM generate_series(1, 300) g;
-- deletions that were rolled back leave tombstones that nobody will ever see
BEGIN;
DELETE FROM dead_note;
ROLLBACK;
BEGIN;
DELETE FROM dead_note;
ROLLBACK;
INSERT INTO dead_note SELECT g, repeat('x', 40 * g) FROM generate_series(1, 300) g ON CONFLICT (id) DO UPDATE SET body = excluded.body;
SELECT count(*), min(sync_version), max(sync_version) FROM dead_note;

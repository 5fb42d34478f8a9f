-- reborn.sql - a key that lived before goes on counting, whatever its type and however it comes back.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE reborn_uuid (id uuid PRIMARY KEY, body text);
CREATE TABLE reborn_big (id bigint PRIMARY KEY, body text);
CREATE TABLE reborn_text (id text PRIMARY KEY, body text);
CREATE TABLE reborn_pair (a int, b text, body text, PRIMARY KEY (a, b));
SELECT sync.enable('reborn_uuid');
SELECT sync.enable('reborn_big');
SELECT sync.enable('reborn_text');
SELECT sync.enable('reborn_pair');

-- One statement that inserts keys which lived, once or often, beside keys which did not
INSERT INTO reborn_big SELECT i, 'first' FROM generate_series(1, 10) i;
UPDATE reborn_big SET body = 'second' WHERE id > 5;
DELETE FROM reborn_big WHERE id % 2 = 0;
INSERT INTO reborn_big SELECT i, 'again' FROM generate_series(2, 20) i WHERE i % 2 = 0;
DELETE FROM reborn_big WHERE id = 2;
INSERT INTO reborn_big VALUES (21, 'new'), (2, 'third life'), (22, 'new');
SELECT string_agg(format('%s v%s', id, sync_version), ', ' ORDER BY id) FROM reborn_big;

-- in the same transaction, in a savepoint that is rolled back, in a function that catches an error half-way
BEGIN;
DELETE FROM reborn_big WHERE id = 21;
INSERT INTO reborn_big VALUES (21, 'same transaction');
SAVEPOINT one;
DELETE FROM reborn_big WHERE id = 22;
INSERT INTO reborn_big VALUES (22, 'lost');
ROLLBACK TO one;
SELECT id, body, sync_version FROM reborn_big WHERE id > 20 ORDER BY id;
DO $$
BEGIN
    BEGIN
        INSERT INTO reborn_big SELECT i, 'x' || 100 / (30 - i) FROM generate_series(23, 30) i;
    EXCEPTION WHEN division_by_zero THEN NULL;
    END;
    INSERT INTO reborn_big VALUES (23, 'after the error');
END $$;
SELECT id, body, sync_version FROM reborn_big WHERE id > 22 ORDER BY id;
COMMIT;

-- by COPY, by upsert, by a move of another row onto the key
DELETE FROM reborn_big;
COPY reborn_big (id, body) FROM stdin;
2	copied
4	copied
40	copied
\.
INSERT INTO reborn_big VALUES (6, 'upserted'), (40, 'upserted') ON CONFLICT (id) DO UPDATE SET body = excluded.body;
UPDATE reborn_big SET id = 8 WHERE id = 40;
SELECT id, body, sync_version FROM reborn_big ORDER BY id;

-- by a cursor's statement and by one that writes two synced tables
DELETE FROM reborn_big WHERE id = 8;
INSERT INTO reborn_text VALUES ('ä', 1), ('Ä', 1), ('a', 1);
DELETE FROM reborn_text WHERE id <> 'a';
WITH big AS (INSERT INTO reborn_big VALUES (8, 'with') RETURNING id, sync_version), txt AS (INSERT INTO reborn_text VALUES ('Ä', 'with'), ('b', 'with') RETURNING id, sync_version)
SELECT id::text, sync_version FROM big UNION ALL SELECT * FROM txt;

-- uuid and composite keys
INSERT INTO reborn_uuid SELECT md5(i::text)::uuid FROM generate_series(1, 5) i;
DELETE FROM reborn_uuid WHERE id = md5('3')::uuid;
INSERT INTO reborn_uuid VALUES (upper(md5('3'))::uuid), (md5('6')::uuid) RETURNING sync_version;
INSERT INTO reborn_pair VALUES (1, 'x'), (1, '"');
DELETE FROM reborn_pair;
INSERT INTO reborn_pair VALUES (1, '"'), (1, 'y') RETURNING b, sync_version;

-- No key at all is an error of the table, for every type
\set VERBOSITY terse
INSERT INTO reborn_uuid VALUES (NULL, 'x');
INSERT INTO reborn_text VALUES (NULL, 'x');
INSERT INTO reborn_pair VALUES (1, NULL, 'x');
UPDATE reborn_uuid SET id = NULL;
UPDATE reborn_text SET id = NULL;
\set VERBOSITY default

-- Nothing of a statement stays open after it: the tables can be altered in the same transaction
BEGIN;
INSERT INTO reborn_big VALUES (50, 'x');
COPY reborn_big (id, body) FROM stdin;
51	copied
\.
SELECT sync.disable_all();
DROP EXTENSION sync;
ROLLBACK;

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE reborn_uuid, reborn_big, reborn_text, reborn_pair;

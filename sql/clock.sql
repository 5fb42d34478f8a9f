-- clock.sql - the last write of each column: its version and time, exact, by SQL or by a device.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE clock_note (id int PRIMARY KEY, a text, b text, c text, twice int GENERATED ALWAYS AS (id * 2) STORED);
SELECT sync.enable('clock_note');
-- seen_at: the row's sync_at at each version, as the row itself told
CREATE TABLE clock_seen (version bigint, at timestamptz);
CREATE VIEW clock_now AS
    SELECT w.key AS column, (w.value ->> 'version')::int AS version, (w.value ->> 'edited_at')::timestamptz = s.at AS exact, w.value ? 'device' AS by_device
    FROM jsonb_each(sync.clock('clock_note', '1')) w LEFT JOIN clock_seen s ON s.version = (w.value ->> 'version')::int ORDER BY 1;
CREATE FUNCTION clock_look() RETURNS void LANGUAGE sql AS 'INSERT INTO clock_seen SELECT sync_version, sync_at FROM clock_note WHERE id = 1';

-- By SQL: an insert writes every column, an update those that it changes
INSERT INTO clock_note (id, a, b, c) VALUES (1, 'a', 'b', 'c');
SELECT clock_look();
TABLE clock_now;
UPDATE clock_note SET b = 'bb', c = 'c' WHERE id = 1;
SELECT clock_look();
TABLE clock_now;
SELECT pg_column_size(sync_clock) < 20 AS compact FROM clock_note;
UPDATE clock_note SET a = NULL, c = 'cc' WHERE id = 1;
SELECT clock_look();
UPDATE clock_note SET c = c WHERE id = 1;
UPDATE clock_note SET b = 'bbb' WHERE id = 1;
SELECT clock_look();
TABLE clock_now;
SELECT pg_column_size(sync_clock) < 30 AS compact FROM clock_note;

-- By a device: its own time, to the microsecond, early or late; SQL after it leaves it alone
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.push('{"device_id":"pad","changes":[{"operation":"update","entity_type":"clock_note","entity_id":"1","local_version":4,"data":{"a":"pushed"},"timestamp":"2024-02-29T12:34:56.789012Z"}]}') ->> 'success' AS pushed;
SELECT clock_look();
TABLE clock_now;
SELECT sync.clock('clock_note', '1') #>> '{a,edited_at}' AS edited_at;
UPDATE clock_note SET b = 'b4' WHERE id = 1;
SELECT clock_look();
TABLE clock_now;
SELECT sync.clock('clock_note', '1') #>> '{a,edited_at}' AS edited_at;
SELECT sync.push('{"device_id":"pad","changes":[{"operation":"create","entity_type":"clock_note","entity_id":"2","data":{"a":"x"},"timestamp":"0001-01-01T00:00:00Z"}]}') ->> 'success' AS pushed;
SELECT key, value ->> 'version' AS version, value ->> 'edited_at' AS edited_at, value ? 'device' AS by_device FROM jsonb_each(sync.clock('clock_note', '2')) ORDER BY 1;
SELECT count(DISTINCT value ->> 'device') AS devices FROM jsonb_each(sync.clock('clock_note', '2'));
RESET request.jwt.claims;

-- A row that comes back was written whole, at a version above all it had
DELETE FROM clock_note WHERE id = 1;
INSERT INTO clock_note (id, a) VALUES (1, 'again') ON CONFLICT (id) DO UPDATE SET a = 'never';
SELECT clock_look();
TABLE clock_now;

-- Columns renamed and dropped: a new name may have had any write that no column owns now
UPDATE clock_note SET b = 'b9' WHERE id = 1;
UPDATE clock_note SET c = 'c10' WHERE id = 1;
ALTER TABLE clock_note RENAME COLUMN b TO renamed;
ALTER TABLE clock_note DROP COLUMN a;
UPDATE clock_note SET renamed = renamed, c = c WHERE id = 1;
SELECT key, value -> 'version' AS version FROM jsonb_each(sync.clock('clock_note', '1')) ORDER BY 1;
UPDATE clock_note SET renamed = 'b11' WHERE id = 1;
SELECT key, value -> 'version' AS version FROM jsonb_each(sync.clock('clock_note', '1')) ORDER BY 1;

-- More writes than can stand apart: the oldest share a time, the newest stay exact
DO $$ BEGIN EXECUTE 'CREATE TABLE clock_wide (id int PRIMARY KEY, ' || (SELECT string_agg(format('c%s int', i), ', ') FROM generate_series(1, 300) i) || ')'; END $$;
SELECT sync.enable('clock_wide');
INSERT INTO clock_wide (id) VALUES (1);
DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('UPDATE clock_wide SET c%s = 1', i); END LOOP; END $$;
CREATE VIEW clock_wide_now AS
    SELECT substr(key, 2)::int AS n, (value -> 'version')::int AS version FROM jsonb_each(sync.clock('clock_wide', '1')) WHERE key <> 'id';
SELECT count(DISTINCT version) AS apart, min(version) > 1 AS old_ones_rose, bool_and(version >= n + 1) AS none_is_older_than_its_write,
       min(n) FILTER (WHERE version = n + 1) AS exact_from, bool_and(version = n + 1) FILTER (WHERE n > 60) AS rest_is_exact FROM clock_wide_now;
UPDATE clock_wide SET c1 = 2, c300 = 2;
SELECT n, version FROM clock_wide_now WHERE n IN (1, 299, 300) ORDER BY n;
-- many columns in one write
DO $$ BEGIN EXECUTE 'UPDATE clock_wide SET ' || (SELECT string_agg(format('c%s = 3', i), ', ') FROM generate_series(1, 200) i); END $$;
SELECT version, min(n), max(n), count(*) FROM clock_wide_now WHERE version > 290 GROUP BY version ORDER BY version;

-- A table whose rows win as a whole keeps no account of columns
CREATE TABLE clock_lww (id int PRIMARY KEY, a text, b text);
SELECT sync.enable('clock_lww', rule => 'lww');
INSERT INTO clock_lww VALUES (1, 'a', 'b');
UPDATE clock_lww SET a = 'aa';
SELECT key, value -> 'version' AS version FROM jsonb_each(sync.clock('clock_lww', '1')) ORDER BY 1;

-- Values kept out of line, unchanged or written again alike, are not written
CREATE TABLE clock_toast (id int PRIMARY KEY, big text, other int);
ALTER TABLE clock_toast ALTER big SET STORAGE EXTERNAL;
SELECT sync.enable('clock_toast');
INSERT INTO clock_toast VALUES (1, repeat('toast', 10000), 1);
UPDATE clock_toast SET other = 2;
UPDATE clock_toast SET big = repeat('toast', 10000), other = 3;
UPDATE clock_toast SET big = big;
SELECT key, value -> 'version' AS version FROM jsonb_each(sync.clock('clock_toast', '1')) ORDER BY 1;
UPDATE clock_toast SET big = repeat('toasT', 10000);
SELECT key, value -> 'version' AS version FROM jsonb_each(sync.clock('clock_toast', '1')) ORDER BY 1;

-- Keys of several columns, no such row, no such table; only who may read the table may ask
CREATE TABLE clock_pair (a int, b text, PRIMARY KEY (a, b));
SELECT sync.enable('clock_pair');
INSERT INTO clock_pair VALUES (1, 'é"');
SELECT sync.clock('clock_pair', '["1","é\""]') #> '{a,version}' AS version;
SELECT sync.clock('clock_pair', '["2","x"]');
SELECT sync.clock('clock_seen', '1');
CREATE ROLE clock_stranger;
GRANT EXECUTE ON FUNCTION sync.clock(regclass, text) TO clock_stranger;
SET ROLE clock_stranger;
SELECT sync.clock('clock_pair', '["1","x"]');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION sync.clock(regclass, text) FROM clock_stranger;
DROP ROLE clock_stranger;

-- A client's clock that stands before all time
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"clock_pair","entity_id":"[\"3\",\"c\"]","data":{"b":"c"},"timestamp":"-infinity"}]}') ->> 'success' AS pushed;
RESET request.jwt.claims;
SELECT sync.clock('clock_pair', '["3","c"]') #> '{a,edited_at}' AS edited_at;

-- Cleaning up
SELECT sync.disable_all();
DROP VIEW clock_now, clock_wide_now;
DROP FUNCTION clock_look();
DROP TABLE clock_note, clock_seen, clock_wide, clock_lww, clock_toast, clock_pair;

-- purge_soft.sql - rows marked as deleted really go when nothing refers to them; living rows are never taken along.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE ROLE purge_owner;
CREATE SCHEMA purge_home AUTHORIZATION purge_owner;
CREATE TABLE purge_home.parent (id int PRIMARY KEY, up int REFERENCES purge_home.parent ON DELETE CASCADE, gone timestamp);
CREATE TABLE purge_home.cascades (id int PRIMARY KEY, parent int REFERENCES purge_home.parent ON DELETE CASCADE);
CREATE TABLE purge_home.restricts (id int PRIMARY KEY, parent bigint REFERENCES purge_home.parent);
CREATE TABLE purge_home.sets_null (id int PRIMARY KEY, parent int REFERENCES purge_home.parent ON DELETE SET NULL);
ALTER TABLE purge_home.parent OWNER TO purge_owner;
SELECT sync.enable('purge_home.parent', deleted_at => 'gone');
INSERT INTO purge_home.parent VALUES (1, NULL), (2, NULL), (3, NULL), (4, NULL), (5, NULL), (6, 5), (7, 7), (8, NULL);
INSERT INTO purge_home.cascades VALUES (1, 1);
INSERT INTO purge_home.restricts VALUES (1, 2);
INSERT INTO purge_home.sets_null VALUES (1, 3);
DELETE FROM purge_home.parent WHERE id < 8;
SELECT count(*) FILTER (WHERE gone IS NOT NULL) AS marked, count(*) FILTER (WHERE gone IS NULL) AS living FROM purge_home.parent;

-- Too young
SELECT sync.purge() -> 'rows' AS rows;
-- Marked long ago by the application's own account, but only now by ours: an import does not vanish at once
UPDATE purge_home.parent SET gone = '2020-01-01' WHERE gone IS NOT NULL;
SELECT sync.purge() -> 'rows' AS rows;

-- Referenced ones stay, by whatever foreign key: 4, 6, 7 go, then 5, which only 6 pointed to
SELECT p -> 'more' AS more, p -> 'rows' AS rows, p -> 'tombstones' AS tombstones FROM sync.purge('0') p;
SELECT p -> 'more' AS more, p -> 'rows' AS rows, p -> 'tombstones' AS tombstones FROM sync.purge('0') p;
SELECT p -> 'more' AS more, p -> 'rows' AS rows, p -> 'tombstones' AS tombstones FROM sync.purge('0') p;
SELECT id, gone IS NOT NULL AS marked FROM purge_home.parent ORDER BY id;
SELECT (SELECT count(*) FROM purge_home.cascades) AS cascades, (SELECT parent FROM purge_home.restricts) AS restricts, (SELECT parent FROM purge_home.sets_null) AS sets_null;
-- and no second tombstone is left
SELECT count(*) FROM sync.tombstone;
DELETE FROM purge_home.cascades;
SELECT sync.purge('0') -> 'rows' AS rows;
SELECT array_agg(id ORDER BY id) FROM purge_home.parent;

-- A DELETE by SQL of a marked row does nothing, as before
DELETE FROM purge_home.parent WHERE id = 2;
SELECT count(*) FROM purge_home.parent WHERE id = 2;

-- The application's triggers run with the owner's rights and the session's search path, deferred ones too; a row they refuse stays and stops no other
CREATE TABLE purge_seen (id int, who name);
GRANT INSERT ON purge_seen TO purge_owner;
CREATE FUNCTION purge_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.id = 12 THEN RAISE EXCEPTION 'never 12'; END IF;
    INSERT INTO purge_seen VALUES (old.id, current_user);
    RETURN old;
END $$;
CREATE TRIGGER own BEFORE DELETE ON purge_home.parent FOR EACH ROW EXECUTE FUNCTION purge_trigger();
CREATE CONSTRAINT TRIGGER deferred AFTER DELETE ON purge_home.parent DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION purge_trigger();
INSERT INTO purge_home.parent (id, gone) VALUES (10, '2020-01-01'), (11, '2020-01-01'), (12, '2020-01-01'), (13, '2020-01-01');
SET client_min_messages = notice;
SELECT sync.purge('0') -> 'rows' AS rows;
SET client_min_messages = warning;
SELECT * FROM purge_seen ORDER BY id;
SELECT array_agg(id ORDER BY id) FROM purge_home.parent;
DROP TRIGGER own ON purge_home.parent;
DROP TRIGGER deferred ON purge_home.parent;

-- Policies that bind the owner do not hide marked rows from it
ALTER TABLE purge_home.parent ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY living ON purge_home.parent USING (gone IS NULL);
SELECT sync.purge('0') -> 'rows' AS rows;
SELECT array_agg(id ORDER BY id) FROM purge_home.parent;

SELECT sync.disable('purge_home.parent');
DROP TABLE purge_seen;
DROP SCHEMA purge_home CASCADE;
DROP FUNCTION purge_trigger();
DROP ROLE purge_owner;

-- pull_roles.sql - one connection that serves several roles shows each its own rows and columns, however often it has planned the same query.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE roles_red;
CREATE ROLE roles_blue;
CREATE TABLE roles_member (who name, team text);
INSERT INTO roles_member VALUES ('roles_red', 'red'), ('roles_blue', 'blue');
ALTER TABLE roles_member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON roles_member FOR SELECT TO roles_red USING (who = 'roles_red');
CREATE POLICY own_too ON roles_member FOR SELECT TO roles_blue USING (who = 'roles_blue');
CREATE TABLE roles_note (id int PRIMARY KEY, team text, secret text);
CREATE TABLE roles_open (id int PRIMARY KEY, body text);
GRANT SELECT ON roles_member TO roles_red, roles_blue;
GRANT SELECT ON roles_note TO roles_red;
GRANT SELECT (id, team) ON roles_note TO roles_blue;
GRANT SELECT ON roles_open TO roles_red;
SELECT sync.create_scope('roles_team', 'SELECT team FROM public.roles_member');
SELECT sync.enable('roles_note', scope => 'roles_team', scope_column => 'team');
SELECT sync.enable('roles_open');
INSERT INTO roles_note VALUES (1, 'red', 's1'), (2, 'blue', 's2');
INSERT INTO roles_open VALUES (1, 'open');
CREATE FUNCTION data(OUT seen text) LANGUAGE sql AS
$$ SELECT string_agg(c ->> 'data', ' ' ORDER BY n) FROM json_array_elements(sync.pull('{}') -> 'changes') WITH ORDINALITY AS e (c, n) $$;

-- In turns, more often than the planner takes to settle on one plan
DO $$ BEGIN FOR i IN 1..8 LOOP SET ROLE roles_red; PERFORM data(); SET ROLE roles_blue; PERFORM data(); END LOOP; RESET ROLE; END $$;
SET ROLE roles_red;
SELECT * FROM data();
SET ROLE roles_blue;
SELECT * FROM data();
RESET ROLE;

-- A right that comes or goes shows with the next call
GRANT SELECT ON roles_note TO roles_blue;
SET ROLE roles_blue;
SELECT * FROM data();
RESET ROLE;
REVOKE SELECT ON roles_note FROM roles_blue, roles_red;
GRANT SELECT (id, team, sync_version, sync_xid, sync_at, sync_by, sync_clock) ON roles_note TO roles_red;
SET ROLE roles_red;
SELECT * FROM data();
SET ROLE roles_blue;
SELECT * FROM data();
RESET ROLE;

-- also one that comes with a membership
CREATE ROLE roles_reader;
GRANT SELECT ON roles_note TO roles_reader;
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;
GRANT roles_reader TO roles_red;
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;
REVOKE roles_reader FROM roles_red;
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;

-- So does a policy, a column, another table of the same name
ALTER POLICY own ON roles_member USING (true);
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;
ALTER TABLE roles_open ADD COLUMN added int DEFAULT 7;
ALTER TABLE roles_open RENAME COLUMN body TO content;
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;
DROP TABLE roles_open;
CREATE TABLE roles_open (other text PRIMARY KEY);
GRANT SELECT ON roles_open TO roles_red;
SELECT sync.enable('roles_open');
INSERT INTO roles_open VALUES ('again');
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;

-- row_security off makes a policy an error, also where a plan is there
SET row_security = off;
SET ROLE roles_red;
SELECT * FROM data();
RESET ROLE;
RESET row_security;

-- Cleaning up
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE id >= 100;
DROP TABLE roles_member, roles_note, roles_open;
DROP FUNCTION data();
DROP ROLE roles_red, roles_blue, roles_reader;

-- builtin.sql - the extension's own synced tables: who gets which rows, by pull and by SELECT, and that they stay out of the way.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- What other tests' pushes left
DELETE FROM sync.device;
CREATE ROLE builtin_app;
CREATE ROLE builtin_guest;
CREATE TABLE builtin_member (who text, team int);
CREATE TABLE builtin_note (id int PRIMARY KEY, team int, body text);
CREATE TABLE builtin_open (id int PRIMARY KEY);
INSERT INTO builtin_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2);
GRANT SELECT ON builtin_member, builtin_note, builtin_open TO builtin_app;
GRANT SELECT ON builtin_member TO builtin_guest;
SELECT sync.create_scope('builtin team', 'SELECT team FROM public.builtin_member WHERE who = sync.user_id()');
SELECT sync.create_scope('user', 'SELECT ''x''');
SELECT sync.create_scope('builtin broken', 'SELECT 1 / 0');
SELECT sync.enable('builtin_note', scope => 'builtin team', scope_column => 'team');
SELECT sync.enable('builtin_open');

-- Audiences: the user, values of scopes whose tables may be read, tables open to the role; a scope that fails holds nothing
CREATE TABLE builtin_fail (id int PRIMARY KEY);
CREATE TABLE builtin_user (id text PRIMARY KEY);
GRANT SELECT ON builtin_fail, builtin_user TO builtin_app;
SELECT sync.enable('builtin_fail', scope => 'builtin broken', scope_column => 'id');
SELECT sync.enable('builtin_user', scope => 'user', scope_column => 'id');
CREATE FUNCTION audiences() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(CASE WHEN a LIKE 'table:%' THEN 'table' ELSE a END, ' ' ORDER BY a COLLATE "C") FROM unnest(sync.audiences()) a $$;
SET ROLE builtin_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT audiences();
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT audiences();
SET request.jwt.claims = '';
SELECT audiences();
SET ROLE builtin_guest;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT audiences();
RESET ROLE;
-- Followed within a transaction: claims, role, and what the transaction writes itself
BEGIN;
SET LOCAL ROLE builtin_app;
SELECT audiences();
SET LOCAL request.jwt.claims = '{"sub":"cyd"}';
SELECT audiences();
RESET ROLE;
INSERT INTO builtin_member VALUES ('cyd', 7);
SET LOCAL ROLE builtin_app;
SELECT audiences();
ROLLBACK;
SELECT sync.disable('builtin_fail');

-- By pull, when they are named; "*" stands for the application's tables
INSERT INTO builtin_note VALUES (1, 1, 'a');
SELECT sync.note_device('ada''s phone');
SELECT string_agg(concat_ws(' ', c ->> 'entity_type', c ->> 'entity_id'), ', ') AS changes FROM json_array_elements(sync.pull('{}') -> 'changes') c;
SET ROLE builtin_app;
SELECT string_agg(concat_ws(' ', c ->> 'entity_type', c ->> 'entity_id', c ->> 'scope'), ', ') AS changes
FROM json_array_elements(sync.pull('{"tables":["sync.device"]}') -> 'changes') c;
SELECT string_agg(c ->> 'entity_type', ', ') AS changes FROM json_array_elements(sync.pull('{"tables":["*","sync.device","sync.notification"]}') -> 'changes') c;
SELECT count(*) AS by_select FROM sync.device;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT string_agg(c ->> 'entity_type', ', ') AS changes FROM json_array_elements(sync.pull('{"tables":["*","sync.device","sync.notification"]}') -> 'changes') c;
SELECT count(*) AS by_select FROM sync.device;
-- Changed by functions only: a push has no right to
SELECT v ->> 'status' AS status, v -> 'error' ->> 'code' AS code, v ->> 'outcome' AS outcome
FROM json_array_elements(sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"sync.notification","entity_id":null,
     "data":{"user_id":"bob","audience":"user:ada","type":"t","importance":"low","title":"t"}}]}') -> 'processed') v;
INSERT INTO sync.notification (audience, user_id, type, importance, title) VALUES ('user:bob', 'bob', 't', 'low', 't');
RESET ROLE;

-- The application's list leaves them out, and nobody turns them off
SELECT entity_type FROM sync.tables();
SELECT sync.disable('sync.device');
SELECT sync.disable_all();
SELECT count(*) FROM sync.synced_table WHERE id < 100 AND entity_type LIKE 'sync.%';

-- What a dump leaves out, for CREATE EXTENSION makes it
SELECT c.oid::regclass::text AS config, cond FROM pg_extension e, unnest(e.extconfig, e.extcondition) x (oid, cond) JOIN pg_class c ON c.oid = x.oid
WHERE extname = 'sync' AND cond <> '' ORDER BY 1;

-- Cleaning up
SET request.jwt.claims = '';
DELETE FROM sync.device;
DELETE FROM sync.tombstone;
DROP TABLE builtin_member, builtin_note, builtin_open, builtin_fail, builtin_user;
DELETE FROM sync.scope WHERE name LIKE 'builtin%' OR name = 'user';
DROP FUNCTION audiences();
DROP ROLE builtin_app, builtin_guest;

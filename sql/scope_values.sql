-- scope_values.sql - scope values are compared as the scope column's type means them, in pull, in push and for the streamer.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TYPE scope_mood AS ENUM ('glad', 'sad');
CREATE DOMAIN scope_money AS numeric(10,2);
CREATE TABLE scope_char (id int PRIMARY KEY, team char(5));
CREATE TABLE scope_numeric (id int PRIMARY KEY, price scope_money);
CREATE TABLE scope_enum (id int PRIMARY KEY, mood scope_mood);
CREATE TABLE scope_uuid (id int PRIMARY KEY, team uuid);
CREATE TABLE scope_big (id int PRIMARY KEY, team bigint);
CREATE TABLE scope_int (id int PRIMARY KEY, team int);
SELECT sync.create_scope('chars', $$ VALUES ('ab'::text), ('xy   ') $$);
SELECT sync.create_scope('numbers', $$ VALUES (1::numeric), (2.5), (2.500) $$);
SELECT sync.create_scope('moods', $$ SELECT 'glad' $$);
SELECT sync.create_scope('uuids', $$ SELECT upper('0a0a0a0a-0000-0000-0000-00000000000a') $$);
SELECT sync.create_scope('ints', $$ SELECT ' 7' UNION SELECT '8' $$);
SELECT sync.enable('scope_char', scope => 'chars', scope_column => 'team');
SELECT sync.enable('scope_numeric', scope => 'numbers', scope_column => 'price');
SELECT sync.enable('scope_enum', scope => 'moods', scope_column => 'mood');
SELECT sync.enable('scope_uuid', scope => 'uuids', scope_column => 'team');
SELECT sync.enable('scope_int', scope => 'ints', scope_column => 'team');
SELECT sync.enable('scope_big', scope => 'ints', scope_column => 'team');

-- What the streamer routes by is what rows hold
SELECT sync.session_state('{}') -> 'scopes' AS scopes;
INSERT INTO scope_char VALUES (1, 'ab'), (2, 'xy'), (3, 'a');
INSERT INTO scope_numeric VALUES (1, 1.0), (2, 2.50), (3, 3);
INSERT INTO scope_enum VALUES (1, 'glad'), (2, 'sad');
INSERT INTO scope_uuid VALUES (1, '0A0A0A0A-0000-0000-0000-00000000000A');
INSERT INTO scope_big VALUES (1, 7), (2, 9);
INSERT INTO scope_int VALUES (1, 8), (2, 9);
SELECT c ->> 'entity_type' AS entity_type, c ->> 'entity_id' AS id, '<' || (c ->> 'scope') || '>' AS scope FROM json_array_elements(sync.pull('{}') -> 'changes') c;
-- Push: the new value must be held, and is
SET request.jwt.claims = '{"sub":"ada"}';
SELECT v ->> 'queue_id' AS n, v ->> 'status' AS status, v -> 'error' ->> 'code' AS code FROM json_array_elements(sync.push('{"device_id":"scope values","changes":[
  {"queue_id":"1","operation":"create","entity_type":"scope_char","entity_id":"11","data":{"team":"ab"}},
  {"queue_id":"2","operation":"create","entity_type":"scope_numeric","entity_id":"11","data":{"price":"1"}},
  {"queue_id":"3","operation":"update","entity_type":"scope_numeric","entity_id":"1","data":{"price":"2.5"},"local_version":1},
  {"queue_id":"4","operation":"create","entity_type":"scope_int","entity_id":"11","data":{"team":7}},
  {"queue_id":"5","operation":"create","entity_type":"scope_int","entity_id":"12","data":{"team":9}}]}') -> 'processed') v;
SET request.jwt.claims = '';
-- Deletions too
SELECT sync.pull('{}') ->> 'next_sync_token' AS token \gset
DELETE FROM scope_char;
DELETE FROM scope_numeric;
SELECT c ->> 'entity_type' AS entity_type, c ->> 'entity_id' AS id, '<' || (c ->> 'scope') || '>' AS scope
FROM json_array_elements(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') c;

-- Types whose equal values have several texts, and tables that disagree
CREATE COLLATION scope_lax (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE scope_odd (id int PRIMARY KEY, n numeric, f float8, d interval, j jsonb, t text COLLATE scope_lax, i int);
SELECT sync.create_scope('odd', 'SELECT 1');
SELECT sync.enable('scope_odd', scope => 'odd', scope_column => 'n');
SELECT sync.enable('scope_odd', scope => 'odd', scope_column => 'f');
SELECT sync.enable('scope_odd', scope => 'odd', scope_column => 'd');
SELECT sync.enable('scope_odd', scope => 'odd', scope_column => 'j');
SELECT sync.enable('scope_odd', scope => 'odd', scope_column => 't');
SELECT sync.enable('scope_odd', scope => 'chars', scope_column => 'i');

-- Scopes are declared and dropped by the database's owner, and not while they are used
SELECT sync.drop_scope('ints');
SELECT sync.drop_scope('nothing');
SELECT sync.drop_scope('odd');
CREATE ROLE scope_user;
GRANT EXECUTE ON FUNCTION sync.create_scope, sync.drop_scope TO scope_user;
SET ROLE scope_user;
SELECT sync.create_scope('mine', 'SELECT 1');
SELECT sync.drop_scope('ints');
RESET ROLE;

SELECT sync.disable_all();
SELECT sync.drop_scope(name) FROM sync.scope WHERE name <> 'sync.audience';
SELECT sync.drop_scope('sync.audience');
DROP TABLE scope_char, scope_numeric, scope_enum, scope_uuid, scope_big, scope_int, scope_odd;
DROP TYPE scope_mood;
DROP DOMAIN scope_money;
DROP COLLATION scope_lax;
REVOKE EXECUTE ON FUNCTION sync.create_scope, sync.drop_scope FROM scope_user;
DROP ROLE scope_user;

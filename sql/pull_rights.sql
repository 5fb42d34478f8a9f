-- pull_rights.sql - a pull sends what the caller may read, by table, column and policy, and nothing else.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), 'scope ' || (c ->> 'scope'),
                 c ->> 'reason', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (reset text, withdrawn text, has_more text) LANGUAGE sql AS
$$ SELECT answer ->> 'reset', answer ->> 'withdrawn', answer ->> 'has_more' $$;
CREATE ROLE pull_rights_all;
CREATE ROLE "pull rights 'some'";
CREATE ROLE pull_rights_none;
CREATE TABLE rights_note (id int PRIMARY KEY, body text, secret text DEFAULT 'classified', team int DEFAULT 1, gone timestamptz);
INSERT INTO rights_note (id, body) VALUES (1, 'a'), (2, 'b');
GRANT SELECT ON rights_note TO pull_rights_all;
GRANT SELECT (id, body), UPDATE (body) ON rights_note TO "pull rights 'some'";
SELECT sync.enable('rights_note');

-- All columns, some columns, none
SET ROLE pull_rights_all;
SELECT * FROM changes(sync.pull('{}'));
SELECT (sync.session_state('{}') -> 'tables' -> 0 ->> 'full')::boolean AS full;
SET ROLE "pull rights 'some'";
SELECT * FROM changes(sync.pull('{}'));
SELECT (sync.session_state('{}') -> 'tables' -> 0 ->> 'full')::boolean AS full;
SET ROLE pull_rights_none;
SELECT * FROM changes(sync.pull('{}'));
SELECT json_array_length(sync.session_state('{}') -> 'tables') AS tables;

-- A table that is not granted is answered like one that is not there
SELECT sync.pull('{"tables":["rights_note"]}') ->> 'has_more' AS has_more;
SELECT sync.pull('{"tables":["rights_nowhere"]}');
RESET ROLE;

-- Push answers with the same columns
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE "pull rights 'some'";
SELECT sync.push('{"device_id":"d","changes":[{"operation":"update","entity_type":"rights_note","entity_id":"1","data":{"body":"aa"}}]}')
       -> 'processed' -> 0 ->> 'data' AS data;
RESET ROLE;

-- Granted later: with the sync_ columns of the version
GRANT SELECT (id) ON rights_note TO pull_rights_none;
SET ROLE pull_rights_none;
SELECT * FROM changes(sync.pull('{}'));
RESET ROLE;
GRANT SELECT (sync_version, sync_xid, sync_at, sync_by, sync_clock) ON rights_note TO pull_rights_none;
SET ROLE pull_rights_none;
SELECT * FROM changes(sync.pull('{}'));
RESET ROLE;
REVOKE SELECT (sync_at, sync_by, sync_clock) ON rights_note FROM pull_rights_none;
SET ROLE pull_rights_none;
SELECT json_array_length(sync.pull('{}') -> 'changes') AS nothing_of_the_table;
RESET ROLE;
SELECT sync.disable('rights_note');

-- A scope column or a mark that is not granted is no error of the whole pull, which would leave its client stuck
GRANT SELECT (id, body) ON rights_note TO pull_rights_none;
SELECT sync.create_scope('rights scope', 'SELECT 1');
SELECT sync.enable('rights_note', scope => 'rights scope', scope_column => 'team', deleted_at => 'gone');
SET ROLE "pull rights 'some'";
SELECT sync.pull('{}') ->> 'has_more' AS has_more;
RESET ROLE;
SELECT sync.disable('rights_note');

-- The schema must be open as well
CREATE SCHEMA rights_schema;
CREATE TABLE rights_schema.note (id int PRIMARY KEY);
INSERT INTO rights_schema.note VALUES (1);
GRANT SELECT ON rights_schema.note TO pull_rights_all;
SELECT sync.enable('rights_schema.note');
SET ROLE pull_rights_all;
SELECT * FROM changes(sync.pull('{}'));
RESET ROLE;
GRANT USAGE ON SCHEMA rights_schema TO pull_rights_all;
SET ROLE pull_rights_all;
SELECT * FROM changes(sync.pull('{}'));
RESET ROLE;

-- Policies hide rows from a pull, beside the scope that says the same
CREATE TABLE rights_policy (id int PRIMARY KEY, owner text);
INSERT INTO rights_policy VALUES (1, 'ada'), (2, 'bob');
ALTER TABLE rights_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY rights_own ON rights_policy USING (owner = sync.user_id());
GRANT SELECT, DELETE ON rights_policy TO pull_rights_all;
SELECT sync.create_scope('rights owner', 'SELECT sync.user_id()');
SELECT sync.enable('rights_policy', scope => 'rights owner', scope_column => 'owner', policy_is_scope => true);
SET ROLE pull_rights_all;
SELECT sync.pull('{"tables":["rights_policy"]}') ->> 'next_sync_token' AS ada \gset
SELECT * FROM changes(sync.pull('{"tables":["rights_policy"]}'));
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.pull('{"tables":["rights_policy"]}') ->> 'next_sync_token' AS bob \gset
SELECT * FROM changes(sync.pull('{"tables":["rights_policy"]}'));
DELETE FROM rights_policy;
SELECT * FROM changes(sync.pull(jsonb_build_object('tables', '{rights_policy}'::text[], 'sync_token', :'bob')));
SET request.jwt.claims = '{"sub":"ada"}';
SELECT * FROM changes(sync.pull(jsonb_build_object('tables', '{rights_policy}'::text[], 'sync_token', :'ada')));
RESET ROLE;

-- Policies that come after enable could hide what tombstones tell: refused until it is enabled again
CREATE TABLE rights_later (id int PRIMARY KEY);
GRANT SELECT, INSERT ON rights_later TO pull_rights_all;
SELECT sync.enable('rights_later');
SET ROLE pull_rights_all;
SELECT json_array_length(sync.pull('{"tables":["rights_later"]}') -> 'changes');
RESET ROLE;
ALTER TABLE rights_later ENABLE ROW LEVEL SECURITY;
CREATE POLICY rights_elsewhere ON rights_later USING (EXISTS (SELECT FROM rights_note));
SET ROLE pull_rights_all;
SELECT sync.pull('{"tables":["rights_later"]}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DROP TABLE rights_note, rights_policy, rights_later;
DROP SCHEMA rights_schema CASCADE;
DELETE FROM sync.scope WHERE name LIKE 'rights %';
DROP FUNCTION changes(json), rest(json);
DROP ROLE pull_rights_all, "pull rights 'some'", pull_rights_none;

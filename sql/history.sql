-- history.sql - each version of a row is kept: who, what, from which device; shown to those who see the row, written back on demand.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE history_app;
CREATE ROLE history_some;
CREATE TABLE history_member (who text, team int);
CREATE TABLE history_note (id int PRIMARY KEY, team int, title text, body text, secret text DEFAULT 's', raw bytea, n numeric, tags text[],
                           long int GENERATED ALWAYS AS (length(body)) STORED);
INSERT INTO history_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2);
GRANT SELECT ON history_member TO history_app, history_some;
GRANT SELECT, INSERT, UPDATE, DELETE ON history_note TO history_app;
GRANT SELECT (id, team, title, body), UPDATE (title) ON history_note TO history_some;
SELECT sync.create_scope('history team', 'SELECT team FROM public.history_member WHERE who = sync.user_id()');
SELECT sync.enable('history_note', scope => 'history team', scope_column => 'team', history => true);
CREATE FUNCTION versions(relation regclass, id text) RETURNS TABLE (v bigint, operation text, who text, device text, fields text, old text, title text) LANGUAGE sql AS
$$ SELECT version, operation, user_id, device_id, array_to_string(fields, ','), old_data::text, data ->> 'title' FROM sync.history(relation, id) $$;

-- Written by SQL and by push; an update that changes nothing is no version
SET ROLE history_app;
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO history_note (id, team, title, body, raw, n, tags) VALUES (1, 1, 'one', 'text', '\x00ff', 1.50, '{a,"b,c",NULL}');
UPDATE history_note SET title = 'two' WHERE id = 1;
UPDATE history_note SET title = 'two' WHERE id = 1;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT v ->> 'outcome' AS outcome FROM json_array_elements(sync.push('{"device_id":"bob''s phone","changes":[{"operation":"update","entity_type":"history_note",
    "entity_id":"1","data":{"title":"three","body":"longer"},"local_version":2}]}') -> 'processed') v;
SELECT * FROM versions('history_note', '1');
-- Others' devices are not told; pages
SET request.jwt.claims = '{"sub":"ada"}';
SELECT v, device FROM versions('history_note', '1');
SELECT version FROM sync.history('history_note', '1', 3, 1);
SELECT data FROM sync.history('history_note', '1', 2);
-- Columns that may not be read are left out; other teams see nothing, nor does who may not read the table
SET ROLE history_some;
SELECT version, fields, old_data, data FROM sync.history('history_note', '1');
SET ROLE history_app;
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT count(*) FROM sync.history('history_note', '1');
SELECT count(*) FROM sync.history('history_note', '2');
SELECT sync.rollback_to('history_note', '1', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM sync.history;

-- Back to an earlier version, as a new one
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.rollback_to('history_note', '1', 1);
SELECT id, team, title, body, raw, n, tags, long, sync_version, sync_by FROM history_note;
SELECT v, operation, fields FROM versions('history_note', '1');
SELECT sync.rollback_to('history_note', '1', 99);
SELECT sync.rollback_to('history_note', 'no number', 1);
-- Under the caller's rights: only columns it may read and update
SET ROLE history_some;
SELECT sync.rollback_to('history_note', '1', 2);
SELECT sync.rollback_to('history_note', '1', 3);
RESET ROLE;

-- Deleted: whoever held its scope value sees the history and may bring it back
SET ROLE history_app;
DELETE FROM history_note WHERE id = 1;
SELECT v, operation, title FROM versions('history_note', '1') LIMIT 2;
SELECT old_data FROM sync.history('history_note', '1', NULL, 1);
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT count(*) FROM sync.history('history_note', '1');
SELECT sync.restore('history_note', '1');
\echo :LAST_ERROR_SQLSTATE
SET ROLE history_some;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.restore('history_note', '1');
SET ROLE history_app;
SELECT sync.restore('history_note', '1');
SELECT sync.restore('history_note', '1');
SELECT id, team, title, body, secret, raw, n, tags, long, sync_version FROM history_note;
-- A row that was in another team then would leave the caller's sight
UPDATE history_note SET team = 2, title = 'moved' WHERE id = 1;
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT v, operation, fields FROM versions('history_note', '1') LIMIT 2;
SELECT sync.rollback_to('history_note', '1', 1);
\echo :LAST_ERROR_SQLSTATE
SELECT team, title FROM history_note;
RESET ROLE;

-- The last image, for push
SELECT sync.last_image(id, '1') ->> 'title' AS title, sync.last_image(id, '2') AS none FROM sync.synced_table WHERE relation = 'history_note'::regclass;

-- Marked rows, behind the usual policy; the application's trigger finds the caller's search_path
CREATE SCHEMA history_schema;
CREATE TABLE history_schema.seen (id int);
GRANT USAGE ON SCHEMA history_schema TO history_app;
GRANT ALL ON history_schema.seen TO history_app;
CREATE TABLE history_soft (id int PRIMARY KEY, team int, title text, deleted_at timestamptz);
CREATE FUNCTION history_soft_seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (new.id); RETURN new; END $$;
CREATE TRIGGER seen BEFORE UPDATE ON history_soft FOR EACH ROW EXECUTE FUNCTION history_soft_seen();
ALTER TABLE history_soft ENABLE ROW LEVEL SECURITY;
CREATE POLICY living ON history_soft USING (deleted_at IS NULL AND team IN (SELECT team FROM public.history_member WHERE who = sync.user_id()));
GRANT SELECT, INSERT, UPDATE, DELETE ON history_soft TO history_app;
GRANT SELECT, DELETE ON history_soft TO history_some;
SELECT sync.enable('history_soft', scope => 'history team', scope_column => 'team', policy_is_scope => true, deleted_at => 'deleted_at', history => true);
SET search_path = public, history_schema;
SET ROLE history_app;
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO history_soft VALUES (1, 1, 'one');
UPDATE history_soft SET title = 'two';
DELETE FROM history_soft;
SELECT count(*) FROM history_soft;
SELECT v, operation, fields FROM versions('history_soft', '1');
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT sync.restore('history_soft', '1');
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE history_some;
SELECT sync.restore('history_soft', '1');
\echo :LAST_ERROR_SQLSTATE
SET ROLE history_app;
SELECT sync.restore('history_soft', '1');
SELECT id, title, deleted_at, sync_version FROM history_soft;
SELECT v, operation, fields FROM versions('history_soft', '1') LIMIT 1;
DELETE FROM history_soft;
SELECT sync.rollback_to('history_soft', '1', 1);
SELECT id, title, deleted_at FROM history_soft;
SELECT sync.restore('history_soft', '1');
RESET search_path;
RESET ROLE;

-- Anonymous: the history knows the user, the others do not; the owner of the table does
CREATE TABLE history_anon (id int PRIMARY KEY, title text);
GRANT SELECT, INSERT ON history_anon TO history_app;
SELECT sync.enable('history_anon', anonymous => true, history => true);
SET ROLE history_app;
SET request.jwt.claims = '{"sub":"bob"}';
INSERT INTO history_anon VALUES (1, 'said');
SELECT v, who, title FROM versions('history_anon', '1');
RESET ROLE;
SELECT v, who, title FROM versions('history_anon', '1');

-- Policies of the table's own: a living row's history for those who see it, a deleted one's for the owner only
CREATE TABLE history_policy (id int PRIMARY KEY, title text, owner text);
GRANT SELECT, DELETE ON history_policy TO history_app;
SELECT sync.enable('history_policy', history => true);
INSERT INTO history_policy VALUES (1, 'a', 'ada'), (2, 'b', 'bob');
ALTER TABLE history_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON history_policy USING (owner = sync.user_id());
SET ROLE history_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT count(*) FROM sync.history('history_policy', '1');
SELECT count(*) FROM sync.history('history_policy', '2');
DELETE FROM history_policy;
SELECT count(*) FROM sync.history('history_policy', '1');
RESET ROLE;
SELECT count(*) FROM sync.history('history_policy', '1');

-- No history, no table; erased on demand by the owner, and with the table's sync
CREATE TABLE history_none (id int PRIMARY KEY);
SELECT sync.enable('history_none');
INSERT INTO history_none VALUES (1);
DELETE FROM history_none;
\set VERBOSITY default
SELECT sync.restore('history_none', '1');
\set VERBOSITY terse
SELECT count(*) FROM sync.history('history_none', '1');
SELECT count(*) FROM sync.history('pg_class', '1');
SELECT sync.erase_history('history_note', '1') AS one, sync.erase_history('history_soft') AS whole;
SELECT sync.disable_all();
SELECT count(*) FROM sync.history;

-- Cleaning up
SET request.jwt.claims = '';
DELETE FROM sync.ledger;
DELETE FROM sync.ledger_device;
DELETE FROM sync.activity;
DELETE FROM sync.tombstone;
DROP TABLE history_member, history_note, history_soft, history_anon, history_policy, history_none;
DROP SCHEMA history_schema CASCADE;
DROP FUNCTION history_soft_seen(), versions(regclass, text);
DELETE FROM sync.scope WHERE name = 'history team';
DROP ROLE history_app, history_some;

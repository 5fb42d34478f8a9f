-- via.sql - rows enabled via their parent are in its scope: they follow it when it moves, and no statement can say otherwise.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION changes(answer json) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), c ->> 'data', 'scope', c ->> 'scope', c ->> 'reason')
    FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n) $$;
CREATE ROLE via_app;
CREATE TABLE via_note (id bigint PRIMARY KEY, team numeric(6,2), body text);
CREATE TABLE via_item (id int PRIMARY KEY, note_id int REFERENCES via_note ON UPDATE CASCADE ON DELETE SET NULL, body text);
CREATE TABLE via_tick (id int PRIMARY KEY, item_id int REFERENCES via_item ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE via_loose (id int PRIMARY KEY, note_id int, tree int REFERENCES via_loose);
INSERT INTO via_note VALUES (1, 1, 'one'), (2, 2, 'two');
INSERT INTO via_item VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'c');
INSERT INTO via_tick VALUES (1, 1), (2, 2), (3, 3);
CREATE FUNCTION via_loud() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'application trigger on %', tg_table_name; RETURN new; END $$;
CREATE TRIGGER loud BEFORE UPDATE ON via_item FOR EACH ROW EXECUTE FUNCTION via_loud();
SELECT sync.create_scope('via teams', $$ SELECT unnest(string_to_array(current_setting('request.jwt.claims')::json ->> 'teams', ',')) $$);
GRANT SELECT, INSERT, UPDATE, DELETE ON via_note, via_item, via_tick TO via_app;

-- Refusals
SELECT sync.enable('via_item', via => 'note_id');
SELECT sync.enable('via_note', scope => 'via teams', scope_column => 'team');
SELECT sync.enable('via_loose', via => 'note_id');
SELECT sync.enable('via_loose', via => 'tree');
SELECT sync.enable('via_loose', via => 'nowhere');

-- Existing rows are filled, by one UPDATE that no trigger of the application sees; versions stay
SET client_min_messages = notice;
SELECT sync.enable('via_item', via => 'note_id');
SELECT sync.enable('via_tick', via => 'item_id');
SET client_min_messages = warning;
SELECT relation, scope, scope_column FROM sync.tables();
SELECT id, note_id, sync_scope, sync_version FROM via_item ORDER BY id;
SELECT id, item_id, sync_scope FROM via_tick ORDER BY id;
SELECT substring(indexdef FROM $$[(][^)]*[)]$$) AS columns FROM pg_indexes WHERE tablename = $$via_item$$ AND indexdef LIKE $$%sync_scope%$$;
DROP TRIGGER loud ON via_item;

-- Insert and update: computed from the parent, whatever the statement says; nobody's without one
INSERT INTO via_item (id, note_id, sync_scope) VALUES (4, 2, '1.00'), (5, NULL, '1.00') RETURNING id, sync_scope;
UPDATE via_item SET sync_scope = '1.00' WHERE id = 4 RETURNING id, sync_scope, sync_version;
INSERT INTO via_item (id, note_id) VALUES (4, 2) ON CONFLICT (id) DO UPDATE SET sync_scope = excluded.sync_scope, body = 'forged' RETURNING id, sync_scope, sync_version;
INSERT INTO via_tick VALUES (4, 4);

SET ROLE via_app;
SET request.jwt.claims = '{"sub":"ada","teams":"1"}';
SELECT sync.pull('{}') AS ada0 \gset
SELECT * FROM changes(:'ada0');
SET request.jwt.claims = '{"sub":"bob","teams":"2"}';
SELECT sync.pull('{}') AS bob0 \gset
SELECT * FROM changes(:'bob0');
RESET ROLE;

-- The parent moves: all below it leave one copy and enter the other
UPDATE via_note SET team = 1 WHERE id = 2;
SELECT id, sync_scope, sync_version FROM via_item ORDER BY id;
SELECT id, sync_scope, sync_version FROM via_tick ORDER BY id;
SET ROLE via_app;
SET request.jwt.claims = '{"sub":"ada","teams":"1"}';
SELECT sync.pull(jsonb_build_object('sync_token', :'ada0'::json ->> 'next_sync_token')) AS ada1 \gset
SELECT * FROM changes(:'ada1');
SET request.jwt.claims = '{"sub":"bob","teams":"2"}';
SELECT * FROM changes(sync.pull(jsonb_build_object('sync_token', :'bob0'::json ->> 'next_sync_token')));
RESET ROLE;

-- A child changes its parent, its grandchildren with it; to none: nobody's
UPDATE via_note SET team = 2 WHERE id = 1;
UPDATE via_item SET note_id = 1 WHERE id IN (2, 3);
UPDATE via_item SET note_id = NULL WHERE id = 4;
SELECT i.id, note_id, i.sync_scope, t.id AS tick, t.sync_scope AS tick_scope FROM via_item i LEFT JOIN via_tick t ON t.item_id = i.id ORDER BY 1;
-- The parent's key changes, the parent goes
UPDATE via_note SET id = 10 WHERE id = 1;
DELETE FROM via_note WHERE id = 10;
SELECT i.id, note_id, i.sync_scope, t.id AS tick, t.sync_scope AS tick_scope FROM via_item i LEFT JOIN via_tick t ON t.item_id = i.id ORDER BY 1;
-- Children before their parent, where the foreign key is deferrable
BEGIN;
INSERT INTO via_tick VALUES (20, 20);
SELECT sync_scope FROM via_tick WHERE id = 20;
INSERT INTO via_item VALUES (20, 2);
SELECT sync_scope FROM via_tick WHERE id = 20;
COMMIT;

-- Pushed by a user: held scopes decide about the parent's
SET ROLE via_app;
SET request.jwt.claims = '{"sub":"bob","teams":"2"}';
SELECT v ->> 'status' AS status, v -> 'error' ->> 'code' AS code FROM json_array_elements(sync.push('{"device_id":"via","changes":[
  {"queue_id":"1","operation":"create","entity_type":"via_item","entity_id":"30","data":{"note_id":2}},
  {"queue_id":"2","operation":"update","entity_type":"via_item","entity_id":"20","data":{"body":"x"}}]}') -> 'processed') v;
SET request.jwt.claims = '{"sub":"ada","teams":"1"}';
SELECT v ->> 'status' AS status, v -> 'error' ->> 'code' AS code FROM json_array_elements(sync.push('{"device_id":"via","changes":[
  {"queue_id":"1","operation":"create","entity_type":"via_item","entity_id":"30","data":{"note_id":2}},
  {"queue_id":"2","operation":"update","entity_type":"via_item","entity_id":"30","data":{"note_id":null}}]}') -> 'processed') v;
RESET ROLE;

-- With the stamps switched off, as README says for an emergency, the application goes on writing, and rows follow their parent all the same
ALTER TABLE via_item DISABLE TRIGGER "~sync_stamp";
INSERT INTO via_item VALUES (40, 2);
SELECT note_id, sync_scope FROM via_item WHERE id = 40;
UPDATE via_note SET team = 3 WHERE id = 2;
SELECT note_id, sync_scope FROM via_item WHERE id = 40;
ALTER TABLE via_item ENABLE ALWAYS TRIGGER "~sync_stamp";

-- Disabling: children first
SELECT sync.disable('via_item');
SELECT sync.disable('via_tick');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'via_item'::regclass AND tgname LIKE '~sync_cas%';
SELECT sync.disable('via_item');
SELECT attname FROM pg_attribute WHERE attrelid IN ('via_item'::regclass, 'via_tick'::regclass) AND attname LIKE 'sync%';
SELECT tgname FROM pg_trigger WHERE tgrelid = 'via_note'::regclass AND tgname LIKE '~sync_cas%';

SET request.jwt.claims = '';
SELECT sync.disable_all();
SELECT sync.drop_scope('via teams');
DROP TABLE via_tick, via_item, via_note, via_loose;
DROP FUNCTION changes(json), via_loud();
DROP ROLE via_app;

-- forget_user.sql - one call erases a person everywhere; clients lose the name, and no offline edit suffers from it.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE forget_app;
CREATE TABLE forget_note (id int PRIMARY KEY, title text, body text, touched timestamptz);
GRANT SELECT, INSERT, UPDATE, DELETE ON forget_note TO forget_app;
CREATE FUNCTION forget_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.touched := '2000-01-01'; RETURN new; END $$;
SELECT sync.enable('forget_note', history => true);
SELECT sync.set_channel('email', 'low');
-- ada and bob both leave traces
SET ROLE forget_app;
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO forget_note VALUES (1, 'a', 'a'), (2, 'b', 'b'), (3, 'c', 'c');
SELECT sync.set_preference('{"channels":{"email":"low"}}');
RESET ROLE;
SELECT sync.note_device('phone');
SELECT sync.log_sync('phone', 'push', 3, 120, 'ok', 1.5);
SET ROLE forget_app;
SELECT sync.lock('{"device_id":"phone","entity_type":"forget_note","entity_id":"1"}') ->> 'success' AS success;
SELECT sync.record_activity('{"entity_type":"forget_note","entity_id":"1","action":"viewed"}') ->> 'success' AS success;
SELECT sync.notify('{"users":["ada"],"type":"t","title":"later","remind_at":"2999-01-01T00:00:00Z"}') ->> 'success' AS success;
SET request.jwt.claims = '{"sub":"bob"}';
UPDATE forget_note SET title = 'bob''s' WHERE id = 2;
SET request.jwt.claims = '{"sub":"ada"}';
DELETE FROM forget_note WHERE id = 3;
SELECT v ->> 'outcome' AS outcome FROM json_array_elements(sync.push('{"device_id":"phone","changes":[{"queue_id":"q1","operation":"update","entity_type":"forget_note",
    "entity_id":"1","data":{"title":"pushed"},"local_version":1}]}') -> 'processed') v;
RESET ROLE;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.notify('{"users":["ada","bob"],"type":"t","title":"hello"}') ->> 'notified' AS notified;
SET request.jwt.claims = '';
SELECT sync.notify('{"users":["bob"],"type":"t","title":"to bob"}') ->> 'notified' AS notified;
INSERT INTO sync.conflict (table_id, entity_type, entity_id, operation, kind, fields, local_data, server_data, pushed_by, device_id, changed_by, rule, outcome)
VALUES (1, 'forget_note', '1', 'update', 'edit', '{title}', '{"title":"mine"}', '{"title":"theirs"}', 'ada', 'phone', 'bob', 'lww', 'server'),
       (1, 'forget_note', '1', 'update', 'edit', '{title}', '{"title":"theirs"}', '{"title":"mine"}', 'bob', 'phone', 'ada', 'lww', 'server');
CREATE TRIGGER touch BEFORE UPDATE ON forget_note FOR EACH ROW EXECUTE FUNCTION forget_touch();
SET ROLE forget_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.pull('{}') ->> 'next_sync_token' AS token \gset
SELECT sync.forget_user('ada');
RESET ROLE;
SET request.jwt.claims = '';

SELECT sync.forget_user('');
SELECT key, value FROM json_each_text(sync.forget_user('ada')) WHERE value <> '0' ORDER BY key COLLATE "C";
SELECT count(*) AS again FROM json_each_text(sync.forget_user('ada')) WHERE value <> '0';

-- Nothing of the schema names ada any more, but for images that belong to the business
CREATE FUNCTION mentions(who text) RETURNS TABLE (relation text, n bigint) LANGUAGE plpgsql AS
$$
BEGIN
    FOR relation IN SELECT c.oid::regclass::text FROM pg_class c WHERE (c.relnamespace = 'sync'::regnamespace OR c.relname = 'forget_note') AND relkind = 'r' ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE t::text ~ $1', relation) INTO n USING '\m' || who || '\M';
        IF n > 0 THEN RETURN NEXT; END IF;
    END LOOP;
END
$$;
SELECT * FROM mentions('ada');
-- bob's traces stand
SELECT user_id, title, actor FROM sync.notification ORDER BY title;
SELECT pushed_by, changed_by, local_data::jsonb FROM sync.conflict ORDER BY pushed_by;
SELECT version, operation, user_id, device_id, new_row ->> 'title' AS title FROM sync.history ORDER BY entity_id, version;

-- Rows travel again without the name: newer, otherwise as they were; the application's trigger stayed silent
SELECT id, title, touched, sync_version, sync_by FROM forget_note ORDER BY id;
SET ROLE forget_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT c ->> 'entity_id' AS entity_id, c ->> 'server_version' AS version, c ->> 'changed_by' AS changed_by
FROM json_array_elements(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') c;
RESET ROLE;
SELECT count(*) AS history_of_it FROM sync.history WHERE entity_id = '1';
-- An edit made offline on the version before is no collision
DROP TRIGGER touch ON forget_note;
SELECT v ->> 'status' AS status, v ->> 'outcome' AS outcome, v -> 'data' ->> 'title' AS title, v ->> 'conflict_id' AS conflict
FROM json_array_elements(sync.push('{"device_id":"tablet","changes":[{"operation":"update","entity_type":"forget_note",
    "entity_id":"1","data":{"title":"offline"},"local_version":2,"timestamp":"2020-01-01T00:00:00Z"}]}') -> 'processed') v;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
SELECT sync.set_channel('email', NULL);
DELETE FROM sync.notification;
DELETE FROM sync.delivery;
DELETE FROM sync.device;
DELETE FROM sync.ledger;
DELETE FROM sync.ledger_device;
DELETE FROM sync.conflict;
DELETE FROM sync.sync_log;
DELETE FROM sync.tombstone;
DROP TABLE forget_note;
DROP FUNCTION mentions(text), forget_touch();
DROP ROLE forget_app;

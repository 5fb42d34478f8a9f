-- left_open.sql - an error that is caught outside a request leaves no subtransaction of the request's open: the transaction would never end.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE left_app;
CREATE FUNCTION left_check() RETURNS boolean LANGUAGE plpgsql AS
$$
BEGIN
    IF current_setting('test.raises', true) <> '' THEN
        RAISE EXCEPTION 'raised' USING ERRCODE = current_setting('test.raises');
    END IF;
    RETURN true;
END
$$;
-- a value of it is checked wherever a policy is asked about a row that went
CREATE DOMAIN left_owner AS text CHECK (left_check());
CREATE TABLE left_note (id int PRIMARY KEY, owner left_owner, body text);
GRANT SELECT, INSERT, UPDATE, DELETE ON left_note TO left_app;
ALTER TABLE left_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON left_note TO left_app USING (owner = sync.user_id());
SELECT sync.enable('left_note');
INSERT INTO left_note VALUES (1, 'ada', 'goes'), (2, 'ada', 'stays');
CREATE FUNCTION left_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM left_check(); RETURN new; END $$;
CREATE TRIGGER raises BEFORE INSERT ON left_note FOR EACH ROW EXECUTE FUNCTION left_trigger();
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE left_app;
SELECT sync.pull('{}') ->> 'next_sync_token' AS token \gset
RESET ROLE;
DELETE FROM left_note WHERE id = 1;
SELECT id AS note FROM sync.synced_table WHERE relation = 'left_note'::regclass \gset
SELECT t.old_values FROM sync.tombstone t WHERE t.table_id = :note \gset

-- A pull that is cancelled while a policy is asked about a deletion
SET ROLE left_app;
SELECT set_config('test.token', :'token', false) IS NULL AS none;
DO $$
BEGIN
    PERFORM set_config('test.raises', '57014', true);
    PERFORM sync.pull(jsonb_build_object('sync_token', current_setting('test.token')));
EXCEPTION WHEN query_canceled THEN
    PERFORM set_config('test.raises', '', true);
END
$$;
SELECT now() AS first \gset
SELECT now() > :'first' AS transactions_end, current_user, pg_current_xact_id_if_assigned();

-- A push that ends with what no change of it is to blame for
DO $$
BEGIN
    PERFORM set_config('test.raises', '53100', true);
    PERFORM sync.push('{"device_id":"d","changes":[{"queue_id":"q","operation":"create","entity_type":"left_note","entity_id":"3","timestamp":"2026-01-01T00:00:00Z","data":{"owner":"ada"}}]}');
EXCEPTION WHEN disk_full THEN
    PERFORM set_config('test.raises', '', true);
END
$$;
SELECT now() AS first \gset
SELECT now() > :'first' AS transactions_end, current_user, pg_current_xact_id_if_assigned();
RESET ROLE;

-- Identities of which one fails in such a way: the next is answered as itself, and the call ends
SET test.raises = '53100';
SELECT sync.visible_keys(jsonb_build_object('identities', '[{"role":"left_app","claims":{"sub":"ada"}},{"role":"left_app","claims":{"sub":"ben"}}]'::jsonb,
    'tables', json_build_array(json_build_object('id', :note, 'keys', '[]'::json, 'gone', json_build_array(:'old_values'::json))))) AS answer \gset
SET test.raises = '';
SELECT i -> 'tables' AS tables, i -> 'error' AS error FROM json_array_elements(:'answer'::json -> 'identities') i;
SELECT now() AS first \gset
SELECT now() > :'first' AS transactions_end, current_user, sync.user_id(), pg_current_xact_id_if_assigned();

-- What only the row is to blame for hides its deletion, and stops nobody's pull
SET ROLE left_app;
SET test.raises = '23514';
SELECT json_array_length(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') AS changes;
SET test.raises = '';
SELECT c ->> 'operation' AS operation, c ->> 'entity_id' AS id FROM json_array_elements(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') c;
RESET ROLE;

SELECT sync.disable('left_note');
DROP TABLE left_note;
DROP DOMAIN left_owner;
DROP FUNCTION left_trigger(), left_check();
DROP ROLE left_app;

-- pull_restored.sql - a table restored from another server, with stamps that lie ahead of this one's counter, reaches clients whole and resets them once at most.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (changes int, reset text, has_more text) LANGUAGE sql AS
$$ SELECT json_array_length(answer -> 'changes'), answer ->> 'reset', answer ->> 'has_more' $$;
CREATE TABLE restored_note (id int PRIMARY KEY, body text);
SELECT sync.enable('restored_note');
INSERT INTO restored_note VALUES (1, 'here'), (2, 'elsewhere');
-- as a restore does: triggers off
SET session_replication_role = replica;
ALTER TABLE restored_note DISABLE TRIGGER ALL;
UPDATE restored_note SET sync_xid = '4000000000000' WHERE id = 2;
UPDATE sync.synced_table SET epoch = '4000000000000', enabled_xid = '10';
ALTER TABLE restored_note ENABLE TRIGGER ALL;
SET session_replication_role = origin;

-- A first pull sends all of it
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull('{}') AS answer \gset
SELECT * FROM changes(:'answer');
-- row by row, too
SELECT answer, answer ->> 'next_sync_token' AS inside FROM sync.pull('{"limit":1}') AS answer \gset
SELECT * FROM changes(:'answer');
SELECT answer FROM sync.pull(jsonb_build_object('sync_token', :'inside', 'limit', 1)) AS answer \gset
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');

-- The epoch from elsewhere resets nobody, and the row does not come again
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token')));
INSERT INTO restored_note VALUES (3, 'new');
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull(jsonb_build_object('sync_token', :'token')) AS answer \gset
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');
-- nor does it make a digest stale
SELECT sync.digest(jsonb_build_object('sync_token', :'token')) ->> 'stale' AS stale;

-- Written here it is a change like any other; so is a new start here
UPDATE restored_note SET body = 'written here' WHERE id = 2;
SELECT answer, answer ->> 'next_sync_token' AS token FROM sync.pull(jsonb_build_object('sync_token', :'token')) AS answer \gset
SELECT * FROM changes(:'answer');
TRUNCATE restored_note;
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token')));

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE restored_note;
DROP FUNCTION changes(json), rest(json);

-- pull_horizon.sql - a client whose cursor is older than what was purged starts anew, also when the purge comes between two of its pages.
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
CREATE TABLE horizon_note (id int PRIMARY KEY);
SELECT sync.enable('horizon_note');
INSERT INTO horizon_note SELECT generate_series(1, 5);
SELECT answer ->> 'next_sync_token' AS token FROM sync.pull('{}') AS answer \gset
DELETE FROM horizon_note WHERE id > 2;
INSERT INTO horizon_note VALUES (6);

-- The first page of an increment, then the purge
SELECT answer, answer ->> 'next_sync_token' AS inside FROM sync.pull(jsonb_build_object('sync_token', :'token', 'limit', 2)) AS answer \gset
SELECT * FROM changes(:'answer');
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'inside')));
SELECT max(sync_xid) AS purged FROM sync.tombstone t JOIN sync.synced_table s ON s.id = t.table_id WHERE s.relation = 'horizon_note'::regclass \gset
DELETE FROM sync.tombstone t USING sync.synced_table s WHERE s.id = t.table_id AND s.relation = 'horizon_note'::regclass;
UPDATE sync.instance SET horizon = :'purged';
SELECT answer FROM sync.pull(jsonb_build_object('sync_token', :'inside')) AS answer \gset
SELECT * FROM rest(:'answer');
SELECT * FROM changes(:'answer');
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token')));
-- a digest with it is no use either
SELECT sync.digest(jsonb_build_object('sync_token', :'token')) ->> 'stale' AS stale;

-- A round of whole tables has no cursor that could be too old
SELECT sync.pull('{"limit":1}') ->> 'next_sync_token' AS inside \gset
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'inside')));

-- Cleaning up
UPDATE sync.instance SET horizon = '0';
SELECT sync.disable_all();
DROP TABLE horizon_note;
DROP FUNCTION changes(json), rest(json);

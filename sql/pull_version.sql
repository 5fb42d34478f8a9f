-- pull_version.sql - a client whose own tables changed starts anew, and one that is too old is told to update.
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
CREATE TABLE version_note (id int PRIMARY KEY);
SELECT sync.enable('version_note');
INSERT INTO version_note VALUES (1), (2);

-- The same version goes on, another one, newer or older, or none, starts anew
SELECT sync.pull('{"schema_version":3}') ->> 'next_sync_token' AS token \gset
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 3)));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 4)));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 2)));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token')));
SELECT sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 4)) ->> 'next_sync_token' AS token \gset
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 4)));
-- also inside a round
SELECT sync.pull('{"schema_version":4,"limit":1}') ->> 'next_sync_token' AS inside \gset
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'inside', 'schema_version', 4)));
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'inside', 'schema_version', 5)));

-- Below the oldest that is served; one that says nothing is served
SELECT sync.set_schema_version(5, 4);
SELECT sync.pull('{"schema_version":3}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.digest('{"schema_version":3}');
SELECT * FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'schema_version', 4)));
SELECT * FROM rest(sync.pull('{"schema_version":6}'));
SELECT * FROM rest(sync.pull('{}'));
SELECT sync.set_schema_version(NULL, NULL);
SELECT * FROM rest(sync.pull('{"schema_version":3}'));
SELECT sync.pull('{"schema_version":-1}');
SELECT sync.pull('{"schema_version":"three"}');

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE version_note;
DROP FUNCTION changes(json), rest(json);

-- pull_scope.sql - with a scope, callers get the rows of the values they hold, are told what moved away, and lose what they lose.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer; :next pulls with the last answer's token and keeps the new answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), 'scope ' || (c ->> 'scope'),
                 c ->> 'reason', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (reset text, withdrawn text, has_more text) LANGUAGE sql AS
$$ SELECT answer ->> 'reset', answer ->> 'withdrawn', answer ->> 'has_more' $$;
CREATE ROLE pull_scope_app;
CREATE TABLE scope_member (who text, team int);
CREATE TABLE scope_note (id int PRIMARY KEY, team int, body text);
CREATE TABLE scope_open (id int PRIMARY KEY);
GRANT SELECT ON scope_member, scope_note, scope_open TO pull_scope_app;
SELECT sync.create_scope('pull scope', 'SELECT team FROM public.scope_member WHERE who = sync.user_id()', '{public.scope_member.who}');
SELECT sync.enable('scope_note', scope => 'pull scope', scope_column => 'team');
SELECT sync.enable('scope_open');
INSERT INTO scope_member VALUES ('old', 1), ('new', 2), ('both', 1), ('both', 2), ('both', NULL), ('nobody', NULL);
INSERT INTO scope_note VALUES (1, 1, 'a'), (2, 2, 'b'), (3, NULL, 'c'), (4, 3, 'd'), (5, 1, 'e');
INSERT INTO scope_open VALUES (1);

-- Four callers; each keeps its token in a table of the test
CREATE TABLE scope_caller (name text PRIMARY KEY, token text);
GRANT SELECT, UPDATE ON scope_caller TO pull_scope_app;
INSERT INTO scope_caller VALUES ('old'), ('new'), ('both'), ('nobody');
\set as_old 'SET ROLE pull_scope_app; SET request.jwt.claims = ''{"sub":"old"}'';'
\set as_new 'SET ROLE pull_scope_app; SET request.jwt.claims = ''{"sub":"new"}'';'
\set as_both 'SET ROLE pull_scope_app; SET request.jwt.claims = ''{"sub":"both"}'';'
\set as_nobody 'SET ROLE pull_scope_app; SET request.jwt.claims = ''{"sub":"nobody"}'';'
\set pull 'SELECT sync.pull(jsonb_strip_nulls(jsonb_build_object(''sync_token'', token))) AS answer FROM scope_caller WHERE name = sync.user_id() \\gset'
\set keep 'UPDATE scope_caller SET token = :''answer''::json ->> ''next_sync_token'' WHERE name = sync.user_id(); SELECT * FROM changes(:''answer''); SELECT * FROM rest(:''answer''); RESET ROLE;'

-- A first pull sends the values held; NULL is nobody's
:as_old
:pull
:keep
:as_new
:pull
:keep
:as_both
:pull
:keep
:as_nobody
:pull
:keep

-- A row that moves: gone for those who hold only the old value, a row for those who hold the new one, also if they hold both
UPDATE scope_note SET team = 2, body = 'moved' WHERE id = 1;
:as_old
:pull
:keep
:as_new
:pull
:keep
:as_both
:pull
:keep
:as_nobody
:pull
:keep

-- Moved out of everybody's reach, and back
UPDATE scope_note SET team = NULL WHERE id = 5;
:as_old
:pull
:keep
:as_both
:pull
:keep
UPDATE scope_note SET team = 1 WHERE id = 5;
:as_old
:pull
:keep
:as_both
:pull
:keep

-- There and back between two pulls: nobody loses it, and the visitor sees it gone
UPDATE scope_note SET team = 2 WHERE id = 5;
UPDATE scope_note SET team = 1 WHERE id = 5;
:as_old
:pull
:keep
:as_new
:pull
:keep
:as_both
:pull
:keep

-- A deletion is told to holders of its value only
DELETE FROM scope_note WHERE id = 2;
DELETE FROM scope_note WHERE id = 4;
:as_old
:pull
:keep
:as_new
:pull
:keep
:as_both
:pull
:keep

-- A value gained: its rows are sent whole, beside what changed elsewhere; rows of values held before are not sent again
INSERT INTO scope_note VALUES (6, 3, 'f'), (7, 3, 'g'), (8, 1, 'h');
DELETE FROM scope_note WHERE id = 7;
INSERT INTO scope_member VALUES ('old', 3), ('nobody', 3);
:as_old
:pull
:keep
:as_nobody
:pull
:keep

-- A value lost: no rows, one entry that says what may stay; changes of the values kept come with it
DELETE FROM scope_member WHERE who IN ('old', 'both') AND team = 1;
UPDATE scope_note SET body = 'ff' WHERE id = 6;
UPDATE scope_note SET body = 'unseen' WHERE id = 8;
:as_old
:pull
:keep
:as_both
:pull
:keep

-- Lost and gained at once; then everything lost
UPDATE scope_member SET team = 1 WHERE who = 'old';
DELETE FROM scope_member WHERE who = 'nobody';
:as_old
:pull
:keep
:as_nobody
:pull
:keep
:as_nobody
:pull
:keep

-- Deletions of a value that was lost are not told, nor is what happened before it was gained
DELETE FROM scope_note WHERE id = 6;
DELETE FROM scope_member WHERE who = 'old';
:as_old
:pull
:keep
INSERT INTO scope_member VALUES ('old', 3), ('old', 1);
:as_old
:pull
:keep

-- Values are compared in the column's type, text with quotes and all
CREATE TABLE scope_text (id int PRIMARY KEY, place text);
CREATE TABLE scope_uuid (id int PRIMARY KEY, place uuid);
INSERT INTO scope_text VALUES (1, 'o''k "q" \ {x,y} NULL'), (2, 'NULL'), (3, ''), (4, NULL);
INSERT INTO scope_uuid VALUES (1, 'AAAAAAAA-0000-0000-0000-000000000001');
SELECT sync.create_scope('pull text scope', $$VALUES ('o''k "q" \ {x,y} NULL'), ('NULL'), (''), (NULL)$$);
SELECT sync.create_scope('pull uuid scope', $$SELECT 'aaaaaaaa-0000-0000-0000-000000000001'$$);
SELECT sync.enable('scope_text', scope => 'pull text scope', scope_column => 'place');
SELECT sync.enable('scope_uuid', scope => 'pull uuid scope', scope_column => 'place');
SELECT * FROM changes(sync.pull('{"tables":["scope_text","scope_uuid"]}'));

-- What the streamer asks: the tables covered, and the values held as text
SET request.jwt.claims = '{"sub":"both"}';
SELECT answer -> 'scopes' AS scopes FROM sync.session_state('{"tables":["scope_note","scope_text","scope_open"]}') AS answer;
SELECT relation, (t ->> 'full')::boolean AS full
FROM json_array_elements(sync.session_state('{"tables":["scope_note","scope_open"]}') -> 'tables') t JOIN sync.synced_table s ON s.id = (t ->> 'id')::int;

-- A members query that fails is the caller's error, and names the trouble
SELECT sync.create_scope('pull broken scope', 'SELECT nowhere FROM public.scope_member');
CREATE TABLE scope_broken (id int PRIMARY KEY);
SELECT sync.enable('scope_broken', scope => 'pull broken scope', scope_column => 'id');
\set VERBOSITY terse
SELECT sync.pull('{"tables":["scope_broken"]}');
\set VERBOSITY default
SELECT json_array_length(sync.pull('{"tables":["scope_note"]}') -> 'changes');

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE scope_member, scope_note, scope_open, scope_caller, scope_text, scope_uuid, scope_broken;
DELETE FROM sync.scope WHERE name LIKE 'pull%';
DROP FUNCTION changes(json), rest(json);
DROP ROLE pull_scope_app;

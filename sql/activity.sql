-- activity.sql - who did what: from the history, and events that change no row; for those who see the row.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE activity_app;
CREATE ROLE activity_some;
CREATE TABLE activity_member (who text, team int);
CREATE TABLE activity_note (id int PRIMARY KEY, team int, title text);
CREATE TABLE activity_plain (id int PRIMARY KEY);
CREATE TABLE activity_anon (id int PRIMARY KEY);
CREATE TABLE activity_cols (id int PRIMARY KEY, title text, secret text);
CREATE TABLE activity_own (id int PRIMARY KEY, owner text);
INSERT INTO activity_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2);
GRANT SELECT ON activity_member, activity_plain, activity_cols, activity_own TO activity_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON activity_note, activity_anon TO activity_app;
GRANT SELECT (id, title) ON activity_cols TO activity_some;
SELECT sync.create_scope('activity team', 'SELECT team FROM public.activity_member WHERE who = sync.user_id()');
SELECT sync.enable('activity_note', scope => 'activity team', scope_column => 'team', history => true);
SELECT sync.enable('activity_plain');
SELECT sync.enable('activity_anon', anonymous => true, history => true);
SELECT sync.enable('activity_cols', history => true);
SELECT sync.enable('activity_own', history => true);
CREATE FUNCTION feed(answer json) RETURNS TABLE (scope text, entity text, actor text, action text, fields text) LANGUAGE sql AS
$$
SELECT regexp_replace(c ->> 'scope', '\d+$', 'N'), concat_ws(' ', d ->> 'entity_type', d ->> 'entity_id'), d ->> 'actor', d ->> 'action', d ->> 'fields'
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n), LATERAL (SELECT c -> 'data') x (d) ORDER BY n
$$;

-- Changes and events; a table without history tells only events
SET ROLE activity_app;
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO activity_note VALUES (1, 1, 'one');
UPDATE activity_note SET title = 'two';
RESET ROLE;
INSERT INTO activity_plain VALUES (1);
SET ROLE activity_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.record_activity('{"entity_type":"activity_note","entity_id":"1","action":"viewed","data":{"from":"list"}}') ->> 'success' AS success;
SELECT sync.record_activity('{"entity_type":"activity_note","entity_id":"1","action":"viewed","data":{"from":"list"}}') ->> 'success' AS the_same;
SELECT sync.record_activity('{"entity_type":"activity_plain","entity_id":"1","action":"opened"}') ->> 'success' AS success;
DELETE FROM activity_note;
SELECT actor, action, entity_type, entity_id, fields, data FROM sync.activity();
-- By entity, actor and action; in pages
SELECT action FROM sync.activity('activity_note', '1', actor => 'ada');
SELECT action FROM sync.activity(action => 'viewed');
SELECT action FROM sync.activity(before => (SELECT min(activity_id) + 1 FROM sync.activity()), most => 5);
SELECT action FROM sync.activity('activity_note', most => 1);
-- By pull; never a value
SELECT * FROM feed(sync.pull('{"tables":["sync.activity"]}'));
SELECT count(*) FROM sync.activity() a WHERE a::text LIKE '%two%';
-- Another team sees nothing of it, by no way
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT actor, action, entity_type FROM sync.activity();
SELECT entity FROM feed(sync.pull('{"tables":["sync.activity"]}'));
SELECT count(*) FROM sync.activity;
SELECT sync.record_activity('{"entity_type":"activity_note","entity_id":"1","action":"viewed"}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.record_activity('{"entity_type":"nowhere","entity_id":"1","action":"viewed"}');
\echo :LAST_ERROR_SQLSTATE
-- Malformed events, and changes that did not happen
SELECT sync.record_activity('{"entity_type":"activity_plain","entity_id":"1","action":"delete"}');
SELECT sync.record_activity('{"entity_type":"activity_plain","entity_id":"1"}');
SELECT sync.record_activity(jsonb_build_object('entity_type', 'activity_plain', 'entity_id', '1', 'action', 'viewed', 'data', repeat('x', 5000)));
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '';
SELECT sync.record_activity('{"entity_type":"activity_plain","entity_id":"1","action":"viewed"}');
\echo :LAST_ERROR_SQLSTATE

-- Anonymous: what, not who
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO activity_anon VALUES (1);
SELECT sync.record_activity('{"entity_type":"activity_anon","entity_id":"1","action":"viewed"}') ->> 'success' AS success;
SELECT actor, action FROM sync.activity('activity_anon');
RESET ROLE;
-- Columns granted one by one: not even which
INSERT INTO activity_cols VALUES (1, 'a', 'b');
UPDATE activity_cols SET secret = 'c';
SET ROLE activity_app;
SELECT action, fields FROM sync.activity('activity_cols');
RESET ROLE;
-- Policies of the table's own: by the function, row by row, not by sync
ALTER TABLE activity_own ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON activity_own USING (owner = sync.user_id());
INSERT INTO activity_own VALUES (1, 'ada'), (2, 'bob');
SET ROLE activity_app;
SELECT action, entity_id FROM sync.activity('activity_own');
SELECT count(*) FROM sync.activity WHERE entity_type = 'activity_own';
RESET ROLE;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
SELECT count(*) FROM sync.activity;
DELETE FROM sync.tombstone;
DROP TABLE activity_member, activity_note, activity_plain, activity_anon, activity_cols, activity_own;
DROP FUNCTION feed(json);
DELETE FROM sync.scope WHERE name = 'activity team';
DROP ROLE activity_app, activity_some;

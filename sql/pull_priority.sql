-- pull_priority.sql - a pull of priority p sends the tables up to p, the critical ones first, and leaves the others for later.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE priority_optional (id int PRIMARY KEY);
CREATE TABLE priority_important (id int PRIMARY KEY);
CREATE TABLE priority_critical (id int PRIMARY KEY);
SELECT sync.enable('priority_optional', priority => 3), sync.enable('priority_important'), sync.enable('priority_critical', priority => 1);
INSERT INTO priority_optional VALUES (1);
INSERT INTO priority_important VALUES (2);
INSERT INTO priority_critical VALUES (3);
SET request.jwt.claims = '{"sub":"ada"}';
SELECT p AS priority, (SELECT string_agg(c ->> 'entity_type', ' ' ORDER BY n) FROM json_array_elements(sync.pull(jsonb_build_object('priority', p)) -> 'changes') WITH ORDINALITY AS x (c, n)) AS sent
FROM generate_series(1, 3) p;
-- the order holds across pages
SELECT answer -> 'changes' -> 0 ->> 'entity_type' AS first, answer ->> 'has_more' AS has_more, answer ->> 'next_sync_token' AS token FROM sync.pull('{"limit":1}') AS answer \gset
\echo :first :has_more
SELECT answer -> 'changes' -> 0 ->> 'entity_type' AS second, answer ->> 'next_sync_token' AS token FROM sync.pull(jsonb_build_object('limit', 1, 'sync_token', :'token')) AS answer \gset
\echo :second
-- a token of some tables goes on for them; what it left out is sent whole when asked for
SELECT answer ->> 'next_sync_token' AS token FROM sync.pull('{"priority":1}') AS answer \gset
INSERT INTO priority_critical VALUES (4);
SELECT string_agg((c ->> 'entity_type') || ' ' || (c ->> 'entity_id'), ', ' ORDER BY n) AS sent
FROM json_array_elements(sync.pull(jsonb_build_object('sync_token', :'token')) -> 'changes') WITH ORDINALITY AS x (c, n);

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DROP TABLE priority_optional, priority_important, priority_critical;

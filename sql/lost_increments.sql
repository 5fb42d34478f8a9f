-- lost_increments.sql - two people add to one counter: both by as much, or one of them twice in a row; nothing of it is lost.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
CREATE TABLE likes (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, tags jsonb NOT NULL DEFAULT '[]', state jsonb NOT NULL DEFAULT '{"views": 0}', title text);
SELECT sync.enable('likes');
SELECT sync.set_column_rule('likes', path, rule) FROM (VALUES ('n', 'counter'), ('tags', 'union'), ('state.views', 'counter')) r (path, rule);
INSERT INTO likes VALUES (1), (2), (3), (4), (5), (6);
CREATE FUNCTION add(who text, row_id int, base jsonb, data jsonb, more jsonb DEFAULT '{}') RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    v jsonb;
BEGIN
    PERFORM set_config('request.jwt.claims', jsonb_build_object('sub', who)::text, false);
    v := sync.push(jsonb_build_object('device_id', who || '''s', 'changes', jsonb_build_array(
        jsonb_build_object('operation', 'update', 'entity_type', 'likes', 'entity_id', row_id::text, 'data', data, 'base', base) || more)))::jsonb -> 'processed' -> 0;
    RETURN concat_ws(' ', v ->> 'outcome', 'v' || (v ->> 'server_version'), v #>> '{data,n}', CASE WHEN v ? 'conflict_id' THEN 'logged' END);
END
$$;

-- both from 0 to 1: that makes two, and a repeat of what is known already makes none
SELECT add('ada', 1, '{"n":0}', '{"n":1}') AS ada, add('ben', 1, '{"n":0}', '{"n":1}') AS ben, add('cleo', 1, '{"n":2}', '{"n":2}') AS cleo;
-- without base nobody can tell
SELECT add('ada', 1, NULL, '{"n":2}') AS ada;
-- who knew the version meant the value
SELECT add('ben', 1, '{"n":0}', '{"n":2}', '{"local_version":3}') AS ben;
-- a member of an object
SELECT add('ada', 2, '{"state":{"views":0}}', '{"state":{"views":1}}') AS ada, add('ben', 2, '{"state":{"views":0}}', '{"state":{"views":1}}') AS ben;
SELECT state FROM likes WHERE id = 2;

-- Ada's queue of three, one of Ben's between: what was merged is not Ada's own, her next edit does not undo it
SELECT add('ada', 3, '{"n":0}', '{"n":1}') AS ada, add('ben', 3, '{"n":0}', '{"n":5}') AS ben, add('ada', 3, '{"n":1}', '{"n":2}') AS ada, add('ada', 3, '{"n":2}', '{"n":3}') AS ada;
SELECT add('ada', 4, '{"tags":[]}', '{"tags":["a"]}') AS ada, add('ben', 4, '{"tags":[]}', '{"tags":["b"]}') AS ben,
    add('ada', 4, '{"tags":["a"]}', '{"tags":["a","c"]}') AS ada, add('ada', 4, '{"tags":["a","c"]}', '{"tags":["a","c","d"]}') AS ada;
SELECT tags FROM likes WHERE id = 4;
-- the columns beside it stay the device's own
SELECT add('ben', 5, '{"n":0}', '{"n":1,"title":"Ben"}', '{"timestamp":"2026-01-01"}') AS ben, add('ada', 5, '{"n":0,"title":null}', '{"n":1,"title":"Ada"}', '{"timestamp":"2026-01-02"}') AS ada,
    add('ada', 5, '{"n":1,"title":"Ada"}', '{"n":2,"title":"Ada again"}', '{"timestamp":"2025-01-01"}') AS ada;
SELECT n, title FROM likes WHERE id = 5;
SELECT key, (value ->> 'version')::int AS version, value ? 'device' AS by_device FROM jsonb_each(sync.clock('likes', '5')) ORDER BY key;
-- edits of one device on top of each other that arrive in another order
SELECT add('ada', 6, '{"n":0}', '{"n":1}') AS first, add('ada', 6, '{"n":3}', '{"n":6}') AS third, add('ada', 6, '{"n":1}', '{"n":3}') AS second;
-- the same of a member; what stands beside it goes by the time of the edit
SELECT add('ada', 6, '{"state":{"views":0}}', '{"state":{"views":1}}') AS first, add('ada', 6, '{"state":{"views":3}}', '{"state":{"views":6}}') AS third,
    add('ada', 6, '{"state":{"views":1}}', '{"state":{"views":3}}') AS second;
SELECT state FROM likes WHERE id = 6;

-- two people add an equal entry to a list: it stands there twice, whatever came between; a repeat of one device stands once
SELECT sync.set_column_rule('likes', path, 'append') FROM unnest('{tags,state.log}'::text[]) path;
INSERT INTO likes VALUES (7), (8);
SELECT add('ada', 7, '{"tags":[]}', '{"tags":["rang"]}') AS ada, add('ada', 7, '{"tags":[]}', '{"tags":["rang"]}') AS repeated, add('ben', 7, '{"tags":[]}', '{"tags":["rang"]}') AS ben;
SELECT add('ada', 8, '{"state":{"views":0}}', '{"state":{"views":0,"log":["rang"]}}') AS ada, add('ben', 8, '{"state":{"views":0}}', '{"state":{"views":0,"log":["rang"]}}') AS ben;
SELECT tags, (SELECT state FROM likes WHERE id = 8) FROM likes WHERE id = 7;
DROP FUNCTION add;
DROP TABLE likes;

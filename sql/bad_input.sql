-- bad_input.sql - every bad input that README lists gets its own answer, and a good change beside it is written.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE ROLE bad_app;
CREATE DOMAIN bad_positive AS int CHECK (value > 0);
CREATE TYPE bad_mood AS ENUM ('ok');
CREATE TABLE bad (id int PRIMARY KEY, body text, short varchar(3), small smallint, positive bad_positive, mood bad_mood, at timestamptz, doc jsonb, secret text,
                  changed timestamptz, gone timestamptz, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE bad_pair (a int, b text, PRIMARY KEY (a, b));
CREATE TABLE bad_unsynced (id int PRIMARY KEY);
CREATE TABLE bad_unreadable (id int PRIMARY KEY);
CREATE TABLE bad_readonly (id int PRIMARY KEY, body text);
SELECT sync.enable('bad', updated_at => 'changed', deleted_at => 'gone'), sync.enable('bad_pair'), sync.enable('bad_unreadable'), sync.enable('bad_readonly');
GRANT SELECT, INSERT, DELETE, UPDATE (body, short, small, positive, mood, at, doc) ON bad TO bad_app;
GRANT ALL ON bad_pair TO bad_app;
GRANT SELECT ON bad_readonly TO bad_app;
INSERT INTO bad (id) VALUES (1);
INSERT INTO bad_readonly VALUES (1);
INSERT INTO bad_unreadable VALUES (1);

-- The answer to a change, or to the request; and what became of a good change that stood beside it
CREATE FUNCTION bad_push(change text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    answer json;
BEGIN
    answer := sync.push(format('{"device_id": "d", "changes": [%s, {"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"doc": {"n": "%s"}}}]}',
                               change, md5(change))::jsonb);
    RETURN concat_ws(' ', answer #>> '{processed,0,status}', answer #>> '{processed,0,outcome}', answer #>> '{processed,0,error,code}',
                     '|', answer #>> '{processed,1,outcome}');
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION bad_request(request text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT string_agg(k, ' ') FROM json_object_keys(sync.push(request::jsonb)) k);
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION bad_pull(request text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN 'reset: ' || coalesce(sync.pull(request::jsonb) ->> 'reset', 'none');
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SET ROLE bad_app;
SET request.jwt.claims = '{"sub": "ada"}';
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' -> '

-- Requests
SELECT r, bad_request(r) FROM unnest(ARRAY[NULL, '[]', '{}', '{"device_id": 1, "changes": []}', '{"device_id": "d"}', '{"device_id": "d", "changes": {}}',
    '{"device_id": "d", "changes": [], "atomic": 1}', '{"device_id": "d", "changes": [{"operation": "\u0000"}]}']) r;
SELECT bad_request((SELECT json_build_object('device_id', 'd', 'changes', json_agg('{}'::json)) FROM generate_series(1, 10001))::text);
SELECT r, bad_pull(r) FROM unnest(ARRAY['{"device_id": "d", "limit": 0}', '{"device_id": "d", "priority": 4}', '{"device_id": "d", "tables": ["bad_unsynced"]}',
    '{"device_id": "d", "tables": ["bad_unreadable"]}', '{"device_id": "d", "tables": ["bad"], "sync_token": 1}', '{"device_id": "d", "tables": ["bad"], "sync_token": "no token"}']) r;
SET request.jwt.claims = '';
SELECT bad_request('{"device_id": "d", "changes": []}');
SET request.jwt.claims = '{"sub": "ada"}';

-- The shape of a change
SELECT c, bad_push(c) FROM unnest(ARRAY['1', 'null', '{}', '{"operation": "drop", "entity_type": "bad", "entity_id": "1"}', '{"operation": "update", "entity_id": "1", "data": {}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {}, "queue_id": ""}', '{"operation": "update", "entity_type": "bad", "data": {}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": {"id": 1}, "data": {}}', '{"operation": "update", "entity_type": "bad", "entity_id": {"ref": "nowhere"}, "data": {}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1"}', '{"operation": "create", "entity_type": "bad", "entity_id": "2"}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": []}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {}, "base": 1}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {}, "local_version": -1}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {}, "local_version": 1.5}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"body": "x"}, "timestamp": true}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"body": "x"}, "timestamp": 1e99}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"body": "x"}, "timestamp": "soon"}']) c;

-- Tables, keys, columns
SELECT c, bad_push(c) FROM unnest(ARRAY['{"operation": "update", "entity_type": "bad_unsynced", "entity_id": "1", "data": {}}', '{"operation": "update", "entity_type": "bad_unreadable", "entity_id": "1", "data": {}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "x", "data": {"body": "x"}}', '{"operation": "update", "entity_type": "bad_pair", "entity_id": "[\"1\"]", "data": {}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "404", "data": {"body": "x"}}', '{"operation": "create", "entity_type": "bad", "entity_id": "2", "data": {"id": 3}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"nix": 1}}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"sync_version": 9}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"gone": "2026-01-01T00:00:00Z"}}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"changed": "2026-01-01T00:00:00Z"}}',
    '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"twice": 9}}', '{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": {"secret": "x"}}',
    '{"operation": "delete", "entity_type": "bad_readonly", "entity_id": "1"}', '{"operation": "update", "entity_type": "bad_readonly", "entity_id": "1", "data": {"body": "x"}}']) c;

-- Values
SELECT v, bad_push(format('{"operation": "update", "entity_type": "bad", "entity_id": "1", "data": %s}', v)) FROM unnest(ARRAY['{"short": "long"}', '{"small": 99999}', '{"small": "x"}', '{"small": {}}',
    '{"positive": 0}', '{"mood": "bad"}', '{"at": "soon"}', '{"at": "infinity"}']) v;
SELECT bad_push(json_build_object('operation', 'update', 'entity_type', 'bad', 'entity_id', '1', 'data', json_build_object('body', repeat('x', 1100000)))::text);

RESET ROLE;
SELECT sync.disable(t::regclass) FROM unnest('{bad,bad_pair,bad_unreadable,bad_readonly}'::text[]) t;
DROP TABLE bad, bad_pair, bad_unsynced, bad_unreadable, bad_readonly;
DROP FUNCTION bad_push(text), bad_request(text), bad_pull(text);
DROP DOMAIN bad_positive;
DROP TYPE bad_mood;
DROP ROLE bad_app;

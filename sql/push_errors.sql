-- push_errors.sql - each mistake in a change has its code, and only mistakes of the request as a whole fail the request.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each verdict
CREATE FUNCTION verdicts(answer json) RETURNS TABLE (verdict text) LANGUAGE sql AS
$$
(SELECT concat_ws(' ', v ->> 'index', v ->> 'queue_id', v ->> 'status', v ->> 'outcome', v ->> 'entity_id', 'v' || (v ->> 'server_version'),
                 v -> 'error' ->> 'code', v -> 'error' ->> 'message', 'hint: ' || (v -> 'error' ->> 'hint'), 'data ' || (v ->> 'data'),
                 CASE WHEN v ->> 'conflict_id' IS NOT NULL THEN 'logged' END, CASE WHEN (v ->> 'repeat')::boolean THEN 'repeat' END)
FROM json_array_elements(answer -> 'processed') WITH ORDINALITY AS p (v, n) ORDER BY n)
UNION ALL
SELECT 'success ' || (answer ->> 'success')
$$;
CREATE ROLE push_errors_app;
CREATE TABLE errors_note (
    id int PRIMARY KEY, body text NOT NULL DEFAULT '', mail text UNIQUE, n int CHECK (n > 0), d date, list int REFERENCES errors_note,
    during int4range, b bytea, tags text[], secret text, EXCLUDE USING gist (during WITH &&));
GRANT SELECT, DELETE ON errors_note TO push_errors_app;
GRANT INSERT (id, body, mail, n, d, list, during, b, tags), UPDATE (body, mail, n, d) ON errors_note TO push_errors_app;
CREATE TABLE errors_readonly (id int PRIMARY KEY, body text);
GRANT SELECT ON errors_readonly TO push_errors_app;
CREATE TABLE errors_hidden (id int PRIMARY KEY);
INSERT INTO errors_note (id, mail, n, during) VALUES (1, 'a@b', 1, '[1,5)');
INSERT INTO errors_readonly VALUES (1, 'a');
SELECT sync.enable('errors_note');
SELECT sync.enable('errors_readonly');
SELECT sync.enable('errors_hidden');
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE push_errors_app;

-- What the database refuses
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"not null","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"body":null}},
    {"queue_id":"check","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"n":0}},
    {"queue_id":"unique","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"mail":"a@b"}},
    {"queue_id":"foreign key","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"list":77}},
    {"queue_id":"exclusion","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"during":"[2,3)"}}]}'));

-- Values that the column's type does not take
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"v1","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"n":"many"}},
    {"queue_id":"v2","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"n":99999999999}},
    {"queue_id":"v3","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"n":{"a":1}}},
    {"queue_id":"v4","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"d":"2026-02-30"}},
    {"queue_id":"v5","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"b":"not base64!"}},
    {"queue_id":"v6","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"tags":{"a":1}}},
    {"queue_id":"v7","operation":"create","entity_type":"errors_note","entity_id":"two","data":{}},
    {"queue_id":"v8","operation":"update","entity_type":"errors_note","entity_id":"99999999999","data":{"body":"x"}},
    {"queue_id":"v9","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"base":{"n":"many"}}]}'));

-- Tables and columns that are not there, not granted, or the server's; one answer for a table that is not granted and one that is not there
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"n1","operation":"create","entity_type":"errors_nowhere","entity_id":"2","data":{}},
    {"queue_id":"n2","operation":"create","entity_type":"errors_hidden","entity_id":"2","data":{}},
    {"queue_id":"n3","operation":"create","entity_type":"pg_class","entity_id":"2","data":{}},
    {"queue_id":"n4","operation":"create","entity_type":"sync.tombstone","entity_id":"2","data":{}},
    {"queue_id":"n5","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"nowhere":1}},
    {"queue_id":"n6","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"ctid":"(0,1)"}},
    {"queue_id":"n7","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"sync_by":"mallory"}},
    {"queue_id":"n8","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"secret":"x"}},
    {"queue_id":"n9","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"list":1}},
    {"queue_id":"o1","operation":"update","entity_type":"errors_readonly","entity_id":"1","data":{"body":"x"}},
    {"queue_id":"o2","operation":"create","entity_type":"errors_readonly","entity_id":"2","data":{}},
    {"queue_id":"o3","operation":"delete","entity_type":"errors_readonly","entity_id":"1"},
    {"queue_id":"o4","operation":"create","entity_type":"errors_note","entity_id":"2","data":{"id":3}}]}'));

-- Malformed changes
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"m1","operation":"upsert","entity_type":"errors_note","entity_id":"2","data":{}},
    {"queue_id":"m2","operation":"create","entity_id":"2","data":{}},
    {"queue_id":"m3","operation":"create","entity_type":7,"entity_id":"2","data":{}},
    {"queue_id":"m4","operation":"create","entity_type":"errors_note","entity_id":"2"},
    {"queue_id":"m5","operation":"create","entity_type":"errors_note","entity_id":"2","data":[1]},
    {"queue_id":"m6","operation":"update","entity_type":"errors_note","data":{"body":"x"}},
    {"queue_id":"m7","operation":"delete","entity_type":"errors_note","entity_id":""},
    {"queue_id":"m8","operation":"update","entity_type":"errors_note","entity_id":true,"data":{"body":"x"}},
    {"queue_id":"m9","operation":"update","entity_type":"errors_note","entity_id":{"id":1},"data":{"body":"x"}},
    {"queue_id":"o5","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"base":7},
    {"queue_id":"o6","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"local_version":-1},
    {"queue_id":"o7","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"local_version":1.5},
    {"queue_id":"o8","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"timestamp":"soon"},
    {"queue_id":"o9","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"timestamp":{"at":1}},
    {"queue_id":"p1","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"},"timestamp":1e300},
    {"queue_id":7,"operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"}},
    {"queue_id":"","operation":"update","entity_type":"errors_note","entity_id":"1","data":{"body":"x"}},
    "change"]}'));
SELECT v -> 'error' ->> 'code' AS code, v -> 'error' ->> 'message' AS message FROM json_array_elements(sync.push(jsonb_build_object('device_id', 'd', 'changes', jsonb_build_array(
    jsonb_build_object('queue_id', repeat('q', 201), 'operation', 'delete', 'entity_type', 'errors_note', 'entity_id', '1'),
    jsonb_build_object('queue_id', repeat('q', 200), 'operation', 'delete', 'entity_type', 'errors_note', 'entity_id', '7'),
    jsonb_build_object('queue_id', 'big', 'operation', 'update', 'entity_type', 'errors_note', 'entity_id', '1', 'data', jsonb_build_object('body', repeat('x', 1100000)))))) -> 'processed') v;
-- none of all these has done anything
RESET ROLE;
SELECT id, body, n, sync_version FROM errors_note ORDER BY id;

-- Whole requests: nobody, no device, no list, no object, too many
SET request.jwt.claims = '';
SELECT sync.push('{"device_id":"d","changes":[]}');
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '{"role":"app"}';
SELECT sync.push('{"device_id":"d","changes":[]}');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.push(NULL);
SELECT sync.push('[]');
SELECT sync.push('{"changes":[]}');
SELECT sync.push('{"device_id":"","changes":[]}');
SELECT sync.push('{"device_id":5,"changes":[]}');
SELECT sync.push(jsonb_build_object('device_id', repeat('d', 257), 'changes', '[]'::jsonb));
SELECT sync.push('{"device_id":"d"}');
SELECT sync.push('{"device_id":"d","changes":{}}');
SELECT sync.push('{"device_id":"d","atomic":"yes","changes":[]}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.push(jsonb_build_object('device_id', 'd', 'changes', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 10001))));
\echo :LAST_ERROR_SQLSTATE
SELECT json_array_length(sync.push(jsonb_build_object('device_id', 'd', 'changes', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 10000)))) -> 'processed');
SELECT sync.push(jsonb_build_object('device_id', 'd', 'changes', '[]'::jsonb, 'padding', repeat('x', 17 * 1024 * 1024)));
\echo :LAST_ERROR_SQLSTATE
BEGIN READ ONLY;
SELECT sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"errors_note","entity_id":"5","data":{}}]}') -> 'processed' -> 0 -> 'error' ->> 'code' AS code;
ROLLBACK;

-- Nobody may push where the setting allows it, which an ordinary role cannot set
SET request.jwt.claims = '';
SET ROLE push_errors_app;
SET sync.allow_nobody = on;
RESET ROLE;
SET sync.allow_nobody = on;
SET ROLE push_errors_app;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[{"queue_id":"nobody","operation":"create","entity_type":"errors_note","entity_id":"2","data":{}}]}'));
RESET ROLE;
SELECT sync_by IS NULL AS nobody FROM errors_note WHERE id = 2;
RESET sync.allow_nobody;

-- Cleaning up
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DROP TABLE errors_note, errors_readonly, errors_hidden;
DROP FUNCTION verdicts(json);
DROP ROLE push_errors_app;

-- resolve.sql - deletions against edits go by the table's delete rule; a person concerned decides a conflict by any of the four resolutions.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DELETE FROM sync.conflict;
CREATE FUNCTION resolve_push(who text, changes jsonb) RETURNS TABLE (verdict text) LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    RETURN QUERY SELECT concat_ws(' ', v ->> 'status', v ->> 'outcome', 'v' || (v ->> 'server_version'), v -> 'error' ->> 'code', v -> 'error' ->> 'holder',
            CASE WHEN v ->> 'conflict_id' IS NOT NULL THEN 'logged ' || (v -> 'conflict_data' ->> 'kind') END, v ->> 'data')
        FROM json_array_elements(sync.push(jsonb_build_object('device_id', who || '''s', 'changes', changes)) -> 'processed') v;
END
$$;
-- The newest conflict, resolved; ids differ from run to run
CREATE FUNCTION resolve_last(who text, resolution text, merged jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    id uuid;
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    SELECT conflict_id INTO id FROM sync.conflicts(false) LIMIT 1;
    RETURN regexp_replace(sync.resolve_conflict(jsonb_build_object('conflict_id', id, 'resolution', resolution, 'merged_data', merged))::text,
                          '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}', 'new', 'g');
END
$$;
CREATE FUNCTION resolve_error(who text, request jsonb) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    RETURN sync.resolve_conflict(request)::text;
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ' ' || sqlerrm;
END
$$;

-- Delete rules, on hard and soft tables: an edit of what was deleted meanwhile, and a deletion of what was edited meanwhile
CREATE TABLE note_wins (id int PRIMARY KEY, body text);
CREATE TABLE note_edit (id int PRIMARY KEY, body text, gone timestamptz);
CREATE TABLE note_back (id int PRIMARY KEY, body text, extra text);
CREATE TABLE note_late (id int PRIMARY KEY, body text, gone timestamptz);
SELECT sync.enable('note_edit', delete_rule => 'edit_wins');
SELECT sync.enable('note_wins', history => true), sync.enable('note_edit', deleted_at => 'gone', delete_rule => 'edit_wins'),
       sync.enable('note_back', history => true, delete_rule => 'edit_wins'), sync.enable('note_late', deleted_at => 'gone', delete_rule => 'lww');
INSERT INTO note_wins SELECT g, 'a' FROM generate_series(1, 3) g;
INSERT INTO note_edit SELECT g, 'a' FROM generate_series(1, 3) g;
INSERT INTO note_back SELECT g, 'a', 'kept' FROM generate_series(1, 3) g;
INSERT INTO note_late SELECT g, 'a' FROM generate_series(1, 3) g;
CREATE FUNCTION resolve_round(entity text) RETURNS TABLE (step text, verdict text) LANGUAGE sql AS
$$
SELECT 'deleted', * FROM resolve_push('ada', jsonb_build_array(jsonb_build_object('operation', 'delete', 'entity_type', entity, 'entity_id', '1', 'local_version', 1, 'timestamp', '2026-01-01T10:00:00Z')))
UNION ALL
SELECT 'edited later', * FROM resolve_push('bob', jsonb_build_array(jsonb_build_object('operation', 'update', 'entity_type', entity, 'entity_id', '1', 'data', '{"body":"bob"}'::jsonb, 'local_version', 1, 'timestamp', '2026-01-01T11:00:00Z')))
UNION ALL
SELECT 'edited by one who knew', * FROM resolve_push('bob', jsonb_build_array(jsonb_build_object('operation', 'delete', 'entity_type', entity, 'entity_id', '3'), jsonb_build_object('operation', 'update', 'entity_type', entity, 'entity_id', '3', 'data', '{"body":"bob"}'::jsonb)))
UNION ALL
SELECT 'edited', * FROM resolve_push('bob', jsonb_build_array(jsonb_build_object('operation', 'update', 'entity_type', entity, 'entity_id', '2', 'data', '{"body":"bob"}'::jsonb, 'local_version', 1, 'timestamp', '2026-01-01T11:00:00Z')))
UNION ALL
SELECT 'deleted blindly, earlier', * FROM resolve_push('ada', jsonb_build_array(jsonb_build_object('operation', 'delete', 'entity_type', entity, 'entity_id', '2', 'local_version', 1, 'timestamp', '2026-01-01T10:00:00Z')))
$$;
SELECT * FROM resolve_round('note_wins');
SELECT * FROM resolve_round('note_edit');
SELECT * FROM resolve_round('note_back');
SELECT * FROM resolve_round('note_late');
SELECT entity_type, entity_id, rule, outcome, pushed_by, changed_by, local_data, server_data FROM sync.conflict ORDER BY at;

-- keep_local: the loser comes back after all, by its author; again the same answer; another resolution is refused
SELECT resolve_push('cleo', '[{"operation":"delete","entity_type":"note_wins","entity_id":"3","local_version":1}]');
DELETE FROM sync.conflict;
INSERT INTO note_wins VALUES (4, 'first');
SELECT * FROM resolve_push('ada', '[{"operation":"delete","entity_type":"note_wins","entity_id":"4"}]');
SELECT * FROM resolve_push('bob', '[{"operation":"update","entity_type":"note_wins","entity_id":"4","data":{"body":"edited"},"local_version":1}]');
SELECT kind, operation, pushed_by, changed_by, rule, outcome, resolution FROM sync.conflicts(false);
SELECT count(*) AS open FROM sync.conflicts();
SELECT resolve_last('bob', 'keep_local');
SELECT resolve_last('bob', 'keep_local');
SELECT conflict_id FROM sync.conflict \gset
SELECT resolve_error('ada', jsonb_build_object('conflict_id', :'conflict_id', 'resolution', 'keep_server'));
SELECT resolve_error('cleo', jsonb_build_object('conflict_id', :'conflict_id', 'resolution', 'keep_local'));
SELECT resolution, resolved_by, resolved_at IS NOT NULL AS dated FROM sync.conflict;

-- The log travels by pull, to those it concerns and nobody else; a resolution travels too
CREATE ROLE resolve_app;
GRANT SELECT ON note_wins TO resolve_app;
SET ROLE resolve_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.pull('{"tables":["sync.conflict"]}') AS bobs \gset
SELECT c ->> 'operation' AS operation, c -> 'data' ->> 'pushed_by' AS pushed_by, c -> 'data' ->> 'changed_by' AS changed_by, c -> 'data' ->> 'resolution' AS resolution FROM json_array_elements(:'bobs'::json -> 'changes') c;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT json_array_length(sync.pull('{"tables":["sync.conflict"]}') -> 'changes') AS adas;
SET request.jwt.claims = '{"sub":"cleo"}';
SELECT json_array_length(sync.pull('{"tables":["sync.conflict"]}') -> 'changes') AS cleos, (SELECT count(*) FROM sync.conflicts(false)) AS listed;
RESET ROLE;
REVOKE SELECT ON note_wins FROM resolve_app;
GRANT SELECT (id, sync_version, sync_xid, sync_at, sync_by, sync_clock) ON note_wins TO resolve_app;
SET ROLE resolve_app;
SET request.jwt.claims = '{"sub":"ada"}';
-- whoever may not read the whole row does not get what somebody else wrote to it
SELECT count(*) FROM sync.conflict;
RESET ROLE;

-- also where a scope's name could be taken for another kind of audience
CREATE TABLE resolve_own (id int PRIMARY KEY, who text, body text);
SELECT sync.create_scope('user', 'SELECT sync.user_id()');
SELECT sync.enable('resolve_own', scope => 'user', scope_column => 'who');
INSERT INTO resolve_own VALUES (1, 'dora', 'a'), (2, 'dora', 'a');
GRANT SELECT, UPDATE, DELETE ON resolve_own TO resolve_app;
SET ROLE resolve_app;
SELECT * FROM resolve_push('dora', '[{"operation":"update","entity_type":"resolve_own","entity_id":"1","data":{"body":"late"},"timestamp":"2020-01-01"},
    {"operation":"delete","entity_type":"resolve_own","entity_id":"2"}]');
SET request.jwt.claims = '{"sub":"dora"}';
SELECT * FROM json_array_elements(sync.push('{"device_id":"another","changes":[{"operation":"update","entity_type":"resolve_own","entity_id":"2","data":{"body":"late"},"timestamp":"2020-01-01"}]}') -> 'processed') v
WHERE v ->> 'outcome' <> 'superseded';
SELECT kind, entity_id, rule FROM sync.conflicts(false) ORDER BY entity_id;
RESET ROLE;
SELECT DISTINCT audience FROM sync.conflict WHERE entity_type = 'resolve_own';
SELECT sync.disable('resolve_own'), sync.drop_scope('user');
DROP TABLE resolve_own;

-- Manual: nothing is decided until somebody does; merged_data overrides column by column
CREATE TABLE plan (id uuid PRIMARY KEY, title text NOT NULL, day date, seats int CHECK (seats < 100), slug text UNIQUE);
SELECT sync.enable('plan', rule => 'manual');
INSERT INTO plan VALUES ('00000000-0000-0000-0000-000000000001', 'plan', '2027-05-01', 10, 'one');
CREATE FUNCTION resolve_collide(title text, seats int) RETURNS SETOF text LANGUAGE sql AS
$$
SELECT * FROM resolve_push('ada', jsonb_build_array(jsonb_build_object('operation', 'update', 'entity_type', 'plan', 'entity_id', '00000000-0000-0000-0000-000000000001', 'local_version', (SELECT sync_version FROM plan WHERE slug = 'one'),
    'data', jsonb_build_object('title', 'ada''s ' || title))))
UNION ALL
SELECT * FROM resolve_push('bob', jsonb_build_array(jsonb_build_object('operation', 'update', 'entity_type', 'plan', 'entity_id', '00000000-0000-0000-0000-000000000001', 'local_version', 1,
    'data', jsonb_build_object('title', 'bob''s ' || title, 'seats', seats))))
$$;
SELECT * FROM resolve_collide('first', 20);
SELECT resolve_last('bob', 'merge', '{"title":"both of us"}');
SELECT * FROM resolve_collide('second', 30);
SELECT resolve_last('ada', 'keep_server');
SELECT * FROM resolve_collide('third', 40);
SELECT resolve_last('bob', 'keep_both');
SELECT resolve_last('bob', 'keep_both', '{"slug":"two"}');
SELECT * FROM resolve_collide('fourth', 50);
UPDATE plan SET title = 'moved on' WHERE slug = 'one';
SELECT resolve_last('bob', 'keep_local');
SELECT resolve_last('bob', 'keep_server');
SELECT title, day, seats, slug FROM plan ORDER BY slug;
SELECT resolution, resolved_by FROM sync.conflict WHERE entity_type = 'plan' ORDER BY at;

-- A constraint's refusal is kept as a conflict that is open; what is written instead meets the constraint again
SELECT * FROM resolve_push('bob', '[{"operation":"create","entity_type":"plan","entity_id":"00000000-0000-0000-0000-000000000009","data":{"title":"taken","slug":"one"}}]');
SELECT kind, rule, local_data FROM sync.conflicts();
SELECT resolve_last('bob', 'keep_local');
SELECT resolve_last('bob', 'merge', '{"slug":"nine","seats":1000}');
SELECT resolve_last('bob', 'merge', '{"slug":"nine","nowhere":1}');
SELECT resolve_last('bob', 'merge', '{"slug":"nine"}');

-- An older client loses nothing; one that is too old is told before anything is looked at
SELECT sync.set_schema_version(5, 3);
SELECT v -> 'error' ->> 'code' AS code, v -> 'error' ->> 'message' AS message, v -> 'conflict_data' ->> 'kind' AS kind, v -> 'conflict_data' ->> 'local_data' AS kept FROM json_array_elements(sync.push(
    '{"device_id":"old","schema_version":4,"changes":[{"operation":"update","entity_type":"plan","entity_id":"00000000-0000-0000-0000-000000000009","data":{"colour":"red"}}]}') -> 'processed') v;
SELECT sync.push('{"device_id":"old","schema_version":2,"changes":[]}');
SELECT sync.set_schema_version(NULL, NULL);

-- Edit windows and locks
CREATE TABLE plan_locked (id int PRIMARY KEY, a text, b text);
SELECT sync.enable('plan_locked', enforce_locks => true, edit_window => '1 day');
INSERT INTO plan_locked VALUES (1);
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.lock('{"device_id":"ada''s","entity_type":"plan_locked","entity_id":"1","field":"a"}') -> 'success' AS locked;
SELECT * FROM resolve_push('bob', '[{"queue_id":"q1","operation":"update","entity_type":"plan_locked","entity_id":"1","data":{"a":"bob"}},
    {"operation":"update","entity_type":"plan_locked","entity_id":"1","data":{"b":"bob"}}, {"operation":"delete","entity_type":"plan_locked","entity_id":"1"},
    {"operation":"update","entity_type":"plan_locked","entity_id":"1","data":{"b":"old"},"timestamp":"2026-01-01T00:00:00Z"}]');
-- its holder may, and saving releases it: the other's queue goes on with the same queue_id
SELECT * FROM resolve_push('ada', '[{"operation":"update","entity_type":"plan_locked","entity_id":"1","data":{"a":"ada"}}]');
SELECT * FROM resolve_push('bob', '[{"queue_id":"q1","operation":"update","entity_type":"plan_locked","entity_id":"1","data":{"a":"bob"}}]');

-- What is wrong with a request
SELECT resolve_error('bob', '{}'), resolve_error('bob', '{"conflict_id":"7","resolution":"keep_local"}'), resolve_error('bob', '{"conflict_id":"7","resolution":"keep"}'),
       resolve_error('bob', '{"conflict_id":"7","resolution":"merge"}'), resolve_error('bob', '{"conflict_id":"7","resolution":"merge","merged_data":[]}'),
       resolve_error('bob', '{"conflict_id":"0-cd97-4822-a99422-a994-8430ce8727aa","resolution":"keep_local"}') \gx
-- A revoked device is refused before anything is looked at
SELECT sync.revoke_device('bob''s');
SELECT sync.push('{"device_id":"bob''s","changes":[]}');

-- How many open conflicts a user may leave
SET sync.max_conflicts = 3;
SELECT resolve_push('bea', jsonb_build_array(jsonb_build_object('operation', 'create', 'entity_type', 'plan', 'data', '{"title":"x","slug":"one","id":"00000000-0000-0000-0000-000000000019"}'::jsonb))) FROM generate_series(1, 3);
SELECT sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"plan","data":{"title":"x","slug":"one","id":"00000000-0000-0000-0000-000000000019"}}]}');
RESET sync.max_conflicts;
SET sync.max_ledger = 2;
SELECT sync.push('{"device_id":"e","changes":[{"queue_id":"1","operation":"explode"},{"queue_id":"2","operation":"explode"}]}') -> 'success' AS success;
SELECT sync.push('{"device_id":"e","changes":[{"queue_id":"3","operation":"explode"}]}');
RESET sync.max_ledger;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DELETE FROM sync.device;
DROP OWNED BY resolve_app;
DROP ROLE resolve_app;
DROP TABLE note_wins, note_edit, note_back, note_late, plan, plan_locked;
DROP FUNCTION resolve_push(text, jsonb), resolve_last(text, text, jsonb), resolve_error(text, jsonb), resolve_round(text), resolve_collide(text, int);

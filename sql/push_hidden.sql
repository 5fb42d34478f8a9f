-- push_hidden.sql - a push never tells an absent row from one that the caller may not see or touch, and cannot move rows out of its scope.
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
-- What an answer holds beside the names that the caller itself chose
CREATE FUNCTION bare(verdict json) RETURNS text LANGUAGE sql AS
$$ SELECT regexp_replace(regexp_replace(verdict::text, '"(index|entity_id|queue_id|conflict_id)":("[^"]*"|null|\d+),?', '', 'g'), '"local_data":\{[^}]*\}', '') $$;
CREATE ROLE push_hidden_app;
CREATE TABLE hidden_member (who text, team int);
CREATE TABLE hidden_note (id int PRIMARY KEY, team int, body text);
GRANT SELECT ON hidden_member TO push_hidden_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON hidden_note TO push_hidden_app;
INSERT INTO hidden_member VALUES ('ada', 1), ('ada', 3);
INSERT INTO hidden_note VALUES (1, 1, 'mine'), (2, 2, 'another team'), (3, NULL, 'nobody''s'), (4, 1, 'mine too'), (5, 1, 'to be moved'), (6, 2, 'to be deleted');
SELECT sync.create_scope('hidden scope', 'SELECT team FROM public.hidden_member WHERE who = sync.user_id()');
SELECT sync.enable('hidden_note', scope => 'hidden scope', scope_column => 'team');
DELETE FROM hidden_note WHERE id = 6;
UPDATE hidden_note SET team = 2 WHERE id = 5;
SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE push_hidden_app;

-- Update and delete: absent, another team's, nobody's, moved away, deleted in another team: equal to the byte
SELECT op, count(*), count(DISTINCT bare(v)) AS different, min(bare(v)) AS answer
FROM (VALUES ('update'), ('delete')) AS o (op), LATERAL json_array_elements(sync.push((
    SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(jsonb_build_object('operation', op, 'entity_type', 'hidden_note', 'entity_id', id, 'data', '{"body":"x"}'::jsonb) || extra))
    FROM unnest('{99,2,3,5,6}'::text[]) id,
         (VALUES ('{}'::jsonb), ('{"local_version":1}'), ('{"local_version":0}'), ('{"base":{"body":"another team"}}'), ('{"timestamp":"2001-01-01T00:00:00Z"}')) AS e (extra))) -> 'processed') v
GROUP BY op ORDER BY op;

-- Create: a hidden key is answered like a scope that refuses the row; a free key succeeds
SELECT count(*), count(DISTINCT bare(v)) AS different, min(bare(v)) AS answer FROM json_array_elements(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"hidden_note","entity_id":"2","data":{"team":1,"body":"x"}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"3","data":{"team":1,"body":"x"}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"5","data":{"team":1,"body":"to be moved"}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"2","data":{"team":2,"body":"another team"}},
    {"operation":"create","entity_type":"hidden_note","data":{"id":2,"team":1}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"90","data":{"team":2}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"90","data":{"team":null}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"90","data":{}}]}') -> 'processed') v;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"hidden_note","entity_id":"6","data":{"team":1,"body":"free again"}},
    {"operation":"create","entity_type":"hidden_note","entity_id":"90","data":{"team":3,"body":"new"}}]}'));

-- A new scope value that is not held, or NULL, is refused like a policy; one that is held is taken
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"update","entity_type":"hidden_note","entity_id":"1","data":{"team":2},"local_version":1},
    {"operation":"update","entity_type":"hidden_note","entity_id":"1","data":{"team":null},"local_version":1},
    {"operation":"update","entity_type":"hidden_note","entity_id":"1","data":{"team":3},"local_version":1}]}'));
-- nor may a change of the key take a key that hides, or carry the row out of reach
SELECT v ->> 'status' AS status, v -> 'error' ->> 'code' AS code FROM json_array_elements(sync.push('{"device_id":"d","changes":[
    {"operation":"update","entity_type":"hidden_note","entity_id":"4","data":{"id":2},"local_version":1},
    {"operation":"update","entity_type":"hidden_note","entity_id":"4","data":{"id":40,"team":2},"local_version":1}]}') -> 'processed') v;
RESET ROLE;
SELECT id, team, body FROM hidden_note ORDER BY id;

-- A repeat after the right was lost: the first verdict, without the row
SET ROLE push_hidden_app;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[{"queue_id":"q","operation":"update","entity_type":"hidden_note","entity_id":"1","data":{"body":"while mine"},"local_version":2}]}'));
RESET ROLE;
DELETE FROM hidden_member WHERE team = 3;
UPDATE hidden_note SET body = 'secret' WHERE id = 1;
SET ROLE push_hidden_app;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[{"queue_id":"q","operation":"update","entity_type":"hidden_note","entity_id":"1","data":{"body":"while mine"},"local_version":2}]}'));
RESET ROLE;

-- A foreign key to a row that hides is answered like one to a row that is not there
CREATE TABLE hidden_child (id int PRIMARY KEY, team int, note int REFERENCES hidden_note);
GRANT SELECT, INSERT, UPDATE ON hidden_child TO push_hidden_app;
SELECT sync.enable('hidden_child', scope => 'hidden scope', scope_column => 'team');
SET ROLE push_hidden_app;
SELECT count(DISTINCT bare(v)) AS different, min(v -> 'error' ->> 'code') AS code FROM json_array_elements(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"hidden_child","entity_id":"1","data":{"team":1,"note":99}},
    {"operation":"create","entity_type":"hidden_child","entity_id":"2","data":{"team":1,"note":2}}]}') -> 'processed') v;
RESET ROLE;

-- Policies: hidden rows, rows that may be seen but not changed or deleted
CREATE TABLE hidden_policy (id int PRIMARY KEY, team int DEFAULT 1, owner text, body text DEFAULT 'old');
INSERT INTO hidden_policy (id, owner) VALUES (1, 'ada'), (2, 'bob, in the open'), (3, 'bob, hidden');
ALTER TABLE hidden_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY hidden_see ON hidden_policy FOR SELECT USING (owner NOT LIKE '%hidden');
CREATE POLICY hidden_insert ON hidden_policy FOR INSERT WITH CHECK (owner = sync.user_id());
CREATE POLICY hidden_update ON hidden_policy FOR UPDATE USING (owner = sync.user_id());
CREATE POLICY hidden_delete ON hidden_policy FOR DELETE USING (owner = sync.user_id());
GRANT SELECT, INSERT, UPDATE, DELETE ON hidden_policy TO push_hidden_app;
SELECT sync.enable('hidden_policy', scope => 'hidden scope', scope_column => 'team', policy_is_scope => true);
SET ROLE push_hidden_app;
DELETE FROM hidden_policy WHERE id = 2;
SELECT op, count(*), count(DISTINCT bare(v)) AS different, min(bare(v)) AS answer
FROM (VALUES ('update'), ('delete')) AS o (op), LATERAL json_array_elements(sync.push((
    SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(jsonb_build_object('operation', op, 'entity_type', 'hidden_policy', 'entity_id', id, 'data', '{"body":"x"}'::jsonb) || extra))
    FROM unnest('{99,2,3}'::text[]) id,
         (VALUES ('{}'::jsonb), ('{"local_version":1}'), ('{"local_version":0}'), ('{"base":{"body":"old"}}')) AS e (extra))) -> 'processed') v
GROUP BY op ORDER BY op;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"hidden_policy","entity_id":"3","data":{"owner":"ada"}},
    {"operation":"create","entity_type":"hidden_policy","entity_id":"9","data":{"owner":"bob"}},
    {"operation":"update","entity_type":"hidden_policy","entity_id":"1","data":{"owner":"bob"},"local_version":1},
    {"operation":"update","entity_type":"hidden_policy","entity_id":"1","data":{"body":"new"},"local_version":1}]}'));
RESET ROLE;
SELECT id, owner, body FROM hidden_policy ORDER BY id;
-- what was refused is in no conflict log, but for what a constraint said
SELECT kind, rule, count(*) FROM sync.conflict WHERE entity_type LIKE 'hidden%' GROUP BY 1, 2 ORDER BY 1, 2;

-- A lock on a row that hides is nobody's business: neither that there is one, nor whose
CREATE TABLE hidden_locked (id int PRIMARY KEY, team int, body text);
INSERT INTO hidden_locked VALUES (1, 1, 'mine'), (2, 2, 'another team');
INSERT INTO hidden_member VALUES ('bob', 1), ('bob', 2);
GRANT SELECT, INSERT, UPDATE, DELETE ON hidden_locked TO push_hidden_app;
SELECT sync.enable('hidden_locked', scope => 'hidden scope', scope_column => 'team', enforce_locks => true);
SET ROLE push_hidden_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.lock(jsonb_build_object('device_id', 'b', 'entity_type', 'hidden_locked', 'entity_id', id)) ->> 'success' AS locked FROM unnest('{1,2}'::text[]) id;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT op, id, v ->> 'outcome' AS outcome, v -> 'error' ->> 'code' AS code, v -> 'error' ->> 'holder' AS holder
FROM (VALUES ('create'), ('update'), ('delete')) AS o (op), (VALUES ('1'), ('2'), ('99')) AS k (id), LATERAL (
    SELECT sync.push(jsonb_build_object('device_id', 'd', 'changes', jsonb_build_array(jsonb_build_object('operation', op, 'entity_type', 'hidden_locked', 'entity_id', id,
        'data', '{"body":"x","team":2}'::jsonb)))) -> 'processed' -> 0) AS p (v)
ORDER BY op, id;
RESET ROLE;
DELETE FROM sync.lock;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DELETE FROM sync.scope WHERE name = 'hidden scope';
DROP TABLE hidden_child, hidden_note, hidden_member, hidden_policy, hidden_locked;
DROP FUNCTION verdicts(json), bare(json);
DROP ROLE push_hidden_app;

-- push_batch.sql - one bad change of a batch harms no other, repeats get the first verdict again, and atomic batches are all or nothing.
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
CREATE TABLE batch_list (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE batch_item (id int PRIMARY KEY, list int REFERENCES batch_list DEFERRABLE INITIALLY DEFERRED, t text UNIQUE);
SELECT sync.enable('batch_list');
SELECT sync.enable('batch_item');
INSERT INTO batch_list VALUES (4, 'by sql');
SET request.jwt.claims = '{"sub":"ada"}';

-- A child before its parent: constraints wait for the whole batch
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"batch_item","entity_id":"1","data":{"list":1}},
    {"operation":"create","entity_type":"batch_item","entity_id":"2","data":{"list":1}},
    {"operation":"create","entity_type":"batch_list","entity_id":"1","data":{"name":"one"}}]}'));
BEGIN;
SELECT sync.push('{"device_id":"d","changes":[{"operation":"create","entity_type":"batch_item","entity_id":"3","data":{"list":1}}]}') -> 'success' AS success;
COMMIT;

-- also when a bad change stands between them, one that raises at once or one that only its constraint finds
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"batch_item","entity_id":"10","data":{"list":2}},
    {"operation":"create","entity_type":"batch_list","entity_id":"9","data":{"name":null}},
    {"operation":"create","entity_type":"batch_list","entity_id":"2","data":{"name":"two"}}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"batch_item","entity_id":"11","data":{"list":3}},
    {"operation":"create","entity_type":"batch_item","entity_id":"12","data":{"list":99}},
    {"operation":"create","entity_type":"batch_item","entity_id":"13","data":{"list":3}},
    {"operation":"create","entity_type":"batch_list","entity_id":"3","data":{"name":"three"}}]}'));

-- One bad of many, wherever it stands
SELECT bad, count(*) FILTER (WHERE v ->> 'outcome' = 'applied') AS applied, string_agg(v ->> 'index', ' ') FILTER (WHERE v ->> 'outcome' = 'rejected') AS rejected,
       string_agg(v -> 'error' ->> 'code', ' ') AS codes
FROM unnest('{0,1,31,49}'::int[]) bad,
     LATERAL json_array_elements(sync.push((SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(jsonb_build_object('operation', 'create',
        'entity_type', 'batch_list', 'entity_id', (1000 + bad * 100 + g)::text, 'data', jsonb_build_object('name', CASE WHEN g <> bad THEN 'x' END)) ORDER BY g))
        FROM generate_series(0, 49) g)) -> 'processed') v
GROUP BY bad ORDER BY bad;
SELECT count(*) FROM batch_list WHERE id >= 1000;
SELECT bad, count(*) FILTER (WHERE v ->> 'outcome' = 'applied') AS applied, string_agg(v ->> 'index', ' ') FILTER (WHERE v ->> 'outcome' = 'rejected') AS rejected,
       string_agg(v -> 'error' ->> 'code', ' ') AS codes
FROM unnest('{0,31,49}'::int[]) bad,
     LATERAL json_array_elements(sync.push((SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(jsonb_build_object('operation', 'create',
        'entity_type', 'batch_item', 'entity_id', (1000 + bad * 100 + g)::text, 'data', jsonb_build_object('list', CASE WHEN g <> bad THEN 1 ELSE 77 END)) ORDER BY g))
        FROM generate_series(0, 49) g)) -> 'processed') v
GROUP BY bad ORDER BY bad;

-- Changes that lean on the bad one fail with it, others do not
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"l1","operation":"create","entity_type":"batch_list","entity_id":"50","data":{"name":null}},
    {"queue_id":"l2","operation":"update","entity_type":"batch_list","entity_id":{"ref":"l1"},"data":{"name":"x"}},
    {"queue_id":"l3","operation":"create","entity_type":"batch_item","entity_id":"50","data":{"list":50}},
    {"queue_id":"l4","operation":"create","entity_type":"batch_item","entity_id":"51","data":{"list":1}}]}'));

-- A whole batch of bad ones, not a single object among them
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[1,null,"x",[],{},{"operation":"explode"},{"operation":"update"}]}'));

-- Atomic: all
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a1","operation":"create","entity_type":"batch_item","entity_id":"60","data":{"list":60}},
    {"queue_id":"a2","operation":"create","entity_type":"batch_list","entity_id":"60","data":{"name":"sixty"}}]}'));
-- or nothing: an error at once, a constraint at the end, a bad request, a lost conflict
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a3","operation":"create","entity_type":"batch_list","entity_id":"61","data":{"name":"x"}},
    {"queue_id":"a4","operation":"create","entity_type":"batch_list","entity_id":"62","data":{"name":null}},
    {"queue_id":"a5","operation":"create","entity_type":"batch_list","entity_id":"63","data":{"name":"x"}}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a3","operation":"create","entity_type":"batch_list","entity_id":"61","data":{"name":"x"}},
    {"queue_id":"a6","operation":"create","entity_type":"batch_item","entity_id":"64","data":{"list":77}}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a3","operation":"create","entity_type":"batch_list","entity_id":"61","data":{"name":"x"}},
    {"queue_id":"a7","operation":"create","entity_type":"batch_nowhere","entity_id":"64","data":{}}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a3","operation":"create","entity_type":"batch_list","entity_id":"61","data":{"name":"x"}},
    {"queue_id":"a8","operation":"update","entity_type":"batch_list","entity_id":"4","data":{"name":"lost"},"timestamp":"2001-01-01T00:00:00Z"}]}'));
SELECT count(*) FROM batch_list WHERE id BETWEEN 61 AND 69;
-- nothing of it was kept: the same queue ids may be used again
SELECT * FROM verdicts(sync.push('{"device_id":"d","atomic":true,"changes":[
    {"queue_id":"a3","operation":"create","entity_type":"batch_list","entity_id":"61","data":{"name":"x"}}]}'));

-- The ledger: a repeat gets the first verdict, with the row as it is now, and does nothing
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}},
    {"queue_id":"q2","operation":"create","entity_type":"batch_list","entity_id":"71","data":{"name":null}},
    {"queue_id":"q3","operation":"update","entity_type":"batch_list","entity_id":"4","data":{"name":"lost"},"timestamp":"2001-01-01T00:00:00Z"},
    {"queue_id":"q4","operation":"update","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}},
    {"queue_id":"q5","operation":"explode"}]}'));
UPDATE batch_list SET name = 'changed since' WHERE id = 70;
INSERT INTO batch_list VALUES (71, 'there now');
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"q5","operation":"explode"},
    {"queue_id":"q4","operation":"update","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}},
    {"queue_id":"q3","operation":"update","entity_type":"batch_list","entity_id":"4","data":{"name":"lost"},"timestamp":"2001-01-01T00:00:00Z"},
    {"queue_id":"q2","operation":"create","entity_type":"batch_list","entity_id":"71","data":{"name":null}},
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}}]}'));
SELECT id, name, sync_version FROM batch_list WHERE id IN (70, 71) ORDER BY id;
SELECT count(*) FROM sync.conflict WHERE local_data ->> 'name' = 'lost';
-- the order of members and white space make no other change
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"data": {"name": "first"}, "entity_id": "70", "entity_type": "batch_list", "operation": "create", "queue_id": "q1"}]}'));
-- a row that is gone since is not shown
DELETE FROM batch_list WHERE id = 70;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}}]}'));
SELECT count(*) FROM batch_list WHERE id = 70;

-- Another body under the same queue_id; queue ids are one device's and one user's own
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"72","data":{"name":"first"}}]}'));
SELECT * FROM verdicts(sync.push('{"device_id":"d2","changes":[
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"72","data":{"name":"first"}}]}'));
SET request.jwt.claims = '{"sub":"bob"}';
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"73","data":{"name":"first"}}]}'));
SET request.jwt.claims = '{"sub":"ada"}';

-- The same queue_id twice in a batch: once done; with another body an error
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"queue_id":"t1","operation":"create","entity_type":"batch_list","entity_id":"80","data":{"name":"x"}},
    {"queue_id":"t1","operation":"create","entity_type":"batch_list","entity_id":"80","data":{"name":"x"}},
    {"queue_id":"t1","operation":"create","entity_type":"batch_list","entity_id":"81","data":{"name":"x"}},
    {"queue_id":"t2","operation":"create","entity_type":"batch_list","entity_id":"82","data":{"name":null}},
    {"queue_id":"t2","operation":"create","entity_type":"batch_list","entity_id":"82","data":{"name":null}},
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}},
    {"queue_id":"q1","operation":"create","entity_type":"batch_list","entity_id":"70","data":{"name":"first"}}]}'));
SELECT id, sync_version FROM batch_list WHERE id BETWEEN 80 AND 89;

-- Without queue_id a repeat is told apart by what it says only
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[
    {"operation":"create","entity_type":"batch_list","entity_id":"90","data":{"name":"x"}},
    {"operation":"create","entity_type":"batch_list","entity_id":"90","data":{"name":"x"}},
    {"operation":"delete","entity_type":"batch_list","entity_id":"90"},
    {"operation":"delete","entity_type":"batch_list","entity_id":"90"}]}'));

-- A push that is rolled back leaves no verdict behind
BEGIN;
SELECT sync.push('{"device_id":"d","changes":[{"queue_id":"b1","operation":"create","entity_type":"batch_list","entity_id":"95","data":{"name":"x"}}]}') -> 'success' AS success;
ROLLBACK;
SELECT * FROM verdicts(sync.push('{"device_id":"d","changes":[{"queue_id":"b1","operation":"create","entity_type":"batch_list","entity_id":"95","data":{"name":"x"}}]}'));

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DROP TABLE batch_item, batch_list;
DROP FUNCTION verdicts(json);

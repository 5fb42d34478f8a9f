-- merge.sql - edits of different columns are both kept; the same column goes by its rule, else by the table's; every collision is in the log.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DELETE FROM sync.conflict;
-- One push of one change; its verdict without data
CREATE FUNCTION merge_push(who text, change jsonb) RETURNS TABLE (verdict text) LANGUAGE plpgsql AS
$$
DECLARE
    v json;
BEGIN
    PERFORM set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    v := sync.push(jsonb_build_object('device_id', who || '''s', 'changes', jsonb_build_array(change))) -> 'processed' -> 0;
    RETURN QUERY SELECT concat_ws(' ', v ->> 'status', v ->> 'outcome', 'v' || (v ->> 'server_version'), v -> 'error' ->> 'code', v -> 'error' ->> 'message',
        CASE WHEN v ->> 'conflict_id' IS NOT NULL THEN 'logged' END, 'lost ' || (v -> 'conflict_data' ->> 'fields'));
END
$$;
CREATE FUNCTION merge_edit(who text, data jsonb, more jsonb DEFAULT '{}', entity text DEFAULT 'shoot', id text DEFAULT '1') RETURNS TABLE (verdict text) LANGUAGE sql AS
$$ SELECT merge_push(who, jsonb_build_object('operation', 'update', 'entity_type', entity, 'entity_id', id, 'data', data) || more) $$;
CREATE VIEW merge_log AS SELECT entity_id, kind, array_to_string(fields, ' ') AS fields, rule, outcome, pushed_by, changed_by FROM sync.conflict ORDER BY at;

-- Two people edit different fields of one shoot offline: both edits stay, whatever their clocks say
CREATE TABLE shoot (id int PRIMARY KEY, title text, place text, starts timestamptz, seats int);
SELECT sync.enable('shoot');
INSERT INTO shoot VALUES (1, 'Autumn', 'park');
SELECT * FROM merge_edit('ada', '{"title":"Autumn leaves"}', '{"local_version":1,"timestamp":"2026-01-01T10:00:00Z"}');
SELECT * FROM merge_edit('bob', '{"place":"lake"}', '{"local_version":1,"timestamp":"2020-01-01T10:00:00Z"}');
SELECT title, place, sync_version FROM shoot;
-- By base alike, column by column: title was edited since, seats was not
SELECT * FROM merge_edit('cleo', '{"title":"Fall","seats":4}', '{"base":{"title":"Autumn","seats":null},"timestamp":"2020-01-01T10:00:00Z"}');
SELECT * FROM merge_edit('cleo', '{"title":"Fall"}', '{"base":{"title":"Autumn leaves"},"timestamp":"2020-01-01T10:00:00Z"}');
-- A write by SQL counts for the columns it changed, with the server's time
UPDATE shoot SET starts = '2026-11-21 12:00+00';
SELECT * FROM merge_edit('ada', '{"place":"hill"}', '{"local_version":5,"timestamp":"2020-01-01T10:00:00Z"}');
SELECT * FROM merge_edit('bob', '{"starts":"2027-01-01T00:00:00Z"}', '{"local_version":5,"timestamp":"2020-01-01T10:00:00Z"}');
SELECT title, place, seats, starts AT TIME ZONE 'UTC' AS starts, sync_version FROM shoot;
SELECT * FROM merge_log;

-- The rules of tables
CREATE TABLE merge_lww (id int PRIMARY KEY, a text, b text);
CREATE TABLE merge_reject (id int PRIMARY KEY, a text, b text);
CREATE TABLE merge_manual (id int PRIMARY KEY, a text, b text);
SELECT sync.enable('merge_lww', rule => 'lww'), sync.enable('merge_reject', rule => 'reject'), sync.enable('merge_manual', rule => 'manual');
INSERT INTO merge_lww VALUES (1);
INSERT INTO merge_reject VALUES (1);
INSERT INTO merge_manual VALUES (1);
SELECT t, v.verdict FROM unnest('{merge_lww,merge_reject,merge_manual}'::text[]) t, merge_edit('ada', '{"a":"ada"}', '{"local_version":1,"timestamp":"2090-01-01"}', t) v;
SELECT t, v.verdict FROM unnest('{merge_lww,merge_reject,merge_manual}'::text[]) t, merge_edit('bob', '{"b":"bob"}', '{"local_version":1,"timestamp":"2026-01-01"}', t) v;
SELECT t, v.verdict FROM unnest('{merge_lww,merge_reject,merge_manual}'::text[]) t, merge_edit('cleo', '{"a":"cleo","b":"cleo"}', '{"local_version":1,"timestamp":"2090-01-01"}', t) v;
SELECT 'lww' AS rule, a, b, sync_version FROM merge_lww UNION ALL SELECT 'reject', a, b, sync_version FROM merge_reject UNION ALL SELECT 'manual', a, b, sync_version FROM merge_manual;

-- The rules of columns. What ada and bob both had is the base
CREATE TABLE business (id int PRIMARY KEY, tags text[], log jsonb, context jsonb, n int, price numeric, note text, best int, least int, srv text, cli text, own jsonb, plain text);
CREATE FUNCTION merge_own(local jsonb, server jsonb, base jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_array(base, server, local) $$;
SELECT sync.enable('business');
SELECT sync.set_column_rule('business', path, rule) FROM (VALUES ('tags', 'union'), ('log', 'append'), ('context.challenges', 'union'), ('context.visits', 'counter'), ('context.motto', 'text'),
    ('context.rank', 'max'), ('n', 'counter'), ('price', 'counter'), ('note', 'text'), ('best', 'max'), ('least', 'min'), ('srv', 'server'), ('cli', 'client')) r (path, rule);
SELECT sync.set_column_rule('business', 'own', 'resolver', 'merge_own(jsonb,jsonb,jsonb)');
\set base '{"tags":["a","b"],"log":[1],"context":{"challenges":["time"],"visits":1,"motto":"we do it","rank":3,"gone":1},"n":5,"price":"1.50","note":"meet at ten in the hall","best":10,"least":10,"srv":"s","cli":"c","own":0,"plain":"p"}'
INSERT INTO business SELECT 1, b.* FROM jsonb_to_record(:'base') b (tags text[], log jsonb, context jsonb, n int, price numeric, note text, best int, least int, srv text, cli text, own jsonb, plain text);
INSERT INTO business SELECT 2, b.* FROM jsonb_to_record(:'base') b (tags text[], log jsonb, context jsonb, n int, price numeric, note text, best int, least int, srv text, cli text, own jsonb, plain text);
SELECT id, v.verdict FROM (VALUES ('1'), ('2')) k (id), merge_edit('ada', '{"tags":["a","c"],"log":[1,2],"context":{"challenges":["time","money"],"visits":3,"motto":"we all do it","rank":5,"mine":1},"n":8,"price":"2.00",
    "note":"meet at eleven in the hall","best":20,"least":8,"srv":"ada","cli":"ada","own":1,"plain":"ada"}', jsonb_build_object('base', :'base'::jsonb, 'timestamp', '2026-01-01T10:00:00Z'), 'business', k.id) v;
SELECT * FROM merge_edit('bob', '{"tags":["a","b","d"],"log":[1,3],"context":{"challenges":["time","staff"],"visits":2,"motto":"we do it well","rank":4},"n":4,"price":"1.25",
    "note":"meet at ten in the big hall","best":15,"least":9,"srv":"bob","cli":"bob","own":2,"plain":"bob"}', jsonb_build_object('base', :'base'::jsonb, 'timestamp', '2026-01-01T09:00:00Z'), 'business');
SELECT tags, log, context, n, price, note, best, least, srv, cli, own, plain FROM business WHERE id = 1 \gx
-- Without a base nobody can tell an addition from a removal: lists grow, counters and texts go by time
SELECT * FROM merge_edit('bob', '{"tags":["a","b","d"],"log":[1,3],"context":{"challenges":["time","staff"],"visits":2,"motto":"we do it well","rank":4},"n":4,"price":"1.25",
    "note":"meet at ten in the big hall","own":2}', '{"timestamp":"2026-01-01T09:00:00Z"}', 'business', '2');
SELECT tags, log, context, n, price, note, own FROM business WHERE id = 2 \gx
-- Edits of one place go by time; a resolver's error is its change's alone
SELECT * FROM merge_edit('cleo', '{"note":"meet at noon in the hall","plain":"cleo"}', jsonb_build_object('base', :'base'::jsonb, 'timestamp', '2026-01-01T11:00:00Z'), 'business', '2');
CREATE OR REPLACE FUNCTION merge_own(local jsonb, server jsonb, base jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'cannot decide'; END $$;
SELECT * FROM merge_edit('cleo', '{"own":7,"best":99}', '{"timestamp":"2026-01-01T11:00:00Z"}', 'business', '2');
SELECT note, plain, best FROM business WHERE id = 2;

-- A member that one side took away is to its rule as NULL to that of a column: an empty list, less than any number; else the later edit wins
INSERT INTO business (id, context) SELECT k, '{"challenges":["time"],"visits":1,"rank":3,"gone":1}'::jsonb FROM generate_series(3, 4) k;
SELECT id, v.verdict FROM (VALUES ('3'), ('4')) k (id), merge_edit('ada', '{"context":{"challenges":["time","money"],"visits":3,"rank":5,"gone":2}}',
    '{"base":{"context":{"challenges":["time"],"visits":1,"rank":3,"gone":1}},"timestamp":"2026-01-01T10:00:00Z"}', 'business', k.id) v;
SELECT id, v.verdict FROM (VALUES ('3', '09:00'), ('4', '11:00')) k (id, at), merge_edit('bob', '{"context":{}}',
    jsonb_build_object('base', '{"context":{"challenges":["time"],"visits":1,"rank":3,"gone":1}}'::jsonb, 'timestamp', '2026-01-01T' || at || ':00Z'), 'business', k.id) v;
SELECT id, context FROM business WHERE id IN (3, 4) ORDER BY id;

-- What does not fit is refused when the rule is set
SELECT sync.set_column_rule('business', 'n', 'union');
SELECT sync.set_column_rule('business', 'note', 'counter');
SELECT sync.set_column_rule('business', 'note', 'best');
SELECT sync.set_column_rule('business', 'note.part', 'text');
SELECT sync.set_column_rule('business', 'nowhere', 'text');
SELECT sync.set_column_rule('business', 'own', 'resolver');
SELECT sync.set_column_rule('business', 'own', 'resolver', 'lower(text)');
SELECT sync.set_column_rule('merge_lww', 'a', 'text');
SELECT sync.set_column_rule('business', 'best', NULL);
SELECT * FROM merge_edit('ada', '{"best":1}', '{"timestamp":"2090-01-01"}', 'business', '1');
SELECT best FROM business WHERE id = 1;
SELECT * FROM merge_log WHERE entity_id IN ('1', '2') AND rule <> 'lww';

-- References to rows of the same batch, in keys and in values
CREATE TABLE merge_list (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text);
CREATE TABLE merge_item (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), list uuid REFERENCES merge_list, name text);
SELECT sync.enable('merge_list'), sync.enable('merge_item');
SELECT v ->> 'status' AS status, v -> 'error' ->> 'code' AS code, v -> 'error' ->> 'message' AS message FROM json_array_elements(sync.push('{"device_id":"d","changes":[
    {"queue_id":"l1","operation":"create","entity_type":"merge_list","data":{"name":"list"}},
    {"queue_id":"i1","operation":"create","entity_type":"merge_item","data":{"name":"item","list":{"ref":"l1"}}},
    {"queue_id":"i2","operation":"update","entity_type":"merge_item","entity_id":{"ref":"i1"},"data":{"name":"renamed"}},
    {"queue_id":"i3","operation":"create","entity_type":"merge_item","data":{"name":"lost","list":{"ref":"nothing"}}}]}') -> 'processed') v;
SELECT i.name AS item, l.name AS list FROM merge_item i JOIN merge_list l ON l.id = i.list;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DROP VIEW merge_log;
DROP TABLE shoot, merge_lww, merge_reject, merge_manual, business, merge_item, merge_list;
DROP FUNCTION merge_push(text, jsonb), merge_edit(text, jsonb, jsonb, text, text), merge_own(jsonb, jsonb, jsonb);

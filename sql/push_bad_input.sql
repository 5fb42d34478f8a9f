-- push_bad_input.sql - every kind of bad input in one batch, each between good changes: a clear code for each bad one, every good one applied.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE bad_app;
CREATE TYPE bad_mood AS ENUM ('good', 'bad');
CREATE DOMAIN bad_score AS int CHECK (value BETWEEN 0 AND 10);
CREATE TABLE bad_parent (id int PRIMARY KEY, late int);
CREATE TABLE bad_row (
    id uuid PRIMARY KEY, body text NOT NULL, n int CHECK (n > 0), mail text UNIQUE, mood bad_mood, score bad_score, d date, at timestamptz, price numeric(6, 2),
    raw bytea, tags text[], doc jsonb, ok boolean, secret text, twice int GENERATED ALWAYS AS (n * 2) STORED, during int4range, EXCLUDE USING gist (during WITH &&),
    parent int REFERENCES bad_parent, later int REFERENCES bad_parent DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE bad_window (id int PRIMARY KEY, body text);
CREATE TABLE bad_readonly (id int PRIMARY KEY, body text);
CREATE TABLE bad_unseen (id int PRIMARY KEY);
CREATE TABLE bad_unsynced (id int PRIMARY KEY);
CREATE FUNCTION bad_trigger() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF new.body = 'raise' THEN RAISE EXCEPTION 'not on a Sunday' USING HINT = 'Try on Monday.'; END IF;
    IF new.body = 'divide' THEN new.n := 1 / 0; END IF;
    IF new.body = 'swallow' THEN RETURN NULL; END IF;
    RETURN new;
END
$$;
CREATE TRIGGER bad_trigger BEFORE INSERT OR UPDATE ON bad_row FOR EACH ROW EXECUTE FUNCTION bad_trigger();
GRANT SELECT (id, body, n, mail, mood, score, d, at, price, raw, tags, doc, ok, twice, during, parent, later), INSERT, DELETE,
      UPDATE (id, body, n, mail, mood, score, d, at, price, raw, tags, doc, ok, during, parent, later) ON bad_row TO bad_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON bad_window, bad_unsynced TO bad_app;
GRANT SELECT ON bad_parent, bad_readonly TO bad_app;
SELECT sync.enable('bad_parent');
SELECT sync.enable('bad_row');
SELECT sync.enable('bad_window', edit_window => '1 hour');
SELECT sync.enable('bad_readonly');
SELECT sync.enable('bad_unseen');
INSERT INTO bad_parent VALUES (1);
INSERT INTO bad_readonly VALUES (1, 'a');
INSERT INTO bad_window VALUES (1, 'a');
INSERT INTO bad_row (id, body, mail, during) VALUES ('00000000-0000-0000-0000-000000000000', 'there already', 'taken@example.com', '[1,5)');

-- What is bad, and what stands in the change beside operation create, this table and a fresh key
CREATE TABLE bad_input (n int GENERATED ALWAYS AS IDENTITY, what text, change jsonb);
INSERT INTO bad_input (what, change) VALUES
    ('no object', '"change"'), ('a number', '7'), ('a list', '[]'), ('null', 'null'), ('an empty object', '{"operation":null,"entity_type":null,"data":null}'),
    ('an unknown operation', '{"operation":"upsert"}'), ('operation in capitals', '{"operation":"CREATE"}'), ('operation no string', '{"operation":{}}'),
    ('no entity_type', '{"entity_type":null}'), ('entity_type no string', '{"entity_type":["bad_row"]}'), ('entity_type empty', '{"entity_type":""}'),
    ('a table that is not there', '{"entity_type":"bad_nowhere"}'), ('a table that is not synced', '{"entity_type":"bad_unsynced"}'), ('a table that is not granted', '{"entity_type":"bad_unseen"}'),
    ('a catalogue', '{"entity_type":"pg_catalog.pg_authid"}'), ('a table of the extension', '{"entity_type":"sync.ledger"}'), ('SQL for a table', '{"entity_type":"bad_row; DROP TABLE bad_row"}'),
    ('entity_id an object', '{"entity_id":{"id":1}}'), ('entity_id a list', '{"entity_id":[1]}'), ('entity_id true', '{"entity_id":true}'), ('entity_id empty', '{"entity_id":""}'),
    ('entity_id of another type', '{"entity_id":"seven"}'), ('entity_id SQL', '{"entity_id":"'' OR true --"}'), ('a reference to nothing', '{"operation":"update","entity_id":{"ref":"never sent"}}'),
    ('data missing', '{"data":null}'), ('data a list', '{"data":[]}'), ('data a string', '{"data":"{}"}'),
    ('a column that is not there', '{"data":{"body":"x","nowhere":1}}'), ('a system column', '{"data":{"body":"x","ctid":"(0,1)"}}'), ('SQL for a column', '{"data":{"body\" = ''x'' --":1}}'),
    ('a column of the extension', '{"data":{"body":"x","sync_version":99}}'), ('a clock', '{"data":{"body":"x","sync_clock":"AA=="}}'), ('a column that may not be written', '{"operation":"update","data":{"secret":"x"},"entity_id":"00000000-0000-0000-0000-000000000000"}'),
    ('another key in data', '{"data":{"id":"00000000-0000-0000-0000-000000000000","body":"x"}}'),
    ('base a list', '{"base":[]}'), ('base of an unknown column', '{"operation":"update","base":{"nowhere":1},"entity_id":"00000000-0000-0000-0000-000000000000"}'), ('local_version below 0', '{"local_version":-1}'), ('local_version a fraction', '{"local_version":1.5}'), ('local_version a word', '{"local_version":"two"}'), ('local_version out of range', '{"local_version":1e30}'),
    ('timestamp a word', '{"timestamp":"soon"}'), ('timestamp a list', '{"timestamp":[2026]}'), ('timestamp out of range', '{"timestamp":1e300}'), ('timestamp beyond all numbers', '{"timestamp":1e400}'), ('timestamp true', '{"timestamp":true}'), ('timestamp of a zone that is not there', '{"timestamp":"2026-11-21 07:00 Nowhere/Town"}'),
    ('queue_id a number', '{"queue_id":7}'), ('queue_id empty', '{"queue_id":""}'), ('queue_id too long', jsonb_build_object('queue_id', repeat('q', 201))), ('queue_id of another change', '{"queue_id":"good 1"}'),
    ('null where it must not be', '{"data":{"body":null}}'), ('a required column left out', '{"data":{"n":1}}'), ('a check', '{"data":{"body":"x","n":-1}}'), ('a domain', '{"data":{"body":"x","score":11}}'),
    ('a value that is taken', '{"data":{"body":"x","mail":"taken@example.com"}}'), ('a range that is taken', '{"data":{"body":"x","during":"[2,3)"}}'),
    ('no such parent', '{"data":{"body":"x","parent":77}}'), ('no such parent, found at the end', '{"data":{"body":"x","later":77}}'),
    ('a word for a number', '{"data":{"body":"x","n":"many"}}'), ('a number out of range', '{"data":{"body":"x","n":99999999999}}'), ('a fraction for an integer', '{"data":{"body":"x","n":"1.5"}}'), ('an object for a number', '{"data":{"body":"x","n":{"a":1}}}'),
    ('a numeric that overflows', '{"data":{"body":"x","price":123456.789}}'), ('no label of the enum', '{"data":{"body":"x","mood":"so-so"}}'), ('no such day', '{"data":{"body":"x","d":"2026-02-30"}}'),
    ('no time', '{"data":{"body":"x","at":"yesterday at noon"}}'), ('no base64', '{"data":{"body":"x","raw":"***"}}'), ('an object for an array', '{"data":{"body":"x","tags":{"a":1}}}'), ('no boolean', '{"data":{"body":"x","ok":"perhaps"}}'),
    ('a row over 1 MiB', jsonb_build_object('data', jsonb_build_object('body', repeat('x', 1100000)))),
    ('a trigger that raises', '{"data":{"body":"raise"}}'), ('a trigger that divides by 0', '{"data":{"body":"divide"}}'), ('a trigger that swallows the row', '{"data":{"body":"swallow"}}'),
    ('an update of no row', '{"operation":"update"}'), ('a deletion of no row', '{"operation":"delete"}'),
    ('an update that may not be made', '{"operation":"update","entity_type":"bad_readonly","entity_id":"1","data":{"body":"x"}}'), ('a creation that may not be made', '{"entity_type":"bad_readonly","entity_id":"2","data":{"body":"x"}}'),
    ('a deletion that may not be made', '{"operation":"delete","entity_type":"bad_readonly","entity_id":"1"}'),
    ('an edit too long ago', '{"operation":"update","entity_type":"bad_window","entity_id":"1","data":{"body":"x"},"timestamp":"2001-01-01T00:00:00Z"}'), ('a creation too long ago', '{"entity_type":"bad_window","entity_id":"2","timestamp":"2001-01-01T00:00:00Z"}');

-- Good, bad, good, bad, …; the good ones create rows that can be counted. A null of the list takes a member away.
CREATE FUNCTION bad_key(n int) RETURNS text LANGUAGE sql AS $$ SELECT format('%s-0000-4000-8000-000000000000', lpad(n::text, 8, '0')) $$;
CREATE TABLE bad_request AS
SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(change ORDER BY place)) AS request FROM (
    SELECT 2 * n AS place, jsonb_build_object('queue_id', 'good ' || n, 'operation', 'create', 'entity_type', 'bad_row', 'entity_id', bad_key(n),
        'data', jsonb_build_object('body', 'good ' || n, 'n', n, 'parent', 1, 'later', 1)) AS change FROM bad_input
    UNION ALL
    SELECT 2 * n + 1, CASE WHEN jsonb_typeof(change) <> 'object' THEN change ELSE jsonb_strip_nulls(jsonb_build_object('queue_id', 'bad ' || n, 'operation', 'create', 'entity_type', 'bad_row',
        'entity_id', bad_key(100000 + n)) || CASE WHEN change ? 'data' THEN '{}' ELSE '{"data":{"body":"bad"}}'::jsonb END || (change - 'data'))
        || CASE WHEN jsonb_typeof(change -> 'data') <> 'null' THEN jsonb_build_object('data', change -> 'data') ELSE '{}' END END FROM bad_input
    UNION ALL
    SELECT 10000, jsonb_build_object('queue_id', 'last', 'operation', 'update', 'entity_type', 'bad_window', 'entity_id', '1', 'data', '{"body":"good"}'::jsonb)) c;
GRANT SELECT ON bad_request, bad_input TO bad_app;

SET request.jwt.claims = '{"sub":"ada"}';
SET ROLE bad_app;
CREATE TEMP TABLE bad_answer AS SELECT (v ->> 'index')::int AS place, v FROM bad_request, json_array_elements(sync.push(request) -> 'processed') v;
RESET ROLE;
SELECT what, v ->> 'status' AS status, v ->> 'outcome' AS outcome, v -> 'error' ->> 'code' AS code, left(v -> 'error' ->> 'message', 110) AS message
FROM bad_input JOIN bad_answer ON place = 2 * n - 1 ORDER BY n;
SELECT count(*) AS good, count(*) FILTER (WHERE v ->> 'outcome' = 'applied') AS applied FROM bad_answer WHERE place % 2 = 0;
SELECT count(*) FILTER (WHERE body = 'good ' || n) AS good, count(*) - 1 AS all_but_the_first FROM bad_row;
SELECT (SELECT body FROM bad_window) AS edited, (SELECT body FROM bad_readonly) AS untouched, (SELECT body FROM bad_row WHERE id = '00000000-0000-0000-0000-000000000000') AS also;

-- Once more: every verdict the same
SET ROLE bad_app;
SELECT count(*) AS verdicts, count(*) FILTER (WHERE again ->> 'status' = first ->> 'status' AND again ->> 'outcome' = first ->> 'outcome'
    AND again -> 'error' ->> 'code' IS NOT DISTINCT FROM first -> 'error' ->> 'code') AS same
FROM bad_request, json_array_elements(sync.push(request) -> 'processed') again JOIN LATERAL (SELECT v AS first FROM bad_answer WHERE place = (again ->> 'index')::int) a ON true;
RESET ROLE;
SELECT count(*) - 1 AS all_but_the_first FROM bad_row;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.ledger;
DELETE FROM sync.conflict;
DROP TABLE bad_row, bad_parent, bad_window, bad_readonly, bad_unseen, bad_unsynced, bad_input, bad_request, bad_answer;
DROP FUNCTION bad_trigger(), bad_key(int);
DROP TYPE bad_mood;
DROP DOMAIN bad_score;
DROP ROLE bad_app;

-- pull_number.sql - a client that insists on a number as its cursor gets what changed of tables that everybody sees alike, and the others anew.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (changes int, reset text, has_more text) LANGUAGE sql AS
$$ SELECT json_array_length(answer -> 'changes'), answer ->> 'reset', answer ->> 'has_more' $$;
CREATE TABLE number_note (id int PRIMARY KEY, body text);
CREATE TABLE number_team (id int PRIMARY KEY, team text);
SELECT sync.create_scope('number_scope', 'SELECT ''red''');
SELECT sync.enable('number_note');
SELECT sync.enable('number_team', scope => 'number_scope', scope_column => 'team');
INSERT INTO number_note SELECT g, 'a' FROM generate_series(1, 3) g;
INSERT INTO number_team VALUES (1, 'red'), (2, 'blue');

-- 41 bits of an id below 12 of the incarnation
SELECT answer, answer ->> 'n' AS n FROM sync.pull('{}') AS answer \gset
SELECT :n::bigint >> 41 = (SELECT incarnation & 4095 FROM sync.instance) AS incarnation,
       :n::bigint & (1::bigint << 41) - 1 = pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS xmin, :n::bigint < 1::bigint << 53 AS fits;

-- What changed since, deletions too; a table with a scope is sent anew
UPDATE number_note SET body = 'b' WHERE id = 1;
DELETE FROM number_note WHERE id = 2;
SELECT answer, answer ->> 'n' AS n2 FROM sync.pull(jsonb_build_object('n', :n)) AS answer \gset
SELECT * FROM changes(:'answer');
SELECT * FROM rest(:'answer');
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2, 'tables', '{number_note}'::text[])));
-- so is one that has got policies
ALTER TABLE number_note ENABLE ROW LEVEL SECURITY;
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2, 'tables', '{number_note}'::text[])));
ALTER TABLE number_note DISABLE ROW LEVEL SECURITY;
UPDATE sync.synced_table SET epoch = enabled_xid WHERE relation = 'number_note'::regclass;  -- as if nothing had happened

-- The token says more: where there is one, the number is passed over
SELECT * FROM rest(sync.pull(jsonb_build_object('n', 1, 'sync_token', :'answer'::json ->> 'next_sync_token')));

-- Inside a round it stays where the round began, so that nothing is missed by going on from it
SELECT n = '0' AS zero, has_more FROM json_to_record(sync.pull('{"limit":1}')) AS (n text, has_more boolean);
INSERT INTO number_note VALUES (10, 'x'), (11, 'y');
SELECT n = :'n2' AS same, has_more FROM json_to_record(sync.pull(jsonb_build_object('limit', 1, 'n', :n2, 'tables', '{number_note}'::text[]))) AS (n text, has_more boolean);

-- Another incarnation, nothing at all, ahead of the server, purged past it: anew
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2::bigint # (1::bigint << 41), 'tables', '{number_note}'::text[])));
SELECT * FROM rest(sync.pull(jsonb_build_object('n', 0, 'tables', '{number_note}'::text[])));
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2::bigint + 1000000, 'tables', '{number_note}'::text[])));
UPDATE sync.instance SET horizon = (:n2::bigint & (1::bigint << 41) - 1)::text::xid8;
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2, 'tables', '{number_note}'::text[])));
UPDATE sync.instance SET horizon = '0';
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2, 'tables', '{number_note}'::text[])));
-- also when the table was truncated since
TRUNCATE number_note;
SELECT * FROM rest(sync.pull(jsonb_build_object('n', :n2, 'tables', '{number_note}'::text[])));

-- Numbers that are none
SELECT sync.pull('{"n":-1}');
SELECT sync.pull('{"n":9007199254740993}');
SELECT sync.pull('{"n":1.5}');
SELECT sync.pull('{"n":"x"}');
\echo :LAST_ERROR_SQLSTATE

-- Cleaning up
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE id >= 100;
DROP TABLE number_note, number_team;
DROP FUNCTION changes(json), rest(json);

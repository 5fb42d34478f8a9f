-- verify.sql - policies that look at other tables: a pull compares what the caller sees with what it was sent, and sends the table anew when they differ.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION changes(answer json) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_id', 'v' || (c ->> 'server_version'), c ->> 'data', c ->> 'reason')
    FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n)
    UNION ALL SELECT 'reset ' || (answer ->> 'reset') WHERE answer -> 'reset' IS NOT NULL
    UNION ALL SELECT 'more' WHERE (answer ->> 'has_more')::boolean $$;
CREATE FUNCTION pull_of(who text, token text DEFAULT NULL, most int DEFAULT NULL) RETURNS json LANGUAGE sql AS $$
    SELECT set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    SELECT sync.pull(jsonb_strip_nulls(jsonb_build_object('tables', '{verify_note}'::text[], 'sync_token', token, 'limit', most))) $$;
CREATE ROLE verify_app;
CREATE TABLE verify_member (team int, who text);
CREATE TABLE verify_note (id int PRIMARY KEY, team int, body text);
INSERT INTO verify_member VALUES (1, 'ada'), (2, 'bob');
INSERT INTO verify_note VALUES (1, 1, 'one'), (2, 1, 'two'), (3, 2, 'three');
ALTER TABLE verify_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY members ON verify_note USING (EXISTS (SELECT FROM verify_member m WHERE m.team = verify_note.team AND m.who = sync.user_id()));
GRANT SELECT ON verify_member, verify_note TO verify_app;
SELECT sync.enable('verify_note', verify => true);
SET ROLE verify_app;
SELECT pull_of('ada') AS ada0 \gset
SELECT pull_of('bob') AS bob0 \gset
SELECT * FROM changes(:'ada0');
SELECT sync.session_state('{"tables":["verify_note"]}') -> 'tables' -> 0 ->> 'full' AS full;
-- Nothing changed: nothing is sent, and the token keeps its digest
SELECT pull_of('ada', :'ada0'::json ->> 'next_sync_token') AS ada1 \gset
SELECT * FROM changes(:'ada1');
RESET ROLE;

-- A change is seen by those who see the row: they get the table anew; others get nothing
UPDATE verify_note SET body = 'uno' WHERE id = 1;
DELETE FROM verify_note WHERE id = 2;
SET ROLE verify_app;
SELECT pull_of('ada', :'ada1'::json ->> 'next_sync_token') AS ada2 \gset
SELECT pull_of('bob', :'bob0'::json ->> 'next_sync_token') AS bob1 \gset
SELECT * FROM changes(:'ada2');
SELECT * FROM changes(:'bob1');
SELECT * FROM changes(pull_of('ada', :'ada2'::json ->> 'next_sync_token'));
RESET ROLE;

-- A row of another table changes who sees what, without a write here
INSERT INTO verify_member VALUES (1, 'bob');
DELETE FROM verify_member WHERE who = 'ada';
SET ROLE verify_app;
SELECT * FROM changes(pull_of('ada', :'ada2'::json ->> 'next_sync_token'));
SELECT * FROM changes(pull_of('bob', :'bob1'::json ->> 'next_sync_token'));
RESET ROLE;

-- Pages: what is counted is what was sent. A row written between two pages is sent as it is then, and not again
INSERT INTO verify_note SELECT g, 2, 'n' FROM generate_series(10, 14) g;
SET ROLE verify_app;
SELECT pull_of('bob', NULL, 4) AS bob2 \gset
SELECT * FROM changes(:'bob2');
RESET ROLE;
UPDATE verify_note SET body = 'between' WHERE id = 14;
SET ROLE verify_app;
SELECT pull_of('bob', :'bob2'::json ->> 'next_sync_token', 4) AS bob3 \gset
SELECT * FROM changes(:'bob3');
SELECT pull_of('bob', :'bob3'::json ->> 'next_sync_token') AS bob4 \gset
SELECT * FROM changes(:'bob4');
SELECT * FROM changes(pull_of('bob', :'bob4'::json ->> 'next_sync_token'));

-- A row that left the caller's view between two pages and came back is missing in the copy: the next round notices, though all is as it was
SELECT pull_of('bob', NULL, 4) AS bob5 \gset
RESET ROLE;
DELETE FROM verify_member WHERE team = 2;
SET ROLE verify_app;
SELECT pull_of('bob', :'bob5'::json ->> 'next_sync_token') AS bob6 \gset
SELECT * FROM changes(:'bob6');
RESET ROLE;
INSERT INTO verify_member VALUES (2, 'bob');
SET ROLE verify_app;
SELECT count(*) FROM changes(pull_of('bob', :'bob6'::json ->> 'next_sync_token'));

-- A token that lost its digest, or its end, starts anew and raises nothing
SELECT count(*) > 50 AS many, count(*) FILTER (WHERE a -> 'reset' IS NULL) AS not_reset
FROM generate_series(1, length(split_part(:'bob4'::json ->> 'next_sync_token', '.', 1)) - 1) n,
     LATERAL (SELECT pull_of('bob', left(split_part(:'bob4'::json ->> 'next_sync_token', '.', 1), n) || '.' || split_part(:'bob4'::json ->> 'next_sync_token', '.', 2))) p (a);
RESET ROLE;

-- A position of the stream's own says that rows may have come which no pull counted: one that came and left again is noticed, and nothing where nothing was written
CREATE FUNCTION streamed(token text) RETURNS text LANGUAGE sql AS $$
    SELECT split_part(token, '.', 1) || '.' || translate(encode(convert_to(format('%s/%s/%s:%s/%s', p[1], p[2], split_part(p[3], ':', 1),
                                                                           upper(to_hex(('x' || lpad(split_part(p[3], ':', 2), 8, '0'))::bit(32)::bigint - 1)), p[4]), 'UTF8'), 'base64'), E'+/=\n', '-_')
    FROM (SELECT string_to_array(convert_from(decode(rpad(t, (length(t) + 3) / 4 * 4, '='), 'base64'), 'UTF8'), '/')
          FROM translate(split_part(token, '.', 2), '-_', '+/') t) x (p) $$;
SET ROLE verify_app;
SELECT pull_of('bob') AS bob7 \gset
RESET ROLE;
INSERT INTO verify_member VALUES (3, 'ada');
SET ROLE verify_app;
SELECT * FROM changes(pull_of('bob', streamed(:'bob7'::json ->> 'next_sync_token')));
RESET ROLE;
INSERT INTO verify_note VALUES (50, 2, 'came by the stream');
UPDATE verify_note SET team = 3 WHERE id = 50;
SET ROLE verify_app;
SELECT * FROM changes(pull_of('bob', :'bob7'::json ->> 'next_sync_token'));
SELECT count(*) FILTER (WHERE c LIKE 'reset%') AS resets, count(*) FILTER (WHERE c LIKE '%stream%') AS leaks FROM changes(pull_of('bob', streamed(:'bob7'::json ->> 'next_sync_token'))) c;
RESET ROLE;
DELETE FROM verify_note WHERE id = 50;

-- Together with a scope, and soft deletes
SELECT sync.disable('verify_note');
SELECT sync.create_scope('verify teams', 'SELECT 2');
SELECT sync.enable('verify_note', verify => true, scope => 'verify teams', scope_column => 'team', deletes => 'soft');
SET ROLE verify_app;
SELECT pull_of('bob') AS bob0 \gset
SELECT json_array_length(:'bob0'::json -> 'changes') AS sent;
RESET ROLE;
UPDATE verify_note SET body = 'of another team' WHERE id = 1;
SET ROLE verify_app;
SELECT pull_of('bob', :'bob0'::json ->> 'next_sync_token') AS bob1 \gset
SELECT * FROM changes(:'bob1');
RESET ROLE;
DELETE FROM verify_note WHERE id < 14;
SET ROLE verify_app;
SELECT * FROM changes(pull_of('bob', :'bob1'::json ->> 'next_sync_token'));
RESET ROLE;

-- Rows that only the stream sent, of a scope that is lost before the next pull, are withdrawn though all that was counted is as it was
SELECT sync.disable('verify_note');
SELECT sync.create_scope('verify own teams', 'SELECT m.team FROM public.verify_member m WHERE m.who = sync.user_id()');
SELECT sync.enable('verify_note', verify => true, scope => 'verify own teams', scope_column => 'team');
INSERT INTO verify_member VALUES (4, 'bob');
SET ROLE verify_app;
SELECT pull_of('bob') AS bob2 \gset
RESET ROLE;
INSERT INTO verify_note VALUES (60, 4, 'came by the stream, bob has left the team');
DELETE FROM verify_member WHERE team = 4;
SET ROLE verify_app;
SELECT pull_of('bob', streamed(:'bob2'::json ->> 'next_sync_token')) AS bob3 \gset
SELECT :'bob3'::json -> 'withdrawn' AS withdrawn, :'bob3'::json -> 'reset' AS reset, :'bob3'::json -> 'changes' AS changes;
SELECT pull_of('bob', :'bob3'::json ->> 'next_sync_token') -> 'withdrawn' AS again;
RESET ROLE;

SET request.jwt.claims = '';
SELECT sync.disable_all();
SELECT sync.drop_scope('verify teams'), sync.drop_scope('verify own teams');
DROP TABLE verify_note, verify_member;
DROP FUNCTION streamed(text), changes(json), pull_of(text, text, int);
DROP ROLE verify_app;

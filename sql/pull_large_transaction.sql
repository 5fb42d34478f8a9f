-- pull_large_transaction.sql - what one transaction wrote reaches the client in pages, each row once, and no page looks again at what the ones before it sent.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE mass_member (team text);
CREATE TABLE mass_plain (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE mass_scoped (team text, id int, n int NOT NULL, PRIMARY KEY (id, team));
SELECT sync.create_scope('mass_team', 'SELECT team FROM public.mass_member');
SELECT sync.enable('mass_plain');
SELECT sync.enable('mass_scoped', scope => 'mass_team', scope_column => 'team');
INSERT INTO mass_member VALUES ('a');

-- Follows a round to its end in pages: changes, rows among them, and how many rows and tombstones were looked at for them.
CREATE FUNCTION follow_mass(request jsonb, OUT pages int, OUT changes int, OUT rows int, OUT looked_at bigint, OUT token text) LANGUAGE plpgsql AS
$$
DECLARE
    answer json;
    ids text[] := '{}';
    seen CONSTANT text := $q$ SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_all_tables WHERE relname IN ('mass_plain', 'mass_scoped', 'tombstone') $q$;
    before bigint;
BEGIN
    EXECUTE seen INTO before;
    pages := 0;
    token := request ->> 'sync_token';
    LOOP
        answer := sync.pull(request || jsonb_build_object('sync_token', token));
        token := answer ->> 'next_sync_token';
        ids := ids || ARRAY(SELECT (c ->> 'entity_id') || (c ->> 'operation') FROM json_array_elements(answer -> 'changes') c);
        pages := pages + 1;
        EXIT WHEN NOT (answer ->> 'has_more')::boolean OR pages > 1000;
    END LOOP;
    EXECUTE seen INTO looked_at;
    looked_at := looked_at - before;
    changes := cardinality(ids);
    SELECT count(DISTINCT id) INTO rows FROM unnest(ids) id;
END
$$;
-- rows of one transaction of 3,000 in pages of 100: looked at once each, and what reads ahead of a page's end once more
\set look 'SELECT pages, changes, rows, looked_at < 3 * changes AS "each once" FROM '

SELECT token FROM follow_mass('{}') \gset
INSERT INTO mass_plain SELECT g, 1 FROM generate_series(1, 3000) g;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'token'));
SELECT token FROM follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'token')) \gset
UPDATE mass_plain SET n = 2;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'token'));
SELECT token FROM follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'token')) \gset
DELETE FROM mass_plain;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'token'));
-- beside small ones before and behind it
INSERT INTO mass_plain VALUES (9001, 0);
INSERT INTO mass_plain SELECT g, 1 FROM generate_series(1, 3000) g;
INSERT INTO mass_plain VALUES (9002, 0);
UPDATE mass_plain SET n = 7 WHERE id % 3 = 0;
INSERT INTO mass_plain VALUES (9003, 0);
SELECT l, f.pages, f.changes, f.rows FROM unnest('{7,100,2003,10000}'::int[]) l, follow_mass(jsonb_build_object('limit', l, 'sync_token', :'token')) f;

-- Of a scope: held with one value, and with several
TRUNCATE mass_plain;
SELECT token FROM follow_mass('{}') \gset one_
INSERT INTO mass_member VALUES ('b'), ('c'), ('none');
SELECT token FROM follow_mass('{}') \gset many_
INSERT INTO mass_scoped SELECT (ARRAY['c', 'a', 'x', 'b'])[1 + g % 4], g, 1 FROM generate_series(1, 4000) g;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'many_token'));
DELETE FROM mass_member WHERE team <> 'a';
SELECT token FROM follow_mass('{}') \gset one_
UPDATE mass_scoped SET n = 3;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'one_token'));
INSERT INTO mass_member VALUES ('b'), ('c'), ('none');
SELECT token FROM follow_mass('{}') \gset many_
UPDATE mass_scoped SET n = 4 WHERE id % 7 > 0;
UPDATE mass_scoped SET n = 5 WHERE id % 3 = 0;
INSERT INTO mass_scoped VALUES ('b', 9001, 1);
SELECT count(*) AS wanted FROM mass_scoped JOIN mass_member USING (team) WHERE n IN (4, 5) OR id = 9001;
SELECT l, f.pages, f.changes, f.rows FROM unnest('{3,99,100,2500}'::int[]) l, follow_mass(jsonb_build_object('limit', l, 'sync_token', :'many_token')) f;
-- A place that does not fit
CREATE FUNCTION with_place(token text, place text) RETURNS text LANGUAGE sql AS
$$
SELECT split_part(token, '.', 1) || '.' || rtrim(translate(encode(convert_to(regexp_replace(position, '/I/.*', '/I/' || place), 'UTF8'), 'base64'), E'+/\n', '-_'), '=')
FROM convert_from(decode(rpad(translate(split_part(token, '.', 2), '-_', '+/'), (length(split_part(token, '.', 2)) + 3) / 4 * 4, '='), 'base64'), 'UTF8') position
$$;
SELECT answer ->> 'next_sync_token' AS inside FROM sync.pull(jsonb_build_object('limit', 100, 'sync_token', :'many_token')) AS answer \gset
SELECT json_array_length(sync.pull(jsonb_build_object('sync_token', with_place(:'inside', place))) -> 'changes') AS changes
FROM unnest(ARRAY['["1","1","a"]', '["1","1","a","b","1","1","a"]', '["1","1","a","zz","1","1","a"]']) place;
SELECT sync.pull(jsonb_build_object('sync_token', with_place(:'inside', '["1"]')));
SELECT sync.pull(jsonb_build_object('sync_token', with_place(:'inside', '["1","1","a","b"]')));
SELECT sync.pull(jsonb_build_object('sync_token', with_place(:'inside', '["1","1","a","b","1","x","a"]')));
SELECT sync.pull(jsonb_build_object('sync_token', with_place(:'inside', '{}')));

DELETE FROM mass_scoped WHERE id % 2 = 0;
:look follow_mass(jsonb_build_object('limit', 100, 'sync_token', :'many_token'));

-- Cleaning up
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE id >= 100;
DROP TABLE mass_member, mass_plain, mass_scoped;
DROP FUNCTION follow_mass(jsonb), with_place(text, text);

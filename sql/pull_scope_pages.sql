-- pull_scope_pages.sql - whole scopes reach the client exactly once at any page size, value by value where an index begins with the scope column.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE TABLE paged_member (team text);
CREATE TABLE paged_note (id int PRIMARY KEY, team text);
SELECT sync.create_scope('paged_team', 'SELECT team FROM public.paged_member');
SELECT sync.enable('paged_note', scope => 'paged_team', scope_column => 'team');
INSERT INTO paged_member VALUES ('a'), ('b "q"/'), ('empty'), ('ä'), ('z');
-- teams in another order than keys
INSERT INTO paged_note SELECT g, (ARRAY['z', 'a', 'b "q"/', 'nobody', 'ä'])[1 + g % 5] FROM generate_series(1, 30) g;

-- Follows a round to its end: how many pages, how many changes, how many rows, and the longest page.
CREATE FUNCTION follow(request jsonb, OUT pages int, OUT changes int, OUT rows int, OUT longest int, OUT token text) LANGUAGE plpgsql AS
$$
DECLARE
    answer json;
    ids text[] := '{}';
BEGIN
    pages := 0;
    longest := 0;
    token := request ->> 'sync_token';
    LOOP
        answer := sync.pull(request || jsonb_build_object('sync_token', token));
        token := answer ->> 'next_sync_token';
        ids := ids || ARRAY(SELECT c ->> 'entity_id' FROM json_array_elements(answer -> 'changes') c);
        pages := pages + 1;
        longest := greatest(longest, json_array_length(answer -> 'changes'));
        EXIT WHEN NOT (answer ->> 'has_more')::boolean OR pages > 100;
    END LOOP;
    changes := cardinality(ids);
    SELECT count(DISTINCT id) INTO rows FROM unnest(ids) id;
END
$$;

-- Without an index: in the order of keys
SELECT string_agg(c ->> 'entity_id', ' ' ORDER BY n) AS ids FROM json_array_elements(sync.pull('{"limit":7}') -> 'changes') WITH ORDINALITY AS e (c, n);
SELECT l, f.pages, f.changes, f.rows, f.longest FROM unnest('{1,2,5,6,7,23,24,25,1000}'::int[]) l, follow(jsonb_build_object('limit', l)) f;

-- With one: value by value, each in the order of keys
CREATE INDEX paged_index ON paged_note (team, id);
SELECT string_agg(c ->> 'entity_id', ' ' ORDER BY n) AS ids FROM json_array_elements(sync.pull('{"limit":7}') -> 'changes') WITH ORDINALITY AS e (c, n);
SELECT l, f.pages, f.changes, f.rows, f.longest FROM unnest('{1,2,5,6,7,23,24,25,1000}'::int[]) l, follow(jsonb_build_object('limit', l)) f;

-- A round goes on as it was begun, whether the index comes or goes between its pages
\set begin 'SELECT answer ->> ''next_sync_token'' AS inside, json_array_length(answer -> ''changes'') AS first FROM sync.pull(''{"limit":4}'') AS answer \\gset'
:begin
DROP INDEX paged_index;
SELECT pages + 1 AS pages, changes + :first AS changes, rows + :first AS rows FROM follow(jsonb_build_object('limit', 4, 'sync_token', :'inside'));
:begin
CREATE INDEX paged_index ON paged_note (team, id);
SELECT pages + 1 AS pages, changes + :first AS changes, rows + :first AS rows FROM follow(jsonb_build_object('limit', 4, 'sync_token', :'inside'));
-- an index of some rows only is none
DROP INDEX paged_index;
CREATE INDEX paged_index ON paged_note (team, id) WHERE id > 10;
SELECT string_agg(c ->> 'entity_id', ' ' ORDER BY n) AS ids FROM json_array_elements(sync.pull('{"limit":7}') -> 'changes') WITH ORDINALITY AS e (c, n);
DROP INDEX paged_index;
CREATE INDEX paged_index ON paged_note (team, id);

-- Values gained since travel likewise, beside the changes of the others; one lost between pages starts the table anew
SELECT token FROM follow('{}') \gset
INSERT INTO paged_member VALUES ('nobody'), ('new');
INSERT INTO paged_note SELECT g, 'new' FROM generate_series(40, 45) g;
UPDATE paged_note SET id = id + 100 WHERE id IN (1, 2);
SELECT l, f.pages, f.changes, f.rows FROM unnest('{1,3,1000}'::int[]) l, follow(jsonb_build_object('limit', l, 'sync_token', :'token')) f;
:begin
DELETE FROM paged_member WHERE team = 'a';
SELECT changes FROM follow(jsonb_build_object('limit', 4, 'sync_token', :'inside'));
SELECT count(*) FROM paged_note WHERE team IN (SELECT team FROM paged_member);

-- Cleaning up
SELECT sync.disable_all();
DELETE FROM sync.scope WHERE id >= 100;
DROP TABLE paged_member, paged_note;
DROP FUNCTION follow(jsonb);

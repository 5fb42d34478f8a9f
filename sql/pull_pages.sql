-- pull_pages.sql - pages of any size reach every change exactly once, whatever happens between them.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- One line for each change, one for the rest of an answer; :next pulls with the last answer's token and keeps the new answer
CREATE FUNCTION changes(answer json) RETURNS TABLE (change text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), 'scope ' || (c ->> 'scope'),
                 c ->> 'reason', c ->> 'data')
FROM json_array_elements(answer -> 'changes') WITH ORDINALITY AS e (c, n) ORDER BY n
$$;
CREATE FUNCTION rest(answer json) RETURNS TABLE (reset text, withdrawn text, has_more text) LANGUAGE sql AS
$$ SELECT answer ->> 'reset', answer ->> 'withdrawn', answer ->> 'has_more' $$;
CREATE TABLE pages_one (id int PRIMARY KEY, body text);
CREATE TABLE pages_two (a text, b timestamptz, c int, PRIMARY KEY (b, a));
CREATE TABLE pages_empty (id int PRIMARY KEY);
SELECT sync.enable('pages_one');
SELECT sync.enable('pages_empty');
SELECT sync.enable('pages_two', priority => 3);

-- Follows a token to the end of its round, and returns every change with the page it came on
CREATE FUNCTION pages(request jsonb, OUT page int, OUT change text, OUT token text) RETURNS SETOF record LANGUAGE plpgsql STABLE AS
$$
DECLARE
    answer json;
BEGIN
    page := 0;
    token := request ->> 'sync_token';
    LOOP
        page := page + 1;
        answer := sync.pull(request || jsonb_build_object('sync_token', token));
        token := answer ->> 'next_sync_token';
        FOR change IN SELECT c.change FROM changes(answer) c LOOP
            RETURN NEXT;
        END LOOP;
        IF (answer ->> 'has_more')::boolean AND json_array_length(answer -> 'changes') = 0 THEN
            change := 'empty page before the last';
            RETURN NEXT;
        END IF;
        EXIT WHEN NOT (answer ->> 'has_more')::boolean OR page > 1000;
    END LOOP;
    change := NULL;
    RETURN NEXT;
END
$$;

-- A first pull, row by row: tables by priority, keys of several columns in key order
INSERT INTO pages_one SELECT g, 'row ' || g FROM generate_series(1, 5) g;
INSERT INTO pages_two VALUES ('b', '2026-01-01', 1), ('a', '2026-01-01', 2), ('a "quoted"', '2025-01-01', 3), ('a/b', '2027-01-01', 4);
SELECT page, change FROM pages('{"limit":1}');
SELECT page, count(change) FROM pages('{"limit":4}') GROUP BY page ORDER BY page;
SELECT page, count(change) FROM pages('{"limit":9}') GROUP BY page ORDER BY page;
SELECT page, count(change) FROM pages('{"limit":8}') GROUP BY page ORDER BY page;
SELECT page, count(change) FROM pages('{"limit":1,"tables":["pages_empty"]}') GROUP BY page ORDER BY page;
SELECT token FROM pages('{}') WHERE change IS NULL \gset

-- An increment of updates, deletions, moved keys and rows that live again, in one transaction and in several
BEGIN;
UPDATE pages_one SET body = 'all' WHERE id <= 3;
DELETE FROM pages_one WHERE id IN (1, 5);
INSERT INTO pages_one VALUES (1, 'again');
COMMIT;
UPDATE pages_one SET id = 40 WHERE id = 4;
DELETE FROM pages_two WHERE c = 1;
INSERT INTO pages_one VALUES (6, 'new');
SELECT change FROM pages(jsonb_build_object('sync_token', :'token')) WHERE change IS NOT NULL;
SELECT page, change FROM pages(jsonb_build_object('sync_token', :'token', 'limit', 1));
SELECT page, count(change) FROM pages(jsonb_build_object('sync_token', :'token', 'limit', 3)) GROUP BY page ORDER BY page;

-- Pages of every size say the same
SELECT bool_and(same) AS every_size_says_the_same FROM (
    SELECT (SELECT array_agg(change) FROM pages(jsonb_build_object('sync_token', :'token', 'limit', size)) WHERE change IS NOT NULL)
         = (SELECT array_agg(change) FROM pages(jsonb_build_object('sync_token', :'token')) WHERE change IS NOT NULL) AS same
    FROM generate_series(1, 10) size) s;

-- A round ends at the token it would have ended at in one page: nothing is left for the next
SELECT token AS after FROM pages(jsonb_build_object('sync_token', :'token', 'limit', 1)) WHERE change IS NULL \gset
SELECT page, change FROM pages(jsonb_build_object('sync_token', :'after'));

-- Writes between pages: what changed before its turn waits for the next round or comes with this one, and nothing is lost
CREATE TABLE pages_copy (entity text PRIMARY KEY, data text);
\set apply 'SELECT sync.pull(jsonb_build_object(''limit'', 2, ''sync_token'', :''token'')) AS answer \\gset'
\set keep 'SELECT :''answer''::json ->> ''next_sync_token'' AS token, :''answer''::json ->> ''has_more'' AS has_more \\gset \\\\ DELETE FROM pages_copy WHERE entity IN (SELECT concat(c ->> ''entity_type'', c ->> ''entity_id'') FROM json_array_elements(:''answer''::json -> ''changes'') c); INSERT INTO pages_copy SELECT concat(c ->> ''entity_type'', c ->> ''entity_id''), c ->> ''data'' FROM json_array_elements(:''answer''::json -> ''changes'') c WHERE c ->> ''operation'' <> ''delete'';'
\set token 'none'
:apply
:keep
UPDATE pages_one SET body = 'changed before it was sent' WHERE id = 6;
UPDATE pages_one SET body = 'changed after it was sent' WHERE id = 1;
DELETE FROM pages_one WHERE id = 2;
INSERT INTO pages_one VALUES (0, 'behind'), (100, 'ahead');
:apply
:keep
DELETE FROM pages_one WHERE id = 40;
UPDATE pages_one SET id = -3 WHERE id = 3;
:apply
:keep
INSERT INTO pages_one VALUES (40, 'lives again');
:apply
:keep
:apply
:keep
\echo :has_more
:apply
:keep
\echo :has_more
:apply
:keep
:apply
:keep
:apply
:keep
\echo :has_more
TABLE pages_copy ORDER BY entity;
SELECT count(*) FROM pages_copy;
SELECT (SELECT count(*) FROM pages_one) + (SELECT count(*) FROM pages_two) AS rows;
SELECT id, body FROM pages_one ORDER BY id;

-- A round broken off: the token of its first page with other tables starts these anew
SELECT sync.pull('{"limit":1}') ->> 'next_sync_token' AS token \gset
SELECT reset, has_more FROM rest(sync.pull(jsonb_build_object('sync_token', :'token', 'tables', '{pages_one}'::text[])));
-- and TRUNCATE in the middle of a round starts it anew
SELECT sync.pull('{"limit":1}') ->> 'next_sync_token' AS token \gset
TRUNCATE pages_one;
SELECT reset, has_more FROM rest(sync.pull(jsonb_build_object('sync_token', :'token')));

-- The default is 1000 rows
INSERT INTO pages_one SELECT g, 'x' FROM generate_series(1, 2500) g;
SELECT page, count(change) FROM pages('{"tables":["pages_one"]}') GROUP BY page ORDER BY page;
SELECT page, count(change) FROM pages('{"tables":["pages_one"],"limit":10000}') GROUP BY page ORDER BY page;
SELECT count(DISTINCT change) FROM pages('{"tables":["pages_one"],"limit":700}');

-- Rows passed over do not count: a page full of deletions whose keys live again
SELECT token FROM pages('{"tables":["pages_one"]}') WHERE change IS NULL \gset
DELETE FROM pages_one WHERE id <= 1500;
INSERT INTO pages_one SELECT g, 'y' FROM generate_series(1, 1499) g;
SELECT page, count(change), count(*) FILTER (WHERE change LIKE 'delete%') AS deletions
FROM pages(jsonb_build_object('tables', '{pages_one}'::text[], 'sync_token', :'token', 'limit', 500)) GROUP BY page ORDER BY page;

-- A page ends at 8 MiB, and a row above that is named without its contents
TRUNCATE pages_one;
INSERT INTO pages_one SELECT g, repeat('x', 3 * 1024 * 1024) FROM generate_series(1, 4) g;
SELECT page, left(change, 30) AS change FROM pages('{"tables":["pages_one"]}');
UPDATE pages_one SET body = repeat('y', 9 * 1024 * 1024) WHERE id = 2;
SELECT c ->> 'entity_id' AS entity_id, c -> 'data' ->> 'id' AS id, c ->> 'reason' AS reason, c ->> 'server_version' AS version
FROM json_array_elements(sync.pull('{"tables":["pages_one"],"limit":2}') -> 'changes') c;

-- Tokens stay below 6 KiB at 500 scope values, inside a round too
SELECT sync.create_scope('pages scope', 'SELECT md5(g::text) FROM generate_series(1, 500) g');
CREATE TABLE pages_scoped (id int PRIMARY KEY, place text);
SELECT sync.enable('pages_scoped', scope => 'pages scope', scope_column => 'place');
INSERT INTO pages_scoped SELECT g, md5(g::text) FROM generate_series(1, 3) g;
SELECT octet_length(sync.pull('{"tables":["pages_scoped"]}') ->> 'next_sync_token') <= 6144 AS small_at_the_end,
       octet_length(sync.pull('{"tables":["pages_scoped"],"limit":1}') ->> 'next_sync_token') <= 6144 AS small_inside;

-- Cleaning up
SELECT sync.disable_all();
DROP TABLE pages_one, pages_two, pages_empty, pages_copy, pages_scoped;
DELETE FROM sync.scope WHERE name = 'pages scope';
DROP FUNCTION pages(jsonb), changes(json), rest(json);

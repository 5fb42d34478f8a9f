-- render.sql - each type is written as JSON in one way, whatever the session's settings, and a push reads it back as it was.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET request.jwt.claims = '{"sub":"ada"}';
CREATE TYPE render_color AS ENUM ('red', 'light "blue"');
CREATE TYPE render_pair AS (left_one int, right_one text, at timestamptz);
CREATE TYPE render_nest AS (pair render_pair, list numeric[]);
CREATE DOMAIN render_percent AS numeric(5, 2) CHECK (value <= 100);
CREATE DOMAIN render_word AS text;
CREATE DOMAIN render_count AS int;
CREATE DOMAIN render_list AS int[];
CREATE TABLE render_all (
    id int PRIMARY KEY,
    i2 int2, i4 int4, i8 int8, o oid, count render_count,
    n numeric, n2 numeric(20, 4), percent render_percent,
    f4 float4, f8 float8,
    t text, vc varchar(20), c char(5), nm name, word render_word,
    b bool, bin bytea,
    d date, tm time, tmz timetz, ts timestamp, tsz timestamptz, iv interval,
    u uuid, js json, jb jsonb,
    a int[], aa text[][], at timestamptz[], ab bytea[], af float8[], list render_list, aj jsonb[],
    pair render_pair, nest render_nest, pairs render_pair[],
    color render_color, colors render_color[],
    r int4range, tr tstzrange, mr int4multirange,
    m money, net inet, mac macaddr, bits bit varying, pt point, v tsvector, x xid8, l pg_lsn
);
SELECT sync.enable('render_all');

-- Values of every kind; id 2 the edges, id 3 nothing but NULL, id 4 empty things
INSERT INTO render_all VALUES (1,
    -32768, 2147483647, 9007199254740993, 4294967295, 7,
    12345678901234567890123456789.000000000000000000001230, 1.5, 99.9,
    1.1, 0.1,
    E'quote " backslash \\ newline \n tab \t return \r bell \x07 escape \x1b \b \f delete \x7f emoji 😀 ünïcode </script>', 'vc', 'ab', 'nm', 'word',
    true, '\x00ff10',
    '2026-02-28', '13:14:15.123456', '13:14:15+05:30', '2026-02-28 13:14:15.5', '2026-02-28 13:14:15.123456+02', '1 year 2 months -3 days 04:05:06.7',
    'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"b" : 1,  "a":[null, 1.50]}', '{"b" : 1,  "a":[null, 1.50]}',
    '{1,NULL,3}', '{{"a","b\"q"},{NULL,""}}', '{"2026-02-28 13:14:15+02",infinity}', '{"\\x00ff",NULL}', '{1.5,NaN,-Infinity}', '{4,5}', '{"{\"k\":1}",null}',
    '(1,"two ""2""","2026-02-28 13:14:15+02")', '("(1,,)","{1.50,NULL,NaN}")', '{"(1,x,)",NULL}',
    'light "blue"', '{red,"light \"blue\""}',
    '[1,5)', '["2026-02-28 13:14:15+02",)', '{[1,3),[5,7)}',
    1234.5, '192.168.0.1/24', '08:00:2b:01:02:03', B'101', '(1.5,-2)', 'a:1 fat:2,3', '18446744073709551615', '16/B374D848');
INSERT INTO render_all (id, i8, n, percent, f4, f8, t, b, bin, d, ts, tsz, iv, js, jb, m) VALUES (2,
    -9223372036854775808, 'NaN', -5, 'Infinity', '-Infinity', '', false, '', '-infinity', 'infinity', '-infinity', '-00:00:01', 'null', '"text"', '-0.01');
INSERT INTO render_all (id) VALUES (3);
INSERT INTO render_all (id, n, f4, f8, d, ts, tsz, iv, a, aa, bin, jb, r, tr, v, t) VALUES (4,
    '-Infinity', 'NaN', '0', '0044-03-15 BC', '0044-03-15 12:00 BC', '20000-01-01 00:00+00', '0', '{}', '{}', '\x', '{}', 'empty', 'empty', '', ' ');
INSERT INTO render_all (id, f4, f8, tsz, iv) VALUES (5, 1e-20, 1.7976931348623157e308, '1900-01-01 00:00+00', '-1 year -2 mons 3 days -04:05:06');

-- Column by column
CREATE FUNCTION rendered(which text) RETURNS TABLE (name text, kind "char", json text) LANGUAGE sql AS
$$
SELECT d.key, sync.column_kind(a.atttypid), d.value::text
FROM json_array_elements(sync.pull('{"tables":["render_all"]}') -> 'changes') c, json_each(c -> 'data') WITH ORDINALITY AS d (key, value, n)
JOIN pg_attribute a ON a.attrelid = 'render_all'::regclass AND a.attname = d.key
WHERE c ->> 'entity_id' = which ORDER BY n
$$;
\pset format unaligned
\pset fieldsep ' '
\pset tuples_only
SELECT * FROM rendered('1');
SELECT name, json FROM rendered('2') WHERE json <> 'null';
-- the json null of a json column, which is a value
SELECT name, json FROM rendered('2') WHERE name = 'js';
SELECT count(*), count(*) FILTER (WHERE json = 'null') FROM rendered('3');
SELECT name, json FROM rendered('4') WHERE json <> 'null';
SELECT name, json FROM rendered('5') WHERE json <> 'null';
\pset format aligned
\pset tuples_only off

-- The same under odd settings
SELECT sync.pull('{"tables":["render_all"]}') -> 'changes' AS changes \gset
SET DateStyle = 'German, DMY';
SET TimeZone = 'Asia/Kathmandu';
SET IntervalStyle = 'sql_standard';
SET extra_float_digits = -5;
SET bytea_output = 'escape';
SET search_path = pg_temp;
SELECT '2026-02-28 13:14:15+02'::timestamptz, '1 year -3 days'::interval, 0.1::float8 + 0.2, '\x00ff'::bytea;
SELECT (sync.pull('{"tables":["render_all"]}') -> 'changes')::text = :'changes' AS same;
RESET search_path;
-- and the session's settings are left as they were
SHOW DateStyle;
SHOW IntervalStyle;
SHOW TimeZone;

-- A push of what was pulled leaves every row as it is, under these settings too, and into an empty table makes the same rows
-- (without js: a value of type json comes back with other white space)
CREATE TABLE render_copy (LIKE render_all INCLUDING DEFAULTS EXCLUDING INDEXES, PRIMARY KEY (id));
ALTER TABLE render_copy DROP COLUMN sync_version, DROP COLUMN sync_xid, DROP COLUMN sync_at, DROP COLUMN sync_by, DROP COLUMN sync_clock;
SELECT sync.enable('render_copy');
CREATE FUNCTION pushed(op text, target text, changes json) RETURNS TABLE (verdict text) LANGUAGE sql AS
$$
SELECT concat_ws(' ', r ->> 'index', r ->> 'entity_id', r ->> 'outcome', r -> 'error' ->> 'message')
FROM json_array_elements(sync.push((SELECT jsonb_build_object('device_id', 'd', 'changes', jsonb_agg(
    jsonb_build_object('operation', op, 'entity_type', target, 'entity_id', c ->> 'entity_id', 'data', (c -> 'data')::jsonb - 'js')))
    FROM json_array_elements(changes) c)) -> 'processed') WITH ORDINALITY AS p (r, n) ORDER BY n
$$;
SELECT pushed('create', 'render_copy', :'changes');
SELECT one.id, a.key AS differs, a.value AS was, b.value AS became
FROM render_all one JOIN render_copy two USING (id), jsonb_each_text(to_jsonb(one)) a JOIN jsonb_each_text(to_jsonb(two)) b USING (key)
WHERE a.value IS DISTINCT FROM b.value AND a.key NOT LIKE 'sync\_%' AND a.key <> 'js' ORDER BY 1, 2;
SELECT pushed('update', 'render_all', :'changes');
RESET DateStyle; RESET TimeZone; RESET IntervalStyle; RESET extra_float_digits; RESET bytea_output;
SELECT id, sync_version FROM render_all ORDER BY id;
SELECT count(*) FROM render_copy;

-- Keys of these types: the text without quotes, and back
CREATE FUNCTION round_trip(type text, value text) RETURNS TABLE (entity_id text, outcome text) LANGUAGE plpgsql AS
$$
BEGIN
    EXECUTE format('CREATE TABLE render_key (k %s PRIMARY KEY, n int)', type);
    EXECUTE format('INSERT INTO render_key VALUES (%L)', value);
    PERFORM sync.enable('render_key');
    EXECUTE 'UPDATE render_key SET n = 1';
    EXECUTE 'DELETE FROM render_key';
    SELECT t.entity_id INTO entity_id FROM sync.tombstone t ORDER BY id DESC LIMIT 1;
    EXECUTE format('INSERT INTO render_key VALUES (%L)', value);
    outcome := sync.push(jsonb_build_object('device_id', 'd', 'changes', jsonb_build_array(jsonb_build_object('operation', 'update', 'entity_type', 'render_key',
                                          'entity_id', entity_id, 'data', '{"n":2}'::jsonb)))) -> 'processed' -> 0 ->> 'outcome';
    PERFORM sync.disable('render_key');
    DROP TABLE render_key;
    RETURN NEXT;
END
$$;
SELECT type, r.* FROM (VALUES ('int8', '9007199254740993'), ('numeric', '1.50'), ('float8', '0.1'), ('bool', 'true'), ('date', '2026-02-28'),
    ('timestamp', '2026-02-28 13:14:15.5'), ('timestamptz', '2026-02-28 13:14:15+02'), ('interval', '1 year -3 days'), ('bytea', '\x00ff'), ('text', E'a "b" \\ \n 😀'),
    ('char(5)', 'ab'), ('uuid', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'), ('inet', '10.0.0.0/8'), ('render_color', 'light "blue"'), ('render_word', 'w'),
    ('int4range', '[1,5]'), ('render_count', '5'), ('time', '13:14'), ('pg_lsn', '16/B374D848')) AS k (type, value), round_trip(type, value) r;

-- Cleaning up
SELECT sync.disable_all();
DROP FUNCTION rendered(text), pushed(text, text, json), round_trip(text, text);
DROP TABLE render_all, render_copy;
DROP TYPE render_nest, render_pair, render_color;
DROP DOMAIN render_percent, render_word, render_count, render_list;

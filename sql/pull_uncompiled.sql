-- pull_uncompiled.sql - no page of a pull is compiled by JIT: where nothing has the order that a page wants, the planner's price for sorting all the same had it compiled for seconds, each time.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
CREATE TABLE uncompiled (id int PRIMARY KEY, team int, body text);
INSERT INTO uncompiled SELECT g, g % 2, 'x' FROM generate_series(1, 100) g;
SELECT sync.create_scope('uncompiled teams', 'SELECT generate_series(0, 1)');
SELECT sync.enable('uncompiled', scope => 'uncompiled teams', scope_column => 'team');
SELECT indexrelid::regclass AS own FROM pg_index WHERE indrelid = 'uncompiled'::regclass AND NOT indisprimary \gset
DROP INDEX :own;
\c -
SHOW jit;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.pull('{"tables":["uncompiled"]}') ->> 'next_sync_token' AS token \gset
UPDATE uncompiled SET body = 'y';
DELETE FROM uncompiled WHERE id = 1;
SELECT answer ->> 'next_sync_token' AS token, json_array_length(answer -> 'changes') AS changes
FROM sync.pull(jsonb_build_object('tables', '{uncompiled}'::text[], 'sync_token', :'token', 'limit', 30)) answer \gset
SELECT :changes AS changes, json_array_length(sync.pull(jsonb_build_object('tables', '{uncompiled}'::text[], 'sync_token', :'token', 'limit', 30)) -> 'changes') AS more;
SELECT count(*) AS compilers FROM regexp_split_to_table(pg_read_file('/proc/self/maps'), E'\n') line WHERE line LIKE '%llvmjit.so%';
-- and that it would show
SET jit_above_cost = 0;
SELECT sum(g) FROM generate_series(1, 10) g;
SELECT count(*) > 0 AS compilers FROM regexp_split_to_table(pg_read_file('/proc/self/maps'), E'\n') line WHERE line LIKE '%llvmjit.so%';
SELECT sync.disable('uncompiled');
SELECT sync.drop_scope('uncompiled teams');
DROP TABLE uncompiled;

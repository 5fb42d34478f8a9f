-- row_local.sql - policies that look only at the row and who asks are obeyed as they are: a row that changes hands leaves one copy and enters the other.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION changes(answer json) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_id', 'v' || (c ->> 'server_version'), c ->> 'data', c ->> 'scope', c ->> 'reason')
    FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n)
    UNION ALL SELECT 'reset ' || (answer ->> 'reset') WHERE answer -> 'reset' IS NOT NULL $$;
CREATE FUNCTION pull_of(who text, token text DEFAULT NULL) RETURNS json LANGUAGE sql AS $$
    SELECT set_config('request.jwt.claims', json_build_object('sub', who)::text, false);
    SELECT sync.pull(jsonb_strip_nulls(jsonb_build_object('tables', '{local_note}'::text[], 'sync_token', token))) $$;
CREATE ROLE local_app;
CREATE ROLE local_admin;

-- What may be looked at: columns, claims, the role, settings that say who asks, functions in SQL of nothing else, sub-selects without tables
CREATE SCHEMA local_auth;
CREATE FUNCTION local_auth.uid() RETURNS text LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub') $$;
CREATE FUNCTION local_auth.standard() RETURNS text STABLE RETURN local_auth.uid();
CREATE TABLE local_judged (id int PRIMARY KEY, owner text, team int, tags text[], "odd "" name" text, at timestamptz);
ALTER TABLE local_judged ENABLE ROW LEVEL SECURITY;
CREATE TABLE local_other (id int PRIMARY KEY, owner text);
CREATE FUNCTION local_auth.reads() RETURNS text LANGUAGE sql STABLE AS $$ SELECT owner FROM public.local_other LIMIT 1 $$;
CREATE FUNCTION local_auth.claims_to_be() RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT owner FROM public.local_other LIMIT 1 $$;
CREATE FUNCTION local_auth.deeper() RETURNS text LANGUAGE sql STABLE AS $$ SELECT local_auth.reads() $$;
CREATE FUNCTION local_auth.procedural() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN current_setting('request.jwt.claims'); END $$;
CREATE FUNCTION judge(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE answer text;
BEGIN
    EXECUTE format('CREATE POLICY p ON local_judged USING (%s)', condition);
    SELECT coalesce(p.reason, p.columns::text) INTO answer FROM sync.policy_columns('local_judged') p;
    DROP POLICY p ON local_judged;
    RETURN answer;
END $$;
SET check_function_bodies = off;
CREATE FUNCTION local_auth.unclear() RETURNS text LANGUAGE sql STABLE AS $$ SELECT nowhere() $$;
RESET check_function_bodies;
SELECT rpad(condition, 60) AS condition, judge(condition) FROM unnest(ARRAY[
    'true',
    'owner = sync.user_id()',
    'owner = local_auth.uid() AND team > 3',
    'owner = (SELECT local_auth.uid())',
    'owner = local_auth.standard()',
    'owner = current_user OR pg_has_role(''local_admin'', ''MEMBER'')',
    'team = ANY (ARRAY(SELECT jsonb_array_elements_text(current_setting(''request.jwt.claims'', true)::jsonb -> ''teams'')::int))',
    'EXISTS (SELECT FROM unnest(tags) t WHERE t = sync.user_id() OR t = owner)',
    '"odd "" name" IS NOT NULL',
    'id IN (SELECT o.id FROM local_other o)',
    'EXISTS (SELECT FROM (SELECT 1 FROM local_other) o)',
    'owner = local_auth.reads()',
    'owner = local_auth.claims_to_be()',
    'owner = local_auth.deeper()',
    'owner = local_auth.procedural()',
    'owner = local_auth.unclear()',
    'at <= now()',
    'at <= current_date',
    'at <= (owner)::timestamptz',
    'random() < 0.5',
    'owner = session_user',
    'owner = current_setting(''app.user'')',
    'owner = current_setting(owner)',
    'has_table_privilege(''local_other'', ''SELECT'')',
    'pg_has_role(owner::name, ''local_admin'', ''MEMBER'')',
    'local_judged IS NOT NULL',
    'ctid IS NOT NULL']) condition;
-- Only what decides about reading counts
CREATE POLICY p ON local_judged FOR SELECT USING (owner = sync.user_id());
CREATE POLICY q ON local_judged FOR INSERT WITH CHECK (EXISTS (SELECT FROM local_other));
SELECT * FROM sync.policy_columns('local_judged');

-- A table of its own kind: the owner reads and writes, everybody reads what is shared, a restrictive policy hides drafts of others
CREATE TABLE local_note (id int PRIMARY KEY, owner text, shared boolean NOT NULL DEFAULT false, draft boolean NOT NULL DEFAULT false, body text);
INSERT INTO local_note (id, owner, body) VALUES (1, 'ada', 'one'), (2, 'bob', 'two');
ALTER TABLE local_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON local_note USING (owner = (SELECT local_auth.uid()));
CREATE POLICY shared ON local_note FOR SELECT USING (shared);
CREATE POLICY undrafted ON local_note AS RESTRICTIVE FOR SELECT USING (NOT draft OR owner = local_auth.uid());
CREATE POLICY admin ON local_note TO local_admin USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON local_note TO local_app, local_admin;
GRANT USAGE ON SCHEMA local_auth TO PUBLIC;
SELECT sync.enable('local_note');
SELECT policy_columns, broken FROM sync.synced_table WHERE id >= 100;
SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'local_note'::regclass AND tgname = '~sync_tombstone_update';

SET ROLE local_app;
SELECT pull_of('ada') AS ada0 \gset
SELECT pull_of('bob') AS bob0 \gset
SELECT pull_of('cleo') AS cleo0 \gset
SELECT * FROM changes(:'ada0');
SELECT * FROM changes(:'bob0');
SELECT * FROM changes(:'cleo0');
-- The streamer is told that its pictures of rows are not enough
SELECT sync.session_state('{"tables":["local_note"]}') -> 'tables' -> 0 ->> 'full' AS full;
RESET ROLE;

-- Ada's note goes to bob; bob's is shared, becomes a draft, is shared again; each copy learns what concerns it
UPDATE local_note SET owner = 'bob', body = 'uno' WHERE id = 1;
UPDATE local_note SET shared = true WHERE id = 2;
SET ROLE local_app;
SELECT pull_of('ada', :'ada0'::json ->> 'next_sync_token') AS ada1 \gset
SELECT pull_of('bob', :'bob0'::json ->> 'next_sync_token') AS bob1 \gset
SELECT pull_of('cleo', :'cleo0'::json ->> 'next_sync_token') AS cleo1 \gset
SELECT * FROM changes(:'ada1');
SELECT * FROM changes(:'bob1');
SELECT * FROM changes(:'cleo1');
RESET ROLE;
UPDATE local_note SET draft = true WHERE id = 2;
SET ROLE local_app;
SELECT * FROM changes(pull_of('ada', :'ada1'::json ->> 'next_sync_token'));
SELECT * FROM changes(pull_of('bob', :'bob1'::json ->> 'next_sync_token'));
RESET ROLE;
UPDATE local_note SET draft = false WHERE id = 2;
SET ROLE local_app;
SELECT * FROM changes(pull_of('cleo', :'cleo1'::json ->> 'next_sync_token'));
SELECT pull_of('bob', :'bob1'::json ->> 'next_sync_token') AS bob2 \gset
SELECT pull_of('cleo', :'cleo1'::json ->> 'next_sync_token') AS cleo2 \gset
RESET ROLE;
SELECT entity_id, version, reason, old_values FROM sync.tombstone WHERE table_id >= 100 ORDER BY id;

-- A deletion is told to those who had the row, and to nobody else: cleo never had note 1
DELETE FROM local_note;
SET ROLE local_app;
SELECT * FROM changes(pull_of('bob', :'bob2'::json ->> 'next_sync_token'));
SELECT * FROM changes(pull_of('cleo', :'cleo2'::json ->> 'next_sync_token'));
RESET ROLE;

-- Two owners between two pulls: whoever held it in between and never pulled hears of no key
INSERT INTO local_note (id, owner) VALUES (3, 'ada');
SET ROLE local_app;
SELECT pull_of('ada') AS ada3 \gset
SELECT pull_of('cleo') AS cleo3 \gset
RESET ROLE;
UPDATE local_note SET owner = 'bob' WHERE id = 3;
UPDATE local_note SET owner = 'ada' WHERE id = 3;
SET ROLE local_app;
SELECT * FROM changes(pull_of('ada', :'ada3'::json ->> 'next_sync_token'));
SELECT * FROM changes(pull_of('cleo', :'cleo3'::json ->> 'next_sync_token'));
-- A role that another policy is for sees all, and hears of all deletions
SET ROLE local_admin;
SELECT pull_of('root') AS root0 \gset
SELECT * FROM changes(:'root0');
RESET ROLE;
DELETE FROM local_note;
SET ROLE local_admin;
SELECT * FROM changes(pull_of('root', :'root0'::json ->> 'next_sync_token'));
RESET ROLE;

-- A push to a deleted row tells whose it was that it is gone, and everybody else what it tells of a row that never was
INSERT INTO local_note (id, owner) VALUES (4, 'ada');
DELETE FROM local_note WHERE id = 4;
SET ROLE local_app;
SELECT who, v ->> 'status' AS status, v ->> 'outcome' AS outcome, v -> 'error' ->> 'code' AS code
FROM unnest('{ada,bob}'::text[]) who, LATERAL (SELECT set_config('request.jwt.claims', json_build_object('sub', who)::text, false)) c,
     LATERAL json_array_elements(sync.push(jsonb_build_object('device_id', 'local ' || who || left(set_config, 0), 'changes', '[
        {"queue_id":"1","operation":"update","entity_type":"local_note","entity_id":"4","data":{"body":"x"},"local_version":1},
        {"queue_id":"2","operation":"update","entity_type":"local_note","entity_id":"5","data":{"body":"x"},"local_version":1}]'::jsonb)) -> 'processed') v;
RESET ROLE;

-- With a scope: both must allow
SELECT sync.disable('local_note');
SELECT sync.create_scope('local teams', $$ SELECT * FROM (VALUES (1), (2)) v $$);
ALTER TABLE local_note ADD team int;
SELECT sync.enable('local_note', scope => 'local teams', scope_column => 'team', deletes => 'soft');
INSERT INTO local_note (id, owner, team) VALUES (1, 'ada', 1), (2, 'ada', 3), (3, 'bob', 2);
SET ROLE local_app;
SELECT pull_of('ada') AS ada0 \gset
SELECT pull_of('bob') AS bob0 \gset
SELECT * FROM changes(:'ada0');
SELECT * FROM changes(:'bob0');
RESET ROLE;
DELETE FROM local_note;
SET ROLE local_app;
SELECT * FROM changes(pull_of('ada', :'ada0'::json ->> 'next_sync_token'));
SELECT * FROM changes(pull_of('bob', :'bob0'::json ->> 'next_sync_token'));
RESET ROLE;

-- Values come back exactly: every type that policies may look at is turned into text and back
SELECT sync.disable('local_note', keep_columns => true);
DROP TABLE local_note;
CREATE TABLE local_note (id int PRIMARY KEY, f float8, n numeric, t timestamptz, u timestamp, d interval, b bytea, a text[], c char(5), j jsonb, e boolean, r int4range);
ALTER TABLE local_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY exact ON local_note USING (f = 0.1::float8 + 0.2::float8 AND n = 1e-30 AND t = '2026-01-02 03:04:05.678901+02' AND u = 'infinity' AND d = '1 mon 2 days 00:00:03.5'
    AND b = '\x00ff5c22' AND a = ARRAY['a"b', NULL, 'c,\d', ''] AND c = 'ab' AND j = '{"k":["\u00e9\"",null]}' AND e AND r = '[1,9)' OR id < 0);
GRANT SELECT ON local_note TO local_app;
SELECT sync.enable('local_note');
INSERT INTO local_note VALUES (1, 0.1::float8 + 0.2::float8, 1e-30, '2026-01-02 03:04:05.678901+02', 'infinity', '1 mon 2 days 00:00:03.5', '\x00ff5c22',
    ARRAY['a"b', NULL, 'c,\d', ''], 'ab', '{"k":["é\"",null]}', true, '[1,9)');
SET ROLE local_app;
SELECT pull_of('ada') AS ada0 \gset
SELECT json_array_length(:'ada0'::json -> 'changes') AS rows;
RESET ROLE;
SET timezone = 'Asia/Kolkata';
SET datestyle = 'German';
SET intervalstyle = 'sql_standard';
SET bytea_output = 'escape';
SET extra_float_digits = 0;
DELETE FROM local_note;
RESET timezone;
RESET datestyle;
RESET intervalstyle;
RESET bytea_output;
RESET extra_float_digits;
SET ROLE local_app;
SELECT * FROM changes(pull_of('ada', :'ada0'::json ->> 'next_sync_token'));
RESET ROLE;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DROP TABLE local_note, local_judged, local_other;
DROP SCHEMA local_auth CASCADE;
SELECT sync.drop_scope('local teams');
DROP FUNCTION changes(json), pull_of(text, text), judge(text);
DROP ROLE local_app, local_admin;

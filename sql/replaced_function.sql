-- replaced_function.sql - a function that policies call is replaced: clients start the table anew, as after a policy that changed.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE ROLE replaced_app;
CREATE FUNCTION replaced_inner(level int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT level < 3 $$;
CREATE FUNCTION replaced_outer(level int) RETURNS boolean LANGUAGE sql STABLE SET search_path = public AS $$ SELECT replaced_inner(level) $$;
CREATE FUNCTION replaced_fixed(level int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN level > 0; END $$;
CREATE TABLE replaced_note (id int PRIMARY KEY, level int);
INSERT INTO replaced_note SELECT i, i FROM generate_series(0, 4) i;
ALTER TABLE replaced_note ENABLE ROW LEVEL SECURITY;
CREATE POLICY low ON replaced_note USING (replaced_outer(level) AND replaced_fixed(level));
GRANT SELECT ON replaced_note TO replaced_app;
SELECT sync.enable('replaced_note');
-- The rows seen, and whether the table is started anew
CREATE FUNCTION pulled(INOUT token text, OUT reset text, OUT ids text) LANGUAGE plpgsql AS
$$
DECLARE
    answer json;
BEGIN
    SET LOCAL ROLE replaced_app;
    answer := sync.pull(jsonb_strip_nulls(jsonb_build_object('device_id', 'd', 'tables', '{replaced_note}'::text[], 'sync_token', token)));
    token := answer ->> 'next_sync_token';
    reset := coalesce(answer ->> 'reset', 'no');
    ids := coalesce((SELECT string_agg(c ->> 'entity_id', ',' ORDER BY c ->> 'entity_id') FROM json_array_elements(answer -> 'changes') c), 'none');
    RESET ROLE;
END
$$;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT * FROM pulled(NULL) \gset
SELECT :'ids' AS ids;

-- Nothing new
SELECT * FROM pulled(:'token') \gset
SELECT :'reset' AS reset, :'ids' AS ids;
CREATE FUNCTION replaced_stranger() RETURNS int LANGUAGE sql AS 'SELECT 1';
SELECT * FROM pulled(:'token') \gset
SELECT :'reset' AS reset, :'ids' AS ids;

-- The one that the policy calls, one that this calls, one whose body nobody can read
CREATE OR REPLACE FUNCTION replaced_outer(level int) RETURNS boolean LANGUAGE sql STABLE SET search_path = public AS $$ SELECT replaced_inner(level + 1) $$;
SELECT * FROM pulled(:'token') \gset
SELECT :'reset' AS reset, :'ids' AS ids;
CREATE OR REPLACE FUNCTION replaced_inner(level int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT level < 5 $$;
SELECT * FROM pulled(:'token') \gset
SELECT :'reset' AS reset, :'ids' AS ids;
CREATE OR REPLACE FUNCTION replaced_fixed(level int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN level > 1; END $$;
SELECT * FROM pulled(:'token') \gset
SELECT :'reset' AS reset, :'ids' AS ids;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable('replaced_note');
DROP TABLE replaced_note;
DROP FUNCTION pulled(text), replaced_outer(int), replaced_inner(int), replaced_fixed(int), replaced_stranger();
DROP ROLE replaced_app;

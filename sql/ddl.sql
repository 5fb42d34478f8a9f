-- ddl.sql - what DDL does to synced tables: clients start anew what changed for them, and one broken table harms no other.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION changes(answer json) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(' ', c ->> 'operation', c ->> 'entity_type', c ->> 'entity_id', 'v' || (c ->> 'server_version'), c ->> 'data', c ->> 'reason')
    FROM json_array_elements(answer -> 'changes') WITH ORDINALITY e (c, n)
    UNION ALL SELECT 'reset ' || (answer ->> 'reset') WHERE answer -> 'reset' IS NOT NULL $$;
CREATE ROLE ddl_app;
CREATE ROLE ddl_owner;
CREATE ROLE ddl_group;
-- Each step: the change, then a pull from the token of the step before
CREATE TABLE ddl_token (token text);
INSERT INTO ddl_token VALUES (NULL);
GRANT SELECT, UPDATE ON ddl_token TO ddl_app;
CREATE FUNCTION step() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE answer json;
BEGIN
    SET LOCAL ROLE ddl_app;
    SELECT sync.pull(jsonb_strip_nulls(jsonb_build_object('sync_token', token))) INTO answer FROM ddl_token;
    UPDATE ddl_token SET token = answer ->> 'next_sync_token';
    RESET ROLE;
    RETURN QUERY SELECT * FROM changes(answer);
END $$;
CREATE TABLE ddl_note (id int PRIMARY KEY, owner text, body text, team int);
CREATE TABLE ddl_other (id int PRIMARY KEY);
INSERT INTO ddl_note VALUES (1, 'ada', 'one', 1);
INSERT INTO ddl_other VALUES (7);
GRANT SELECT (id, body) ON ddl_note TO ddl_app;
GRANT SELECT ON ddl_other TO ddl_app;
SELECT sync.enable('ddl_note');
SELECT sync.enable('ddl_other');
SELECT * FROM step();
SELECT * FROM step();

-- A column that is newly granted reaches the client though no row was written; so does one that is taken back, added, dropped, renamed, retyped
GRANT SELECT (owner) ON ddl_note TO ddl_app;
SELECT * FROM step();
REVOKE SELECT (owner) ON ddl_note FROM ddl_app;
SELECT * FROM step();
GRANT SELECT ON ddl_note TO ddl_app;
SELECT * FROM step();
ALTER TABLE ddl_note ADD extra int DEFAULT 5;
SELECT * FROM step();
ALTER TABLE ddl_note RENAME extra TO more;
SELECT * FROM step();
ALTER TABLE ddl_note ALTER more TYPE bigint;
SELECT * FROM step();
ALTER TABLE ddl_note DROP more;
SELECT * FROM step();
-- What clients do not see is no reason to start anew
CREATE INDEX ON ddl_note (body);
ALTER TABLE ddl_note ADD CHECK (id > 0), ALTER body SET STORAGE EXTERNAL;
COMMENT ON TABLE ddl_note IS 'a note';
GRANT INSERT ON ddl_other TO ddl_group;
CREATE TABLE ddl_unrelated (id int PRIMARY KEY);
DROP TABLE ddl_unrelated;
SELECT * FROM step() WHERE step LIKE '%ddl_note%';
SELECT epoch = enabled_xid AS untouched FROM sync.synced_table WHERE relation = 'ddl_other'::regclass;
-- Renamed, moved to another schema, the schema renamed: it goes on under its entity type
ALTER TABLE ddl_note RENAME TO "ddl ""note";
INSERT INTO "ddl ""note" VALUES (2, 'bob', 'two', 1);
SELECT * FROM step();
CREATE SCHEMA ddl_schema;
GRANT USAGE ON SCHEMA ddl_schema TO ddl_app;
ALTER TABLE "ddl ""note" SET SCHEMA ddl_schema;
SELECT * FROM step();
ALTER SCHEMA ddl_schema RENAME TO "ddl schema";
UPDATE "ddl schema"."ddl ""note" SET body = 'zwei' WHERE id = 2;
SELECT * FROM step();
REVOKE USAGE ON SCHEMA "ddl schema" FROM ddl_app;
SELECT * FROM step();
ALTER TABLE "ddl schema"."ddl ""note" SET SCHEMA public;
ALTER TABLE "ddl ""note" RENAME TO ddl_note;
SELECT * FROM step();

-- Policies: switched on, added, changed, dropped; the trigger follows the columns they look at
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.pull('{}') IS NOT NULL AS pulled;
ALTER TABLE ddl_note ENABLE ROW LEVEL SECURITY;
SELECT count(*) FROM step();
CREATE POLICY own ON ddl_note USING (owner = sync.user_id());
SELECT * FROM step() WHERE step LIKE '%ddl_note%';
SELECT policy_columns, broken FROM sync.synced_table WHERE relation = 'ddl_note'::regclass;
ALTER POLICY own ON ddl_note USING (owner = sync.user_id() OR team = 1);
SELECT * FROM step();
UPDATE ddl_note SET team = 2 WHERE id = 2;
SELECT * FROM step();
SELECT old_values FROM sync.tombstone;
-- A function that a policy calls starts to look at tables: only this table's pulls stop
CREATE FUNCTION ddl_me() RETURNS text LANGUAGE sql STABLE AS $$ SELECT sync.user_id() $$;
ALTER POLICY own ON ddl_note USING (owner = ddl_me());
SELECT * FROM step();
CREATE OR REPLACE FUNCTION ddl_me() RETURNS text LANGUAGE sql STABLE AS $$ SELECT body FROM public.ddl_note LIMIT 1 $$;
SELECT * FROM step();
SELECT broken FROM sync.synced_table WHERE relation = 'ddl_note'::regclass;
SET ROLE ddl_app;
SELECT sync.pull('{"tables":["ddl_note"]}');
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM changes(sync.pull('{"tables":["ddl_other"]}'));
SET ROLE ddl_group;
SELECT sync.pull('{"tables":["ddl_note"]}');
RESET ROLE;
DROP FUNCTION ddl_me() CASCADE;
SELECT polname FROM pg_policy WHERE polrelid = 'ddl_note'::regclass;
SELECT broken FROM sync.synced_table WHERE relation = 'ddl_note'::regclass;
ALTER TABLE ddl_note DISABLE ROW LEVEL SECURITY;
SELECT count(*) FROM step();

-- Triggers: switched off they break the table, switched on again, in whatever way, they fire always
ALTER TABLE ddl_note DISABLE TRIGGER ALL;
SELECT broken FROM sync.synced_table WHERE relation = 'ddl_note'::regclass;
INSERT INTO ddl_note VALUES (3, 'cleo', 'unnoticed', 1);
SELECT * FROM step() WHERE step LIKE '%ddl_note%';
ALTER TABLE ddl_note ENABLE TRIGGER ALL;
SELECT string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger WHERE tgrelid = 'ddl_note'::regclass AND tgname LIKE '~sync%';
SELECT * FROM step();

-- By users who have no rights on the schema sync, on their own tables
ALTER TABLE ddl_other OWNER TO ddl_owner;
GRANT CREATE ON SCHEMA public TO ddl_owner;
SET ROLE ddl_owner;
ALTER TABLE ddl_other ADD note text;
GRANT SELECT ON ddl_other TO ddl_group;
CREATE TABLE ddl_mine (id int PRIMARY KEY);
DROP TABLE ddl_mine;
RESET ROLE;
SELECT * FROM step();

-- A scope column that is renamed is followed; one that is dropped breaks the table, and only it
SELECT sync.disable('ddl_note');
SELECT sync.create_scope('ddl teams', 'SELECT 1');
SELECT sync.enable('ddl_note', scope => 'ddl teams', scope_column => 'team');
SELECT sync.set_column_rule('ddl_note', 'body', 'text');
ALTER TABLE ddl_note RENAME team TO crew;
ALTER TABLE ddl_note RENAME body TO words;
SELECT scope_column, broken, (SELECT path FROM sync.column_rule r WHERE r.table_id = t.id) FROM sync.synced_table t WHERE relation = 'ddl_note'::regclass;
SELECT * FROM step();
ALTER TABLE ddl_note DROP crew;
ALTER TABLE ddl_note DROP crew CASCADE;
SELECT broken FROM sync.synced_table WHERE relation = 'ddl_note'::regclass;
UPDATE ddl_note SET words = 'still written' WHERE id = 1;
SELECT * FROM step();
SELECT sync.disable('ddl_note');
SELECT sync.enable('ddl_note');

-- A dropped table leaves the registry, with its tombstones and rules
SELECT sync.set_column_rule('ddl_note', 'words', 'text');
DELETE FROM ddl_note WHERE id = 1;
SELECT count(*) FROM sync.tombstone;
DROP TABLE ddl_note;
SELECT count(*) AS tombstones, (SELECT count(*) FROM sync.column_rule) AS rules FROM sync.tombstone;
SELECT relation FROM sync.synced_table WHERE id >= 100;

-- Who becomes a member of a role sees other rows: their copies start anew
SELECT * FROM step();
GRANT ddl_group TO ddl_app;
SELECT * FROM step();
SELECT * FROM step();
REVOKE ddl_group FROM ddl_app;
SELECT * FROM step();

SET request.jwt.claims = '';
SELECT sync.disable_all();
SELECT sync.drop_scope('ddl teams');
DROP TABLE ddl_other, ddl_token;
DROP SCHEMA "ddl schema";
DROP FUNCTION changes(json), step();
REVOKE CREATE ON SCHEMA public FROM ddl_owner;
DROP ROLE ddl_app, ddl_owner, ddl_group;

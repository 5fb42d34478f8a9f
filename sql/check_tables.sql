-- check_tables.sql - sync.check() finds what went wrong with synced tables, and its cures mend it.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE SCHEMA check_home;
SET search_path = check_home, public;
CREATE TABLE team (id uuid PRIMARY KEY);
CREATE TABLE member (user_id text, team_id uuid);
SELECT sync.create_scope('check team', 'SELECT team_id FROM check_home.member WHERE user_id = sync.user_id()');
CREATE TABLE note (id uuid PRIMARY KEY, team_id uuid, body text, tags text[], slug text, gone timestamptz);
CREATE UNIQUE INDEX note_slug ON note (slug) WHERE slug <> '';
CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
SELECT sync.enable('note', scope => 'check team', scope_column => 'team_id', deleted_at => 'gone', rule => 'reject');
SELECT sync.set_column_rule('note', 'tags', 'union');

-- What it says of this schema
CREATE FUNCTION found() RETURNS TABLE (severity text, object text, finding text, cure text) LANGUAGE sql
    AS $$ SELECT * FROM sync.check() c WHERE c.object LIKE 'check\_home.%' OR c.object LIKE '%check%' OR c.object LIKE 'gone%' $$;
-- Takes every cure that is SQL
CREATE PROCEDURE cure() LANGUAGE plpgsql AS $$
DECLARE c text;
BEGIN
    FOR c IN SELECT f.cure FROM found() f WHERE f.cure !~ '^--' LOOP EXECUTE c; END LOOP;
END $$;
\pset format unaligned
\x on
SELECT * FROM found();
CALL cure();
\x off
SELECT count(*) AS left FROM found();
\x on
-- the unique index now lets a deleted value be taken again
SELECT indexdef FROM pg_indexes WHERE indexname = 'note_slug';

-- Our own event triggers would mend some of it at once: they sleep
CREATE PROCEDURE event_triggers(what text) LANGUAGE plpgsql AS $$
DECLARE e name;
BEGIN
    FOR e IN SELECT evtname FROM pg_event_trigger WHERE evtname ~ 'sync' LOOP EXECUTE format('ALTER EVENT TRIGGER %I %s', e, what); END LOOP;
END $$;

-- Triggers: a loader's ENABLE TRIGGER ALL, names that sort after ours, one that is gone
CALL event_triggers('DISABLE');
SELECT (SELECT count(*) FROM sync.check() WHERE object LIKE 'event trigger%') = (SELECT count(*) FROM pg_event_trigger WHERE evtname ~ 'sync') AS each_is_found;
ALTER TABLE note DISABLE TRIGGER ALL;
ALTER TABLE note ENABLE TRIGGER ALL;
CREATE TRIGGER "~z" BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION own();
CREATE TRIGGER "ändern" BEFORE UPDATE ON note FOR EACH ROW EXECUTE FUNCTION own();
CREATE TRIGGER "~z after" AFTER UPDATE ON note FOR EACH ROW EXECUTE FUNCTION own();
SELECT * FROM found();
CALL cure();
SELECT * FROM found();
SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'note'::regclass ORDER BY tgname;
DROP TRIGGER "~sync_stamp" ON note;
SELECT * FROM found();
CALL cure();
SELECT * FROM found();
-- the rules came along
SELECT t.rule, deletes, deleted_at, r.path, r.rule AS column_rule FROM sync.synced_table t JOIN sync.column_rule r ON r.table_id = t.id;

-- Index, key, replica identity
SELECT indexrelid::regclass AS our_index FROM pg_index WHERE indrelid = 'note'::regclass AND pg_get_expr(indpred, indrelid) ~ 'sync_xid >' \gset
DROP INDEX :our_index;
ALTER TABLE note REPLICA IDENTITY NOTHING;
SELECT severity, object, finding, regexp_replace(cure, '''\d+''', '…') AS cure FROM found();
CALL cure();
SELECT * FROM found();
UPDATE pg_index SET indisvalid = false WHERE indexrelid = (SELECT indexrelid FROM pg_index WHERE indrelid = 'note'::regclass AND pg_get_expr(indpred, indrelid) ~ 'sync_xid >');
SELECT * FROM found();
CALL cure();
ALTER TABLE note DROP CONSTRAINT note_pkey;
SELECT * FROM found();
ALTER TABLE note ADD PRIMARY KEY (id);
SELECT * FROM found();

-- Columns and rules that are gone
ALTER TABLE note DROP COLUMN tags;
SELECT * FROM found();
CALL cure();
CREATE FUNCTION resolve(local jsonb, server jsonb, base jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT server';
SELECT sync.set_column_rule('note', 'body', 'resolver', 'resolve(jsonb,jsonb,jsonb)');
DROP FUNCTION resolve(jsonb, jsonb, jsonb);
SELECT * FROM found();
CALL cure();
SELECT * FROM found();

-- Policies turned on later; a table that everybody reads
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
SELECT severity, object, finding FROM found();
ALTER TABLE note DISABLE ROW LEVEL SECURITY;
CREATE TABLE open_to_all (id uuid PRIMARY KEY);
GRANT SELECT ON open_to_all TO PUBLIC;
SELECT sync.enable('open_to_all');
SELECT * FROM found();
CALL cure();
SELECT * FROM found();

-- Foreign keys onto a soft table, and keys that count up
CREATE TABLE page (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, team_id uuid, note_id uuid REFERENCES note ON DELETE CASCADE);
SELECT sync.enable('page', scope => 'check team', scope_column => 'team_id');
SELECT * FROM found();
CALL cure();
SELECT severity, object FROM found();
SELECT sync.disable('page');
DROP TABLE page;

-- A publication of the application's own
CREATE PUBLICATION check_publication FOR TABLE note;
SELECT * FROM found();
CALL cure();
SELECT * FROM found();
DROP PUBLICATION check_publication;

-- Scopes that fail, or are slow, for a caller without a user
SELECT sync.create_scope('check failing', $$SELECT (current_setting('request.jwt.claims')::jsonb ->> 'team')$$);
SELECT sync.create_scope('check slow', $$SELECT pg_sleep(0.3)::text$$);
SELECT * FROM found();
DELETE FROM sync.scope WHERE name IN ('check failing', 'check slow');
SELECT * FROM found();

-- A table that was dropped while event triggers slept
DROP TABLE open_to_all;
SELECT object, finding FROM sync.check() WHERE object ~ 'open_to_all';
CALL cure();
DELETE FROM sync.synced_table WHERE entity_type = 'check_home.open_to_all';

DO $$ DECLARE c text; BEGIN FOR c IN SELECT cure FROM sync.check() WHERE object LIKE 'event trigger%' LOOP EXECUTE c; END LOOP; END $$;
SELECT count(*) FROM sync.check() WHERE object LIKE 'event trigger%';

-- Nobody but administrators may ask
CREATE ROLE check_app;
SET ROLE check_app;
SELECT * FROM sync.check();
RESET ROLE;
DROP ROLE check_app;

SELECT sync.disable('note');
DELETE FROM sync.scope WHERE name LIKE 'check%';
RESET search_path;
DROP SCHEMA check_home CASCADE;

-- check_roles.sql - sync.check() finds what is wrong with the streamer's roles and with prepared transactions, and its cures mend it.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE FUNCTION check_found() RETURNS TABLE (severity text, object text, finding text, cure text) LANGUAGE sql
    AS $$ SELECT * FROM sync.check() c WHERE c.object LIKE 'sync\_%' OR c.object LIKE 'prepared%' $$;
CREATE PROCEDURE check_cure() LANGUAGE plpgsql AS $$
DECLARE c text;
BEGIN
    FOR c IN SELECT f.cure FROM check_found() f WHERE f.cure !~ '^(--|psql|GRANT app)' LOOP EXECUTE c; END LOOP;
END $$;
\pset format unaligned
\x on

-- No roles yet
SELECT * FROM check_found();

-- Made by hand, all wrong
CREATE ROLE sync_replication BYPASSRLS;
CREATE ROLE sync_query LOGIN INHERIT SUPERUSER REPLICATION;
CREATE ROLE sync_upkeep LOGIN;
ALTER ROLE sync_query SET lock_timeout = 0;
SELECT * FROM check_found();
CALL check_cure();
SELECT * FROM check_found();

-- A role between that leads to one which sees everything
CREATE ROLE check_app NOLOGIN;
CREATE ROLE check_admin NOLOGIN BYPASSRLS;
GRANT check_app TO sync_query;
SELECT * FROM check_found();
GRANT check_admin TO check_app;
SELECT * FROM check_found();
REVOKE check_admin FROM check_app;
SELECT * FROM check_found();

-- A forgotten prepared transaction
BEGIN;
CREATE TABLE check_prepared ();
PREPARE TRANSACTION 'check''s';
SELECT severity, object, regexp_replace(finding, 'since .*:', 'since …:') AS finding, cure FROM check_found();
ROLLBACK PREPARED 'check''s';

-- What the streamer's upkeep role may ask
SET ROLE sync_upkeep;
SELECT sync.purge() -> 'more' AS more;
SELECT (SELECT string_agg(k, ' ' ORDER BY ord) FROM json_object_keys(s) WITH ORDINALITY k (k, ord)) AS keys FROM sync.status() s;
RESET ROLE;

DROP OWNED BY sync_upkeep;
DROP ROLE sync_replication, sync_query, sync_upkeep, check_app, check_admin;
DROP PROCEDURE check_cure();
DROP FUNCTION check_found();

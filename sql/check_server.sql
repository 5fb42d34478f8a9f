-- check_server.sql - sync.check() finds settings that harm, as they are in this session; its cures are commands the server takes.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE FUNCTION check_settings() RETURNS SETOF text LANGUAGE sql
    AS $$ SELECT object FROM sync.check() c WHERE object NOT LIKE 'sync\_%' AND object NOT LIKE 'transaction%' AND object NOT LIKE 'scope%' $$;
-- the private cluster of the tests runs without fsync; nobody has set the others
SELECT f FROM check_settings() f WHERE f NOT IN ('fsync', 'full_page_writes', 'server_version') ORDER BY 1;
SELECT c.severity, c.finding, c.cure FROM sync.check() c WHERE c.object = 'max_slot_wal_keep_size';
SET synchronous_commit = off;
SELECT c.severity, c.finding, c.cure FROM sync.check() c WHERE c.object = 'synchronous_commit';
-- its cure, for this session
SET synchronous_commit = on;
SET idle_in_transaction_session_timeout = '60s';
SELECT f FROM check_settings() f WHERE f NOT IN ('fsync', 'full_page_writes', 'server_version') ORDER BY 1;
DROP FUNCTION check_settings();

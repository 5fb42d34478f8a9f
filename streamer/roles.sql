-- roles.sql - the streamer's three database roles; run it by a superuser with psql in each synced database. Running it again changes nothing.
-- SPDX-License-Identifier: PostgreSQL
--
--   psql -d app -f roles.sql
--   psql -d app -c 'GRANT app_user TO sync_query'        each role that tokens may name
--
-- Then give them a way to log in: pg_hba.conf lines of their own, and \password for each where passwords are used.

\set ON_ERROR_STOP on

-- Reads the WAL of the whole cluster, every row of every table: give it its own pg_hba.conf line, and nobody else its password.
-- (A replication connection to a database matches that database's name, not the keyword replication.)
SELECT 'CREATE ROLE sync_replication LOGIN REPLICATION' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sync_replication') \gexec

-- Runs clients' calls: takes on, call by call, the role and claims of a token. NOINHERIT and no rights of its own, so a call without a role may do
-- nothing; never a superuser, never BYPASSRLS.
SELECT 'CREATE ROLE sync_query LOGIN NOINHERIT' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sync_query') \gexec
ALTER ROLE sync_query SET statement_timeout = '30s';
ALTER ROLE sync_query SET lock_timeout = '5s';
ALTER ROLE sync_query SET idle_in_transaction_session_timeout = '60s';

-- Marks places in the WAL, reads the rows the decoder cannot show whole, purges and looks how it is: by the functions it is granted; no table.
SELECT 'CREATE ROLE sync_upkeep LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sync_upkeep') \gexec
ALTER ROLE sync_upkeep SET statement_timeout = '30s';
GRANT USAGE ON SCHEMA sync TO sync_upkeep;
GRANT EXECUTE ON FUNCTION sync.visible_keys(jsonb) TO sync_query;
GRANT EXECUTE ON FUNCTION sync.checkpoint(bigint), sync.feed_tables(), sync.feed_rows(integer, text[]), sync.feed_changes(text, integer, integer), sync.purge(interval, integer, interval), sync.status(),
    sync.expire_locks(), sync.remind_due(), sync.release_device_locks(text, text, timestamptz), sync.log_syncs(jsonb), sync.relay(json) TO sync_upkeep;
-- Sees who keeps a new slot waiting, to name it in the log, and for --check whether wal2json is listed.
GRANT pg_read_all_stats, pg_read_all_settings TO sync_upkeep;

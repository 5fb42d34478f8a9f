-- sync_log.sql - who synced when: one line for each push, many at once from the streamer; for administrators.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
-- What other tests' pushes left
DELETE FROM sync.sync_log;
CREATE ROLE log_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.log_sync('phone', 'push', 3, 120, 'ok', 1.5);
SELECT sync.log_sync(NULL, 'push', 0, 0, 'SY401', 0);
SET request.jwt.claims = '';
SELECT sync.log_syncs('[{"user_id":"bob","device_id":"tablet","kind":"pull","changes":10,"bytes":4000,"status":"ok","ms":2.25,"at":"2026-01-02T03:04:05Z"},
                        {"user_id":"bob","device_id":"tablet","kind":"pull","at":"2026-01-03T00:00:00Z"}]');
SELECT user_id, device_id, kind, changes, bytes, status, ms FROM sync.sync_log();
SELECT kind FROM sync.sync_log('bob', most => 1);
SELECT user_id FROM sync.sync_log(since => now() - interval '1 hour');
SET ROLE log_app;
SELECT * FROM sync.sync_log();
SELECT sync.log_syncs('[]');
RESET ROLE;

-- Cleaning up
DELETE FROM sync.sync_log;
DROP ROLE log_app;

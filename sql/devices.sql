-- devices.sql - devices are registered at first use up to a limit, listed, named and revoked; when users were seen last is told coarsely.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY verbose
\pset null '<null>'
SET client_min_messages = warning;
-- What other tests' pushes left
DELETE FROM sync.device;
CREATE ROLE device_app;
CREATE TABLE device_member (who text, team int);
CREATE TABLE device_note (id int PRIMARY KEY, team int);
INSERT INTO device_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2);
GRANT SELECT ON device_member, device_note TO device_app;
SELECT sync.create_scope('device team', 'SELECT team FROM public.device_member WHERE who = sync.user_id()');
SELECT sync.enable('device_note', scope => 'device team', scope_column => 'team');
SET request.jwt.claims = '{"sub":"ada"}';

-- First use, and again: one device, its hour
SELECT sync.note_device('phone');
SELECT sync.note_device('phone');
SELECT sync.note_device('laptop');
SELECT device_id, first_seen = date_trunc('hour', first_seen) AS coarse, sync_version FROM sync.device ORDER BY 1;
UPDATE sync.device SET last_seen = last_seen - interval '3 hours' WHERE device_id = 'phone';
SELECT sync.note_device('phone');
SELECT device_id, last_seen > now() - interval '2 hours' AS seen_now, sync_version FROM sync.device ORDER BY 1;

-- Malformed ids
\set VERBOSITY terse
SELECT sync.note_device('');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.note_device(repeat('x', 257));
\echo :LAST_ERROR_SQLSTATE

-- A limit, for each user of its own
SET sync.max_devices = 2;
\set VERBOSITY default
SELECT sync.note_device('tablet');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
SELECT sync.note_device('phone');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.note_device('phone');
RESET sync.max_devices;

-- Listed, named and revoked by their own user only
SET ROLE device_app;
SELECT device_id FROM sync.devices();
SELECT sync.rename_device('laptop', 'not mine');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.revoke_device('laptop');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.revoke_device('laptop', 'ada');
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.rename_device('laptop', 'Ada''s laptop', '{"system":"Linux"}');
SELECT sync.rename_device('laptop', repeat('x', 201));
\echo :LAST_ERROR_SQLSTATE
SELECT sync.revoke_device('phone');
SELECT device_id, name, client, revoked_at IS NOT NULL AS revoked FROM sync.devices() ORDER BY 1;
SET request.jwt.claims = '';
SELECT device_id FROM sync.devices();
SELECT sync.revoke_device('phone');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;

-- A revoked device is refused, by the writing and by the reading check; nobody has none
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.note_device('phone');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.check_device('phone');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.pull('{"device_id":"phone"}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.check_device('unknown'), sync.check_device('laptop');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.check_device('phone');
SET request.jwt.claims = '';
SELECT sync.note_device('phone');
SELECT count(*) FROM sync.device;
-- The extension's owner revokes for others
SELECT sync.revoke_device('phone', 'bob');
SELECT user_id, device_id FROM sync.device WHERE revoked_at IS NOT NULL ORDER BY 1;

-- Seen last: by those who share a value, the hour or the day, unless it is not to be shown
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT sync.note_device('phone');
SET ROLE device_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT user_id FROM sync.last_seen();
RESET ROLE;
SELECT sync.set_scope_users('device team', 'SELECT team, who FROM public.device_member');
UPDATE sync.device SET last_seen = date_trunc('day', now(), 'UTC') - interval '59 hours' WHERE user_id = 'bob';
SET ROLE device_app;
SELECT user_id, CASE WHEN user_id = 'bob' THEN last_seen = date_trunc('day', last_seen, 'UTC') END AS day, last_seen < now() - interval '2 days' AS long_ago
FROM sync.last_seen();
SELECT user_id FROM sync.last_seen('{bob,cyd}');
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT user_id FROM sync.last_seen('{ada,bob,cyd}');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.set_preference('{"show_last_seen":false}');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT user_id FROM sync.last_seen();
SELECT sync.set_scope_users('device team', NULL);
RESET ROLE;

-- Cleaning up
SET request.jwt.claims = '';
DELETE FROM sync.device;
DELETE FROM sync.preference;
SELECT sync.disable_all();
DELETE FROM sync.tombstone;
DROP TABLE device_member, device_note;
DELETE FROM sync.scope WHERE name = 'device team';
DROP ROLE device_app;

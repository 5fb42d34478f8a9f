-- deliveries.sql - workers take messages of their channel, each one once, and say how it went.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE FUNCTION tell(title text, importance text DEFAULT 'normal', type text DEFAULT 'note') RETURNS text LANGUAGE sql AS
$$ SELECT sync.notify(jsonb_build_object('users', '{bob,cyd}'::text[], 'type', type, 'title', title, 'importance', importance)) ->> 'notified' $$;

-- No channel, no queue; then by the channel's threshold, or the user's
SELECT tell('early', 'urgent');
SELECT count(*) FROM sync.delivery;
SELECT sync.set_channel('email', 'high'), sync.set_channel('sms', 'off');
SELECT sync.set_channel('push', 'loud');
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT sync.set_preference('{"channels":{"sms":"urgent"}}');
SELECT sync.set_preference('{"type":"quiet","channels":{"in_app":"off","email":"off"}}');
SET request.jwt.claims = '';
SELECT tell('normal');
SELECT tell('high', 'high');
SELECT tell('urgent', 'urgent');
SELECT tell('quiet', 'urgent', 'quiet');
SELECT kind, user_id, message ->> 'title' AS title, notification_id IS NOT NULL AS in_feed FROM sync.delivery ORDER BY delivery_id;

-- Taken once; again when the lease has ended or the worker failed, later each time
SELECT user_id, attempts, message ->> 'title' AS title, message ->> 'type' AS type FROM sync.take_deliveries('email', 2);
SELECT user_id, message ->> 'title' AS title FROM sync.take_deliveries('email');
SELECT count(*) FROM sync.take_deliveries('email');
SELECT count(*) FROM sync.take_deliveries('nowhere');
SELECT sync.finish_delivery(min(delivery_id), true) AS ok, sync.finish_delivery(max(delivery_id), false, 'mailbox full') AS again FROM sync.delivery WHERE kind = 'email';
SELECT sync.finish_delivery(min(delivery_id), true) AS finished_before FROM sync.delivery WHERE kind = 'email';
SELECT state, attempts, error, round(extract(epoch FROM next_at - clock_timestamp()) / 20) * 20 AS seconds FROM sync.delivery WHERE kind = 'email' ORDER BY delivery_id;
UPDATE sync.delivery SET next_at = clock_timestamp() WHERE kind = 'email' AND state = 'waiting';
SELECT user_id, attempts, message ->> 'title' AS title FROM sync.take_deliveries('email');
-- The eighth failure is the last; so is the eighth lease that nobody finished
UPDATE sync.delivery SET attempts = 8 WHERE kind = 'email' AND state = 'waiting';
SELECT sync.finish_delivery(max(delivery_id), false, 'gone') FROM sync.delivery WHERE kind = 'email';
UPDATE sync.delivery SET next_at = clock_timestamp() WHERE state = 'waiting';
SELECT count(*) FROM sync.take_deliveries('email');
SELECT state, count(*), max(error) FROM sync.delivery WHERE kind = 'email' GROUP BY state ORDER BY state;

-- What is read in time is not delivered; neither is what a channel that closes had waiting
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT sync.mark_read();
SELECT kind, user_id, message ->> 'title' AS title FROM sync.delivery WHERE state = 'waiting';
SET request.jwt.claims = '';
SELECT sync.set_channel('sms', NULL);
SELECT tell('late', 'urgent');
SELECT kind, user_id, message ->> 'title' AS title FROM sync.delivery WHERE state = 'waiting';
-- Cleaning up
SELECT sync.set_channel('email', NULL);
DELETE FROM sync.delivery;
DELETE FROM sync.notification;
DELETE FROM sync.preference;
DELETE FROM sync.tombstone;
DROP FUNCTION tell(text, text, text);

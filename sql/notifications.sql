-- notifications.sql - who may tell whom, what reaches the feed, preferences, reminders, and triggers of the application.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE notify_app;
CREATE TABLE notify_member (who text, team int);
CREATE TABLE notify_note (id int PRIMARY KEY, team int, title text, assigned text, watchers text[]);
INSERT INTO notify_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2), ('dan', 1);
GRANT SELECT ON notify_member TO notify_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON notify_note TO notify_app;
SELECT sync.create_scope('notify team', 'SELECT team FROM public.notify_member WHERE who = sync.user_id()');
SELECT sync.enable('notify_note', scope => 'notify team', scope_column => 'team');
SELECT sync.set_scope_users('notify nowhere', 'SELECT 1, 2');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO notify_note VALUES (1, 1, 'one'), (2, 2, 'two');
SET ROLE notify_app;
SET request.jwt.claims = '{"sub":"ada"}';

-- Nobody said who shares what: oneself only
SELECT sync.notify('{"users":["ada"],"type":"note","title":"to myself"}');
SELECT sync.notify('{"users":["bob"],"type":"note","title":"hello"}');
\echo :LAST_ERROR_SQLSTATE
SELECT sync.notify('{"scope":{"name":"notify team","value":"1"},"type":"note","title":"hello"}');
\echo :LAST_ERROR_SQLSTATE
RESET ROLE;
SELECT sync.set_scope_users('notify team', 'SELECT team, who FROM public.notify_member');
SET ROLE notify_app;
-- Users who share a value, and all of a scope's value but the sender; others are refused, and so are rows not seen
SELECT sync.notify('{"users":["bob","dan","bob"],"type":"note","title":"hello","importance":"high","entity_type":"notify_note","entity_id":"1","data":{"x":1}}');
SELECT sync.notify('{"scope":{"name":"notify team","value":"1"},"type":"call","title":"all","body":"of you","importance":"low"}');
SELECT sync.notify('{"users":["bob","cyd"],"type":"note","title":"hello"}');
SELECT sync.notify('{"scope":{"name":"notify team","value":"2"},"type":"note","title":"hello"}');
SELECT sync.notify('{"scope":{"name":"nowhere","value":"2"},"type":"note","title":"hello"}');
SELECT sync.notify('{"users":["bob"],"type":"note","title":"hello","entity_type":"notify_note","entity_id":"2"}');
\echo :LAST_ERROR_SQLSTATE
-- Malformed
SELECT sync.notify('{"users":["bob"],"type":"note"}');
SELECT sync.notify('{"type":"note","title":"t"}');
SELECT sync.notify('{"users":["bob"],"scope":{"name":"notify team","value":"1"},"type":"note","title":"t"}');
SELECT sync.notify('{"users":["bob"],"type":"note","title":"t","importance":"huge"}');
SELECT sync.notify('{"users":["bob"],"type":"note","title":"t","remind_at":"soon"}');
SELECT sync.notify(jsonb_build_object('users', '{bob}'::text[], 'type', 'note', 'title', 't', 'data', repeat('x', 17000)));
\echo :LAST_ERROR_SQLSTATE
SET request.jwt.claims = '';
SELECT sync.notify('{"users":["bob"],"type":"note","title":"t"}');
\echo :LAST_ERROR_SQLSTATE

-- The feed: one's own, by type, unread, in pages; read; cleared
SET request.jwt.claims = '{"sub":"bob"}';
SELECT type, importance, title, body, entity_type, entity_id, data, actor, read_at FROM sync.notifications();
SELECT title FROM sync.notifications('call');
SELECT title FROM sync.notifications(most => 1);
SELECT title FROM sync.notifications(before => (SELECT notification_id FROM sync.notifications(most => 1)));
SELECT sync.unread_count(), sync.unread_count('call');
SELECT sync.mark_read(ARRAY(SELECT notification_id FROM sync.notifications('call'))) AS marked;
SELECT sync.unread_count();
SELECT title FROM sync.notifications(unread => true);
SELECT string_agg(concat_ws(' ', c -> 'data' ->> 'title', c -> 'data' ->> 'read_at' IS NOT NULL), ', ' ORDER BY c -> 'data' ->> 'title') AS pulled
FROM json_array_elements(sync.pull('{"tables":["sync.notification"]}') -> 'changes') c;
SELECT sync.pull('{"tables":["sync.notification"]}') ->> 'next_sync_token' AS token \gset
-- Others cannot read, mark or clear it
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT count(*) FROM sync.notifications();
SELECT count(*) FROM sync.notification;
SELECT json_array_length(sync.pull('{"tables":["sync.notification"]}') -> 'changes') AS pulled;
RESET ROLE;
SELECT array_agg(notification_id) AS ids FROM sync.notification \gset
SET ROLE notify_app;
SELECT sync.mark_read(:'ids'), sync.clear(:'ids'), sync.clear(only_read => false), sync.unread_count();
SELECT count(*) FROM sync.notifications(before => (:'ids'::uuid[])[1]);
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.clear() AS read_ones, sync.clear(:'ids') AS named;
SELECT string_agg(c ->> 'operation', ', ') AS pulled FROM json_array_elements(sync.pull(jsonb_build_object('tables', '{sync.notification}'::text[], 'sync_token', :'token')) -> 'changes') c;

-- Preferences: by type, by default; a feed switched off
SELECT sync.set_preference('{"channels":{"in_app":"high"}}');
SELECT sync.set_preference('{"type":"call","channels":{"in_app":"off"}}');
SELECT sync.set_preference('{"channels":{"in_app":"loud"}}');
SELECT sync.set_preference('{"channels":["in_app"]}');
SELECT sync.set_preference('{"show_last_seen":"today"}');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.notify('{"users":["bob"],"type":"note","title":"low"}') ->> 'notified' AS normal,
       sync.notify('{"users":["bob"],"type":"note","title":"high","importance":"high"}') ->> 'notified' AS high,
       sync.notify('{"users":["bob"],"type":"call","title":"call","importance":"urgent"}') ->> 'notified' AS off;
SELECT count(*) AS others FROM sync.preference;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT title FROM sync.notifications();
SELECT type, channels FROM sync.preference ORDER BY type;
RESET ROLE;

-- Bounded: the oldest read ones go first
SET sync.max_notifications = 3;
DELETE FROM sync.notification;
SET request.jwt.claims = '';
SELECT sync.notify(jsonb_build_object('users', '{dan}'::text[], 'type', 'n', 'title', i::text)) ->> 'notified' AS notified FROM generate_series(1, 3) i;
UPDATE sync.notification SET read_at = now() WHERE title = '2';
SELECT sync.notify('{"users":["dan"],"type":"n","title":"4"}') ->> 'notified' AS notified;
SELECT sync.notify('{"users":["dan"],"type":"n","title":"5"}') ->> 'notified' AS notified;
SELECT string_agg(title, ' ' ORDER BY title) FROM sync.notification;
RESET sync.max_notifications;

-- Reminders: later, taken back, due; the recipients are those of then
SET ROLE notify_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.notify('{"users":["ada"],"type":"r","title":"cancelled","remind_at":"2999-01-01T00:00:00Z"}') ->> 'reminder_id' AS reminder \gset
SET request.jwt.claims = '{"sub":"bob"}';
SELECT sync.cancel_reminder(:'reminder');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT sync.cancel_reminder(:'reminder');
SELECT sync.notify('{"scope":{"name":"notify team","value":"1"},"type":"r","title":"meet","importance":"high","remind_at":"2999-01-01T00:00:00Z"}') ->> 'success' AS success;
SELECT sync.notify('{"users":["ada"],"type":"r","title":"at once","remind_at":"2000-01-01T00:00:00Z"}') ->> 'notified' AS notified;
RESET ROLE;
SELECT sync.remind_due() AS none_due;
UPDATE sync.reminder SET due_at = now() - interval '1 minute';
INSERT INTO notify_member VALUES ('eve', 1);
INSERT INTO sync.reminder (due_at, request) VALUES (now(), '{"scope":{"name":"nowhere","value":"1"},"type":"r","title":"broken"}');
SET client_min_messages = error;
SELECT sync.remind_due(), sync.remind_due();
SET client_min_messages = warning;
SELECT user_id, actor FROM sync.notification WHERE title = 'meet' ORDER BY user_id;
SELECT count(*) FROM sync.reminder;

-- Triggers of the application: a column, a list, a scope; not the one who did it
CREATE TRIGGER tell_assigned AFTER INSERT ON notify_note FOR EACH ROW EXECUTE FUNCTION sync.notify_trigger('assigned', 'assigned', 'You got {title}', 'high');
CREATE TRIGGER tell_watchers AFTER UPDATE ON notify_note FOR EACH ROW EXECUTE FUNCTION sync.notify_trigger('watched', 'watchers', '{title} changed by {nobody}', 'high');
CREATE TRIGGER tell_team AFTER DELETE ON notify_note FOR EACH ROW EXECUTE FUNCTION sync.notify_trigger('gone', 'scope:notify team:team', '{title} is gone', 'high');
DELETE FROM sync.notification;
SET ROLE notify_app;
SET request.jwt.claims = '{"sub":"ada"}';
INSERT INTO notify_note VALUES (3, 1, 'three', 'bob', '{ada,dan}'), (4, 1, 'four', 'ada', NULL), (5, 1, 'five', NULL, NULL);
UPDATE notify_note SET title = '3' WHERE id = 3;
DELETE FROM notify_note WHERE id = 3;
RESET ROLE;
SELECT user_id, type, title, entity_type, entity_id, actor FROM sync.notification ORDER BY type, user_id;
CREATE TRIGGER wrong AFTER INSERT ON notify_note FOR EACH ROW EXECUTE FUNCTION sync.notify_trigger('assigned');
INSERT INTO notify_note VALUES (6, 1);
SET ROLE notify_app;
CREATE TEMP TABLE notify_mine (id int PRIMARY KEY, who text);
CREATE TRIGGER spam AFTER INSERT ON notify_mine FOR EACH ROW EXECUTE FUNCTION sync.notify_trigger('spam', 'who', 'spam');
RESET ROLE;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.notification;
DELETE FROM sync.preference;
DELETE FROM sync.tombstone;
DROP TABLE notify_member, notify_note, notify_mine;
DELETE FROM sync.scope WHERE name = 'notify team';
DROP ROLE notify_app;

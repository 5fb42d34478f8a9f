-- purge_logs.sql - what people look up goes after a year, what is done with after 30 days; revoked devices, unread notifications and waiting deliveries stay.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE FUNCTION purge_ago(days int) RETURNS timestamptz LANGUAGE sql AS $$ SELECT now() - make_interval(days => days) $$;
INSERT INTO sync.history (table_id, entity_id, version, operation, at, fields) SELECT 1, d::text, 1, 'update', purge_ago(d), '{}' FROM unnest('{31,400}'::int[]) d;
INSERT INTO sync.activity (table_id, entity_type, entity_id, action, at) SELECT 1, 'purge', d::text, 'viewed', purge_ago(d) FROM unnest('{31,400}'::int[]) d;
INSERT INTO sync.sync_log (at, user_id, kind, changes, bytes, status, ms) SELECT purge_ago(d), 'purge ' || d, 'push', 0, 0, 'ok', 1 FROM unnest('{31,400}'::int[]) d;
INSERT INTO sync.device (user_id, device_id, audience, last_seen, revoked_at)
    VALUES ('purge', 'used', 'user:purge', purge_ago(31), NULL), ('purge', 'unused', 'user:purge', purge_ago(400), NULL), ('purge', 'revoked', 'user:purge', purge_ago(400), purge_ago(399));
INSERT INTO sync.notification (audience, user_id, type, importance, title, created_at, read_at)
    VALUES ('user:purge', 'purge', 't', 'low', 'read', purge_ago(60), purge_ago(31)), ('user:purge', 'purge', 't', 'low', 'just read', purge_ago(60), now()), ('user:purge', 'purge', 't', 'low', 'unread', purge_ago(60), NULL);
INSERT INTO sync.delivery (kind, user_id, message, state, created_at) SELECT 'purge', s, '{}', s, purge_ago(31) FROM unnest('{waiting,done,failed}'::text[]) s;
INSERT INTO sync.lock (audience, table_id, entity_type, entity_id, holder, expires_at) VALUES ('user:purge', 1, 'purge', 'expired', 'ada', now() - interval '1 s'), ('user:purge', 1, 'purge', 'held', 'ada', now() + interval '1 hour');
BEGIN;
SELECT key, value FROM json_each_text(sync.purge()) WHERE key IN ('history', 'activity', 'sync_log', 'devices', 'notifications', 'deliveries', 'locks') ORDER BY 1;
SELECT 'history' AS what, entity_id AS left FROM sync.history WHERE table_id = 1
UNION ALL SELECT 'activity', entity_id FROM sync.activity WHERE entity_type = 'purge'
UNION ALL SELECT 'sync_log', user_id FROM sync.sync_log WHERE user_id LIKE 'purge%'
UNION ALL SELECT 'device', device_id FROM sync.device WHERE user_id = 'purge'
UNION ALL SELECT 'notification', title FROM sync.notification WHERE user_id = 'purge'
UNION ALL SELECT 'delivery', state FROM sync.delivery WHERE kind = 'purge'
UNION ALL SELECT 'lock', entity_id FROM sync.lock WHERE entity_type = 'purge' ORDER BY 1, 2;
-- clients are told of what they had
SELECT t.entity_type, count(*) FROM sync.tombstone d JOIN sync.synced_table t ON t.id = d.table_id WHERE t.id < 100 AND d.at >= now() GROUP BY 1 ORDER BY 1;
COMMIT;

DELETE FROM sync.history WHERE table_id = 1;
DELETE FROM sync.activity WHERE entity_type = 'purge';
DELETE FROM sync.sync_log WHERE user_id LIKE 'purge%';
DELETE FROM sync.device WHERE user_id = 'purge';
DELETE FROM sync.notification WHERE user_id = 'purge';
DELETE FROM sync.delivery WHERE kind = 'purge';
DELETE FROM sync.lock WHERE entity_type = 'purge';
DELETE FROM sync.tombstone WHERE table_id < 100;
DROP FUNCTION purge_ago(int);

-- locks.sql - fields and rows that somebody is editing: asked for, refused with the holder's name, extended, released, expired.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
\set VERBOSITY terse
\pset null '<null>'
SET client_min_messages = warning;
CREATE ROLE lock_app;
CREATE TABLE lock_member (who text, team int);
CREATE TABLE lock_note (id int PRIMARY KEY, team int, title text, body text, secret text);
CREATE TABLE lock_anon (id int PRIMARY KEY);
INSERT INTO lock_member VALUES ('ada', 1), ('bob', 1), ('cyd', 2);
INSERT INTO lock_note VALUES (1, 1), (2, 2);
INSERT INTO lock_anon VALUES (1);
GRANT SELECT ON lock_member, lock_anon TO lock_app;
GRANT SELECT (id, team, title, body) ON lock_note TO lock_app;
SELECT sync.create_scope('lock team', 'SELECT team FROM public.lock_member WHERE who = sync.user_id()');
SELECT sync.enable('lock_note', scope => 'lock team', scope_column => 'team');
SELECT sync.enable('lock_anon', anonymous => true);
SELECT id AS note FROM sync.synced_table WHERE relation = 'lock_note'::regclass \gset
CREATE FUNCTION ask(device text, field text, entity_id text DEFAULT '1', entity_type text DEFAULT 'lock_note', seconds numeric DEFAULT NULL)
RETURNS TABLE (success text, field_locked text, holder text, device_told text, seconds_left numeric) LANGUAGE sql AS
$$
SELECT a ->> 'success', a -> 'lock' ->> 'field', a -> 'lock' ->> 'holder', a -> 'lock' ->> 'device',
       round(extract(epoch FROM (a -> 'lock' ->> 'expires_at')::timestamptz - clock_timestamp()) / 10) * 10
FROM sync.lock(jsonb_strip_nulls(jsonb_build_object('device_id', device, 'entity_type', entity_type, 'entity_id', entity_id, 'field', field, 'seconds', seconds))) a
$$;
CREATE FUNCTION release(device text, field text) RETURNS text LANGUAGE sql AS
$$ SELECT sync.unlock(jsonb_strip_nulls(jsonb_build_object('device_id', device, 'entity_type', 'lock_note', 'entity_id', '1', 'field', field))) ->> 'success' $$;
SET ROLE lock_app;

-- A field: mine for 30 s, extended when asked again, another's refused, other fields free
SET request.jwt.claims = '{"sub":"ada"}';
SELECT * FROM ask('phone', 'title');
SELECT * FROM ask('phone', 'title', seconds => 120);
SELECT * FROM ask('phone', 'title', seconds => 30);
SELECT * FROM ask('laptop', 'title');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT * FROM ask('phone', 'title');
SELECT * FROM ask('phone', 'body');
-- The row: not while another holds a field of it; then no field of it for others
SELECT * FROM ask('phone', NULL);
SELECT release('phone', 'title');
SET request.jwt.claims = '{"sub":"ada"}';
SELECT release('phone', 'title'), release('phone', 'title');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT * FROM ask('phone', NULL);
SET request.jwt.claims = '{"sub":"ada"}';
SELECT * FROM ask('phone', 'title');
-- Members of the team see it, others do not; who really holds it is told to nobody
SELECT entity_type, entity_id, field, holder FROM sync.lock ORDER BY field;
SELECT json_array_length(sync.pull('{"tables":["sync.lock"]}') -> 'changes') AS pulled;
SET request.jwt.claims = '{"sub":"cyd"}';
SELECT count(*) FROM sync.lock;
SELECT json_array_length(sync.pull('{"tables":["sync.lock"]}') -> 'changes') AS pulled;
SELECT count(*) FROM sync.lock_owner;
-- Rows that are not seen, absent ones and unknown tables are answered alike
SELECT * FROM ask('phone', 'title');
SELECT * FROM ask('phone', 'title', '77');
SELECT * FROM ask('phone', 'title', 'no number');
SELECT * FROM ask('phone', 'title', '1', 'nowhere');
SELECT * FROM ask('phone', 'title', '1', 'sync.lock');
-- Fields that may not be read, or are not there; times out of bounds; nobody
SELECT * FROM ask('phone', 'secret', '2');
SELECT * FROM ask('phone', 'nothing', '2');
SELECT * FROM ask('phone', 'title', '2', seconds => 601);
SELECT * FROM ask('phone', 'title', '2', seconds => 0);
SELECT sync.lock('{"device_id":"d","entity_type":"lock_note","entity_id":"2","seconds":"ten"}');
SELECT sync.lock('{"device_id":"d","entity_type":"lock_note"}');
SELECT sync.lock('[]');
SET request.jwt.claims = '';
SELECT * FROM ask('phone', 'title', '2');
RESET ROLE;

-- What push asks: what others hold; what it releases after a save
SELECT count(*) AS own FROM sync.blocking_locks(:note, '{1,2}', 'bob', 'phone');
SELECT entity_id, field, holder FROM sync.blocking_locks(:note, '{1,2}', 'bob', 'laptop') ORDER BY field;
SELECT entity_id, field, holder FROM sync.blocking_locks(:note, '{1,2}', 'ada', 'phone') ORDER BY field;
SELECT sync.holds_locks('bob', 'phone'), sync.holds_locks('ada', 'phone');
SELECT sync.release_locks(:note, '1', '{title}', 'bob', 'phone') AS row_only;
SELECT field FROM sync.lock;
SELECT sync.release_locks(:note, '1', '{title}', 'ada', 'phone') AS others, sync.release_locks(:note, '1', '{body,title}', 'bob', 'phone') AS own;

-- Expired: absent to others, told to clients when upkeep removes it
SET ROLE lock_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT success FROM ask('phone', 'title');
SELECT success FROM ask('phone', 'body');
RESET ROLE;
UPDATE sync.lock SET expires_at = clock_timestamp() - interval '1 second';
SELECT count(*) AS blocking FROM sync.blocking_locks(:note, '{1}', 'bob', 'phone');
SET ROLE lock_app;
SET request.jwt.claims = '{"sub":"bob"}';
SELECT success, holder FROM ask('phone', 'title');
RESET ROLE;
UPDATE sync.lock SET expires_at = clock_timestamp() - interval '1 second';
SELECT sync.expire_locks(), sync.expire_locks();
SET ROLE lock_app;
SELECT success, holder FROM ask('phone', 'body');
RESET ROLE;
-- Asked for again since the device left: it is connected elsewhere
UPDATE sync.lock_owner SET asked_at = clock_timestamp() - interval '1 hour';
SET ROLE lock_app;
SELECT success, holder FROM ask('phone', 'body');
RESET ROLE;
SELECT sync.release_device_locks('bob', 'phone', clock_timestamp() - interval '1 minute') AS kept;
SELECT sync.release_device_locks('bob', 'phone') AS one, sync.release_device_locks('bob', 'phone') AS none;
SELECT sync.expire_locks(), count(*) FROM sync.lock_owner;

-- Anonymous tables: that it is locked, not by whom
SET ROLE lock_app;
SET request.jwt.claims = '{"sub":"ada"}';
SELECT success, holder FROM ask('phone', NULL, '1', 'lock_anon');
SET request.jwt.claims = '{"sub":"bob"}';
SELECT success, holder, device_told FROM ask('phone', NULL, '1', 'lock_anon');
-- A revoked device gets none, and loses those it has
SET request.jwt.claims = '{"sub":"ada"}';
RESET ROLE;
SELECT sync.note_device('phone');
SET ROLE lock_app;
SELECT sync.revoke_device('phone');
SELECT count(*) FROM sync.lock;
SELECT * FROM ask('phone', NULL, '1', 'lock_anon');
\echo :LAST_ERROR_SQLSTATE
SELECT success FROM ask('tablet', NULL, '1', 'lock_anon');
RESET ROLE;

-- Turned off: its locks go along
SELECT sync.disable('lock_anon');
SELECT count(*) FROM sync.lock;

-- Cleaning up
SET request.jwt.claims = '';
SELECT sync.disable_all();
DELETE FROM sync.device;
DELETE FROM sync.tombstone;
DROP TABLE lock_member, lock_note, lock_anon;
DELETE FROM sync.scope WHERE name = 'lock team';
DROP FUNCTION ask(text, text, text, text, numeric), release(text, text);
DROP ROLE lock_app;

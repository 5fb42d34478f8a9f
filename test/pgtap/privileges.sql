-- privileges.sql - applications may call what is meant for them and read nothing of the schema; functions are safe to call and explained.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();
CREATE ROLE "tap application";

-- The schema
SELECT ok(has_schema_privilege('tap application', 'sync', 'USAGE'), 'an application may name what is in the schema');
SELECT ok(NOT has_schema_privilege('tap application', 'sync', 'CREATE'), 'and create nothing there');

-- Functions: these for applications, the others for owners and the streamer
SELECT set_eq($$
    SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = 'sync'::regnamespace AND has_function_privilege('tap application', p.oid, 'EXECUTE')
$$, ARRAY['user_id', 'pull', 'push', 'session_state', 'digest', 'resolve_conflict', 'audiences', 'may_see', 'reads_whole', 'rollback_to', 'restore', 'conflicts', 'devices', 'revoke_device', 'rename_device', 'last_seen', 'lock', 'unlock', 'history', 'record_activity', 'activity', 'notify', 'notifications', 'unread_count', 'mark_read', 'clear', 'set_preference', 'cancel_reminder', 'topic_rights'], 'an application may call these functions');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
    WHERE p.pronamespace = 'sync'::regnamespace AND a.grantee = 0 AND p.proname NOT IN ('user_id', 'pull', 'push', 'session_state', 'digest', 'resolve_conflict', 'audiences', 'may_see', 'reads_whole', 'rollback_to', 'restore', 'conflicts', 'devices', 'revoke_device', 'rename_device', 'last_seen', 'lock', 'unlock', 'history', 'record_activity', 'activity', 'notify', 'notifications', 'unread_count', 'mark_read', 'clear', 'set_preference', 'cancel_reminder', 'topic_rights')
$$, 'EXECUTE is revoked from PUBLIC but for these');
SELECT ok(NOT has_function_privilege('tap application', f, 'EXECUTE'), f || ' is not for applications')
FROM unnest('{"sync.checkpoint(bigint)","sync.feed_tables()","sync.feed_rows(int,text[])","sync.feed_changes(text,int,int)","sync.drop_scope(text)","sync.visible_keys(jsonb)","sync.enable(regclass,text,name,name,text,text,text,int,boolean,interval,boolean,boolean,boolean,boolean,text,name,name)","sync.disable(regclass,boolean)","sync.disable_all()","sync.create_scope(text,text,text[])","sync.new_incarnation()","sync.tables()","sync.purge(interval,int,interval)","sync.status()","sync.check()","sync.purge_rows(regclass,tid[])","sync.note_device(text)","sync.blocking_locks(int,text[],text,text)","sync.release_locks(int,text,text[],text,text)","sync.release_device_locks(text,text,timestamptz)","sync.last_image(int,text)","sync.log_syncs(jsonb)","sync.sync_log(text,timestamptz,int)","sync.forget_user(text)","sync.send_notification(text[],jsonb,text)","sync.notify_trigger()","sync.take_deliveries(text,int,interval)","sync.scope_users(text,text)","sync.erase_history(regclass,text)","sync.allow_topic(text,text,text[])","sync.drop_topic(text,text[])","sync.topics()","sync.broadcast(text,text,jsonb,boolean)","sync.relay(json)"}'::text[]) f;

-- Tables: six may be read, under a policy; nothing else, not even a column or a sequence
SELECT set_eq($$
    SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind = 'r' AND has_table_privilege('tap application', c.oid, 'SELECT')
$$, ARRAY['conflict', 'device', 'preference', 'lock', 'activity', 'notification'], 'tables that travel by sync may be read');
SELECT set_eq($$
    SELECT c.relname::text FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid
    WHERE c.relnamespace = 'sync'::regnamespace AND c.relrowsecurity AND p.polcmd = 'r' AND pg_get_expr(polqual, polrelid) LIKE '%sync.audiences()%'
$$, ARRAY['conflict', 'device', 'preference', 'lock', 'activity', 'notification'], 'each under the policy that asks for the audience');
SELECT is_empty($$
    SELECT c.oid::regclass, p.privilege FROM pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p (privilege)
    WHERE c.relnamespace = 'sync'::regnamespace AND NOT (p.privilege = 'SELECT' AND c.relrowsecurity) AND CASE WHEN c.relkind = 'r' THEN has_table_privilege('tap application', c.oid, p.privilege) END
$$, 'no other is open to an application, and none for writing');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sync'::regnamespace AND CASE WHEN c.relkind = 'r' THEN has_any_column_privilege('tap application', c.oid, CASE WHEN c.relrowsecurity THEN 'INSERT,UPDATE,REFERENCES' ELSE 'SELECT,INSERT,UPDATE,REFERENCES' END) END
$$, 'nor is a column');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sync'::regnamespace AND CASE WHEN c.relkind = 'S' THEN has_sequence_privilege('tap application', c.oid, 'USAGE,SELECT,UPDATE') END
$$, 'nor is a sequence');
SET LOCAL ROLE "tap application";
SELECT throws_ok('SELECT FROM sync.tombstone', '42501', NULL, 'reading tombstones is refused');
SELECT throws_ok('SELECT FROM sync.ledger', '42501', NULL, 'reading the ledger is refused');
SELECT is_empty('SELECT FROM sync.conflict', 'nobody sees an entry of the conflict log that does not concern them');
SELECT throws_ok('SELECT members FROM sync.scope', '42501', NULL, 'reading scopes is refused');
SELECT throws_ok($$ SELECT sync.feed_rows(1, '{1}') $$, '42501', NULL, 'reading rows past policies is refused');
SELECT throws_ok($$ SELECT sync.disable_all() $$, '42501', NULL, 'turning sync off is refused');
SELECT is(sync.user_id(), NULL, 'the library is loaded');
SELECT throws_ok($$ SET sync.allow_nobody = on $$, '42501', NULL, 'letting nobody push is refused');
SELECT throws_ok($$ SET sync.nonsense = on $$, '42602', NULL, 'a setting that is not there is a mistake');
RESET ROLE;

-- Functions that run as their owner, or in the extension's own SQL, have a fixed search_path
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.pronamespace = 'sync'::regnamespace AND (p.prosecdef OR l.lanname <> 'c')
      AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)
$$, 'definer functions and those in SQL have a fixed search_path');
SELECT set_eq($$
    SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = 'sync'::regnamespace AND p.prosecdef AND has_function_privilege('tap application', p.oid, 'EXECUTE')
$$, ARRAY['devices', 'revoke_device', 'rename_device', 'last_seen', 'lock', 'unlock', 'history', 'record_activity', 'activity', 'notify', 'notifications', 'unread_count', 'mark_read', 'clear', 'set_preference', 'cancel_reminder'], 'functions that run as their owner and are open to applications: each checks what its caller may see');
SELECT volatility_is('sync', 'pull', '{jsonb}'::name[], 'stable', 'pull reads in one snapshot');
SELECT volatility_is('sync', 'session_state', '{jsonb}'::name[], 'stable', 'session_state reads in the same');
SELECT volatility_is('sync', 'push', '{jsonb}'::name[], 'volatile', 'push writes');

-- Every function and every table is explained
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace = 'sync'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
$$, 'every function has a comment');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind = 'r' AND obj_description(c.oid, 'pg_class') IS NULL
$$, 'every table has a comment');

SELECT * FROM finish();
ROLLBACK;

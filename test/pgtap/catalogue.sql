-- catalogue.sql - what CREATE EXTENSION and sync.enable() put into the catalogue: tables, columns, triggers that fire always and last, the index.
-- SPDX-License-Identifier: PostgreSQL
SET client_min_messages = warning;
BEGIN;
SELECT no_plan();

-- The extension's own tables and functions
SELECT has_schema('sync');
SELECT tables_are('sync', '{instance,client_schema,scope,synced_table,column_rule,tombstone,ledger_device,ledger,conflict,device,preference,lock,lock_owner,history,activity,notification,channel,delivery,reminder,sync_log,topic}'::name[]);
SELECT is(count(*), 1::bigint, 'there is one instance') FROM sync.instance;
SELECT functions_are('sync', '{reads_whole,adopt,adopt_publication,has_identity,make_publication,publication_problems,publish,published,unpublish,activity,add_columns,allow_topic,arm_partitions,arm_triggers,arm_watch,audiences,blocking_locks,broadcast,caller_audiences,caller_columns,caller_is_owner,caller_owns,caller_owns_database,cancel_reminder,cascade_scope,changed_table,check,check_bookkeeping,check_column_rule,check_columns,check_device,check_notification,check_options,check_policies,check_relation,check_roles,check_schema,check_scope,check_scopes,check_server,checkpoint,clear,clock,column_kind,column_numbers,conflicts,create_scope,ddl_dropped,ddl_ended,devices,digest,disable,disable_all,disarm_watch,drop_cascade,drop_scope,drop_topic,drop_traces,enable,enable_again,enable_builtin,enabled_notice,erase_history,expire_locks,feed_changes,feed_rows,feed_tables,fellow_users,fill_scope,find_parent,fingerprint,finish_delivery,follow_renames,forget_in_tables,forget_rows,forget_user,grant_columns,has_own_functions,history,holds_locks,importance_rank,index_command,keep_history,last_image,last_seen,leave_tombstone,lock,lock_answer,lock_table,log_sync,log_syncs,make_cascade,make_triggers,make_update_trigger,mark_read,may_see,may_see_history,need_user,new_incarnation,note_device,notifications,notify,notify_trigger,origin,partitions,pick,policy_columns,policy_functions,present_name,pull,purge,purge_kinds,purge_marked,purge_places,purge_rows,purge_tombstones,push,recipients,record_activity,refresh_table,refresh_update_trigger,register_device,relation_problem,relay,release_device_locks,release_locks,remember_shape,remind_due,rename_device,request_text,resolve_conflict,restore,revoke_device,rollback_to,row_audience,scope_audience,scope_problem,scope_text,scope_users,seen_table,send_notification,session_state,set_channel,set_column_rule,set_preference,set_schema_version,set_scope_users,soft_delete,stamp,status,sync_log,table_problem,tables,take_deliveries,threshold,tombstone_condition,topic_rights,topic_shape,topic_validate,topics,trim_conflicts,trim_notifications,truncated,unlock,unread_count,unreferenced,use_client_schema,user_id,visible_keys,watch_entry,watched,watched_tables}'::name[]);
SELECT col_is_pk('sync', 'ledger', '{device,queue}'::name[], 'a verdict is one user''s, one device''s');
SELECT col_is_unique('sync', 'synced_table', 'entity_type'::name, 'an entity type names one table');
SELECT col_is_unique('sync', 'synced_table', 'relation'::name, 'a table is synced once');
SELECT index_is_unique('sync', 'instance', 'instance_one', 'there cannot be two instances');

SELECT is(evtenabled, 'A', evtname || ' fires always') FROM pg_event_trigger WHERE evtname LIKE 'sync%' ORDER BY evtname;
SELECT is(count(*), 2::bigint, 'DDL is noticed when it ends and when it drops') FROM pg_event_trigger WHERE evtname LIKE 'sync%';

-- Everything belongs to the extension, so that pg_dump and DROP EXTENSION know
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'sync' AND c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
$$, 'every table belongs to the extension');
SELECT set_eq($$ SELECT unnest(extconfig)::regclass::text FROM pg_extension WHERE extname = 'sync' $$,
    ARRAY['sync.client_schema', 'sync.scope', 'sync.topic', 'sync.synced_table', 'sync.column_rule', 'sync.tombstone', 'sync.ledger_device', 'sync.ledger', 'sync.conflict', 'sync.scope_id_seq', 'sync.synced_table_id_seq', 'sync.tombstone_id_seq', 'sync.ledger_device_id_seq', 'sync.device', 'sync.preference', 'sync.history', 'sync.history_history_id_seq', 'sync.activity', 'sync.activity_activity_id_seq', 'sync.notification', 'sync.channel', 'sync.delivery', 'sync.delivery_delivery_id_seq', 'sync.reminder', 'sync.sync_log', 'sync.sync_log_log_id_seq'], 'a dump keeps what is configured and known, not the instance');

-- A table of the application, with triggers of its own that sort before and after
CREATE TABLE public.tap_note (id int PRIMARY KEY, body text, team int, gone timestamptz, changed timestamptz, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE FUNCTION public.tap_trigger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER zzz_last BEFORE INSERT OR UPDATE ON public.tap_note FOR EACH ROW EXECUTE FUNCTION public.tap_trigger();
CREATE TRIGGER "z after z" BEFORE UPDATE ON public.tap_note FOR EACH ROW EXECUTE FUNCTION public.tap_trigger();
INSERT INTO public.tap_note (id) VALUES (1);
SELECT sync.create_scope('tap scope', 'SELECT 1');
SELECT sync.enable('public.tap_note', scope => 'tap scope', scope_column => 'team', deleted_at => 'gone', updated_at => 'changed');

-- Columns added: types, no NULL where the stamp always is, defaults that needed no rewrite
SELECT columns_are('public', 'tap_note', '{id,body,team,gone,changed,twice,sync_version,sync_xid,sync_at,sync_by,sync_clock}'::name[]);
SELECT col_type_is('public', 'tap_note', 'sync_version', 'bigint', 'sync_version is bigint');
SELECT col_type_is('public', 'tap_note', 'sync_xid', 'xid8', 'sync_xid is xid8');
SELECT col_type_is('public', 'tap_note', 'sync_at', 'timestamp with time zone', 'sync_at is timestamp with time zone');
SELECT col_type_is('public', 'tap_note', 'sync_by', 'text', 'sync_by is text');
SELECT col_type_is('public', 'tap_note', 'sync_clock', 'bytea', 'sync_clock is bytea');
SELECT col_not_null('public', 'tap_note', 'sync_version'::name, 'sync_version is always there');
SELECT col_not_null('public', 'tap_note', 'sync_xid'::name, 'sync_xid is always there');
SELECT col_not_null('public', 'tap_note', 'sync_at'::name, 'sync_at is always there');
SELECT col_is_null('public', 'tap_note', 'sync_by'::name, 'sync_by may be NULL');
SELECT col_is_null('public', 'tap_note', 'sync_clock'::name, 'sync_clock may be NULL');
SELECT is(count(*), 3::bigint, 'existing rows get constants from the catalogue') FROM pg_attribute
WHERE attrelid = 'public.tap_note'::regclass AND attname IN ('sync_version', 'sync_xid', 'sync_at') AND atthasmissing;

-- Triggers
SELECT triggers_are('public', 'tap_note', '{zzz_last,z after z,~sync_stamp,~sync_soft_delete,~sync_tombstone_delete,~sync_tombstone_update,~sync_truncated}'::name[]);
SELECT is(tgenabled, 'A', tgname || ' fires always') FROM pg_trigger WHERE tgrelid = 'public.tap_note'::regclass AND tgname LIKE '~sync%' ORDER BY tgname;
SELECT is_empty($$
    SELECT ours.tgname, theirs.tgname FROM pg_trigger ours JOIN pg_trigger theirs USING (tgrelid)
    WHERE tgrelid = 'public.tap_note'::regclass AND ours.tgname LIKE '~sync%' AND theirs.tgname NOT LIKE '~sync%' AND ours.tgname::text COLLATE "C" < theirs.tgname::text COLLATE "C"
$$, 'sync''s triggers fire after the application''s');
SELECT trigger_is('public', 'tap_note', '~sync_stamp', 'sync', 'stamp');
SELECT trigger_is('public', 'tap_note', '~sync_soft_delete', 'sync', 'soft_delete');
SELECT is(tgtype & 31, 23, 'the stamp is set before insert and update, row by row') FROM pg_trigger WHERE tgrelid = 'public.tap_note'::regclass AND tgname = '~sync_stamp';
SELECT is(tgtype & 31, 11, 'a soft deletion is caught before delete') FROM pg_trigger WHERE tgrelid = 'public.tap_note'::regclass AND tgname = '~sync_soft_delete';
SELECT set_eq($$
    SELECT m[1] FROM pg_trigger, regexp_matches(pg_get_triggerdef(oid), 'old\.(\w+) IS DISTINCT', 'g') m
    WHERE tgrelid = 'public.tap_note'::regclass AND tgname = '~sync_tombstone_update' $$,
    ARRAY['id', 'team', 'gone'], 'updates are looked at for tombstones when they touch key, scope or mark');

-- The index: scope first, the key last, only ids of after enable
SELECT has_index('public', 'tap_note', 'tap_note_team_sync_xid_id_idx', '{team,sync_xid,id}'::name[]);
SELECT is(pg_get_expr(indpred, indrelid), format('(sync_xid > ''%s''::xid8)', s.enabled_xid), 'the index leaves out what was there before')
FROM pg_index i, sync.synced_table s WHERE indexrelid = 'public.tap_note_team_sync_xid_id_idx'::regclass AND s.relation = indrelid;

-- What is refused: tables of the extension itself, and one that is synced already
SELECT throws_ok($$ SELECT sync.enable('sync.tombstone') $$, '55000');
SELECT throws_ok($$ SELECT sync.enable('public.tap_note') $$, '42710');

-- Disabled: as it was
SELECT sync.disable('public.tap_note');
SELECT columns_are('public', 'tap_note', '{id,body,team,gone,changed,twice}'::name[]);
SELECT triggers_are('public', 'tap_note', '{zzz_last,z after z}'::name[]);
SELECT hasnt_index('public', 'tap_note', 'tap_note_team_sync_xid_id_idx', 'the index is gone');
SELECT is_empty('SELECT FROM sync.synced_table WHERE id >= 100', 'nothing is synced');
SELECT is_empty('SELECT FROM sync.tombstone', 'no tombstone is left');

SELECT * FROM finish();
ROLLBACK;

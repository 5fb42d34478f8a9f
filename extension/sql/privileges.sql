-- privileges.sql - applications may call what is meant for them and read nothing else of the schema.
-- SPDX-License-Identifier: PostgreSQL

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sync FROM PUBLIC;
GRANT USAGE ON SCHEMA sync TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.user_id(), sync.pull(jsonb), sync.digest(jsonb), sync.push(jsonb), sync.session_state(jsonb), sync.resolve_conflict(jsonb), sync.conflicts(boolean) TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.audiences(), sync.may_see(regclass, text), sync.reads_whole(integer),
    sync.devices(), sync.revoke_device(text, text), sync.rename_device(text, text, jsonb), sync.last_seen(text[]),
    sync.lock(jsonb), sync.unlock(jsonb),
    sync.history(regclass, text, bigint, integer), sync.rollback_to(regclass, text, bigint), sync.restore(regclass, text),
    sync.record_activity(jsonb), sync.activity(text, text, text, text, bigint, integer),
    sync.notify(jsonb), sync.notifications(text, boolean, uuid, integer), sync.unread_count(text), sync.mark_read(uuid[]), sync.clear(uuid[], boolean),
    sync.set_preference(jsonb), sync.cancel_reminder(uuid), sync.topic_rights(text) TO PUBLIC;
-- These travel by sync, each row to its audience: the policy says so
GRANT SELECT ON sync.conflict, sync.device, sync.preference, sync.lock, sync.activity, sync.notification TO PUBLIC;

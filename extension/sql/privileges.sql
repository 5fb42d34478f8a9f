-- privileges.sql - applications may call what is meant for them and read nothing else of the schema.
-- SPDX-License-Identifier: PostgreSQL

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sync FROM PUBLIC;
GRANT USAGE ON SCHEMA sync TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.user_id(), sync.pull(jsonb), sync.digest(jsonb), sync.push(jsonb), sync.session_state(jsonb), sync.resolve_conflict(jsonb), sync.conflicts(boolean) TO PUBLIC;

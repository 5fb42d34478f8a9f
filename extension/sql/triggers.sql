-- triggers.sql - the triggers that sync.enable() makes, and private helpers.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.stamp() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_stamp';
COMMENT ON FUNCTION sync.stamp() IS 'BEFORE INSERT OR UPDATE: sets version, transaction, time, user and clock from the old row.';
CREATE FUNCTION sync.soft_delete() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_soft_delete';
COMMENT ON FUNCTION sync.soft_delete() IS 'BEFORE DELETE: turns the deletion into a mark on soft tables; tells rows that move to another partition from rows that go.';
CREATE FUNCTION sync.leave_tombstone() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_leave_tombstone';
COMMENT ON FUNCTION sync.leave_tombstone() IS 'BEFORE DELETE, and AFTER an UPDATE of key, scope or mark: leaves a tombstone.';
CREATE FUNCTION sync.truncated() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_truncated';
COMMENT ON FUNCTION sync.truncated() IS 'AFTER TRUNCATE: everybody starts the table anew.';
CREATE FUNCTION sync.cascade_scope() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_cascade_scope';
COMMENT ON FUNCTION sync.cascade_scope() IS 'AFTER UPDATE of a scope value, or AFTER INSERT: the rows of tables enabled via this one follow.';
CREATE FUNCTION sync.adopt() RETURNS trigger LANGUAGE c AS 'MODULE_PATHNAME', 'sync_adopt';
COMMENT ON FUNCTION sync.adopt() IS 'AFTER INSERT or UPDATE of a row enabled via another that has no scope value: its parent may have come meanwhile.';

CREATE FUNCTION sync.scope_text(value anyelement) RETURNS text
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'sync_scope_text';
COMMENT ON FUNCTION sync.scope_text(anyelement) IS 'A scope value as tombstones, tokens and sync_scope hold it.';

CREATE FUNCTION sync.policy_columns(relation regclass, OUT columns name[], OUT reason text)
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_policy_columns';
COMMENT ON FUNCTION sync.policy_columns(regclass) IS 'The columns that a table''s policies for reading look at, or the reason why they look at more than the row and who asks.';

CREATE FUNCTION sync.policy_functions(relation regclass) RETURNS bigint
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_policy_functions';
COMMENT ON FUNCTION sync.policy_functions(regclass) IS 'A hash of the functions that a table''s policies for reading call, and that these call: another one when one of them is replaced.';

CREATE FUNCTION sync.column_kind(type oid) RETURNS "char"
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_column_kind';
COMMENT ON FUNCTION sync.column_kind(oid) IS 'How values of a type are written as JSON; the letters are explained in render.c.';

CREATE FUNCTION sync.caller_owns(relation regclass) RETURNS boolean
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_caller_owns';
COMMENT ON FUNCTION sync.caller_owns(regclass) IS 'Whether the role that called the running definer function owns the table or is a member of its owner.';

CREATE FUNCTION sync.caller_owns_database() RETURNS boolean
    LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'sync_caller_owns_database';
COMMENT ON FUNCTION sync.caller_owns_database() IS 'Whether the role that called the running definer function owns the database or is a superuser.';
CREATE FUNCTION sync.clock(relation regclass, entity_id text) RETURNS jsonb
    LANGUAGE c STABLE STRICT AS 'MODULE_PATHNAME', 'sync_clock';
COMMENT ON FUNCTION sync.clock(regclass, text) IS
'For support: who last wrote each column of a row, as {"column": {"version", "edited_at", "device"?}}; device is a hash, absent for writes by SQL.
Reads as the caller, who needs SELECT on the table. NULL if there is no such row that the caller sees; an error if the table is not synced.';

-- tables.sql - the extension's own tables; nobody but their owner reads them, unless privileges.sql says so.
-- SPDX-License-Identifier: PostgreSQL

\echo Use "CREATE EXTENSION sync" to load this file. \quit

-- The schema is a member of the extension, so that DROP EXTENSION takes it along; a schema named in sync.control would stay.
CREATE SCHEMA sync;
COMMENT ON SCHEMA sync IS 'Everything of the extension sync.';

CREATE TABLE sync.instance (
    incarnation bigint NOT NULL,
    horizon xid8 NOT NULL DEFAULT '0',
    schema_current integer,
    schema_oldest integer,
    message_key text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', '')
);
CREATE UNIQUE INDEX instance_one ON sync.instance ((true));
-- Its updates are decoded, though it has no key.
ALTER TABLE sync.instance REPLICA IDENTITY FULL;
INSERT INTO sync.instance (incarnation) VALUES (1 + floor(random() * 2147483646)::bigint);
COMMENT ON TABLE sync.instance IS 'One row: the number that every sync token carries (another one resets clients), the highest transaction of a purged tombstone, the schema versions of clients that are served, and the key that our own WAL messages begin with. Not dumped: a copy is another instance.';

CREATE TABLE sync.client_schema (
    current integer,
    oldest integer
);
CREATE UNIQUE INDEX client_schema_one ON sync.client_schema ((true));
COMMENT ON TABLE sync.client_schema IS 'The schema versions that sync.set_schema_version() set, once more, for dumps: restoring it sets those of sync.instance.';

CREATE TABLE sync.scope (
    -- ids below 100 belong to the extension
    id integer GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    members text NOT NULL,
    watch text[] NOT NULL DEFAULT '{}',
    users text
);
COMMENT ON TABLE sync.scope IS 'Declared scopes: which values a caller holds, which columns say whom a change of membership concerns, and (users) who holds a given value.';

CREATE TABLE sync.synced_table (
    -- ids below 100 belong to the extension's own synced tables
    id integer GENERATED ALWAYS AS IDENTITY (START 100) PRIMARY KEY,
    relation regclass NOT NULL UNIQUE,
    entity_type text NOT NULL UNIQUE,
    scope text REFERENCES sync.scope (name),
    scope_column name,
    via name,
    parent integer REFERENCES sync.synced_table (id),
    rule text NOT NULL,
    deletes text NOT NULL,
    delete_rule text NOT NULL,
    priority integer NOT NULL,
    history boolean NOT NULL DEFAULT false,
    edit_window interval,
    enforce_locks boolean NOT NULL DEFAULT false,
    anonymous boolean NOT NULL DEFAULT false,
    policy_is_scope boolean NOT NULL,
    verify boolean NOT NULL DEFAULT false,
    policy_columns name[] NOT NULL DEFAULT '{}',
    updated_at name,
    deleted_at name,
    added_deleted_at boolean NOT NULL DEFAULT false,
    enabled_xid xid8 NOT NULL,
    epoch xid8 NOT NULL,
    broken text,
    fingerprint text,
    named_columns jsonb
);
COMMENT ON TABLE sync.synced_table IS 'Tables that are synced. id is new at each enable; clients whose cursor does not see epoch start the table anew. scope_column is sync_scope for tables enabled via another; policy_columns: what row-local policies look at.
broken: why the table cannot be pulled at present, with the cure; fingerprint: what clients may see of it, by its shape and rights, NULL while sync itself changes it; named_columns: numbers of the columns named here, to follow renames.';

CREATE TABLE sync.column_rule (
    table_id integer NOT NULL REFERENCES sync.synced_table (id) ON DELETE CASCADE,
    path text NOT NULL,
    column_name name NOT NULL,
    member text,
    rule text NOT NULL,
    resolver regprocedure,
    PRIMARY KEY (table_id, path)
);
COMMENT ON TABLE sync.column_rule IS 'How collisions in a column, or in a member of a JSON column, are decided where the table''s rule is not to do it.';

CREATE TABLE sync.tombstone (
    id bigint GENERATED ALWAYS AS IDENTITY,
    table_id integer NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    scope_value text,
    old_values jsonb,
    version bigint NOT NULL,
    sync_xid xid8 NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    changed_by text,
    edited_at timestamptz,
    device bigint
);
CREATE INDEX tombstone_entity ON sync.tombstone (table_id, entity_id);
CREATE INDEX tombstone_xid ON sync.tombstone (table_id, sync_xid, id);
COMMENT ON TABLE sync.tombstone IS 'Append-only: deletions, and moves out of a scope or a key. Holds the key and the old scope value, never the row''s contents. edited_at and device: of a pushed deletion, by the client''s clock.';

-- A number stands for user and device, and a hash for the queue_id: the ledger is written with every change.
CREATE TABLE sync.ledger_device (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL,
    device_id text NOT NULL,
    entries bigint NOT NULL DEFAULT 0,
    UNIQUE (user_id, device_id)
);
COMMENT ON TABLE sync.ledger_device IS 'The numbers by which the ledger knows users'' devices.';

CREATE TABLE sync.ledger (
    device bigint NOT NULL,
    queue bigint NOT NULL,
    body_hash bigint NOT NULL,
    table_id integer,
    server_version bigint,
    at timestamptz NOT NULL,
    outcome text NOT NULL,
    entity_id text,
    answer json,
    PRIMARY KEY (device, queue)
);
COMMENT ON TABLE sync.ledger IS 'The first verdict of each pushed change, so that a repeat gets the same one. answer is NULL for a plain success.';

CREATE TABLE sync.conflict (
    conflict_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    table_id integer NOT NULL,
    entity_type text NOT NULL,
    entity_id text,
    kind text NOT NULL CHECK (kind IN ('edit', 'delete', 'constraint', 'version')),
    operation text NOT NULL,
    fields text[] NOT NULL,
    local_data json,
    server_data json,
    base_data json,
    local_version bigint,
    server_version bigint,
    result_version bigint,
    pushed_by text,
    device_id text,
    changed_by text,
    rule text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('local', 'server', 'merged', 'open')),
    edited_at timestamptz,
    audience text,
    at timestamptz NOT NULL DEFAULT now(),
    resolution text CHECK (resolution IN ('keep_local', 'keep_server', 'merge', 'keep_both')),
    resolved_by text,
    resolved_at timestamptz,
    resolved_id text
);
CREATE INDEX conflict_pushed_by ON sync.conflict (pushed_by, at);
CREATE INDEX conflict_changed_by ON sync.conflict (changed_by, at);
COMMENT ON TABLE sync.conflict IS 'Both versions of each collision, the rule that decided, and how: a losing value is kept here. server_version: of the row it met; result_version: after the decision.';

SELECT pg_catalog.pg_extension_config_dump('sync.client_schema', '');
SELECT pg_catalog.pg_extension_config_dump('sync.scope', 'WHERE id >= 100');
SELECT pg_catalog.pg_extension_config_dump('sync.synced_table', 'WHERE id >= 100');
SELECT pg_catalog.pg_extension_config_dump('sync.column_rule', '');
SELECT pg_catalog.pg_extension_config_dump('sync.tombstone', '');
SELECT pg_catalog.pg_extension_config_dump('sync.ledger_device', '');
SELECT pg_catalog.pg_extension_config_dump('sync.ledger_device_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.ledger', '');
SELECT pg_catalog.pg_extension_config_dump('sync.conflict', '');

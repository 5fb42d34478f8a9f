-- sync.sql - pull and push, for applications.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.user_id() RETURNS text
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'sync_user_id_sql';
COMMENT ON FUNCTION sync.user_id() IS 'The caller''s user: claim sub of the setting request.jwt.claims; NULL for nobody.';

CREATE FUNCTION sync.pull(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_pull';
COMMENT ON FUNCTION sync.pull(jsonb) IS
'What changed since a token. request: {"device_id", "sync_token"?, "tables"?: [entity types, "*" for all of the application], "priority"?: 1..3, "limit"?: 1..10000 rows (1000)}.
Answer: {"changes", "withdrawn"?, "reset"?, "has_more", "next_sync_token", "server_time", "n"}; apply reset, withdrawn, changes in this order.
"schema_version"? in the request: of the client''s own tables; another one than the token''s resets all. "n" in place of the token, for clients that insist on a number:
taken for tables without scope and policies, always the same ones; the others are reset. While has_more it stays where the round began: follow the token there.
Runs under the caller''s rights and policies; never writes. Errors: SY400 bad request, SY401 malformed claims, SY403 a revoked device, SY409 on a standby or after a write in the same
transaction, SY426 schema_version too old.';

CREATE FUNCTION sync.digest(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_digest';
COMMENT ON FUNCTION sync.digest(jsonb) IS
'Whether a client holds what it should. request: {"device_id", "sync_token", "tables"?, "priority"?, "buckets"?: 1..256, "repair"?: {entity type: [bucket numbers]}}.
Answer: {"tables": [{"entity_type", "count", "hash", "buckets"?: [{"count", "hash"}], "changes"?, "keys"?} or {"entity_type", "stale": true}], "stale", "sync_token"?, "server_time"}.
hash: decimal text of the sum modulo 2^64, over the rows held, of the first 8 bytes (big-endian) of SHA-256 over entity_id, a zero byte and server_version in digits.
A row''s bucket: the first 8 bytes of SHA-256 over its entity_id, modulo the number of buckets.
To compare: pull until has_more is false, then ask with that token. A table with "stale" changed since: pull again and ask again. One without did not change between the token
and this answer, so a hash that differs is a difference. To repair: drop the rows of the bucket that are not in "keys", apply "changes", keep the token.
Errors: as sync.pull; SY413 when the repair is larger than a page.';

CREATE FUNCTION sync.push(request jsonb) RETURNS json
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_push';
COMMENT ON FUNCTION sync.push(jsonb) IS
'Applies a device''s changes under the caller''s rights. request: {"device_id", "atomic"?: false, "changes": [{"queue_id"?, "operation": create|update|delete,
"entity_type", "entity_id", "data", "base"?, "local_version"?, "timestamp"}]}. Answer: {"success", "processed": [a verdict per change], "server_time"}.
Each change stands alone unless atomic. Errors of the whole request: SY400 bad request, SY401 nobody, SY413 over 10,000 changes or 16 MiB.';

CREATE FUNCTION sync.session_state(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_session_state';
COMMENT ON FUNCTION sync.session_state(jsonb) IS
'For the streamer, as the client: {"tables": [{"id", "full", "columns"?, "policies"?, "verify"?}], "scopes": {name: [values held]}} for the tables a pull with the same request covers.
full: every row of the scopes may be sent whole. columns: those that may be read, when not all. policies: rows must be judged first. verify: and what comes and goes without a write must be looked for.';

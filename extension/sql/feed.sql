-- feed.sql - what the streamer asks, as role sync_upkeep.
-- SPDX-License-Identifier: PostgreSQL

CREATE FUNCTION sync.checkpoint(nonce bigint) RETURNS text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_checkpoint';
COMMENT ON FUNCTION sync.checkpoint(bigint) IS
'Takes a snapshot, then writes and flushes a WAL message that holds only the nonce; returns the snapshot. Whatever the snapshot sees stands in WAL before the message.';

CREATE FUNCTION sync.feed_tables() RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_feed_tables';
COMMENT ON FUNCTION sync.feed_tables() IS 'What the streamer must know of the synced tables: names, keys, scopes, the rendering kind of each column.';

CREATE FUNCTION sync.feed_rows(table_id integer, keys text[]) RETURNS json
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_feed_rows';
COMMENT ON FUNCTION sync.feed_rows(integer, text[]) IS
'Rows as they are now, for changes that the decoder cannot show whole: [{"entity_id", "xid", "change"}]. Reads every row: never grant it to an application.';

CREATE FUNCTION sync.feed_changes(from_snapshot text, most integer DEFAULT 10000, most_bytes integer DEFAULT 16777216) RETURNS json
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_feed_changes';
COMMENT ON FUNCTION sync.feed_changes(text, integer, integer) IS
'What a gap in the stream hid: rows and tombstones of all synced tables that from_snapshot (xmin:xmax:xip) does not see and the current one does, at most so many and so many bytes.
Answer: {"snapshot", "committed": [of the transactions that ran in from_snapshot, those that have committed], "changes": [{"table", "xid", "old_values"? (tombstones), "change"}], tombstones first},
or "obstacle": why, in place of "changes", where rows cannot tell: a table started anew (TRUNCATE, DDL, enable), tombstones were purged, too much. Flushes WAL. SY400 for a malformed snapshot. Reads every row: for the streamer''s role sync_upkeep.';

CREATE FUNCTION sync.visible_keys(request jsonb) RETURNS json
    LANGUAGE c STABLE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'sync_visible_keys';
COMMENT ON FUNCTION sync.visible_keys(jsonb) IS
'Which living rows each of several callers may see now, and which deletions they may be told of. request: {"identities": [{"role", "claims"?: object}],
"tables": [{"id", "keys": [entity ids], "stamps"?: [a sync_xid for each key], "gone"?: [old_values of tombstones]}], "identity_ms"?, "call_ms"?}.
Answer: {"snapshot": "xmin:xmax:xip", "identities": [{"tables": [{"id", "seen", "gone"?}], "us": microseconds taken} or {"error": {"code", "message"}, "us"} or {"later": true}]}, in
the order asked, all in one snapshot. seen and gone: a digit for each key or tombstone, 0 no, 1 yes, 2 yes but written again since by another transaction than its stamp.
A table without them shows the role nothing.
Takes each role as SET ROLE would: only those the session''s user may take. An error, such as that of a policy or of more than identity_ms milliseconds, is the answer of its
identity alone; a statement timeout ends the call. After call_ms milliseconds the identities left are answered "later". For the streamer''s role sync_query.';

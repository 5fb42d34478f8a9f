-- purge.sql - old tombstones, verdicts and settled conflicts go, in short calls; the horizon rises exactly with them.
-- SPDX-License-Identifier: PostgreSQL
\set SHOW_CONTEXT never
SET client_min_messages = warning;
-- What other tests left
DELETE FROM sync.conflict;
DELETE FROM sync.tombstone;
\set VERBOSITY terse
-- What went of the kinds this test is about
CREATE FUNCTION purge_counts(batch int DEFAULT 10000) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', CASE WHEN (p ->> 'more')::bool THEN 'more:' ELSE 'done:' END, p ->> 'rows', 'rows', p ->> 'tombstones', 'tombstones', p ->> 'ledger', 'verdicts', p ->> 'conflicts', 'conflicts')
    FROM sync.purge(batch => batch) p $$;
CREATE TABLE purge_note (id int PRIMARY KEY, body text);
SELECT sync.enable('purge_note');
INSERT INTO purge_note SELECT i, 'x' FROM generate_series(1, 10) i;
SET request.jwt.claims = '{"sub": "ada"}';
SELECT sync.pull('{"tables": ["purge_note"]}') ->> 'next_sync_token' AS before \gset
DELETE FROM purge_note WHERE id <= 3;
SELECT sync_xid AS old_xid FROM sync.tombstone LIMIT 1 \gset
SELECT sync.pull('{"tables": ["purge_note"]}') ->> 'next_sync_token' AS between \gset
DELETE FROM purge_note WHERE id = 4;
CREATE FUNCTION purge_look(token text) RETURNS text LANGUAGE sql AS $$
    SELECT concat_ws(' ', CASE WHEN a -> 'reset' IS NOT NULL THEN 'reset' END, (
        SELECT string_agg(left(c ->> 'operation', 1) || (c ->> 'entity_id'), ' ') FROM json_array_elements(a -> 'changes') c))
    FROM sync.pull(json_build_object('tables', '{purge_note}'::text[], 'sync_token', token)::jsonb) a $$;

-- Nothing is old enough yet
SELECT purge_counts();
SELECT horizon FROM sync.instance;
SELECT purge_look(:'before'), purge_look(:'between');

-- Old ones go; who may have missed one of them starts anew, and nobody else
UPDATE sync.tombstone SET at = at - interval '31 days' WHERE sync_xid = :'old_xid';
SELECT purge_counts(2);
SELECT horizon = :'old_xid' AS exact FROM sync.instance;
SELECT purge_counts(2);
SELECT count(*) FROM sync.tombstone;
SELECT purge_look(:'before'), purge_look(:'between');

-- A tombstone that came with a dump, of a transaction that this cluster has not reached: it goes and the horizon stays, or every pull would be a reset
INSERT INTO sync.tombstone (table_id, entity_id, version, sync_xid, reason, at)
    SELECT id, '99', 2, '18446744073709551000', 'deleted', now() - interval '31 days' FROM sync.synced_table WHERE relation = 'purge_note'::regclass;
SELECT purge_counts();
SELECT horizon = :'old_xid' AS unchanged FROM sync.instance;

-- Tombstones of a table that was dropped
INSERT INTO sync.tombstone (table_id, entity_id, version, sync_xid, reason, at) VALUES (99999, '1', 2, '3', 'deleted', now() - interval '31 days');
SELECT sync.purge() ->> 'tombstones' AS tombstones;

-- The ledger, and the conflict log: open conflicts stay
INSERT INTO sync.ledger (device, queue, body_hash, outcome, at)
    SELECT -1, i, 0, 'applied', now() - i * interval '10 days' FROM generate_series(1, 5) i;
INSERT INTO sync.conflict (table_id, entity_type, entity_id, kind, operation, fields, rule, outcome, at, resolution, resolved_at)
    SELECT 100, 'purge_note', '1', 'edit', 'update', '{}', c.rule, c.outcome, now() - c.at::interval, c.resolution, now() - c.resolved_at::interval
    FROM (VALUES ('old', 'server', '31 days', NULL, NULL), ('new', 'server', '1 day', NULL, NULL), ('open', 'open', '31 days', NULL, NULL),
                 ('resolved', 'open', '90 days', 'keep_local', '31 days'), ('just resolved', 'open', '90 days', 'keep_local', '1 day')) c (rule, outcome, at, resolution, resolved_at);
SELECT purge_counts();
SELECT queue FROM sync.ledger WHERE device = -1 ORDER BY 1;
SELECT rule, outcome FROM sync.conflict WHERE entity_type = 'purge_note' ORDER BY 1, 2;

-- Rolled back, it changes nothing
UPDATE sync.tombstone SET at = at - interval '31 days';
BEGIN;
SELECT sync.purge() ->> 'tombstones' AS tombstones;
ROLLBACK;
SELECT count(*) FROM sync.tombstone;
SELECT horizon = :'old_xid' AS unchanged FROM sync.instance;
SELECT purge_look(:'between');

-- keep => '0' keeps nothing; mistakes are told
SELECT sync.purge('0') ->> 'tombstones' AS tombstones;
SELECT sync.purge(NULL);
SELECT sync.purge('-1 day');
SELECT sync.purge(batch => 0);
SELECT sync.purge(keep_log => '-1 day');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT sync.purge();
ROLLBACK;
CREATE ROLE purge_app;
SET ROLE purge_app;
SELECT sync.purge();
SELECT sync.purge_rows('purge_note', '{"(0,1)"}');
RESET ROLE;

DROP ROLE purge_app;
DELETE FROM sync.conflict WHERE entity_type = 'purge_note';
DELETE FROM sync.ledger WHERE device = -1;
SELECT sync.disable('purge_note');
DROP FUNCTION purge_look(text), purge_counts(int);
DROP TABLE purge_note;

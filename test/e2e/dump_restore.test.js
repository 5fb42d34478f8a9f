// dump_restore.test.js - pg_dump and pg_restore into a new cluster: what is configured and known comes along, clients start anew once, and go on.
// SPDX-License-Identifier: PostgreSQL
// runs once: SQL only, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Postgres } from '../lib/postgres.js';
import { dumpSchema, run } from '../lib/dump.js';

const ada = { role: 'reader', sub: 'ada' };
let from, to, old, copy, oldToken, archive;

async function pull(database, token, more = {}) {
  const answer = await database.call('pull', { device_id: 'd', sync_token: token, ...more }, ada);
  return { ...answer, list: answer.changes.map((c) => `${c.operation} ${c.entity_type} ${c.entity_id}`) };
}

before(async () => {
  from = await Postgres.start();
  // another cluster, which has seen fewer transactions: what is restored comes from its future
  to = await Postgres.start();
  old = await from.createDatabase('old', { roles: false });
  // its counter runs ahead
  await old.sql('DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
  await old.sql(`
    CREATE ROLE reader;
    CREATE TABLE member (user_id text, team_id int);
    INSERT INTO member VALUES ('ada', 1);
    CREATE TABLE note (dropped int, id int PRIMARY KEY, body text, tags jsonb, team_id int);
    ALTER TABLE note DROP COLUMN dropped; -- in the copy, columns have other numbers
    CREATE TABLE country (id text PRIMARY KEY, name text);
    GRANT SELECT, INSERT, UPDATE, DELETE ON note, country, member TO reader;
    CREATE FUNCTION resolve(local jsonb, server jsonb, base jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT server';
    SELECT sync.create_scope('team', 'SELECT team_id FROM public.member WHERE user_id = sync.user_id()');
    SELECT sync.create_scope('unused', 'SELECT 1');
    SELECT sync.set_schema_version(7, 5);
    SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', deletes => 'soft', rule => 'reject', priority => 1);
    SELECT sync.enable('country');
    SELECT sync.set_column_rule('note', 'tags', 'union');
    SELECT sync.set_column_rule('note', 'body', 'resolver', 'resolve(jsonb,jsonb,jsonb)');`);
  await old.sql("INSERT INTO note SELECT i, 'note ' || i, '[]', 1 + i % 2 FROM generate_series(1, 10) i; INSERT INTO country VALUES ('at', 'Austria'), ('ch', 'Switzerland')");
  await old.sql("DELETE FROM note WHERE id = 1; DELETE FROM country WHERE id = 'ch'");
  await old.call('push', { device_id: 'd', changes: [{ queue_id: 'q1', operation: 'update', entity_type: 'note', entity_id: '2', data: { body: 'pushed' }, timestamp: '2026-01-01T00:00:00Z', local_version: 1 }] }, ada);
  oldToken = (await pull(old)).next_sync_token;
  archive = run(from, 'pg_dump', 'old', ['-Fc']);
  await to.createDatabase('copy', { extension: false, roles: false }).then((database) => (copy = database));
  await copy.sql('CREATE ROLE reader');
  run(to, 'pg_restore', 'copy', ['--exit-on-error'], archive);
});
after(() => Promise.all([from?.stop(), to?.stop()]));

test('the schema is the same', () => assert.equal(dumpSchema(to, 'copy'), dumpSchema(from, 'old')));

for (const table of ['client_schema', 'synced_table', 'column_rule', 'scope', 'tombstone', 'ledger_device', 'ledger', 'conflict']) {
  test(`sync.${table} comes along`, async () => {
    // restoring is DDL: the table's last new start is later, and columns are numbered anew
    const everything = `SELECT to_jsonb(t) - '{epoch,named_columns,fingerprint}'::text[] AS row FROM sync.${table} t${['synced_table', 'scope'].includes(table) ? ' WHERE id >= 100' : ''} ORDER BY 1`;
    assert.deepEqual(await copy.sql(everything), await old.sql(everything));
  });
}

test('the schema versions that are served come along', async () => {
  assert.deepEqual(await copy.sql('SELECT schema_current, schema_oldest FROM sync.instance'), [{ schema_current: 7, schema_oldest: 5 }]);
});

test('the incarnation is new and the horizon does not come along', async () => {
  assert.notEqual(await copy.value('SELECT incarnation FROM sync.instance'), await old.value('SELECT incarnation FROM sync.instance'));
  assert.equal(await copy.value('SELECT horizon FROM sync.instance'), '0');
});

test('triggers fire always, the index is valid, and check() finds nothing broken', async () => {
  const triggers = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE tgname LIKE '~sync%' ORDER BY 1, 2";
  assert.deepEqual(await copy.sql(triggers), await old.sql(triggers));
  assert.deepEqual(await copy.sql("SELECT * FROM sync.check_bookkeeping() WHERE finding !~ 'cluster with more transactions'"), []);
});

test('a token of the old cluster is told to start anew, once; then it goes on', async () => {
  const first = await pull(copy, oldToken);
  assert.deepEqual(first.reset.sort(), ['country', 'note']);
  assert.deepEqual(first.list.map((text) => text.replace(/^\w+ /, '')), ['note 2', 'note 4', 'note 6', 'note 8', 'note 10', 'country at']);
  assert.equal(first.has_more, false);

  await copy.sql("UPDATE note SET body = 'after' WHERE id = 4; DELETE FROM note WHERE id = 6; INSERT INTO country VALUES ('de', 'Germany')");
  const second = await pull(copy, first.next_sync_token);
  assert.equal(second.reset, undefined, 'a registry from a cluster with more transactions does not reset for ever');
  assert.deepEqual(second.list.sort(), ['create country de', 'delete note 6', 'update note 4']);
  const third = await pull(copy, second.next_sync_token);
  assert.deepEqual([third.list, third.reset], [[], undefined]);
});

test('options still name the columns they named, also after the next DDL', async () => {
  const named = 'SELECT relation::text, scope_column, deleted_at, (SELECT array_agg(path ORDER BY path) FROM sync.column_rule WHERE table_id = id) AS rules FROM sync.synced_table WHERE id < 102 ORDER BY id';
  const origin = await old.sql(named);
  await copy.sql('ALTER TABLE note ADD COLUMN extra int; ALTER TABLE note DROP COLUMN extra');
  assert.deepEqual(await copy.sql(named), origin);
});

test('identities go on where they were', async () => {
  await copy.sql("DELETE FROM country WHERE id = 'de'"); // a tombstone
  assert.equal(await copy.value('SELECT count(*) - count(DISTINCT id) FROM sync.tombstone'), '0');
  await copy.sql("SELECT sync.create_scope('later', 'SELECT 1')");
  await copy.sql("CREATE TABLE later (id uuid PRIMARY KEY); SELECT sync.enable('later')");
  assert.equal(await copy.value("SELECT id > ALL (SELECT o.id FROM sync.synced_table o WHERE o.relation <> t.relation) FROM sync.synced_table t WHERE relation = 'later'::regclass"), true);
});

test('a repeat of a change pushed before the dump gets its first verdict, and a key that lived before goes on counting', async () => {
  const change = { queue_id: 'q1', operation: 'update', entity_type: 'note', entity_id: '2', data: { body: 'pushed' }, timestamp: '2026-01-01T00:00:00Z', local_version: 1 };
  const { processed } = await copy.call('push', { device_id: 'd', changes: [change] }, ada);
  assert.equal(processed[0].repeat, true);
  const other = await copy.call('push', { device_id: 'another', changes: [{ ...change, queue_id: 'q2' }] }, ada);
  assert.equal(other.processed[0].status, 'success', 'a device that was not known before');
  await copy.sql("INSERT INTO country VALUES ('ch', 'again')");
  assert.ok(Number(await copy.value("SELECT sync_version FROM country WHERE id = 'ch'")) > 2);
});

test('check() says that an index from a cluster with more transactions is of no use, and its cure mends it', async () => {
  const finding = "SELECT object, cure FROM sync.check() WHERE finding ~ 'cluster with more transactions' ORDER BY object";
  const found = await copy.sql(finding);
  assert.deepEqual(found.map((f) => f.object), ['public.country', 'public.note']);
  for (const { cure } of found) await copy.sql(cure);
  assert.deepEqual(await copy.sql(finding), []);
  const { next_sync_token: token } = await pull(copy);
  await copy.sql("UPDATE country SET name = 'last' WHERE id = 'at'");
  assert.deepEqual((await pull(copy, token)).list, ['update country at']);
});

test('the same dump beside its origin, in one cluster, is told apart too', async () => {
  const twin = await from.createDatabase('twin', { extension: false, roles: false });
  run(from, 'pg_restore', 'twin', ['--exit-on-error'], archive);
  assert.deepEqual((await pull(twin, oldToken)).reset.sort(), ['country', 'note']);
  assert.equal((await pull(old, oldToken)).reset, undefined);
});

test('plain SQL with INSERTs restores too', async () => {
  const sql = run(from, 'pg_dump', 'old', ['--rows-per-insert=100']);
  const plain = await to.createDatabase('plain', { extension: false, roles: false });
  run(to, 'psql', 'plain', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null'], sql);
  assert.equal(await plain.value('SELECT count(*) FROM sync.tombstone'), await old.value('SELECT count(*) FROM sync.tombstone'));
});

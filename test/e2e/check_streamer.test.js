// check_streamer.test.js - --check names what is wrong, each with its cure, and passes once it is mended.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Postgres, ROOT } from '../lib/postgres.js';

const BINARY = process.env.SYNC_STREAMER || path.join(ROOT, 'streamer/sync-streamer');
let server;
let database;
let secret;

before(async () => {
  server = await Postgres.start({ settings: { max_prepared_transactions: 2 } });
  database = await server.createDatabase('good');
  await database.sql('CREATE ROLE app NOLOGIN; GRANT app TO sync_query; CREATE TABLE t (a int)');
  secret = path.join(server.directory, 'secret');
  writeFileSync(secret, 'x'.repeat(40));
});
after(() => server?.stop());

function check(...args) {
  const { status, stdout, stderr } = spawnSync(BINARY, ['--check', '--database', server.conninfo('good', 'sync_replication'), '--jwt-secret-file', secret, ...args], { encoding: 'utf8', timeout: 30_000 });
  return { status, text: stdout + stderr };
}

/** Wrong while it is broken, by this sentence; fine when it is mended. */
async function finds(what, pattern, breakIt, mendIt, ...args) {
  await breakIt();
  const broken = check(...args);
  assert.ok(broken.status > 0, `${what}: ${broken.text}`);
  assert.match(broken.text, pattern, what);
  assert.match(broken.text.slice(broken.text.search(pattern)), /cure: \S/, what);
  await mendIt();
}

const nothing = () => {};

for (const plugin of ['wal2json', 'pgoutput']) {
  test(`with ${plugin} it passes on a database that is ready`, () => {
    const { status, text } = check('--plugin', plugin);
    assert.equal(status, 0, text);
    assert.match(text, new RegExp(`^ok +${plugin} can be loaded`, 'm'));
    assert.doesNotMatch(text, /WRONG/);
  });
}

test('rights that are missing', async () => {
  await finds('a function', /WRONG +the upkeep role may not run sync\.purge/, () => database.sql('REVOKE EXECUTE ON FUNCTION sync.purge(interval, integer, interval) FROM sync_upkeep'),
    () => database.sql('GRANT EXECUTE ON FUNCTION sync.purge(interval, integer, interval) TO sync_upkeep'));
  await finds('a role', /WRONG +the upkeep role sees who holds things up/, () => database.sql('REVOKE pg_read_all_stats FROM sync_upkeep'), () => database.sql('GRANT pg_read_all_stats TO sync_upkeep'));
  await finds('the default role', /WRONG +the query role may take on --default-role/, nothing, nothing, '--default-role', 'nobody_here');
  assert.equal(check('--default-role', 'app').status, 0);
});

test('publications that are gone', async () => {
  await finds('a publication', /WRONG +the publications sync and sync_inserts exist/, () => database.sql('ALTER PUBLICATION sync RENAME TO elsewhere'), () => database.sql('ALTER PUBLICATION elsewhere RENAME TO sync'), '--plugin', 'pgoutput');
});

test('transactions that a new slot would wait for', async () => {
  await finds('a prepared one', /WRONG +no prepared transaction is open/, () => database.sql("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'old'"), () => database.sql("ROLLBACK PREPARED 'old'"));
  const writer = await database.connect();
  await finds('a writer', /WRONG +a new replication slot has to wait/, () => writer.query('BEGIN; INSERT INTO t VALUES (1)'), () => writer.query('ROLLBACK'));
  await writer.end();
});

test('files that cannot be used', async () => {
  const bad = path.join(server.directory, 'bad');
  writeFileSync(bad, 'short');
  await finds('keys', /WRONG +the keys of tokens can be read/, nothing, nothing, '--jwks-file', bad);
  await finds('the certificate', /WRONG +certificate and key can be used/, nothing, nothing, '--tls-cert', bad, '--tls-key', bad);
  await finds('the token', /WRONG +metrics are guarded as said/, nothing, nothing, '--metrics-token-file', bad);
  await finds('no file', /WRONG +metrics are guarded as said/, nothing, nothing, '--metrics-token-file', '/no/such/file');
});

test('what may harm some day is advice, and no failure', async () => {
  assert.match(check().text, /^ADVICE +a slot keeps a bounded amount of WAL\n +cure: ALTER SYSTEM/m);
  await database.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1GB'");
  await database.sql('SELECT pg_reload_conf()');
  assert.match(check().text, /^ok +a slot keeps a bounded amount of WAL$/m);
});

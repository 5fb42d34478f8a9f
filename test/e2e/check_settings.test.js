// check_settings.test.js - sync.check() finds settings that harm, and its cures, with a restart, mend them.
// SPDX-License-Identifier: PostgreSQL
// runs once: SQL only, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Postgres } from '../lib/postgres.js';

const WRONG = { wal_level: 'replica', max_wal_senders: '0', max_replication_slots: '0', output_plugin_libraries: 'pgoutput', wal_sender_timeout: '0', synchronous_commit: 'off' };
let server, database;
before(async () => {
  server = await Postgres.start();
  const probe = await server.createDatabase('probe', { extension: false });
  // older minors do not know the list of plug-ins
  const lists = (await probe.value("SELECT count(*) FROM pg_settings WHERE name = 'output_plugin_libraries'")) === '1';
  if (!lists) delete WRONG.output_plugin_libraries;
  for (const [name, value] of Object.entries(WRONG)) await probe.sql(`ALTER SYSTEM SET ${name} = '${value}'`);
  await server.restart();
  database = await server.createDatabase('checked');
});
after(() => server.stop());

const settings = () => database.sql("SELECT severity, object, cure FROM sync.check_server() WHERE object <> 'server_version' ORDER BY object");

test('each wrong setting is found', async () => {
  const found = (await settings()).map((f) => f.object);
  const expected = [...Object.keys(WRONG), 'fsync', 'full_page_writes', 'idle_in_transaction_session_timeout', 'max_slot_wal_keep_size'].sort();
  assert.deepEqual(found, expected);
});

test('the cures are commands, and nothing is found afterwards', async () => {
  for (const { cure } of await settings()) {
    for (const command of cure.replace(/--.*/, '').split(';').filter((text) => text.trim())) await database.sql(command);
  }
  await server.restart();
  assert.deepEqual(await settings(), []);
});

test('a database that is not UTF8 is told so', async () => {
  await database.sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
  server.psql('latin', ['-c', 'CREATE EXTENSION sync']);
  assert.match(server.psql('latin', ['-At', '-c', "SELECT finding FROM sync.check_server() WHERE object = 'server_encoding'"]), /^is LATIN1, not UTF8$/m);
});

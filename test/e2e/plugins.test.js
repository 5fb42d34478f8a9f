// plugins.test.js - a decoder that cannot work is named with its cure, in the log and by --check; after the cure the streamer is ready by itself.
// SPDX-License-Identifier: PostgreSQL
// runs once: it names its decoders itself
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { ROOT } from '../lib/postgres.js';
import { until } from '../lib/wait.js';
import { NOTES, World } from '../lib/world.js';

const BINARY = process.env.SYNC_STREAMER || path.join(ROOT, 'streamer/sync-streamer');

let world;
before(async () => {
  world = await World.start({ schema: NOTES });
  await world.streamer.stop();
});
after(async () => {
  await world?.stop();
});

const check = (plugin) =>
  spawnSync(BINARY, ['--check', '--plugin', plugin, '--database', world.database.conninfo('sync_replication'), '--jwt-secret-file', world.streamer.secretFile], { encoding: 'utf8', timeout: 20_000 });

const superuser = (...commands) => world.server.psql('app', commands.flatMap((command) => ['-c', command]));

/** Starts the streamer, which must complain so; then cures it, which must be enough. */
async function complainsUntilCured(plugin, complaint, cure) {
  world.streamer.options = { plugin };
  world.streamer.log = '';
  await world.streamer.launch({ ready: false });
  await until('the log names the cure', () => complaint.test(world.streamer.log)).catch((error) => {
    throw new Error(`${error.message}\n${world.streamer.lastLog()}`);
  });
  cure();
  await world.streamer.ready();
  const ada = await world.join('ada');
  const id = await world.addNote(1, `by ${plugin}`);
  await ada.sees('a change', (copy) => copy.get('note', id));
  await ada.disconnect();
  await world.streamer.stop();
}

for (const plugin of ['wal2json', 'pgoutput'])
  test(`--check passes with ${plugin}, the log names it`, async () => {
    const { status, stdout } = check(plugin);
    assert.equal(status, 0, stdout);
    assert.match(stdout, new RegExp(`${plugin} can be loaded`));
    assert.equal(/publications/.test(stdout), plugin === 'pgoutput');
    world.streamer.options = { plugin };
    world.streamer.log = '';
    await world.streamer.launch();
    assert.match(world.streamer.log, new RegExp(`listening .*plugin=${plugin}`));
    await world.streamer.stop();
  });

test('an unknown decoder is refused', () => {
  const { status, stderr } = check('test_decoding');
  assert.ok(status > 0);
  assert.match(stderr, /--plugin takes wal2json or pgoutput/);
});

for (const [plugin, others] of [['wal2json', 'pgoutput, test_decoding'], ['pgoutput', 'wal2json']])
  test(`${plugin} is not listed in output_plugin_libraries`, async (t) => {
    if ((await world.value("SELECT current_setting('output_plugin_libraries', true)")) === null) return t.skip('this minor of PostgreSQL has no such setting');
    superuser(`ALTER SYSTEM SET output_plugin_libraries = ${others}`, 'SELECT pg_reload_conf()');
    await until('the setting is in force', async () => !(await world.value("SELECT current_setting('output_plugin_libraries')")).includes(plugin));
    const { status, stdout } = check(plugin);
    assert.ok(status > 0, stdout);
    const cure = stdout.match(/^ALTER SYSTEM SET output_plugin_libraries = .*;$/m)?.[0];
    assert.ok(cure, stdout);
    await complainsUntilCured(plugin, new RegExp(`plugin_refused plugin=${plugin} cure=.*output_plugin_libraries`), () => superuser(cure, 'SELECT pg_reload_conf()'));
  });

test('sync.check() does not ask for wal2json where pgoutput decodes', async (t) => {
  if ((await world.value("SELECT current_setting('output_plugin_libraries', true)")) === null) return t.skip('this minor of PostgreSQL has no such setting');
  const found = () => world.value("SELECT count(*)::int FROM sync.check() WHERE object = 'output_plugin_libraries'");
  superuser('ALTER SYSTEM SET output_plugin_libraries = pgoutput', 'SELECT pg_reload_conf()');
  await until('it is found', async () => (await found()) === 1);
  world.streamer.options = { plugin: 'pgoutput' };
  await world.streamer.launch();
  assert.equal(await found(), 0);
  await world.streamer.stop();
  superuser('ALTER SYSTEM RESET output_plugin_libraries', 'SELECT pg_reload_conf()');
  await until('it is listed again', async () => (await found()) === 0);
});

test('wal2json is not installed', async () => {
  superuser("ALTER SYSTEM SET dynamic_library_path = '/nowhere'", 'SELECT pg_reload_conf()');
  await until('the setting is in force', async () => (await world.value('SHOW dynamic_library_path')) === '/nowhere');
  const { status, stdout } = check('wal2json');
  assert.ok(status > 0, stdout);
  assert.match(stdout, /WRONG +wal2json can be loaded: .*\n +cure: install wal2json/);
  await complainsUntilCured('wal2json', /plugin_refused plugin=wal2json cure="install wal2json/, () => superuser('ALTER SYSTEM RESET dynamic_library_path', 'SELECT pg_reload_conf()'));
});

test('the publications are gone, or lack a table', async () => {
  superuser("DELETE FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND classid = 'pg_publication'::regclass", 'DROP PUBLICATION sync');
  const { status, stdout } = check('pgoutput');
  assert.ok(status > 0, stdout);
  assert.match(stdout, /WRONG +the publications sync and sync_inserts exist\n +cure: .*sync\.publish\(\)/);
  assert.equal(check('wal2json').status, 0, 'wal2json needs none');
  await complainsUntilCured('pgoutput', /plugin_refused plugin=pgoutput .*cure=.*sync\.publish\(\)/, () => superuser('SELECT sync.publish()'));
  superuser('ALTER PUBLICATION sync DROP TABLE note');
  assert.match(check('pgoutput').stdout, /WRONG +every synced table is in publication sync/);
  await complainsUntilCured('pgoutput', /plugin_refused plugin=pgoutput reason="public\.note is missing/, () => superuser('SELECT sync.publish()'));
  assert.equal(check('pgoutput').status, 0);
});

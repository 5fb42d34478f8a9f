// restored_live.test.js - under connected clients the database is put back from a dump, from an archive, or made anew: everybody starts from what is there now.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { afterEach, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ask, recoverTo, restoreAnew, startArchiving } from '../lib/copies.js';
import { Postgres, ROOT } from '../lib/postgres.js';
import { until } from '../lib/wait.js';
import { NOTES, World } from '../lib/world.js';

let world;
let audience;
let others = [];
afterEach(async () => {
  await audience?.leave().catch(() => {});
  await world?.stop();
  for (const server of others) await server.stop().catch(() => {});
  others = [];
});

async function begin(options = {}) {
  world = await World.start({ movable: true, ...options });
  await world.sql("INSERT INTO member SELECT 'all', i FROM generate_series(1, 2) i");
  for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
}

test('dropped and restored under the same name', async () => {
  await begin();
  audience = await Audience.gather(world);
  audience.mark();
  await restoreAnew(world);
  await audience.endsRight('the database was dropped and restored');
  assert.ok(audience.wasTold(audience.offline));
});

test('restored into another cluster that has counted fewer transactions', async () => {
  await begin();
  await ask(world.server, 'DO $$ BEGIN FOR i IN 1..2000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
  audience = await Audience.gather(world);
  audience.mark();
  others.push(world.server, await Postgres.start());
  await restoreAnew(world, others[1]);
  await audience.endsRight('the database was restored into another cluster');
  assert.ok(audience.wasTold(audience.offline));
});

test('recovered from an archive to a point before what clients have seen', async () => {
  await begin();
  const archive = await startArchiving(world.server);
  audience = await Audience.gather(world);
  await audience.seesNote('before the point');
  await ask(world.server, "SELECT pg_create_restore_point('before')");
  const lost = await audience.seesNote('after the point');
  await ask(world.server, 'SELECT pg_switch_wal()');
  audience.mark();
  world.address.cut();
  others.push(world.server);
  const recovered = await recoverTo(world.server, archive, 'before');
  others.push(recovered);
  await others[0].halt();
  world.moveTo(recovered);
  await audience.endsRight('recovery to a point in time');
  for (const client of [...audience.online, audience.offline]) assert.ok(!client.copy.get('note', lost));
});

test('the extension is dropped, created and set up again', async () => {
  await begin();
  audience = await Audience.gather(world, { supabase: false });
  audience.mark();
  await world.sql('SELECT sync.disable_all(); DROP EXTENSION sync CASCADE');
  await world.sql('DROP POLICY IF EXISTS notes_of_my_teams ON note; DROP POLICY IF EXISTS own_memberships ON member');
  await world.sql("UPDATE note SET title = 'written while there was no sync' WHERE team_id = 1");
  await world.sql('CREATE EXTENSION sync');
  world.server.psql('app', ['-o', '/dev/null', '-f', path.join(ROOT, 'streamer/roles.sql')]);
  const setup = NOTES.slice(NOTES.indexOf('CREATE POLICY own_memberships'), NOTES.indexOf('INSERT INTO member')).replace(/^ALTER TABLE.*$/gm, '');
  world.server.psql('app', ['-o', '/dev/null', '-f', '-'], setup);
  await audience.endsRight('the extension was dropped and created');
  assert.ok(audience.wasTold(audience.offline));
});

test('queries reach another database than the stream: --check and the streamer say so, and nobody is served', async () => {
  await begin();
  await world.server.createDatabase('other', { roles: true });
  const { streamer } = world;
  await streamer.stop();
  streamer.options = { 'query-database': world.server.conninfo('other', 'sync_query') };
  const binary = process.env.SYNC_STREAMER || path.join(ROOT, 'streamer/sync-streamer');
  const check = spawnSync(binary, ['--check', '--database', world.database.conninfo('sync_replication'), '--query-database', world.server.conninfo('other', 'sync_query'), '--jwt-secret-file', streamer.secretFile, '--plugin', 'pgoutput'], { encoding: 'utf8', timeout: 20_000 });
  assert.match(check.stdout, /WRONG +all connections reach the same database/);
  await streamer.restart({ ready: false });
  await until('the log says so', () => /connection=query reason="this is another database than the replication connection's"/.test(streamer.log));
  assert.equal((await fetch(`${streamer.url}/readyz`)).status, 503);
});

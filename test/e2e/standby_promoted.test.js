// standby_promoted.test.js - the primary is lost and a standby takes its place: what it had not received yet leaves the clients' copies again.
// SPDX-License-Identifier: PostgreSQL
// runs once: what is read out of the log does not matter, but from whom
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ask, caughtUp, promote, standbyOf } from '../lib/copies.js';
import { Streamer } from '../lib/streamer.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

const open = [];
after(async () => {
  for (const stop of open.reverse()) await stop().catch(() => {});
});

/** A primary with its standby, and everybody who listens. */
async function pair() {
  const world = await World.start({ movable: true });
  const primary = world.server;
  open.push(() => primary.stop(), () => world.stop());
  const standby = await standbyOf(primary);
  open.push(() => standby.stop());
  for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  const audience = await Audience.gather(world);
  open.push(() => audience.leave());
  return { world, primary, standby, audience };
}

const burnIds = (server) => ask(server, 'DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');

test('an asynchronous standby: rows that clients saw and nobody has any more are taken back', async () => {
  const { world, primary, standby, audience } = await pair();
  const kept = await audience.seesNote('received by the standby');
  await caughtUp(primary, standby);
  // the standby's connection hangs: what comes now it will never have, and the new primary gives the ids out again
  process.kill(await ask(primary, "SELECT pid FROM pg_stat_replication WHERE application_name = 'standby'"), 'SIGSTOP');
  await burnIds(primary);
  const lost = await audience.seesNote('seen by everybody, received by no standby');
  await world.sql('UPDATE note SET title = $2 WHERE id = $1', [kept, 'an edit that is lost']);
  await Promise.all(audience.online.map((client) => client.sees('the edit', (copy) => copy.get('note', kept).title === 'an edit that is lost')));
  audience.mark();
  await primary.crash();
  await promote(standby);
  world.moveTo(standby);
  await audience.endsRight('an asynchronous standby was promoted');
  assert.ok(![...audience.online, audience.offline].some((client) => client.copy.get('note', lost)));
});

test('a synchronous standby: nothing is lost, and tokens of before stay good', async () => {
  const { world, primary, standby, audience } = await pair();
  await ask(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
  await ask(primary, 'SELECT pg_reload_conf()');
  await until('the standby is synchronous', async () => (await ask(primary, "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'standby'")) === 'sync');
  const kept = await audience.seesNote('committed on both');
  audience.mark();
  await primary.crash();
  await promote(standby);
  await ask(standby, "ALTER SYSTEM SET synchronous_standby_names = ''");
  await ask(standby, 'SELECT pg_reload_conf()');
  world.moveTo(standby);
  await audience.endsRight('a synchronous standby was promoted');
  assert.ok(audience.online.every((client) => client.copy.get('note', kept)));
  assert.ok(!audience.wasTold(audience.offline), 'the token of the client that was away stayed good');
});

test('the old primary lives on: clients follow the stream to the new one, queries too', async () => {
  const { world, primary, standby, audience } = await pair();
  await caughtUp(primary, standby);
  await promote(standby);
  audience.mark();
  world.moveTo(standby);
  await world.addNote(1, 'only on the new primary');
  // its other connections stay, as those to a server that nobody shut down do
  await ask(primary, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_replication WHERE application_name = 'sync-streamer'");
  await audience.endsRight('the address points to the promoted standby');
  assert.equal(await ask(primary, "SELECT count(*)::int FROM pg_stat_activity WHERE usename IN ('sync_query', 'sync_replication')"), 0, 'nobody asks the old primary');
});

test('a standby issues no cursors: pull is refused, a streamer on it is never ready', async () => {
  const world = await World.start();
  open.push(() => world.stop());
  const standby = await standbyOf(world.server);
  open.push(() => standby.stop());
  await caughtUp(world.server, standby);
  const copy = standby.database('app');
  await assert.rejects(copy.call('pull', { device_id: 'd' }, { sub: 'ada', role: 'app' }), /recovery/);
  const streamer = await Streamer.start(world.database, {}, { secret: world.streamer.secret });
  open.push(() => streamer.stop());
  await streamer.stop();
  streamer.database = copy;
  await streamer.restart({ ready: false });
  await until('the log says why', () => /connection=replication reason="the server is in recovery"/.test(streamer.log));
  const answer = await fetch(`${streamer.url}/api/v1/sync/pull`, { method: 'POST', headers: { authorization: `Bearer ${streamer.token('ada')}` }, body: '{"device_id":"d"}' });
  assert.equal(answer.status, 503);
  assert.equal((await fetch(`${streamer.url}/readyz`)).status, 503);
});

// standby_promoted.test.js - the primary is lost and a standby takes its place: what it had not received yet leaves the clients' copies again.
// SPDX-License-Identifier: PostgreSQL
import { after, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { ask, caughtUp, promote, standbyOf } from '../lib/copies.js';
import { World } from '../lib/world.js';

const open = [];
after(async () => {
  for (const thing of open.reverse()) await thing.stop().catch(() => {});
});

async function pair(settings = {}) {
  const world = await World.start({ movable: true, settings });
  const primary = world.server;
  open.push(primary, world);
  const standby = await standbyOf(primary);
  open.push(standby);
  for (let i = 0; i < 20; i++) await world.addNote(1 + (i % 2), `note ${i}`);
  return { world, primary, standby };
}

test('an asynchronous standby: rows that clients saw and nobody has any more are taken back', async () => {
  const { world, primary, standby } = await pair();
  const audience = await Audience.gather(world);
  const kept = await audience.seesNote('received by the standby');
  await caughtUp(primary, standby);
  // the standby's connection hangs: what comes now it will never have
  const sender = await ask(primary, "SELECT pid FROM pg_stat_replication WHERE application_name = 'standby'");
  process.kill(sender, 'SIGSTOP');
  // and ids that the new primary will give out again
  await ask(primary, 'DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
  const lost = await audience.seesNote('seen by everybody, received by no standby');
  await world.sql('UPDATE note SET title = $2 WHERE id = $1', [kept, 'an edit that is lost']);
  await Promise.all(audience.online.map((client) => client.sees('the edit', (copy) => copy.get('note', kept).title === 'an edit that is lost')));
  audience.mark();
  await primary.crash();
  await promote(standby);
  world.moveTo(standby);
  await audience.endsRight('an asynchronous standby was promoted');
  for (const client of [...audience.online, audience.offline]) if (client.copy.get('note', lost)) throw new Error('a lost row stayed');
  await audience.leave();
});

// streamer_kill.test.js - the streamer is shot in the middle of writes: its clients reconnect and end with the table's contents.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { assertEqualCopy, isEqualCopy } from '../lib/expected.js';
import { until } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

test('kill -9 three times while writing: the copy converges', async () => {
  const ada = await world.join('ada');
  for (let round = 0; round < 3; round++) {
    const writing = (async () => {
      for (let i = 0; i < 40; i++) {
        await world.addNote(1, `round ${round}, note ${i}`);
        await world.sql('UPDATE note SET done = NOT done WHERE id = (SELECT id FROM note ORDER BY random() LIMIT 1)');
        if (i % 5 === 4) await world.sql('DELETE FROM note WHERE id = (SELECT id FROM note ORDER BY random() LIMIT 1)');
      }
    })();
    await until('some of it has arrived', () => ada.copy.rows('note').some((row) => row.title.startsWith(`round ${round}`)));
    await world.streamer.kill();
    await writing;
    await world.streamer.restart();
  }
  await until('the copy equals the table', () => isEqualCopy(world.database, ada.copy, ['note']), { every_ms: 100 });
  await assertEqualCopy(world.database, ada.copy, ['note']);
  const id = await world.addNote(1, 'and live again');
  await ada.sees('a live change', (copy) => copy.get('note', id));
});

test('a killed streamer leaves no replication slot behind', async () => {
  await world.streamer.kill();
  await until('the slot is gone', async () => (await world.value('SELECT count(*)::int FROM pg_replication_slots')) === 0);
  await world.streamer.restart();
});

test('PostgreSQL restarts: the streamer comes back by itself, clients miss nothing', async () => {
  const ben = await world.join('ben');
  await world.server.restart();
  const id = await until('SQL works again', () => world.addNote(1, 'written after the restart').catch(() => undefined));
  await ben.sees('it', (copy) => copy.get('note', id));
  assert.ok(world.streamer.process.exitCode === null, 'still the same process');
});

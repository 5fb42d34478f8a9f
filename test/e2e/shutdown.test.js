// shutdown.test.js - SIGTERM ends the streamer with 0, its clients are told, and what comes next finds no trace.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { RawSocket } from '../lib/raw.js';
import { until, within } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

test('SIGTERM: clients are told, exit code 0, the slot is gone, a new one serves on the same port', async () => {
  const raw = await RawSocket.open(world.streamer);
  const reply = await raw.ask('sync:main', 'phx_join', { device_id: 'd', access_token: world.streamer.token('ada') });
  assert.equal(reply.status, 'ok');
  const ended = await world.streamer.stop();
  assert.deepEqual([ended.code, ended.signal], [0, null], world.streamer.log.slice(-2000));
  const { code } = await within(5_000, 'the socket closes', raw.closed);
  const told = [1000, 1001, 1012].includes(code) || raw.frames.some((frame) => ['phx_close', 'phx_error'].includes(frame[3]));
  assert.ok(told, `closed with ${code}, nothing said before`);
  await until('the slot is gone', async () => (await world.value('SELECT count(*)::int FROM pg_replication_slots')) === 0);
  await world.streamer.restart();
  const ada = await world.join('ada');
  const id = await world.addNote(1, 'after the restart');
  await ada.sees('live changes', (copy) => copy.get('note', id));
});

test('SIGTERM with nobody connected ends with 0', async () => {
  for (const client of world.clients) await client.disconnect();
  const { code } = await world.streamer.stop();
  assert.equal(code, 0);
  await world.streamer.restart();
});

// heartbeat.test.js - a client that is silent is pinged; one that does not answer is cut off as gone, one that does stays.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { RawSocket } from '../lib/raw.js';
import { within } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start({ options: { 'ping-interval': 1 } });
});
after(() => world?.stop());

test('no pong, no connection: 4002; who answers stays', async () => {
  const join = (raw) => raw.ask('sync:x', 'phx_join', { device_id: 'd', access_token: world.streamer.token('ada') });
  const [dead, alive] = [await RawSocket.open(world.streamer, { autoPong: false }), await RawSocket.open(world.streamer)];
  for (const raw of [dead, alive]) assert.equal((await join(raw)).status, 'ok');
  let pings = 0;
  alive.ws.on('ping', () => pings++);
  assert.equal((await within(30_000, 'it is cut off', dead.closed)).code, 4002);
  assert.ok(pings > 1);
  assert.deepEqual(await alive.ask('phoenix', 'heartbeat', {}), { status: 'ok', response: {} });
  alive.close();
});

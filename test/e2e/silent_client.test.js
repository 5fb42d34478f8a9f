// silent_client.test.js - a client that says nothing but answers pings, as every WebSocket does by itself, is kept.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawSocket } from '../lib/raw.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => (world = await World.start({ options: { 'ping-interval': 1 } })));
after(() => world.stop());

test('a silent client is pinged again and again', async () => {
  const raw = await RawSocket.open(world.streamer);
  let pings = 0;
  raw.ws.on('ping', () => pings++);
  await raw.ask('sync:main', 'phx_join', { access_token: world.streamer.token('ada'), device_id: 'silent' });
  // a second ping is sent only once the first was found answered
  await until('three pings', () => pings >= 3);
  assert.equal(raw.ws.readyState, raw.ws.OPEN);
  raw.close();
});

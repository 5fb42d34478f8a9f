// slow_consumer.test.js - a client that does not read harms nobody: the others get everything, it is thrown off the stream, and catches up when it reads again.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const NOTES = 400;
const BODY = 'x'.repeat(50_000); // 20 MB in all: more than the kernel's buffers hold

let world;
before(async () => (world = await World.start()));
after(() => world.stop());

const tcp = (client) => client.socket.conn._socket;
// the one reason counts what waits in the socket's queue, the other what waits before it
const wasTooSlow = (client) => client.events.some(({ name, payload }) => name === 'resync' && ['too slow', 'too much has changed'].includes(payload.reason));

test('one that stands still is told to pull, the other of its team misses nothing meanwhile', async () => {
  const ada = await world.join('ada');
  const ben = await world.join('ben');
  tcp(ben).pause();
  for (let i = 0; i < NOTES; i++) {
    await world.addNote(1, `note ${i}`, BODY);
    if (i % 10 === 9) await ada.sees(`${i + 1} notes`, (copy) => copy.rows('note').length === i + 1);
  }
  assert.ok(!wasTooSlow(ada), 'the control was fast enough');
  assert.ok(ben.copy.rows('note').length < NOTES);
  tcp(ben).resume();
  await ben.sees('all notes', (copy) => copy.rows('note').length === NOTES);
  assert.ok(wasTooSlow(ben), 'what did not fit was not kept for it');
  assert.ok(!ben.events.some(({ name }) => name === 'close'), 'and its connection lived through it');
  await world.addNote(1, 'after all this');
  for (const client of [ada, ben]) await client.sees('the note after', (copy) => copy.rows('note').some((note) => note.title === 'after all this'));
});

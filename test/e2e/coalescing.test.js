// coalescing.test.js - what waits goes out together: many transactions in one message, none of them split.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const TRANSACTIONS = 600;
const ROWS = 3;

let world;
before(async () => (world = await World.start()));
after(() => world.stop());

test('a backlog of small transactions comes in few messages, each transaction whole, all in order', async () => {
  const ada = await world.join('ada');
  const batches = [];
  ada.onEvent((name, payload) => name === 'changes' && payload.changes.length > 0 && batches.push(payload.changes.map((change) => change.data.title)));
  process.kill(world.streamer.process.pid, 'SIGSTOP');
  try {
    for (let i = 0; i < TRANSACTIONS; i++) {
      await world.sql('INSERT INTO note (team_id, title) SELECT 1, $1 FROM generate_series(1, $2)', [String(i), ROWS]);
    }
  } finally {
    process.kill(world.streamer.process.pid, 'SIGCONT');
  }
  await ada.sees('all of it', (copy) => copy.rows('note').length === TRANSACTIONS * ROWS);
  for (const titles of batches) {
    for (const title of new Set(titles)) assert.equal(titles.filter((other) => other === title).length, ROWS, 'a transaction is in one message');
  }
  assert.deepEqual(batches.flat().map(Number), batches.flat().map(Number).sort((a, b) => a - b));
  assert.ok(batches.length < TRANSACTIONS / 2, `${batches.length} messages for ${TRANSACTIONS} transactions`);
});

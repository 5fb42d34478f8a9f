// chinook.test.js - the short form of `make chinook`: random writes on a foreign database, two kills, equal copies.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chinookHistory } from '../chaos/chinook_history.js';

test('Chinook: 400 random changes by 4 sessions, the streamer killed twice, both copies equal', async (t) => {
  const seed = Number(process.env.SEED || 20261121); // one, so that red means the change: `make chinook` looks for new ones
  t.diagnostic(`SEED=${seed}`);
  const { rows } = await chinookHistory({ changes: 400, kills: 2, seconds: 8, seed, say: (line) => t.diagnostic(line) });
  assert.equal(rows, 15_607);
});

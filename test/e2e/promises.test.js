// promises.test.js - the short form of `make chaos`: every play for a few seconds from one seed (SEED= names another), and the seeds that once failed.
// SPDX-License-Identifier: PostgreSQL
// runs once: a play chooses its decoders itself
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closingLine, findPlays, keptSeeds, runPlay } from '../chaos/plays.js';

const SHORT = 5; // seconds, where a play names no time of its own
const SEED = Number(process.env.SEED || 1); // the same at every run, so that a red test is a change's doing; `make chaos` looks for new ones

async function hold(t, play, seed, seconds) {
  const result = await runPlay(play, { seed, seconds, say: (line) => t.diagnostic(line) });
  t.diagnostic(closingLine(play, result));
  assert.deepEqual(result.failures, [], `SEED=${seed}`);
}

for (const play of await findPlays()) {
  test(`${play.row} ${play.name}: ${play.title}`, (t) => hold(t, play, SEED, play.short ?? SHORT));
  for (const { seed, showed } of keptSeeds(play)) {
    test(`${play.row} ${play.name}, seed ${seed} that showed: ${showed}`, (t) => hold(t, play, seed, play.short ?? SHORT));
  }
}

// chinook_history.js - a database that nobody here designed, written to at random while the streamer is shot: do the copies end equal?
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { Postgres } from '../lib/postgres.js';
import { Streamer } from '../lib/streamer.js';
import { SyncClient } from '../lib/client.js';
import { CHINOOK_TABLES, loadChinook } from '../lib/chinook.js';
import { assertEqualCopy, isEqualCopy } from '../lib/expected.js';
import { Random } from '../lib/random.js';
import { sleep, until } from '../lib/wait.js';
import { newTally, runWriters } from './writers.js';

/** Comes and goes until told to stop; a visit that a kill cuts short is no error. */
async function visitNowAndThen(client, random, state) {
  while (!state.over) {
    await sleep(300 + random.below(2000));
    try {
      await client.connect();
      await client.caughtUp();
      state.visits++;
      await sleep(random.below(1500));
    } catch {
      state.cutShort++;
    } finally {
      await client.disconnect();
    }
  }
}

/** Kills spread over the writes, each at its own share of them. */
async function killNowAndThen(streamer, random, { kills, changes, tally, state }) {
  for (let i = 0; i < kills; i++) {
    const due = (changes * (i + 0.5 + 0.8 * random.next())) / (kills + 1);
    await until('enough has been written for the next kill', () => state.written || tally.changes >= due, { limit_ms: 600_000 });
    await streamer.kill();
    state.kills++;
    await sleep(random.below(600));
    await streamer.restart({ ready: false });
    if (i % 2) await streamer.ready(); // else the next one may hit it while it starts
  }
  await streamer.ready();
}

/** `say` gets one line per step. Throws if a copy differs at the end. */
export async function chinookHistory({ changes, kills, seconds, seed, say = () => {} }) {
  const random = new Random(seed);
  const server = await Postgres.start();
  let streamer;
  const clients = [];
  try {
    const database = await server.createDatabase('chinook');
    loadChinook(server, database);
    streamer = await Streamer.start(database);
    const newClient = (sub) => clients[clients.push(new SyncClient(streamer.socketUrl, () => streamer.token(sub))) - 1];

    const follower = newClient('follower');
    await follower.connect();
    await follower.caughtUp();
    await assertEqualCopy(database, follower.copy, CHINOOK_TABLES, 'the first copy');
    const rows = CHINOOK_TABLES.reduce((sum, table) => sum + follower.copy.table(table).size, 0);
    say(`first copy: ${rows} rows of ${CHINOOK_TABLES.length} tables, equal`);
    follower.frames = { push() {} }; // a long run need not remember every frame

    const visitor = newClient('visitor');
    const state = { visits: 0, cutShort: 0, kills: 0, written: false, over: false };
    const tally = newTally();
    const watching = setInterval(() => say(`${tally.changes} changes, ${state.kills} kills, ${state.visits} visits`), 10_000);
    const visiting = visitNowAndThen(visitor, random, state);
    try {
      const writing = runWriters(database, random, { changes, seconds, tally }).finally(() => (state.written = true));
      await Promise.all([writing, killNowAndThen(streamer, random, { kills, changes, tally, state })]);
    } finally {
      clearInterval(watching);
      state.over = true;
      await visiting;
    }
    say(`done: ${JSON.stringify({ ...tally, ...state, written: undefined, over: undefined })}`);
    assert.ok(tally.changes >= changes && state.kills === kills && tally.rolledBack > 0);

    await until('the live copy equals the tables', () => isEqualCopy(database, follower.copy, CHINOOK_TABLES), { limit_ms: 60_000, every_ms: 500 })
      .catch(() => assertEqualCopy(database, follower.copy, CHINOOK_TABLES, 'the live copy'));
    await visitor.connect();
    await visitor.caughtUp();
    await assertEqualCopy(database, visitor.copy, CHINOOK_TABLES, "the visitor's copy");
    await assertEqualCopy(database, follower.copy, CHINOOK_TABLES, 'the live copy');
    say('both copies equal the tables, row for row');
    return { tally, state, rows };
  } finally {
    for (const client of clients) await client.disconnect();
    try {
      if (streamer) await streamer.stop();
    } finally {
      await server.stop();
    }
  }
}

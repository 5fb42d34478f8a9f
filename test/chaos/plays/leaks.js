// leaks.js - G10: random rights, random writes, every way out: what reaches a subject was in its sight between its commit and its arrival, and all that is arrives.
// SPDX-License-Identifier: PostgreSQL
import { Postgres } from '../../lib/postgres.js';
import { Random } from '../../lib/random.js';
import { Arena } from '../rights/arena.js';

const EPISODE_SECONDS = 60; // then another database, with other rights
const KINDS = ['data', 'membership', 'grant', 'policy', 'function', 'share'];
const LEAST = 10; // steps, however long the beginning took
const STEPS = 25; // between two moments at which all copies are compared

export const play = {
  row: 'G10',
  name: 'leaks',
  title: 'random rights and writes: nothing leaves without authorisation, by any way out, and nothing that may be seen is missing',
  short: 10,
  control: 'scope',
  run,
};

async function run({ seconds, random, say, most = Infinity, control }) {
  const server = await Postgres.start();
  const total = { decisions: 0, events: 0, steps: 0, judged: 0, texts: 0, leaks: 0, missing: 0, settled: 0, episodes: 0 };
  const failures = [];
  const lags = [];
  const withdrawals = [];
  const end = Date.now() + seconds * 1000;
  try {
    while (Date.now() < end && total.decisions < most && !failures.length) {
      const arena = await episode(server, random.below(2 ** 31), total.episodes++, end, most - total.decisions, say);
      for (const name of Object.keys(arena.tally)) total[name] = (total[name] ?? 0) + arena.tally[name];
      failures.push(...arena.failures);
      lags.push(...arena.lags);
      withdrawals.push(...arena.withdrawals);
      say(`episode ${total.episodes}: ${JSON.stringify(total)}`);
    }
  } finally {
    await server.stop();
  }
  return { figures: { ...total, ...told('late', lags), ...Object.assign({}, ...KINDS.map((kind) => told(`${kind}_gone`, withdrawals.filter((one) => one.kind === kind)))) }, failures };
}

async function episode(server, seed, number, end, most, say) {
  const arena = await Arena.start(server, new Random(seed), number, { seed });
  const until = Math.min(end, Date.now() + EPISODE_SECONDS * 1000);
  try {
    do {
      for (let i = 0; i < STEPS && (i < LEAST || Date.now() < until); i++) await arena.step();
      await arena.settle();
    } while (Date.now() < until && arena.tally.decisions < most && !arena.failures.length);
  } finally {
    await arena.stop();
  }
  if (arena.failures.length) say(`tables: ${arena.schema.tables.map(({ name, kind }) => `${name} ${kind}`).join(', ')}`);
  return arena;
}

/** How long it took, in milliseconds: after a right was taken until the last row came (late), until the row left the copies (<kind> gone). */
function told(name, list) {
  const all = list.map(({ ms }) => ms).sort((a, b) => a - b);
  if (!all.length) return { [name]: 0 };
  return { [name]: all.length, [`${name}_p50_ms`]: all[Math.floor(all.length / 2)], [`${name}_p99_ms`]: all[Math.floor(all.length * 0.99)], [`${name}_most_ms`]: all.at(-1) };
}

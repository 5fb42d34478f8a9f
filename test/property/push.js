// push.js - `make property`: random pushes against the model of the rules; CASES, SEED, MIX=hard|typical, TABLE, MOST to change it.
// SPDX-License-Identifier: PostgreSQL
import { writeFileSync } from 'node:fs';
import { Arena, describe, runCases } from './cases.js';

const { env } = process;
const count = Number(env.CASES || 20_000);
const seed = Number(env.SEED || Date.now() % 1e9);
const mix = env.MIX || 'hard';
const say = (line) => console.log(`property: ${line}`);

say(`${count} cases, MIX=${mix}, SEED=${seed}`);
const arena = await Arena.start();
try {
  const started = Date.now();
  const { failures, tally } = await runCases(arena, { seed, count, mix, table: env.TABLE, most: Number(env.MOST || 1), say });
  const seconds = (Date.now() - started) / 1000;
  say(`${tally.cases} cases in ${seconds.toFixed(1)} s (${Math.round(tally.cases / seconds)} a second): ${JSON.stringify(tally.outcomes)}`);
  say(`${tally.conflicts} conflicts, ${((100 * tally.settled) / Math.max(1, tally.conflicts)).toFixed(2)} % settled without a person`);
  for (const failure of failures) {
    console.error(describe(failure));
    const { history, table, why } = failure;
    if (env.KEEP !== 'no') writeFileSync(new URL(`seeds/${failure.mix}-${failure.seed}.json`, import.meta.url), `${JSON.stringify({ table, why, history }, null, 1)}\n`);
  }
  if (failures.length) process.exitCode = 1;
  else if (mix === 'typical' && tally.settled < 0.99 * tally.conflicts) {
    say('FAILED: less than 99 % settled without a person');
    process.exitCode = 1;
  } else say('passed, no difference');
} finally {
  await arena.stop();
}

// chinook.js - `make chinook`: the random history in full, with CHANGES, KILLS, SECONDS and SEED to change it.
// SPDX-License-Identifier: PostgreSQL
import { chinookHistory } from './chinook_history.js';

const number = (name, otherwise) => Number(process.env[name] || otherwise);
// bash sets SECONDS itself in a shell, but does not export it
const options = { changes: number('CHANGES', 5000), kills: number('KILLS', 10), seconds: number('SECONDS', 60), seed: number('SEED', Date.now() % 1e9) };

console.log(`chinook: ${options.changes} changes by 4 sessions, ${options.kills} kills, at least ${options.seconds} s, SEED=${options.seed}`);
try {
  await chinookHistory({ ...options, say: (line) => console.log(`chinook: ${line}`) });
  console.log('chinook: passed');
} catch (error) {
  console.error(`chinook: FAILED (SEED=${options.seed})\n${error.stack}`);
  process.exitCode = 1;
}

// hidden_rows.js - G11: whatever is pushed at a key, the answer is the same to the byte whether a row hides there or none: by SQL, HTTP and socket.
// SPDX-License-Identifier: PostgreSQL
import { World } from '../../lib/world.js';
import { HiddenWorld } from '../rights/hidden_world.js';
import { HiddenChanges } from '../rights/hidden_changes.js';
import { compareTimes } from '../rights/times.js';

export const play = {
  row: 'G11',
  name: 'hidden_rows',
  title: 'a push at a hidden key is answered, logged and timed like one at a key that is nowhere',
  run,
};

const SHOWN = 15;
const LEAST = 20; // cases, however long the beginning took
const SHORT = 20; // seconds: below, making all tables would take most of them

async function run({ seconds, random, most = Infinity, say }) {
  const hidden = new HiddenWorld(random, seconds < SHORT ? 8 : undefined);
  const world = await World.start({ schema: hidden.ddl(), options: { 'max-messages-per-second': 10_000, 'max-requests-per-second': 0, 'max-push': '4M' } });
  const figures = { cases: 0, comparisons: 0, by_sql: 0, by_http: 0, by_socket: 0, functions: 0 };
  const failures = [];
  const end = Date.now() + seconds * 1000;
  try {
    const changes = await HiddenChanges.start(world, hidden, random, figures);
    while ((Date.now() < end || figures.cases < LEAST) && figures.comparisons < most && failures.length < SHOWN) {
      failures.push(...(await changes.any()));
      figures.cases++;
    }
    await changes.end();
    if (!failures.length) Object.assign(figures, await compareTimes(world, hidden, random, { seconds, say }));
  } finally {
    await world.stop();
  }
  return { figures, failures };
}

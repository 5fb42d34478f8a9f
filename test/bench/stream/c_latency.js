// c_latency.js - commit to client at 100 changes/s, 1,000 connected, 100 of them concerned by each change.
// SPDX-License-Identifier: PostgreSQL
import { Drain, alone, clock_us, crowdOf, startWorld, steady } from '../tools.js';
import { sleep } from '../../lib/wait.js';

export const name = 'c: from the UPDATE being sent to the client, at 100 changes/s';
const SECONDS = Number(process.env.SECONDS || 5);

async function byRecvlogical(world) {
  const seen = [];
  const drain = await Drain.start(world, {
    onText: (text) => {
      const now = clock_us();
      for (const [, written] of text.matchAll(/@(\d+)@/g)) seen.push(now - Number(written));
    },
  });
  await steady(world, 100, SECONDS);
  await sleep(200);
  await drain.stop();
  seen.sort((a, b) => a - b);
  return { p50: seen[seen.length >> 1] / 1000, p99: seen[Math.floor(seen.length * 0.99)] / 1000 };
}

export async function run({ line, rounds }) {
  const world = await startWorld('scope', 1000);
  try {
    const { p50, p99, floor50, floor99 } = await rounds(async () => {
      const floor = await alone(world, () => byRecvlogical(world));
      const crowd = crowdOf(world, 1000, { tables: ['note'] });
      await crowd.open(1000);
      await sleep(1000);
      await crowd.ask('reset');
      const total = await steady(world, 100, SECONDS);
      const seen = await crowd.wait(total * 100);
      await crowd.stop();
      return { p50: seen.p50 / 1000, p99: seen.p99 / 1000, floor50: floor.p50, floor99: floor.p99 };
    });
    line({ what: 'p50', unit: 'ms', seen: p50, floor: floor50, floor_is: 'one pg_recvlogical', at_most: 3 });
    line({ what: 'p99', unit: 'ms', seen: p99, floor: floor99, floor_is: 'one pg_recvlogical', at_most: 10 });
  } finally {
    await world.stop();
  }
}

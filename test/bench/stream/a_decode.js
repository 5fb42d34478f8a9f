// a_decode.js - a backlog of single-row transactions: decoded and routed, beside pg_recvlogical; and the same delivered to one client.
// SPDX-License-Identifier: PostgreSQL
import { Drain, alone, churn, clock_us, crowdOf, pause, resume, startWorld } from '../tools.js';
import { until } from '../../lib/wait.js';

export const name = 'a, d: decode, route, deliver to one client';
const CHANGES = Number(process.env.CHANGES || 60_000);

/** A backlog while the reader stands still; the time from when it goes on until `done`. */
async function drained(world, reader, work, done) {
  pause(reader);
  try {
    await work();
  } finally {
    resume(reader);
  }
  const begin = clock_us();
  return ((CHANGES + 1) * 1e6) / ((await done()) - begin);
}

async function byRecvlogical(world) {
  const drain = await Drain.start(world);
  const rate = await drained(world, drain.process, async () => {
    await churn(world, CHANGES);
    await world.sql('UPDATE note SET title = $1 WHERE id = 1', [drain.sentinel]);
  }, async () => {
    await until('all is drained', () => drain.done_us, { limit_ms: 60_000, every_ms: 2 });
    return drain.done_us;
  });
  await drain.stop();
  return rate;
}

/** The client is in team 0: rows whose id ends in 0. */
async function byStreamer(world, { isDelivered }) {
  const crowd = crowdOf(world, 1);
  await crowd.open(1);
  await crowd.ask('reset');
  const expected = isDelivered ? CHANGES + 1 : 1;
  const rate = await drained(world, world.streamer.process, async () => {
    await (isDelivered ? churn(world, CHANGES, { step: 10, many: 1000 }) : churn(world, CHANGES, { first: 1, step: 10, many: 1000 }));
    await world.sql("UPDATE note SET title = '@0@ end' WHERE id = 0");
  }, async () => (await crowd.wait(expected)).last_us);
  await crowd.stop();
  return rate;
}

export async function run({ line, rounds }) {
  const world = await startWorld('scope', 10);
  try {
    const { floor, routed, delivered } = await rounds(async () => ({
      floor: await alone(world, () => byRecvlogical(world)),
      routed: await byStreamer(world, { isDelivered: false }),
      delivered: await byStreamer(world, { isDelivered: true }),
    }));
    line({ what: 'decoded and routed', unit: 'changes/s', seen: routed, floor, floor_is: 'pg_recvlogical', ratio_at_least: 0.9 });
    line({ what: 'delivered to one client', unit: 'changes/s', seen: delivered, floor, floor_is: 'pg_recvlogical', ratio_at_least: 0.8 });
  } finally {
    await world.stop();
  }
}

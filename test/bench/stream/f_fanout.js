// f_fanout.js - one change to 10,000 clients of one scope, beside a bare epoll server with as many; and what an idle client costs in memory.
// SPDX-License-Identifier: PostgreSQL
import { clock_us, cpu_s, crowdOf, rss_kb, startFloor, startWorld } from '../tools.js';
import { sleep } from '../../lib/wait.js';

export const name = 'f, g: one change to 10,000 clients; memory of an idle client';
const CLIENTS = Number(process.env.CLIENTS || 10_000);
const CHANGES = 10;
const EVERY_MS = 400;

async function byFloor() {
  const floor = await startFloor(CLIENTS);
  await floor.crowd.ask('reset');
  for (let i = 0; i < CHANGES; i++) {
    floor.server.tell(`send ${'x'.repeat(280)}@${clock_us()}@`);
    await sleep(EVERY_MS);
  }
  const { p99 } = await floor.crowd.wait(CLIENTS * CHANGES);
  await floor.stop();
  return p99 / 1000;
}

async function byStreamer(world, crowd) {
  await crowd.ask('reset');
  for (let i = 0; i < CHANGES; i++) {
    await world.sql('UPDATE note SET title = $1 WHERE id = 0', [`@${clock_us()}@`]);
    await sleep(EVERY_MS);
  }
  const { p50, p99 } = await crowd.wait(CLIENTS * CHANGES);
  return { p50: p50 / 1000, p99: p99 / 1000 };
}

export async function run({ line, rounds }) {
  const world = await startWorld('scope', CLIENTS, { rows: 10 });
  try {
    await world.sql('UPDATE member SET team_id = 0');
    const { pid } = world.streamer.process;
    await sleep(500);
    const empty = rss_kb(pid);
    const crowd = crowdOf(world, CLIENTS, { tables: ['note'] });
    const half = await crowd.open(CLIENTS / 2);
    await sleep(1500);
    const at_half = (rss_kb(pid) - empty) / (CLIENTS / 2);
    const whole = await crowd.open(CLIENTS / 2);
    await sleep(1500);
    const at_whole = (rss_kb(pid) - empty) / CLIENTS;
    const idle = cpu_s(pid);
    await sleep(3000);
    const idle_share = ((cpu_s(pid) - idle) / 3) * 100;
    const { p50, p99, floor } = await rounds(async () => ({ floor: await byFloor(), ...(await byStreamer(world, crowd)) }));
    line({ what: `one change to ${CLIENTS} clients, p99`, unit: 'ms', seen: p99, floor, floor_is: 'bare epoll server', ratio_at_most: 1.5 });
    line({ what: 'the same, p50', unit: 'ms', seen: p50 });
    line({ what: `memory of an idle client, ${CLIENTS / 2} joined`, unit: 'KiB', seen: [at_half], at_most: 8 });
    line({ what: `memory of an idle client, ${CLIENTS} joined`, unit: 'KiB', seen: [at_whole], at_most: 8 });
    line({ what: 'memory of a client after traffic', unit: 'KiB', seen: [(rss_kb(pid) - empty) / CLIENTS] });
    line({ what: `processor of ${CLIENTS} idle clients`, unit: '% of a core', seen: [idle_share] });
    line({ what: 'connect and join', unit: 'clients/s', seen: [(CLIENTS * 1000) / (half.ms + whole.ms)] });
    await crowd.stop();
  } finally {
    await world.stop();
  }
}

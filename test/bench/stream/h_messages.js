// h_messages.js - small messages delivered to 1,000 clients under load: changes of one scope, beside a bare epoll server that joins 16 in one send.
// SPDX-License-Identifier: PostgreSQL
import { churn, clock_us, crowdOf, pause, resume, startFloor, startWorld } from '../tools.js';

export const name = 'h: small messages delivered to 1,000 clients under load';
const CLIENTS = 1000;
const BURST = Number(process.env.BURST || 2000);

async function byFloor() {
  const floor = await startFloor(CLIENTS);
  await floor.crowd.ask('reset');
  const begin = clock_us();
  floor.server.tell(`burst ${BURST} 300 16`);
  const { last_us } = await floor.crowd.wait(CLIENTS * BURST);
  await floor.stop();
  return (CLIENTS * BURST * 1e6) / (last_us - begin);
}

/** Single-row transactions by one backend at full speed while the streamer runs beside it. */
async function beside(world, crowd) {
  await crowd.ask('reset');
  const begin = clock_us();
  await churn(world, BURST, { many: 1, step: 1 });
  const { last_us } = await crowd.wait(CLIENTS * BURST);
  return (CLIENTS * BURST * 1e6) / (last_us - begin);
}

async function backlog(world, crowd) {
  await crowd.ask('reset');
  pause(world.streamer.process);
  await churn(world, BURST, { many: 1, step: 1 });
  resume(world.streamer.process);
  const begin = clock_us();
  const { last_us } = await crowd.wait(CLIENTS * BURST);
  return (CLIENTS * BURST * 1e6) / (last_us - begin);
}

export async function run({ line, rounds }) {
  const world = await startWorld('scope', CLIENTS, { rows: 10 });
  try {
    await world.sql('UPDATE member SET team_id = 0');
    const crowd = crowdOf(world, CLIENTS, { tables: ['note'] });
    await crowd.open(CLIENTS);
    const { floor, written, waiting } = await rounds(async () => ({ floor: await byFloor(), written: await beside(world, crowd), waiting: await backlog(world, crowd) }));
    line({ what: 'changes of one scope, from a backlog', unit: 'deliveries/s', seen: waiting, floor, floor_is: 'bare epoll server', at_least: 1_000_000 });
    line({ what: 'the same, while they are being written', unit: 'deliveries/s', seen: written, floor, floor_is: 'bare epoll server' });
    await crowd.stop();
  } finally {
    await world.stop();
  }
}

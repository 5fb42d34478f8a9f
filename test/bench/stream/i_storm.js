// i_storm.js - 5,000 clients dropped at once: the time until all are live again with their tokens, after cut connections and after a new start.
// SPDX-License-Identifier: PostgreSQL
import { crowdOf, startWorld } from '../tools.js';
import { sleep } from '../../lib/wait.js';

export const name = 'i: 5,000 clients dropped at once';
const CLIENTS = Number(process.env.CLIENTS || 5000);

export async function run({ line, rounds }) {
  const world = await startWorld('scope', CLIENTS, { rows: 1000 });
  try {
    const crowd = crowdOf(world, CLIENTS, { track: true });
    await crowd.open(CLIENTS);
    const { cut, restart } = await rounds(async () => {
      await sleep(2000);
      const cut = await crowd.ask(`cut ${CLIENTS}`);
      await sleep(2000);
      await world.streamer.kill();
      const begin = performance.now();
      await world.streamer.launch({ ready: false });
      const { live } = await crowd.ask('live 120000');
      if (live < CLIENTS || cut.live < CLIENTS) throw new Error(`${cut.live} and ${live} of ${CLIENTS} clients came back`);
      return { cut: cut.ms / 1000, restart: (performance.now() - begin) / 1000 };
    });
    line({ what: 'their connections cut', unit: 's', seen: cut, at_most: 30 });
    line({ what: 'the streamer killed and started', unit: 's', seen: restart, at_most: 30 });
    await crowd.stop();
  } finally {
    await world.stop();
  }
}

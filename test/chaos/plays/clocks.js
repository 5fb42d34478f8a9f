// clocks.js - G16: clients whose clocks are years off, stand still, run backwards or say nonsense; whatever they overwrite or lose is in the conflict log.
// SPDX-License-Identifier: PostgreSQL
import { Postgres } from '../../lib/postgres.js';
import { Random } from '../../lib/random.js';
import { ClockCase, SCHEMA, TABLES } from '../clocks/case.js';
import { ServerClock } from '../clocks/server_clock.js';
import { Replicas } from '../clocks/replicas.js';

const WORKERS = 3;
const ROUND = 60; // cases between two moments at which the replicas are compared
const SHOWN = 10;

export const play = {
  row: 'G16',
  name: 'clocks',
  title: 'clocks ten years off, equal, backwards or absurd destroy nothing: every loser is in the conflict log and all replicas are alike',
  run,
};

async function run({ seconds, random, most = Infinity, say }) {
  const figures = { histories: 0, pushes: 0, writes: 0, losers: 0, overwritten: 0, refused: 0, clamped: 0, server_steps: 0, replicas: 0 };
  const failures = [];
  const server = await Postgres.start({ settings: { 'sync.max_conflicts': 10_000_000, 'sync.max_ledger': 100_000_000 } });
  const end = Date.now() + seconds * 1000;
  try {
    const database = await server.createDatabase('clocks');
    server.psql('clocks', ['-f', '-', '-o', '/dev/null'], SCHEMA);
    const clock = await ServerClock.take(server);
    if (!clock.isFake) say('the server\'s own clock is not stepped: libfaketime is not there (package libfaketime, or SYNC_FAKETIME=)');
    const connections = await Promise.all(Array.from({ length: WORKERS }, () => database.connect()));
    const replicas = new Replicas(database, TABLES, random);
    let number = 0;
    while ((Date.now() < end || !figures.histories) && figures.histories < most && failures.length < SHOWN) {
      const work = async (connection) => {
        for (let i = 0; i < ROUND / WORKERS && (i < 5 || Date.now() < end) && failures.length < SHOWN; i++) {
          const one = new ClockCase(connection, new Random(random.below(2 ** 31)), ++number, figures);
          failures.push(...(await one.run()));
          figures.histories++;
        }
      };
      await Promise.all([...connections.map(work), replicas.pullSome()]);
      if (await clock.step(random)) figures.server_steps++;
      failures.push(...(await replicas.compare()));
    }
    figures.replicas = replicas.size;
    for (const connection of connections) await connection.end();
  } finally {
    await server.stop();
  }
  return { figures, failures: failures.slice(0, SHOWN) };
}

// e_first_sync.js - the first sync of 100,000 rows to one client, beside the same rows by COPY.
// SPDX-License-Identifier: PostgreSQL
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { clock_us, crowdOf, startWorld } from '../tools.js';

export const name = 'e: first sync of 100,000 rows to one client';
const COUNT = 100_000;

function byCopy(world) {
  const begin = clock_us();
  const sql = 'COPY (SELECT row_to_json(n) FROM note n WHERE team_id = 0) TO STDOUT';
  const done = spawnSync(path.join(world.server.bin, 'psql'), ['-X', '-q', '-d', world.database.conninfo('postgres'), '-o', '/dev/null', '-c', sql]);
  if (done.status !== 0) throw new Error(done.stderr.toString());
  return (clock_us() - begin) / 1e6;
}

export async function run({ line, rounds }) {
  const world = await startWorld('scope', 10, { rows: 1 });
  try {
    await world.sql(`INSERT INTO note SELECT i, 0, '@0@ ' || repeat('x', 200) FROM generate_series(1, ${COUNT - 1}) i`);
    await world.sql('VACUUM ANALYZE note');
    const { seen, floor } = await rounds(async () => {
      const crowd = crowdOf(world, 1, { tables: ['note'] });
      const { ms, messages } = await crowd.open(1);
      if (messages !== COUNT) throw new Error(`${messages} rows came`);
      await crowd.stop();
      return { seen: ms / 1000, floor: byCopy(world) };
    });
    line({ what: '100,000 rows', unit: 's', seen, floor, floor_is: 'COPY row_to_json', at_most: 1 });
  } finally {
    await world.stop();
  }
}

// enable.js - turning sync on for a table that is there: its locks are held so long.
// SPDX-License-Identifier: PostgreSQL

/** The table of the baselines: 100 teams, a random uuid as key, nine columns, about 290 bytes a row. */
export async function fillTable(database, name, rows) {
  await database.sql(`CREATE TABLE ${name} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), team text NOT NULL, title text NOT NULL, body text NOT NULL, done boolean NOT NULL,
    position int NOT NULL, size bigint, created_at timestamptz NOT NULL, amount double precision)`);
  await database.sql(`INSERT INTO ${name} SELECT gen_random_uuid(), 'team ' || i % 100, 'title of row ' || i, repeat(md5(i::text), 4), i % 2 = 0, i, i * 1000, '2026-01-01'::timestamptz + i * interval '1 second', i * 1.5
    FROM generate_series(1, $1::bigint) i`, [rows]);
}

export async function run({ server, compare, time, rows }) {
  const database = await server.createDatabase('bench_enable', { roles: false });
  await fillTable(database, 'existing', rows);
  await database.sql('VACUUM ANALYZE existing');
  const file = () => database.value(`SELECT pg_relation_filenode('existing')`);
  await compare(`a table of ${rows} rows`, 'ms', [
    {
      name: 'CREATE INDEX on one column',
      run: async () => {
        const ms = await time(() => database.sql('CREATE INDEX by_hand ON existing (position)'));
        await database.sql('DROP INDEX by_hand');
        return ms;
      },
    },
    {
      name: 'sync.enable',
      run: async () => {
        const before = await file();
        const ms = await time(() => database.sql(`SELECT sync.enable('existing')`));
        if ((await file()) !== before) throw new Error('sync.enable rewrote the table');
        await database.sql(`SELECT sync.disable('existing')`);
        return ms;
      },
    },
  ]);
}

export const name = 'enable';

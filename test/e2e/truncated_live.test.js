// truncated_live.test.js - TRUNCATE, plain, with CASCADE and of one partition: live clients, those away and those of Supabase start the table anew.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Audience } from '../lib/audience.js';
import { expectedRows, differences } from '../lib/expected.js';
import { until } from '../lib/wait.js';
import { NOTES, World } from '../lib/world.js';

const MORE = `${NOTES}
CREATE TABLE comment (id int PRIMARY KEY, note uuid REFERENCES note ON DELETE CASCADE, text text);
CREATE TABLE reading (id int, place int, value int, PRIMARY KEY (id, place)) PARTITION BY LIST (place);
CREATE TABLE reading_1 PARTITION OF reading FOR VALUES IN (1);
CREATE TABLE reading_2 PARTITION OF reading FOR VALUES IN (2);
GRANT SELECT ON comment, reading TO app;
SELECT sync.enable('comment');
SELECT sync.enable('reading');
`;

let world;
let audience;
before(async () => {
  world = await World.start({ schema: MORE });
  audience = await Audience.gather(world);
});
after(async () => {
  await audience?.leave();
  await world?.stop();
});

/** Every client on line, and the one that comes back, holds exactly what the table holds. */
async function allEqual(what, table, truncated) {
  const since = Date.now();
  for (const client of audience.online) {
    let found;
    await until(`${what}: a live copy of ${table} equals it`, async () => (found = differences(client.copy.table(table), await expectedRows(world.database, table))).length === 0)
      .catch((error) => { throw new Error(`${error.message}: ${found.slice(0, 3)}`); });
    const told = client.events.slice(client.marks[0]).some(({ name, payload }) => name === 'changes' && payload.reset?.includes(table));
    assert.ok(told || !truncated, `${what}: a live client is told to start ${table} anew`);
  }
  console.log(`${what}: ${table} right after ${((Date.now() - since) / 1000).toFixed(1)} s`);
  await audience.offline.connect();
  await until(`${what}: so has who was away`, async () => differences(audience.offline.copy.table(table), await expectedRows(world.database, table)).length === 0);
  await audience.offline.disconnect();
}

const fill = () => world.sql(`INSERT INTO reading SELECT i, 1 + i % 2, i FROM generate_series(1, 20) i ON CONFLICT DO NOTHING;
  WITH n AS (INSERT INTO note (team_id, title) SELECT 1, 'note ' || i FROM generate_series(1, 5) i RETURNING id)
  INSERT INTO comment SELECT (SELECT coalesce(max(id), 0) FROM comment) + row_number() OVER (), id, 'of ' || id FROM n`);

for (const [what, statement, tables] of [
  ['TRUNCATE of a table', 'TRUNCATE comment', ['comment']],
  ['TRUNCATE with CASCADE', 'TRUNCATE note CASCADE', ['note', 'comment']],
  ['TRUNCATE of a partition', 'TRUNCATE reading_1', ['reading']],
  ['TRUNCATE of the partitioned table', 'TRUNCATE reading', ['reading']],
  ['TRUNCATE and new rows in one transaction', "BEGIN; TRUNCATE reading; INSERT INTO reading VALUES (1, 1, 1), (2, 2, 2); COMMIT", ['reading']],
]) {
  test(`${what}: everybody starts anew`, async () => {
    await fill();
    for (const table of ['note', 'comment', 'reading']) await allEqual('filled', table, false);
    audience.mark();
    await world.sql(statement);
    for (const table of tables) await allEqual(what, table, true);
    await audience.goesOn(what);
  });
}

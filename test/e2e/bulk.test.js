// bulk.test.js - a statement that writes very many rows is no storm: a nudge to pull, no megabytes of frames, and every copy is right afterwards.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { until } from '../lib/wait.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE item (id int PRIMARY KEY, owner text NOT NULL, n int NOT NULL);
CREATE TABLE small (id int PRIMARY KEY, text text NOT NULL);
GRANT SELECT ON item, small TO app;
ALTER TABLE item ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON item TO app USING (owner = sync.user_id() OR owner = 'all');
SELECT sync.enable('item');
SELECT sync.enable('small');
INSERT INTO item SELECT g, CASE WHEN g % 200 = 0 THEN 'all' ELSE 'nobody' END, 0 FROM generate_series(1, 200000) g;
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

const isTooLarge = ({ payload }) => payload.reason === 'a transaction was too large for the stream';
const live = (client) => client.events.filter(({ name, payload }) => name === 'changes' && !payload.session && payload.changes.length > 0);

for (const count of [20_000, 200_000]) {
  test(`an update of ${count} rows, of which few are hers`, async () => {
    const clients = [await world.join('ada'), await world.join('ben'), await world.join('cleo')];
    const before = clients.map((client) => client.events.length);
    await world.sql(`UPDATE item SET n = ${count} WHERE id <= ${count}`);
    await world.sql(`INSERT INTO small VALUES (${count}, 'behind it')`);
    for (const [i, client] of clients.entries()) {
      await client.sees('all of hers', (copy) => copy.rows('item').filter(({ n }) => n === count).length === count / 200 && copy.get('small', count));
      const resyncs = client.events.slice(before[i]).filter(({ name }) => name === 'resync');
      assert.ok(resyncs.length >= 1, 'a nudge');
      assert.ok(resyncs.filter(isTooLarge).length <= 1, 'one, beside what a machine hears that is too slow to decode it in time');
      assert.ok(live(client).every(({ payload }) => payload.changes.length < 1000), 'no flood of frames');
      assert.ok(client.frames.every((frame) => !frame.includes('nobody')));
      await client.disconnect();
    }
  });
}

test('who follows none of the tables that a huge transaction wrote hears nothing of it, and goes on', async () => {
  const dora = await world.join('dora', { join: { tables: ['small'] } });
  const ada = await world.join('ada');
  const told = (client) => client.events.filter(({ name }) => name === 'resync');
  await world.sql("BEGIN; UPDATE item SET n = 7 WHERE id <= 60000; INSERT INTO small VALUES (1, 'beside it'); COMMIT");
  await dora.sees('her row of a transaction that concerns her', (copy) => copy.get('small', 1));
  assert.ok(told(dora).length >= 1, 'a transaction that wrote to her table too');
  const heard = told(dora).filter(isTooLarge).length;
  await world.sql('UPDATE item SET n = 8 WHERE id <= 60000');
  await world.sql("INSERT INTO small VALUES (2, 'behind it')");
  await dora.sees('what came behind it', (copy) => copy.get('small', 2));
  await ada.sees('both', (copy) => copy.get('small', 2) && copy.rows('item').filter(({ n }) => n === 8).length === 300);
  assert.ok(told(ada).length >= 2);
  assert.equal(told(dora).filter(isTooLarge).length, heard, 'nothing of the one that did not');
  for (const client of [ada, dora]) await client.disconnect();
});

test('a client that takes nothing for a while gets what gathered in few frames, whole transactions, in order', async () => {
  const ada = await world.join('ada');
  const socket = ada.socket.conn;
  socket._socket.pause();
  const frames = ada.frames.length;
  const filler = 'x'.repeat(2000);
  for (let i = 0; i < 300; i++) await world.sql(`BEGIN; INSERT INTO small VALUES (${1_000_000 + 2 * i}, '${filler}'); INSERT INTO small VALUES (${1_000_001 + 2 * i}, 'second'); COMMIT`);
  socket._socket.resume();
  await until('all 600 rows are there', () => ada.copy.rows('small').filter(({ id }) => id >= 1_000_000).length === 600);
  const batches = ada.events.filter(({ name }) => name === 'changes').map(({ payload }) => payload.changes.filter((c) => Number(c.entity_id) >= 1_000_000).map((c) => Number(c.entity_id)));
  for (const batch of batches) assert.equal(batch.length % 2, 0, 'whole transactions');
  const order = batches.flat();
  assert.deepEqual(order, [...new Set(order)].sort((a, b) => a - b), 'in order, once');
  assert.ok(ada.frames.length > frames);
  await ada.disconnect();
});

// policy_failures.test.js - a policy that raises, or takes its time, is the trouble of those it raises for: all others get every change as it comes.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { until } from '../lib/wait.js';

// eve's policy divides by the weight, the sloth's counts for a second
const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE parcel (id int PRIMARY KEY, weight int NOT NULL, title text NOT NULL);
GRANT SELECT ON parcel TO app;
ALTER TABLE parcel ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON parcel TO app USING (CASE sync.user_id()
  WHEN 'eve' THEN 10 / weight > 0
  WHEN 'sloth' THEN (SELECT count(*) FROM generate_series(1, 8000000)) >= 0
  ELSE true END);
SELECT sync.enable('parcel');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

test('eve leaves the stream over a row that her policy cannot take, ben gets it at once; when it is mended she is back', async () => {
  const [eve, ben] = [await world.join('eve'), await world.join('ben')];
  await world.sql("INSERT INTO parcel VALUES (1, 5, 'fine')");
  await eve.sees('the first', (copy) => copy.get('parcel', 1));
  await world.sql("INSERT INTO parcel VALUES (2, 0, 'poison')");
  await ben.sees('the poison', (copy) => copy.get('parcel', 2));
  await until('eve is told', () => eve.events.some(({ name }) => name === 'resync' || name === 'phx_error'));
  await world.sql("INSERT INTO parcel VALUES (3, 5, 'behind it')");
  await ben.sees('what comes behind', (copy) => copy.get('parcel', 3));
  await world.sql("UPDATE parcel SET weight = 1, title = 'mended' WHERE id = 2");
  await eve.sees('all three', (copy) => copy.get('parcel', 2)?.title === 'mended' && copy.get('parcel', 3));
  assert.ok(ben.events.every(({ name }) => name === 'changes' || name === 'ready'), 'ben noticed nothing');
  for (const client of [eve, ben]) await client.disconnect();
});

test('who has a slow policy waits alone, and misses nothing', async () => {
  const sloth = await world.join('sloth');
  const others = [];
  for (let i = 0; i < 5; i++) others.push(await world.join(`user${i}`));
  await world.sql("INSERT INTO parcel SELECT i, 1, 'one of many' FROM generate_series(10, 29) i");
  for (const other of others) await other.sees('all of them', (copy) => copy.get('parcel', 29));
  const behind = 20 - sloth.copy.rows('parcel').filter(({ title }) => title === 'one of many').length;
  assert.ok(behind > 0, 'they did not wait for the sloth');
  await sloth.sees('all of them too', (copy) => copy.rows('parcel').filter(({ title }) => title === 'one of many').length === 20, { limit_ms: 60_000 });
  for (const client of [sloth, ...others]) await client.disconnect();
});

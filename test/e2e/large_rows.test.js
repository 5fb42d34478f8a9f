// large_rows.test.js - a row of very many megabytes stops nobody: it is told as too large, live and by pull, and what is beside and behind it comes.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Copy } from '../lib/client.js';
import { pullAll, World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE page (id int PRIMARY KEY, body text NOT NULL, n int NOT NULL DEFAULT 0, doc jsonb);
CREATE TABLE small (id int PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE ON page, small TO app;
SELECT sync.enable('page'), sync.enable('small');
`;
const ONE = "repeat(chr(1), 200 * 1000 * 1000)"; // as JSON more than a gigabyte, which no string of PostgreSQL's holds

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

test('a row that as JSON would be over a gigabyte: the others of its transaction come, so does what follows, and pull says the same', async () => {
  const [ada, ben] = [await world.join('ada'), await world.join('ben', { join: { tables: ['small'] } })];
  await world.sql(`BEGIN; INSERT INTO page VALUES (1, ${ONE}), (2, 'beside it'); INSERT INTO small VALUES (1); COMMIT`);
  await world.sql('INSERT INTO small VALUES (2)');
  await ben.sees('the small ones', (copy) => copy.get('small', 1) && copy.get('small', 2));
  await ada.sees('the page beside it', (copy) => copy.get('page', 2) && copy.table('page').has('1'), { limit_ms: 60_000 });
  assert.equal(ada.copy.table('page').get('1').data, null);
  const copy = new Copy();
  const { answers } = await pullAll(world, 'cleo', copy);
  const told = answers.flatMap(({ changes }) => changes).find(({ entity_type, entity_id }) => entity_type === 'page' && entity_id === '1');
  assert.equal(told.reason, 'too_large');
  assert.equal(copy.table('page').size, 2);

  await world.sql('UPDATE page SET n = 1 WHERE id = 1');
  await ada.sees('its next version', (copy) => copy.table('page').get('1').server_version === 2);
  const pushed = await world.post('push', 'ada', { device_id: 'd', changes: [{ queue_id: 'q', operation: 'update', entity_type: 'page', entity_id: '1', data: { n: 2 }, timestamp: '2020-01-01T00:00:00Z' }] });
  assert.equal(pushed.json.processed[0].status, 'conflict', pushed.text); // an edit older than the row's last: told without the page itself
  await world.sql("UPDATE page SET body = 'small again' WHERE id = 1");
  await ada.sees('it when it is small again', (copy) => copy.get('page', 1)?.body === 'small again' && copy.get('page', 1).n === 1);
  for (const client of [ada, ben]) await client.disconnect();
});

test('rows that must be read again, more than one answer holds: all of them come', async () => {
  const ada = await world.join('ada');
  await world.sql("INSERT INTO page SELECT g, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 25000)), 0 FROM generate_series(100, 115) g");
  await ada.sees('all', (copy) => copy.rows('page').filter((row) => row?.id >= 100).length === 16, { limit_ms: 60_000 });
  await world.sql('UPDATE page SET n = 7 WHERE id >= 100');
  await ada.sees('all updates', (copy) => copy.rows('page').filter((row) => row?.id >= 100 && row.n === 7 && row.body.length === 800_000).length === 16, { limit_ms: 60_000 });
  await ada.disconnect();
});

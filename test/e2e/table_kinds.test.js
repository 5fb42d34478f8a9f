// table_kinds.test.js - live: partitions are their table, children follow their parent, rows under row-local policies change hands, DDL is told.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NOTES, pullAll, World } from '../lib/world.js';
import { Copy } from '../lib/client.js';

const SCHEMA = `${NOTES}
CREATE TABLE entry (id int, year int, team_id int, body text, PRIMARY KEY (id, year)) PARTITION BY RANGE (year);
CREATE TABLE entry_old (body text, gone int, team_id int, year int NOT NULL, id int NOT NULL);
ALTER TABLE entry_old DROP gone;
ALTER TABLE entry ATTACH PARTITION entry_old FOR VALUES FROM (2000) TO (2020);
CREATE TABLE entry_new PARTITION OF entry FOR VALUES FROM (2020) TO (2030);
SELECT sync.enable('entry', scope => 'team', scope_column => 'team_id');
CREATE TABLE comment (id int PRIMARY KEY, note_id uuid REFERENCES note ON DELETE CASCADE, body text);
SELECT sync.enable('comment', via => 'note_id');
CREATE TABLE task (id int PRIMARY KEY, owner text, body text);
ALTER TABLE task ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON task USING (owner = (SELECT sync.user_id()));
SELECT sync.enable('task');
GRANT SELECT, INSERT, UPDATE, DELETE ON entry, comment, task TO app;
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

test('rows of a partitioned table arrive live under its name, whatever the partition and the order of its columns', async () => {
  const ada = await world.join('ada');
  await world.sql("INSERT INTO entry VALUES (1, 2010, 1, 'old'), (2, 2025, 1, 'new'), (3, 2025, 2, 'of others')");
  await ada.sees('both', (copy) => copy.get('entry', '["1","2010"]')?.body === 'old' && copy.get('entry', '["2","2025"]')?.body === 'new');
  assert.equal(ada.copy.get('entry', '["3","2025"]'), undefined);
  await world.sql('UPDATE entry SET year = 2021 WHERE id = 1');
  await ada.sees('it move', (copy) => copy.get('entry', '["1","2021"]') && !copy.get('entry', '["1","2010"]'));
  await world.sql('CREATE TABLE entry_next PARTITION OF entry FOR VALUES FROM (2030) TO (2040)');
  await world.sql("INSERT INTO entry VALUES (4, 2035, 1, 'next')");
  await ada.sees('a row of a new partition', (copy) => copy.get('entry', '["4","2035"]')?.body === 'next');
  await world.sql('DELETE FROM entry_old; DELETE FROM entry WHERE id = 2');
  await ada.sees('it go', (copy) => !copy.get('entry', '["2","2025"]'));
  await ada.disconnect();
});

test('children follow their parent from one team to another, live', async () => {
  const [ada, cleo] = [await world.join('ada'), await world.join('cleo')];
  const note = await world.addNote(1, 'with children');
  await world.sql("INSERT INTO comment VALUES (1, $1, 'first')", [note]);
  await ada.sees('the comment', (copy) => copy.get('comment', '1')?.body === 'first');
  await world.sql('UPDATE note SET team_id = 2 WHERE id = $1', [note]);
  await cleo.sees('it arrive', (copy) => copy.get('comment', '1')?.body === 'first');
  await ada.sees('it leave', (copy) => !copy.get('comment', '1'));
  await ada.disconnect();
  await cleo.disconnect();
});

test('a row under a row-local policy changes hands: one copy loses it, the other gets it, a third hears nothing', async () => {
  const [ada, ben, cleo] = [await world.join('ada'), await world.join('ben'), await world.join('cleo')];
  await world.sql("INSERT INTO task VALUES (771, 'ada', 'secret words')");
  await ada.sees('her task', (copy) => copy.get('task', '771'));
  await world.sql("UPDATE task SET owner = 'ben' WHERE id = 771");
  await ben.sees('it arrive', (copy) => copy.get('task', '771'));
  await ada.sees('it leave', (copy) => !copy.get('task', '771'));
  await world.sql("INSERT INTO task VALUES (772, 'cleo', 'hers')");
  await cleo.sees('her own', (copy) => copy.get('task', '772'));
  for (const frame of cleo.frames) assert.ok(!frame.includes('secret words') && !frame.includes('"771"'), frame.slice(0, 200));
  for (const client of [ada, ben, cleo]) await client.disconnect();
});

test('a column that is granted later reaches a client that is connected', async () => {
  await world.sql('CREATE TABLE part (id int PRIMARY KEY, open text, closed text); GRANT SELECT (id, open) ON part TO app');
  await world.sql("SELECT sync.enable('part'); INSERT INTO part VALUES (1, 'a', 'b')");
  const ada = await world.join('ada');
  await ada.sees('what is open', (copy) => copy.get('part', '1')?.open === 'a');
  assert.equal(ada.copy.get('part', '1').closed, undefined);
  await world.sql('GRANT SELECT (closed) ON part TO app');
  await ada.sees('the rest', (copy) => copy.get('part', '1')?.closed === 'b');
  const pulled = new Copy();
  await pullAll(world, 'ada', pulled);
  assert.equal(pulled.get('part', '1').closed, 'b');
  await ada.disconnect();
});

// fields.test.js - who asks for changed fields only gets no more than those and the key, and holds in the end what everybody holds.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World, pullAll } from '../lib/world.js';
import { Copy } from '../lib/client.js';
import { Random } from '../lib/random.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE ROLE clerk NOLOGIN;
GRANT app, clerk TO sync_query;
CREATE TABLE member (user_id text NOT NULL, team_id int NOT NULL, PRIMARY KEY (user_id, team_id));
CREATE TABLE form (id int PRIMARY KEY, team_id int, title text, body text, notes jsonb, deleted_at timestamptz);
CREATE TABLE diary (id int PRIMARY KEY, owner text NOT NULL, a text, b text);
GRANT SELECT ON member, form, diary TO app;
GRANT SELECT ON member TO clerk;
GRANT SELECT (id, team_id, title, deleted_at) ON form TO clerk;
ALTER TABLE diary ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON diary TO app USING (owner = sync.user_id());
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('form', scope => 'team', scope_column => 'team_id', deletes => 'soft', deleted_at => 'deleted_at');
SELECT sync.enable('diary');
INSERT INTO member VALUES ('ada', 1), ('ben', 2);
INSERT INTO form VALUES (1, 1, 'one', 'a body that need not travel', '{"n": 1}'), (2, 2, 'two', 'another body', NULL);
INSERT INTO diary VALUES (1, 'ada', 'a', 'b');
`;

const FIELDS = { join: { fields: 'changed' } };

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

const updates = (client, type) => client.events.filter(({ name }) => name === 'changes').flatMap(({ payload }) => payload.changes).filter((c) => c.entity_type === type && c.fields);

test('an update brings its key and what was changed, not the body', async () => {
  const ada = await world.join('ada', FIELDS);
  await world.sql("UPDATE form SET title = 'one more' WHERE id = 1");
  await ada.sees('the title', (copy) => copy.get('form', 1)?.title === 'one more');
  assert.deepEqual(updates(ada, 'form').map(({ data, fields }) => ({ data, fields })), [{ data: { id: 1, title: 'one more' }, fields: ['title'] }]);
  assert.equal(ada.copy.get('form', 1).body, 'a body that need not travel');
  await ada.disconnect();
});

test('whoever has not had the row as it was gets all of it: moved here, brought back, written twice, handed over, under another key', async () => {
  const ada = await world.join('ada', FIELDS);
  await world.sql('UPDATE form SET team_id = 1 WHERE id = 2');
  await ada.sees('it arrive whole', (copy) => copy.get('form', 2)?.body === 'another body');
  await world.sql('DELETE FROM form WHERE id = 2');
  await ada.sees('it go', (copy) => !copy.get('form', 2));
  await world.sql('UPDATE form SET deleted_at = NULL WHERE id = 2');
  await ada.sees('it back, whole', (copy) => copy.get('form', 2)?.body === 'another body');
  await world.sql("BEGIN; UPDATE form SET title = 'x' WHERE id = 2; UPDATE form SET notes = '{}' WHERE id = 2; COMMIT");
  await ada.sees('both', (copy) => copy.get('form', 2)?.title === 'x' && copy.get('form', 2).notes !== null);
  await world.sql("INSERT INTO form VALUES (3, NULL, 'nobody''s', 'body of three')");
  await world.sql('UPDATE form SET team_id = 1 WHERE id = 3');
  await ada.sees('what was nobody\'s, whole', (copy) => copy.get('form', 3)?.body === 'body of three');
  await world.sql('UPDATE form SET id = 4 WHERE id = 3');
  await ada.sees('it under another key, whole', (copy) => copy.get('form', 4)?.body === 'body of three' && !copy.get('form', 3));
  await world.sql("UPDATE diary SET a = 'judged' WHERE id = 1");
  await ada.sees('a row that is judged, whole', (copy) => copy.get('diary', 1)?.a === 'judged');
  assert.deepEqual(updates(ada, 'diary'), []);
  await world.sql("UPDATE form SET id = 4, title = 'renumbered' WHERE id = 3");
  await ada.sees('the row under its new key, whole', (copy) => !copy.get('form', 3) && copy.get('form', 4)?.body === 'body of three');
  await ada.disconnect();
});

test('with columns that may not be read, neither values nor names of those show', async () => {
  const clerk = await world.join('ada', { ...FIELDS, claims: { role: 'clerk' } });
  const ada = await world.join('ada');
  await world.sql("UPDATE form SET title = 'for both', body = 'for ada alone' WHERE id = 1");
  await clerk.sees('the title', (copy) => copy.get('form', 1)?.title === 'for both');
  await ada.sees('the body', (copy) => copy.get('form', 1)?.body === 'for ada alone');
  assert.deepEqual(updates(clerk, 'form').at(-1).fields, ['title']);
  for (const frame of clerk.frames) assert.ok(!/ada alone|"body"/.test(frame), frame.slice(0, 300));
  await clerk.disconnect();
  await ada.disconnect();
});

test('after a hundred random writes it holds what a pull gives', async () => {
  const random = new Random(11);
  const ada = await world.join('ada', FIELDS);
  for (let i = 0; i < 100; i++) {
    const id = 1 + random.below(3);
    const column = random.pick(['title', 'body']);
    await world.sql(random.chance(0.1) ? `UPDATE form SET team_id = ${random.pick(['1', '2', 'NULL'])} WHERE id = ${id}`
      : `UPDATE form SET ${column} = '${column} ${i}' WHERE id = ${id}`);
  }
  await world.sql("UPDATE form SET team_id = 1, title = 'the last' WHERE id = 1");
  await ada.sees('the last', (copy) => copy.get('form', 1)?.title === 'the last');
  const pulled = new Copy();
  await pullAll(world, 'ada', pulled);
  const sorted = (copy) => copy.rows('form').sort((a, b) => a.id - b.id);
  assert.deepEqual(sorted(ada.copy), sorted(pulled));
  assert.ok(updates(ada, 'form').length > 10);
  await ada.disconnect();
});

test('a row that was written over between two pages of the pull comes whole, not as what changed since a version that was never sent', async () => {
  await world.sql("INSERT INTO form SELECT i, 1, 'title', 'body' FROM generate_series(1000, 1299) i");
  const before = await world.join('ada', FIELDS);
  await world.sql('SELECT pg_current_xact_id()');
  await before.sees('all', (copy) => copy.get('form', 1299));
  const { sync_token, copy } = before;
  await before.disconnect();
  await world.sql("UPDATE form SET title = 'first' WHERE id BETWEEN 1000 AND 1299");
  // another device, so that it is not answered from memory; a row a page
  const ada = world.client('ada', { join: { ...FIELDS.join, limit: 1 } });
  Object.assign(ada, { sync_token, copy });
  const written = new Promise((resolve, reject) => {
    let isWritten = false;
    ada.onEvent((name, { changes }) => {
      if (name !== 'changes' || isWritten || !changes.some(({ entity_id }) => Number(entity_id) >= 1000)) return;
      isWritten = true;
      world.sql("UPDATE form SET body = 'second' WHERE id BETWEEN 1200 AND 1299").then(resolve, reject);
    });
  });
  await ada.connect();
  await written;
  await ada.sees('both edits of each', () => [...Array(100).keys()].every((i) => ada.copy.get('form', 1200 + i).title === 'first' && ada.copy.get('form', 1200 + i).body === 'second'));
  await ada.disconnect();
  await world.sql('DELETE FROM form WHERE id >= 1000');
});

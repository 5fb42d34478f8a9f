// policies.test.js - row-level security judged on the stream: everybody gets live just what a SELECT under their role would show, and the deletions of it.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { Random } from '../lib/random.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE ROLE auditor NOLOGIN;
GRANT app, auditor TO sync_query;
CREATE TABLE paper (id int PRIMARY KEY, owner text NOT NULL, is_shared boolean NOT NULL DEFAULT false, title text NOT NULL);
CREATE TABLE stamp (id int PRIMARY KEY, title text NOT NULL);
CREATE TABLE pair (a text, b int, owner text NOT NULL, PRIMARY KEY (a, b));
GRANT SELECT, INSERT, UPDATE, DELETE ON paper, pair TO app;
GRANT SELECT ON paper TO auditor;
GRANT SELECT ON stamp TO app;
ALTER TABLE paper ENABLE ROW LEVEL SECURITY;
ALTER TABLE pair ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_or_shared ON paper TO app USING (owner = sync.user_id() OR is_shared);
CREATE POLICY all_but_secret ON paper TO auditor USING (title <> 'secret');
CREATE POLICY own ON pair TO app USING (owner = sync.user_id());
SELECT sync.enable('paper', deletes => 'hard');
SELECT sync.enable('stamp');
SELECT sync.enable('pair');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

const resyncs = (client) => client.events.filter(({ name }) => name === 'resync');

test('rows come and go as their columns change, without a pull, and nobody else hears of them', async () => {
  const [ada, ben, cleo] = [await world.join('ada'), await world.join('ben'), await world.join('cleo')];
  await world.sql("INSERT INTO paper VALUES (1, 'ada', false, 'written by ada')");
  await ada.sees('her paper', (copy) => copy.get('paper', 1));
  await world.sql('UPDATE paper SET is_shared = true WHERE id = 1');
  await ben.sees('it shared', (copy) => copy.get('paper', 1)?.is_shared);
  await cleo.sees('it shared', (copy) => copy.get('paper', 1)?.is_shared);
  await world.sql("UPDATE paper SET is_shared = false, owner = 'ben', title = 'now of ben' WHERE id = 1");
  await ben.sees('it given to him', (copy) => copy.get('paper', 1)?.title === 'now of ben');
  await ada.sees('it leave', (copy) => !copy.get('paper', 1));
  await cleo.sees('it leave', (copy) => !copy.get('paper', 1));
  await world.sql("UPDATE paper SET title = 'for nobody else' WHERE id = 1");
  await ben.sees('the new title', (copy) => copy.get('paper', 1)?.title === 'for nobody else');
  await world.sql('DELETE FROM paper WHERE id = 1');
  await ben.sees('it deleted', (copy) => !copy.get('paper', 1));
  for (const other of [ada, cleo]) {
    assert.ok(other.frames.every((frame) => !/now of ben|for nobody else/.test(frame)));
    assert.equal(other.frames.filter((frame) => frame.includes('"delete"')).length, 1, 'only the deletion by which it left is told');
  }
  assert.ok(ben.frames.every((frame) => !frame.includes('written by ada') || frame.includes('"is_shared":true')));
  for (const client of [ada, ben, cleo]) {
    assert.deepEqual(resyncs(client), []);
    await client.disconnect();
  }
});

test('in one transaction: handed over and deleted, deleted and put back for another, handed on twice', async () => {
  await world.sql("INSERT INTO paper VALUES (11, 'ada', false, 'a'), (12, 'ada', false, 'b'), (13, 'ada', false, 'c')");
  const [ada, ben, cleo] = [await world.join('ada'), await world.join('ben'), await world.join('cleo')];
  await world.sql(`BEGIN;
    UPDATE paper SET owner = 'ben' WHERE id = 11; DELETE FROM paper WHERE id = 11;
    DELETE FROM paper WHERE id = 12; INSERT INTO paper VALUES (12, 'ben', false, 'b again');
    UPDATE paper SET owner = 'cleo' WHERE id = 13; UPDATE paper SET owner = 'ben', title = 'c handed on' WHERE id = 13;
    COMMIT`);
  await ben.sees('his two', (copy) => copy.get('paper', 12) && copy.get('paper', 13));
  await ada.sees('none', (copy) => copy.rows('paper').length === 0);
  assert.equal(ben.copy.get('paper', 11), undefined);
  assert.equal(cleo.copy.rows('paper').length, 0);
  assert.ok(cleo.frames.every((frame) => !frame.includes('c handed on')));
  assert.ok(ada.frames.every((frame) => !/b again|c handed on/.test(frame)));
  for (const client of [ada, ben, cleo]) await client.disconnect();
  await world.sql('DELETE FROM paper');
});

test('each role is judged by its own policies, keys of two columns too', async () => {
  const ada = await world.join('ada');
  const auditor = await world.join('ada', { claims: { role: 'auditor' } });
  await world.sql("INSERT INTO paper VALUES (21, 'ben', false, 'open'), (22, 'ada', false, 'secret')");
  await world.sql("INSERT INTO pair VALUES ('x \"y\"', 1, 'ada'), ('z', 2, 'ben')");
  await ada.sees('her own', (copy) => copy.get('paper', 22) && copy.get('pair', '["x \\"y\\"","1"]'));
  await auditor.sees('what is no secret', (copy) => copy.get('paper', 21));
  assert.deepEqual(ada.copy.rows('paper').map(({ id }) => id), [22]);
  assert.deepEqual(auditor.copy.rows('paper').map(({ id }) => id), [21]);
  assert.equal(ada.copy.rows('pair').length, 1);
  await ada.disconnect();
  await auditor.disconnect();
  await world.sql('DELETE FROM paper; DELETE FROM pair');
});

test('judged and unjudged tables keep commit order and whole transactions', async () => {
  const ada = await world.join('ada');
  for (let i = 0; i < 60; i++) {
    await world.sql(i % 3 === 0 ? `INSERT INTO stamp VALUES (${i}, 's')`
      : i % 3 === 1 ? `INSERT INTO paper VALUES (${i}, 'ada', false, 'p')`
        : `BEGIN; INSERT INTO stamp VALUES (${i}, 'both'); INSERT INTO paper VALUES (${i}, 'ada', false, 'both'); COMMIT`);
  }
  await ada.sees('all', (copy) => copy.rows('stamp').length === 40 && copy.rows('paper').length === 40);
  const batches = ada.events.filter(({ name }) => name === 'changes').map(({ payload }) => payload.changes.map((c) => Number(c.entity_id)));
  const order = batches.flat();
  assert.deepEqual(order, [...order].sort((a, b) => a - b), 'in the order of the commits');
  for (const batch of batches)
    for (const id of batch) if (id % 3 === 2) assert.equal(batch.filter((other) => other === id).length, 2, 'both halves in one batch');
  assert.deepEqual(resyncs(ada), []);
  await ada.disconnect();
  await world.sql('DELETE FROM paper; DELETE FROM stamp');
});

test('a cursor never claims a change that was still being judged: whoever leaves at any moment misses nothing', async () => {
  const random = new Random(7);
  const ada = await world.join('ada');
  let id = 1000;
  for (let round = 0; round < 12; round++) {
    for (let i = 0; i < 15; i++) await world.sql(`INSERT INTO paper VALUES (${id++}, '${random.pick(['ada', 'ben'])}', false, 'x')`);
    await ada.disconnect();
    await world.sql(`UPDATE paper SET title = 'round ${round}' WHERE id % 7 = ${round % 7}`);
    await ada.connect();
  }
  const wanted = await world.sql("SELECT id, title FROM paper WHERE owner = 'ada' ORDER BY id");
  await ada.sees('all of hers', (copy) => JSON.stringify(copy.rows('paper').map(({ id, title }) => ({ id, title })).sort((a, b) => a.id - b.id)) === JSON.stringify(wanted));
  await ada.disconnect();
  await world.sql('DELETE FROM paper');
});

// catch_up.test.js - a client that was away gets exactly what it missed, page by page, deletions included.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pullAll, World } from '../lib/world.js';
import { Copy } from '../lib/client.js';
import { assertEqualCopy, isEqualCopy } from '../lib/expected.js';
import { until } from '../lib/wait.js';

let world;
before(async () => {
  // a line of the sync log is a transaction like any other: the token after it is a newer one
  world = await World.start({ options: { 'log-pulls': 'off' } });
  await world.sql("INSERT INTO note (team_id, title) SELECT 1, 'note ' || i FROM generate_series(1, 3500) i");
});
after(() => world?.stop());

test('the first pull comes in pages and is complete', async () => {
  const ada = await world.join('ada');
  assert.ok(ada.batches > 1, `more than one page, got ${ada.batches}`);
  await assertEqualCopy(world.database, ada.copy, ['note']);
  await ada.disconnect();
});

test('many changes while away arrive on return, and nothing else', async () => {
  const ada = await world.join('ada');
  await ada.disconnect();
  ada.events.length = 0;
  await world.sql("UPDATE note SET done = true WHERE title LIKE 'note 1%'");
  await world.sql("DELETE FROM note WHERE title LIKE 'note 2%'");
  await world.sql("INSERT INTO note (team_id, title) SELECT 1, 'new ' || i FROM generate_series(1, 1200) i");
  const missed = Number(await world.value("SELECT count(*) FROM note WHERE done OR title LIKE 'new %'")) + 1111;
  await ada.connect();
  await ada.caughtUp();
  await until('the copy equals the table', () => isEqualCopy(world.database, ada.copy, ['note']));
  const received = ada.events.filter(({ name }) => name === 'changes').flatMap(({ payload }) => payload.changes);
  assert.equal(received.length, missed, 'only what was missed');
  await ada.disconnect();
});

test('changes made between the pages of a round are not lost', async () => {
  const copy = new Copy();
  const first = await world.post('pull', 'ada', { device_id: 'pages', limit: 500 });
  copy.apply(first.json);
  assert.equal(first.json.has_more, true);
  await world.sql("UPDATE note SET body = 'touched in between'");
  const { sync_token } = await pullAll(world, 'ada', copy, { device_id: 'pages', limit: 500, sync_token: first.json.next_sync_token });
  await pullAll(world, 'ada', copy, { device_id: 'pages', sync_token });
  await assertEqualCopy(world.database, copy, ['note']);
});

test('a writer that commits late is not skipped', async () => {
  const ada = await world.join('ada');
  await ada.disconnect();
  const late = await world.database.connect();
  await late.query('BEGIN');
  const { rows } = await late.query("INSERT INTO note (team_id, title) VALUES (1, 'committed late') RETURNING id");
  const early = await world.addNote(1, 'committed early');
  await ada.connect();
  await ada.caughtUp();
  await ada.sees('the early one', (copy) => copy.get('note', early));
  await late.query('COMMIT');
  await ada.sees('the late one', (copy) => copy.get('note', rows[0].id));
  await late.end();
  await assertEqualCopy(world.database, ada.copy, ['note']);
  await ada.disconnect();
});

test('nothing new: the same token again', async () => {
  const { sync_token } = await pullAll(world, 'ada', new Copy());
  const again = await world.post('pull', 'ada', { device_id: 'device-of-the-test', sync_token });
  assert.deepEqual(again.json.changes, []);
  assert.equal(again.json.next_sync_token, sync_token);
});

test('TRUNCATE empties the copy', async () => {
  const ada = await world.join('ada');
  await world.sql('TRUNCATE note');
  const id = await world.addNote(1, 'the first of a new life');
  await ada.sees('only the new one', (copy) => copy.table('note').size === 1 && copy.get('note', id));
  await ada.disconnect();
});

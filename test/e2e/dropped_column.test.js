// dropped_column.test.js - a pull that a DROP COLUMN overtakes is told to try again, and the next one is right.
// SPDX-License-Identifier: PostgreSQL
// runs once: pulls only, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

test('the column goes while a pull waits for its table', async () => {
  await world.addNote(1, 'a note');
  const pull = () => world.post('pull', 'ada', { device_id: 'd' });
  assert.equal((await pull()).status, 200);
  const owner = await world.database.connect();
  await owner.query('BEGIN; ALTER TABLE note DROP COLUMN body');
  const asked = pull();
  await until('the pull waits', async () => (await world.value("SELECT count(*)::int FROM pg_locks WHERE NOT granted AND relation = 'note'::regclass")) > 0);
  await owner.query('COMMIT');
  await owner.end();
  const { status, json } = await asked;
  assert.ok(status === 200 || (status === 503 && json.error.code === 'busy'), JSON.stringify({ status, json }));
  const { json: answer } = await pull();
  assert.deepEqual(Object.keys(answer.changes[0].data), ['id', 'team_id', 'title', 'done']);
});

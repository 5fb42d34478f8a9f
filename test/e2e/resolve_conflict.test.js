// resolve_conflict.test.js - a conflict is listed by pull and settled over HTTP, and everybody gets the row as it came out.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

const edit = (id, body, more) => ({ operation: 'update', entity_type: 'note', entity_id: id, data: { body }, ...more });

async function push(user, change) {
  const answer = await world.post('push', user, { device_id: `${user}'s`, changes: [change] });
  assert.equal(answer.status, 200, answer.text);
  return answer.json.processed[0];
}

test('the loser of a collision keeps its words after all, and the others see them', async () => {
  const id = await world.addNote(1, 'draft');
  const ben = await world.join('ben');
  await ben.sees('the draft', (copy) => copy.get('note', id));
  assert.equal((await push('ben', edit(id, 'later', { local_version: 1, timestamp: '2026-01-01T11:00:00Z' }))).outcome, 'applied');
  const lost = await push('ada', edit(id, 'earlier', { local_version: 1, timestamp: '2026-01-01T10:00:00Z' }));
  assert.equal(lost.outcome, 'superseded');
  assert.equal(lost.conflict_data.server_data.body, 'later');

  const listed = await world.post('pull', 'ben', { device_id: 'd', tables: ['sync.conflict'] });
  assert.deepEqual(listed.json.changes.map((c) => c.entity_id), [lost.conflict_id]);
  const foreign = await world.post('pull', 'cleo', { device_id: 'd', tables: ['sync.conflict'] });
  assert.deepEqual(foreign.json.changes, []);
  const refused = await world.post('resolve_conflict', 'cleo', { conflict_id: lost.conflict_id, resolution: 'keep_local' });
  assert.equal(refused.status, 404, refused.text);

  const resolved = await world.post('resolve_conflict', 'ada', { conflict_id: lost.conflict_id, resolution: 'keep_local' });
  assert.equal(resolved.status, 200, resolved.text);
  assert.equal(resolved.json.resolved_entity.data.body, 'earlier');
  await ben.sees('the resolution', (copy) => copy.get('note', id)?.body === 'earlier');
});

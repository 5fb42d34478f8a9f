// push.test.js - offline edits come in by socket and by HTTP: a verdict for each, the same verdict again on a repeat.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

let world;
let ada;
before(async () => {
  world = await World.start();
  ada = await world.join('ada');
});
after(() => world?.stop());

const change = (operation, entity_id, data, more = {}) => ({ queue_id: randomUUID(), operation, entity_type: 'note', entity_id, data, timestamp: new Date().toISOString(), ...more });

// both ways in must say the same
const WAYS = {
  socket: (changes, more) => ada.push(changes, more),
  http: async (changes, more) => {
    const { status, json, text } = await world.post('push', 'ada', { device_id: 'http-device', changes, ...more });
    assert.equal(status, 200, text);
    return json;
  },
};

for (const [way, push] of Object.entries(WAYS)) {
  test(`${way}: create, update, delete are applied and come back live`, async () => {
    const id = randomUUID();
    const created = await push([change('create', id, { team_id: 1, title: 'pushed' })]);
    assert.equal(created.success, true);
    assert.deepEqual([created.processed[0].status, created.processed[0].outcome, created.processed[0].server_version], ['success', 'applied', 1]);
    assert.equal(created.processed[0].entity_id, id);
    await ada.sees('its own row', (copy) => copy.get('note', id)?.title === 'pushed');
    assert.equal(ada.copy.table('note').get(id).changed_by, 'ada');

    const updated = await push([change('update', id, { title: 'pushed again' }, { local_version: 1 })]);
    assert.equal(updated.processed[0].outcome, 'applied');
    assert.equal(updated.processed[0].data.title, 'pushed again');
    await ada.sees('the update', (copy) => copy.get('note', id)?.title === 'pushed again');

    const deleted = await push([change('delete', id, undefined, { local_version: 2 })]);
    assert.equal(deleted.processed[0].outcome, 'applied');
    await ada.sees('the deletion', (copy) => !copy.get('note', id));
    assert.equal(await world.value('SELECT count(*)::int FROM note WHERE id = $1', [id]), 0);
  });

  test(`${way}: an older edit loses and is told what won`, async () => {
    const id = await world.addNote(1, 'server');
    await world.sql('UPDATE note SET title = $2 WHERE id = $1', [id, 'server, edited']);
    const answer = await push([change('update', id, { title: 'mine' }, { local_version: 1, timestamp: new Date(Date.now() - 3_600_000).toISOString() })]);
    const [verdict] = answer.processed;
    assert.equal(answer.success, false);
    assert.deepEqual([verdict.status, verdict.outcome], ['conflict', 'superseded']);
    assert.equal(verdict.data.title, 'server, edited');
    assert.ok(verdict.conflict_id);
    assert.equal(await world.value('SELECT title FROM note WHERE id = $1', [id]), 'server, edited');
  });

  test(`${way}: a newer edit wins over an older one`, async () => {
    const id = await world.addNote(1, 'server');
    await world.sql('UPDATE note SET title = $2 WHERE id = $1', [id, 'server, edited']);
    const answer = await push([change('update', id, { title: 'mine, later' }, { local_version: 1, timestamp: new Date(Date.now() + 30_000).toISOString() })]);
    assert.equal(answer.processed[0].status, 'success');
    assert.equal(await world.value('SELECT title FROM note WHERE id = $1', [id]), 'mine, later');
  });

  test(`${way}: errors say why, the others of the batch stand`, async () => {
    const good = randomUUID();
    const answer = await push([
      change('create', good, { team_id: 1, title: 'good' }),
      change('create', randomUUID(), { team_id: 1, title: 'x'.repeat(201) }),
      change('update', randomUUID(), { title: 'nobody there' }),
      { ...change('create', '1', { a: 1 }), entity_type: 'no_such_table' },
      change('create', randomUUID(), { team_id: 2, title: 'not my team' }),
      change('update', good, { no_such_column: 1 }),
    ]);
    assert.equal(answer.success, false);
    assert.deepEqual(answer.processed.map((verdict) => verdict.status), ['success', 'error', 'error', 'error', 'error', 'error']);
    for (const verdict of answer.processed.slice(1)) {
      assert.ok(verdict.error.code && verdict.error.message, JSON.stringify(verdict));
      assert.equal(verdict.outcome, 'rejected');
    }
    assert.equal(answer.processed[2].error.code, 'not_found');
    assert.equal(await world.value("SELECT count(*)::int FROM note WHERE title = 'not my team'"), 0);
    assert.equal(await world.value('SELECT title FROM note WHERE id = $1', [good]), 'good');
  });

  test(`${way}: the same push again gives the same verdicts and changes nothing`, async () => {
    const id = randomUUID();
    const changes = [change('create', id, { team_id: 1, title: 'once' }), change('update', randomUUID(), { title: 'nobody there' })];
    const first = await push(changes);
    const before = await world.sql('SELECT * FROM note ORDER BY id');
    const second = await push(changes);
    assert.deepEqual(second.processed.map((v) => [v.queue_id, v.status, v.outcome, v.repeat]), first.processed.map((v) => [v.queue_id, v.status, v.outcome, true]));
    assert.deepEqual(await world.sql('SELECT * FROM note ORDER BY id'), before);
  });
}

test('atomic: one error and nothing is applied', async () => {
  const id = randomUUID();
  const answer = await ada.push([change('create', id, { team_id: 1, title: 'all' }), change('create', randomUUID(), { team_id: 1, title: 'x'.repeat(201) })], { atomic: true });
  assert.equal(answer.success, false);
  assert.equal(await world.value('SELECT count(*)::int FROM note WHERE id = $1', [id]), 0);
});

test('socket: a push much larger than an ordinary frame is taken', async () => {
  const changes = Array.from({ length: 1500 }, (_, i) => change('create', randomUUID(), { team_id: 1, title: `large push ${i}`, body: 'x'.repeat(200) }));
  assert.ok(JSON.stringify(changes).length > 500_000);
  const answer = await ada.push(changes);
  assert.equal(answer.success, true);
  await ada.sees('all of them', (copy) => changes.every((one) => copy.get('note', one.entity_id)));
});

test('a push that brings its token gets what it missed in the same answer', async () => {
  const pulled = await world.post('pull', 'ben', { device_id: 'ben-1' });
  let token = pulled.json.next_sync_token;
  for (let page = pulled; page.json.has_more; ) {
    page = await world.post('pull', 'ben', { device_id: 'ben-1', sync_token: token });
    token = page.json.next_sync_token;
  }
  const missed = await world.addNote(1, 'missed by ben');
  const mine = randomUUID();
  const { json } = await world.post('push', 'ben', { device_id: 'ben-1', sync_token: token, changes: [change('create', mine, { team_id: 1, title: 'by ben' })] });
  const ids = json.pull_changes.map((one) => one.entity_id);
  assert.ok(ids.includes(missed) && ids.includes(mine), JSON.stringify(json));
  assert.equal(json.has_more, false);
  assert.ok(json.next_sync_token);
});

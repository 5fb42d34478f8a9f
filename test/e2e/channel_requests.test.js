// channel_requests.test.js - lock, unlock, digest and resolve_conflict on a channel: answered by the reply, with the rights HTTP gives.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const JOIN = { join: { tables: ['*', 'sync.lock', 'sync.conflict'] } };
let world;
let ada;
let ben;
let cleo;

before(async () => {
  world = await World.start();
  [ada, ben, cleo] = [await world.join('ada', JOIN), await world.join('ben', JOIN), await world.join('cleo', JOIN)];
});
after(() => world?.stop());

const HTTP = (sub) => ({
  ask: async (event, payload) => {
    const answer = await world.post(event, sub, { device_id: `${sub} by http`, ...payload });
    if (answer.status !== 200) throw Object.assign(new Error(answer.text), answer.json.error);
    return answer.json;
  },
});

for (const way of ['channel', 'http']) {
  test(`${way}: a lock is granted, seen, refused to others, released`, async () => {
    const [mine, theirs] = way === 'channel' ? [ada, ben] : [HTTP('ada'), HTTP('ben')];
    const id = await world.addNote(1, 'to be locked');
    const place = { entity_type: 'note', entity_id: id, field: 'title' };
    const granted = await mine.ask('lock', { ...place, seconds: 600 });
    assert.equal(granted.success, true);
    assert.equal(granted.lock.device, way === 'channel' ? ada.device_id : 'ada by http', 'the device of the join, where none is named');
    await ben.sees('the lock', (copy) => copy.rows('sync.lock').some((l) => l.entity_id === id && l.holder === 'ada'));
    const refused = await theirs.ask('lock', place);
    assert.deepEqual([refused.success, refused.lock.holder], [false, 'ada']);
    assert.deepEqual(await theirs.ask('unlock', place), { success: false });
    assert.deepEqual(await mine.ask('unlock', place), { success: true });
    await ben.sees('its end', (copy) => !copy.rows('sync.lock').some((l) => l.entity_id === id));
    assert.equal((await theirs.ask('lock', place)).success, true);
  });

  test(`${way}: a lock on a hidden row is refused as on an absent one, bad ones say why`, async () => {
    const stranger = way === 'channel' ? cleo : HTTP('cleo');
    const id = await world.addNote(1, 'hidden from cleo');
    const why = async (payload) => stranger.ask('lock', payload).then(assert.fail, ({ code, message }) => `${code} ${message}`.replace(id, 'ID').replace(/[0-9a-f-]{36}/, 'ID'));
    const hidden = await why({ entity_type: 'note', entity_id: id });
    assert.match(hidden, /not_found/);
    assert.equal(hidden, await why({ entity_type: 'note', entity_id: '00000000-0000-4000-8000-000000000000' }));
    assert.match(await why({ entity_type: 'note' }), /bad_request/);
  });
}

test('a digest on the channel is the one over HTTP', async () => {
  await ada.pull({ tables: JOIN.join.tables });
  const question = { sync_token: ada.sync_token, tables: JOIN.join.tables, buckets: 4 };
  const [one, other] = [await ada.ask('digest', question), await HTTP('ada').ask('digest', question)];
  assert.equal(one.stale, false);
  assert.deepEqual(one.tables, other.tables);
  assert.ok(one.tables.some((table) => table.count > 0));
});

test('a conflict is settled on the channel; a stranger finds none', async () => {
  const id = await world.addNote(1, 'draft');
  const edit = (body, timestamp) => ({ operation: 'update', entity_type: 'note', entity_id: id, data: { body }, local_version: 1, timestamp });
  await ben.sees('the draft', (copy) => copy.get('note', id));
  await ben.push([edit('later', '2026-01-01T11:00:00Z')]);
  const { conflict_id } = (await ada.push([edit('earlier', '2026-01-01T10:00:00Z')])).processed[0];
  await assert.rejects(cleo.ask('resolve_conflict', { conflict_id, resolution: 'keep_local' }), { code: 'not_found' });
  const answer = await ada.ask('resolve_conflict', { conflict_id, resolution: 'keep_local' });
  assert.equal(answer.resolved_entity.data.body, 'earlier');
  await ben.sees('the resolution', (copy) => copy.get('note', id)?.body === 'earlier');
});

test('an event that is not known is still refused', async () => {
  await assert.rejects(ada.ask('drop_table', {}), { code: 'unknown_event' });
});

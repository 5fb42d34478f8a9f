// builtin.test.js - locks and notifications reach those they concern live, by the channel they have already; others see nothing of them.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const JOIN = { join: { tables: ['*', 'sync.lock', 'sync.notification', 'sync.activity'] } };
let world;

before(async () => {
  world = await World.start();
  await world.sql(`SELECT sync.set_scope_users('team', 'SELECT team_id, user_id FROM public.member')`);
});
after(() => world?.stop());

/** One call in the name of a user, as the streamer makes it. */
async function as(user, call, values) {
  const claims = JSON.stringify({ sub: user });
  const rows = await world.sql(
    `WITH who AS MATERIALIZED (SELECT set_config('request.jwt.claims', $1, true)) SELECT ${call} AS answer FROM who`,
    [claims, ...values],
  );
  return (rows.rows ?? rows)[0].answer;
}

test('a lock, its end and a notification arrive live, and only where they belong', async () => {
  const [ada, ben, cleo] = [await world.join('ada', JOIN), await world.join('ben', JOIN), await world.join('cleo', JOIN)];
  const id = await world.addNote(1, 'the plan', 'of team one');
  await ben.sees('the note', (copy) => copy.get('note', id));

  const where = { device_id: 'ada-phone', entity_type: 'note', entity_id: id, field: 'title' };
  const { success } = await as('ada', 'sync.lock($2)', [JSON.stringify({ ...where, seconds: 600 })]);
  assert.equal(success, true);
  await ben.sees('the lock', (copy) => copy.rows('sync.lock').some((l) => l.entity_id === id && l.field === 'title' && l.holder === 'ada'));
  await as('ada', 'sync.unlock($2)', [JSON.stringify(where)]);
  await ben.sees('its end', (copy) => copy.rows('sync.lock').length === 0);

  await as('ada', 'sync.notify($2)', [JSON.stringify({ users: ['ben'], type: 'note', title: 'for ben alone' })]);
  await ben.sees('the notification', (copy) => copy.rows('sync.notification').some((n) => n.title === 'for ben alone' && n.actor === 'ada'));

  // Something of their own that comes after: when they have it, they would have the rest too.
  await as('cleo', 'sync.notify($2)', [JSON.stringify({ users: ['cleo'], type: 'note', title: 'for cleo' })]);
  await as('ada', 'sync.notify($2)', [JSON.stringify({ users: ['ada'], type: 'note', title: 'for ada' })]);
  await cleo.sees('her own', (copy) => copy.rows('sync.notification').length === 1);
  await ada.sees('her own', (copy) => copy.rows('sync.notification').length === 1);
  for (const frame of cleo.frames) assert.ok(!frame.includes(id) && !frame.includes('for ben'), `cleo was told: ${frame.slice(0, 300)}`);
  for (const frame of ada.frames) assert.ok(!frame.includes('for ben'), `ada was told: ${frame.slice(0, 300)}`);
  for (const client of [ada, ben, cleo]) await client.disconnect();
});

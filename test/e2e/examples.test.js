// examples.test.js - the specifications' own examples, from two offline devices to what everybody sees in the end.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (user_id text NOT NULL, wedding_id int NOT NULL, PRIMARY KEY (user_id, wedding_id));
CREATE TABLE shoot (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), location text, notes text, starts_at timestamptz);
CREATE TABLE business (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, context jsonb NOT NULL DEFAULT '{}');
CREATE TABLE note (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title text NOT NULL, body text NOT NULL DEFAULT '');
CREATE TABLE wedding (id int PRIMARY KEY, couple text NOT NULL, day date);
GRANT SELECT ON member TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON shoot, business, note, wedding TO app;
ALTER TABLE wedding ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_weddings ON wedding TO app USING (id IN (SELECT m.wedding_id FROM member m WHERE m.user_id = sync.user_id()));
SELECT sync.enable('shoot');
SELECT sync.enable('business');
SELECT sync.set_column_rule('business', 'context', 'object');
SELECT sync.set_column_rule('business', 'context.challenges', 'union');
SELECT sync.enable('note', deletes => 'soft', delete_rule => 'delete_wins');
SELECT sync.create_scope('wedding', 'SELECT m.wedding_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('wedding', scope => 'wedding', scope_column => 'id', policy_is_scope => true);
INSERT INTO member VALUES ('couple', 1), ('florist', 1), ('band', 1), ('other couple', 2), ('other florist', 2);
INSERT INTO wedding VALUES (1, 'Ada and Ben', '2027-06-12'), (2, 'Cleo and Dan', '2027-06-12');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

const MINUTE = 60_000;
const minutesAgo = (minutes) => new Date(Date.now() - minutes * MINUTE).toISOString();

async function push(sub, device_id, change) {
  const { status, json, text } = await world.post('push', sub, { device_id, changes: [{ queue_id: randomUUID(), ...change }] });
  assert.equal(status, 200, text);
  return json.processed[0];
}

const update = (entity_type, entity_id, data, more) => ({ operation: 'update', entity_type, entity_id, data, ...more });

test('two people edit different fields of one shoot offline: both edits stay, whoever comes first', async () => {
  const id = await world.value("INSERT INTO shoot (location, notes) VALUES ('harbour', 'bring the long lens') RETURNING id");
  const viewer = await world.join('viewer');
  const ada = await push('ada', 'ada-phone', update('shoot', id, { location: 'lighthouse' }, { local_version: 1, timestamp: minutesAgo(5) }));
  assert.deepEqual([ada.status, ada.outcome], ['success', 'applied']);
  // ben's edit is older and he does not know of ada's
  const ben = await push('ben', 'ben-phone', update('shoot', id, { notes: 'bring both lenses' }, { local_version: 1, timestamp: minutesAgo(60) }));
  assert.deepEqual([ben.status, ben.outcome], ['success', 'merged']);
  assert.equal(ben.conflict_id, undefined);
  assert.deepEqual([ben.data.location, ben.data.notes], ['lighthouse', 'bring both lenses']);
  await viewer.sees('both edits', (copy) => copy.get('shoot', id)?.location === 'lighthouse' && copy.get('shoot', id).notes === 'bring both lenses');
  assert.equal(await world.value('SELECT count(*)::int FROM sync.conflict WHERE entity_id = $1', [id]), 0);
});

test("a business's context.challenges edited on two devices keeps both entries", async () => {
  const context = { challenges: ['finding staff'], stage: 'growing' };
  const id = await world.value("INSERT INTO business (name, context) VALUES ('bakery', $1) RETURNING id", [JSON.stringify(context)]);
  const edit = (challenge, minutes) => ({ data: { context: { ...context, challenges: [...context.challenges, challenge] } }, more: { base: { context }, local_version: 1, timestamp: minutesAgo(minutes) } });
  const phone = edit('rent', 10);
  const laptop = edit('suppliers', 30);
  assert.equal((await push('ada', 'phone', update('business', id, phone.data, phone.more))).outcome, 'applied');
  const second = await push('ada', 'laptop', update('business', id, laptop.data, laptop.more));
  assert.deepEqual([second.status, second.outcome], ['success', 'merged']);
  assert.deepEqual(await world.value('SELECT context FROM business WHERE id = $1', [id]), { challenges: ['finding staff', 'rent', 'suppliers'], stage: 'growing' });
  assert.deepEqual(second.data.context.challenges, ['finding staff', 'rent', 'suppliers']);
});

test("a note edited by one and deleted by another ends by the table's rule, the loser is in the log, keep_local brings it back", async () => {
  const id = await world.value("INSERT INTO note (title, body) VALUES ('plan', 'first draft') RETURNING id");
  const viewer = await world.join('viewer');
  await viewer.sees('the note', (copy) => copy.get('note', id));
  const deleted = await push('ada', 'ada-phone', { operation: 'delete', entity_type: 'note', entity_id: id, local_version: 1, timestamp: minutesAgo(20) });
  assert.equal(deleted.outcome, 'applied');
  await viewer.sees('the deletion', (copy) => !copy.get('note', id));

  // later than the deletion, and still it does not bring the note back
  const lost = await push('ben', 'ben-phone', update('note', id, { body: 'second draft' }, { local_version: 1, timestamp: minutesAgo(1) }));
  assert.deepEqual([lost.status, lost.outcome], ['conflict', 'superseded']);
  assert.equal(lost.conflict_data.kind, 'delete');
  const [logged] = await world.sql('SELECT kind, local_data, pushed_by, changed_by FROM sync.conflict WHERE conflict_id = $1', [lost.conflict_id]);
  assert.deepEqual(logged, { kind: 'delete', local_data: { body: 'second draft' }, pushed_by: 'ben', changed_by: 'ada' });

  const answer = await world.database.call('resolve_conflict', { conflict_id: lost.conflict_id, resolution: 'keep_local' }, { sub: 'ben', role: 'app' });
  assert.equal(answer.success, true, JSON.stringify(answer));
  assert.equal(answer.resolved_entity.data.body, 'second draft');
  await viewer.sees('the note again', (copy) => copy.get('note', id)?.body === 'second draft' && copy.get('note', id).title === 'plan');
});

test('a wedding date changed by the couple reaches every connected supplier, and no other', async () => {
  const day = '2027-09-04';
  const concerned = await Promise.all(['couple', 'florist', 'band'].map((sub) => world.join(sub)));
  const others = await Promise.all(['other couple', 'other florist', 'stranger'].map((sub) => world.join(sub)));
  const verdict = await push('couple', 'phone', update('wedding', '1', { day }, { local_version: 1, timestamp: minutesAgo(0) }));
  assert.equal(verdict.outcome, 'applied');
  for (const client of concerned) await client.sees(`the new date (${client.sub})`, (copy) => copy.get('wedding', 1)?.day === day);
  // a change of their own comes after it on the stream: had the other been sent to them, it would be there by now
  await world.sql("UPDATE wedding SET couple = 'Cleo and Dan, renamed' WHERE id = 2");
  for (const client of others.slice(0, 2)) await client.sees('its own wedding', (copy) => copy.get('wedding', 2)?.couple.endsWith('renamed'));
  await world.sql("INSERT INTO shoot (location) VALUES ('for everybody')");
  for (const client of others) {
    await client.sees('what is for everybody', (copy) => copy.rows('shoot').some((shoot) => shoot.location === 'for everybody'));
    assert.ok(!client.frames.some((frame) => frame.includes(day)), `${client.sub} was told`);
    assert.equal(client.copy.get('wedding', 1), undefined);
  }
});

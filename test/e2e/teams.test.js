// teams.test.js - nobody outside a team gets a row, an id or a deletion of it: not live, not by pull, not with a colleague's token.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { pullAll, World } from '../lib/world.js';
import { Copy } from '../lib/client.js';

const SECRET = 'the secret of team one';
let world;
const secretIds = [];
const secretTexts = [SECRET];

before(async () => {
  world = await World.start();
});
after(() => world?.stop());

/** Fails if a text holds an id or a word of team 1. */
function assertNothingLeaked(text, where) {
  for (const secret of [...secretIds, ...secretTexts]) assert.ok(!text.includes(secret), `${where} shows ${secret}: ${text.slice(0, 300)}`);
}

async function secretLife() {
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push(await world.addNote(1, `${SECRET} ${i}`, SECRET));
  secretIds.push(...ids);
  await world.sql('UPDATE note SET done = true WHERE id = $1', [ids[0]]);
  await world.sql('DELETE FROM note WHERE id = ANY($1)', [ids.slice(1, 3)]);
  return ids;
}

/** Something of her own that comes after: when she has it, she would have the rest too. */
async function marker(client) {
  const id = await world.addNote(2, 'for cleo');
  await client.sees('her own note', (copy) => copy.get('note', id));
}

test('live: rows, ids and deletions of the other team never reach her', async () => {
  const [ada, cleo] = [await world.join('ada'), await world.join('cleo')];
  const ids = await secretLife();
  await ada.sees('what her team did', (copy) => copy.get('note', ids[0])?.done && !copy.get('note', ids[1]) && copy.get('note', ids[4]));
  await marker(cleo);
  for (const frame of cleo.frames) assertNothingLeaked(frame, 'a frame');
  await ada.disconnect();
  await cleo.disconnect();
});

test('pull: neither from the start nor from her own cursor', async () => {
  const copy = new Copy();
  const { sync_token, answers } = await pullAll(world, 'cleo', copy);
  await secretLife();
  const later = await pullAll(world, 'cleo', copy, { sync_token });
  for (const answer of [...answers, ...later.answers]) assertNothingLeaked(JSON.stringify(answer), 'an answer');
  assert.ok(copy.rows('note').every((row) => row.team_id === 2));
});

test("with a colleague's token she gets her own rows, whole, and nothing else", async () => {
  const colleague = await pullAll(world, 'ada', new Copy());
  await secretLife();
  const copy = new Copy();
  const { answers } = await pullAll(world, 'cleo', copy, { sync_token: colleague.sync_token });
  for (const answer of answers) assertNothingLeaked(JSON.stringify(answer), 'an answer');
  assert.equal(copy.rows('note').length, await world.value('SELECT count(*)::int FROM note WHERE team_id = 2'));

  const cleo = world.client('cleo');
  cleo.sync_token = colleague.sync_token;
  await cleo.connect();
  await cleo.caughtUp();
  await secretLife();
  await marker(cleo);
  for (const frame of cleo.frames) assertNothingLeaked(frame, 'a frame');
  assert.equal(cleo.copy.rows('note').length, await world.value('SELECT count(*)::int FROM note WHERE team_id = 2'));
  await cleo.disconnect();
});

test('push: a hidden row is answered like one that does not exist, byte for byte', async () => {
  const [hidden] = await secretLife();
  const absent = randomUUID();
  const timestamp = new Date().toISOString();
  const answer = async (operation, id) => {
    const changes = [{ queue_id: randomUUID(), operation, entity_type: 'note', entity_id: id, data: operation === 'delete' ? undefined : { title: 'mine now' }, timestamp }];
    const { json } = await world.post('push', 'cleo', { device_id: 'cleo-1', changes });
    const { queue_id, entity_id, ...rest } = json.processed[0];
    return JSON.stringify(rest).replaceAll(id, 'ID');
  };
  for (const operation of ['update', 'delete']) assert.equal(await answer(operation, hidden), await answer(operation, absent));
  assert.equal(await world.value('SELECT title FROM note WHERE id = $1', [hidden]), `${SECRET} 0`);
});

// scope_moves.test.js - a row that changes its team, and a user who does: each copy ends with what its user may see.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pullAll, World } from '../lib/world.js';
import { Copy } from '../lib/client.js';

let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

test('a note moved to another team leaves the one copy and enters the other', async () => {
  const [ada, cleo] = [await world.join('ada'), await world.join('cleo')];
  const id = await world.addNote(1, 'on the move');
  await ada.sees('it', (copy) => copy.get('note', id));
  await world.sql('UPDATE note SET team_id = 2 WHERE id = $1', [id]);
  await cleo.sees('it arrive', (copy) => copy.get('note', id)?.team_id === 2);
  await ada.sees('it leave', (copy) => !copy.get('note', id));
  await world.sql('UPDATE note SET team_id = 1 WHERE id = $1', [id]);
  await ada.sees('it come back', (copy) => copy.get('note', id)?.team_id === 1);
  await cleo.sees('it leave again', (copy) => !copy.get('note', id));
  await ada.disconnect();
  await cleo.disconnect();
});

test('a client that was away learns of the move by its pull', async () => {
  const id = await world.addNote(1, 'moved behind her back');
  const copy = new Copy();
  const { sync_token } = await pullAll(world, 'ada', copy);
  assert.ok(copy.get('note', id));
  await world.sql('UPDATE note SET team_id = 2 WHERE id = $1', [id]);
  const { answers } = await pullAll(world, 'ada', copy, { sync_token });
  assert.equal(copy.get('note', id), undefined);
  assert.ok(answers.flatMap((answer) => answer.changes).every((change) => change.data === undefined), 'a deletion shows no contents');
});

test('who holds both teams keeps the row and sees its new team', async () => {
  await world.sql("INSERT INTO member VALUES ('dora', 1), ('dora', 2)");
  const dora = await world.join('dora');
  const id = await world.addNote(1, 'within her reach');
  await dora.sees('it', (copy) => copy.get('note', id)?.team_id === 1);
  await world.sql('UPDATE note SET team_id = 2 WHERE id = $1', [id]);
  await dora.sees('its new team', (copy) => copy.get('note', id)?.team_id === 2);
  const pulled = new Copy();
  await pullAll(world, 'dora', pulled);
  assert.deepEqual([...dora.copy.table('note').keys()].sort(), [...pulled.table('note').keys()].sort());
  await dora.disconnect();
});

test('a new member gets the rows, a removed one loses them', async () => {
  const first = await world.addNote(1, 'old news of team one');
  const eve = await world.join('eve');
  assert.equal(eve.copy.rows('note').length, 0);
  await world.sql("INSERT INTO member VALUES ('eve', 1)");
  await eve.sees('the rows of her new team', (copy) => copy.get('note', first));
  const live = await world.addNote(1, 'news');
  await eve.sees('live changes of it', (copy) => copy.get('note', live));

  await world.sql("DELETE FROM member WHERE user_id = 'eve'");
  await eve.sees('all rows withdrawn', (copy) => copy.table('note').size === 0);
  const frames = eve.frames.length;
  const secret = await world.addNote(1, 'not for eve any more');
  await world.sql("INSERT INTO member VALUES ('eve', 2)");
  const own = await world.addNote(2, 'for eve');
  await eve.sees('her other team', (copy) => copy.get('note', own));
  assert.ok(!eve.frames.slice(frames).some((frame) => frame.includes(secret)));
  await eve.disconnect();
});

test('a member removed while away: rows withdrawn by the next pull', async () => {
  await world.sql("INSERT INTO member VALUES ('finn', 1), ('finn', 2)");
  await world.addNote(2, 'team two, kept');
  const copy = new Copy();
  const { sync_token } = await pullAll(world, 'finn', copy);
  await world.sql("DELETE FROM member WHERE user_id = 'finn' AND team_id = 1");
  const { answers } = await pullAll(world, 'finn', copy, { sync_token });
  assert.deepEqual(answers[0].withdrawn, [{ entity_type: 'note', keep: ['2'] }]);
  assert.ok(copy.rows('note').length > 0 && copy.rows('note').every((row) => row.team_id === 2));
});

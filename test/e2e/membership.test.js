// membership.test.js - a change of memberships concerns the sessions of its users and nobody else's; time alone can change them too.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { NOTES, World } from '../lib/world.js';
import { metric } from '../lib/metrics.js';
import { until } from '../lib/wait.js';

let world;
before(async () => {
  world = await World.start({ schema: NOTES });
});
after(() => world?.stop());

const pulls = () => metric(world, 'sync_catch_ups_total', { way: 'pull' });

test('only sessions of the users named are asked again, whatever the case their token writes them in', async () => {
  const others = await Promise.all(['ada', 'ben', 'cleo'].map((sub) => world.join(sub)));
  await world.sql("INSERT INTO member VALUES ('gina', 2)");
  const [gina, upper] = [await world.join('gina'), await world.join('GINA')];
  const note = await world.addNote(1, 'of team one');
  await others[0].sees('it', (copy) => copy.get('note', note));
  const before = await pulls();
  await world.sql("INSERT INTO member VALUES ('gina', 1)");
  await gina.sees('the rows of her new team', (copy) => copy.get('note', note));
  await until('both of her sessions have asked', async () => (await pulls()) === before + 2);
  for (let i = 0; i < 5; i++) await world.addNote(1, 'more');
  assert.equal(await pulls(), before + 2, 'nobody else');
  for (const client of others) assert.deepEqual(client.events.filter(({ name }) => name === 'resync'), []);
  await Promise.all([...others, gina, upper].map((client) => client.disconnect()));
});

test('many members in one transaction, and TRUNCATE: everyone is asked again', async () => {
  await world.sql("INSERT INTO member SELECT 'user ' || i, 1 FROM generate_series(1, 200) i");
  const member = await world.join('user 7');
  await world.sql("UPDATE member SET team_id = 2 WHERE user_id LIKE 'user %'");
  const note = await world.addNote(2, 'of team two');
  await member.sees('the other team', (copy) => copy.get('note', note));
  await world.sql('TRUNCATE member');
  await member.sees('nothing', (copy) => copy.table('note').size === 0);
  await world.sql("INSERT INTO member VALUES ('ada', 1), ('ben', 1), ('cleo', 2)");
  await member.disconnect();
});

test('a member that the trigger could not see goes too, once the scopes are read again', async () => {
  const ada = await world.join('ada');
  await world.sql("DELETE FROM member WHERE user_id = 'hal'");
  const note = await world.addNote(1, 'seen');
  await ada.sees('it', (copy) => copy.get('note', note));
  await world.sql('ALTER TABLE member DISABLE TRIGGER "~~sync_watch"');
  await world.sql("DELETE FROM member WHERE user_id = 'ada'");
  await world.sql('ALTER TABLE member ENABLE ALWAYS TRIGGER "~~sync_watch"');
  await ada.sees('the withdrawal', (copy) => copy.table('note').size === 0, { limit_ms: 60_000 });
  await world.sql("INSERT INTO member VALUES ('ada', 1)");
  await ada.sees('it again', (copy) => copy.get('note', note));
  await ada.disconnect();
});

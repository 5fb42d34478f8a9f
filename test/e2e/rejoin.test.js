// rejoin.test.js - who comes back soon goes on from the streamer's memory: no pull, nothing missed, no right that was lost meanwhile.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { metric } from '../lib/metrics.js';
import { until } from '../lib/wait.js';

const CLIENTS = 200;

let world;
before(async () => {
  world = await World.start();
  await world.sql("INSERT INTO note (team_id, title) SELECT 1 + i % 2, 'note ' || i FROM generate_series(1, 50) i");
});
after(() => world?.stop());

const pulls = () => metric(world, 'sync_catch_ups_total', { way: 'pull' });
const replays = () => metric(world, 'sync_catch_ups_total', { way: 'replay' });

async function isEqual(client, team) {
  const rows = await world.sql('SELECT id, sync_version::int AS version FROM note WHERE team_id = $1', [team]);
  const copy = client.copy.table('note');
  return rows.length === copy.size && rows.every(({ id, version }) => copy.get(id)?.server_version === version);
}

/** The streamer may take a moment to know the cursor that a client was just given as its own. */
const isCovered = (client) => until('a cursor of the stream', async () => {
  await world.addNote(1, 'a moment later');
  return client.events.filter(({ name }) => name === 'changes').length > 1;
});

test(`${CLIENTS} clients dropped at once are back without a pull, and have what they missed`, async () => {
  const subs = Array.from({ length: CLIENTS }, (_, i) => ['ada', 'ben', 'cleo'][i % 3]);
  const clients = await Promise.all(subs.map((sub) => world.join(sub)));
  const live = await Promise.all([world.addNote(1, 'live for team one'), world.addNote(2, 'live for team two')]);
  for (const [i, client] of clients.entries()) await client.sees('a live change', (copy) => copy.get('note', live[i % 3 === 2 ? 1 : 0]));
  const before = await pulls();
  await Promise.all(clients.map((client) => client.disconnect()));
  await world.sql("UPDATE note SET done = true WHERE title LIKE 'note 1%'");
  await world.sql("DELETE FROM note WHERE title LIKE 'note 2%'");
  await world.sql("INSERT INTO note (team_id, title) SELECT 1 + i % 2, 'new ' || i FROM generate_series(1, 20) i");
  for (const client of clients) client.events.length = 0;
  await Promise.all(clients.map((client) => client.connect()));
  for (const [i, client] of clients.entries()) {
    await client.caughtUp();
    await until('the copy equals the table', () => isEqual(client, i % 3 === 2 ? 2 : 1));
  }
  const last = await world.addNote(1, 'and live again');
  await clients[0].sees('a live change', (copy) => copy.get('note', last));
  assert.equal(await pulls() - before, 0, 'no pull');
  assert.equal(await replays(), CLIENTS);
  await Promise.all(clients.map((client) => client.disconnect()));
});

test('removed from the team while away: the rows are withdrawn on return, and none of what came meanwhile shows', async () => {
  await world.sql("INSERT INTO member VALUES ('dora', 1)");
  const dora = await world.join('dora');
  await isCovered(dora);
  await dora.disconnect();
  await world.sql("DELETE FROM member WHERE user_id = 'dora'");
  const secret = await world.addNote(1, 'not for dora');
  await dora.connect();
  await dora.sees('all rows withdrawn', (copy) => copy.table('note').size === 0);
  assert.ok(!dora.frames.some((frame) => frame.includes(secret)));
  await dora.disconnect();
});

test('added to a team while away: its rows are there on return', async () => {
  await world.sql("INSERT INTO member VALUES ('eve', 2)");
  const eve = await world.join('eve');
  await until('a cursor of the stream', async () => {
    await world.addNote(2, 'a moment later');
    return eve.events.filter(({ name }) => name === 'changes').length > 1;
  });
  await eve.disconnect();
  await world.sql("INSERT INTO member VALUES ('eve', 1)");
  await eve.connect();
  await until('both teams', async () => eve.copy.table('note').size === Number(await world.value('SELECT count(*) FROM note')));
  await eve.disconnect();
});

test('a device revoked while away is refused on return', async () => {
  const finn = world.client('ada', { device_id: 'stolen' });
  await finn.connect();
  await finn.caughtUp();
  await finn.push([{ operation: 'create', entity_type: 'note', entity_id: crypto.randomUUID(), data: { team_id: 1, title: 'registers the device' }, timestamp: new Date().toISOString() }]);
  await isCovered(finn);
  await finn.disconnect();
  const back = world.client('ada', { device_id: 'stolen' });
  back.sync_token = finn.sync_token;
  const witness = await world.join('ben');
  await world.sql("UPDATE sync.device SET revoked_at = now() WHERE user_id = 'ada' AND device_id = 'stolen'");
  const later = await world.addNote(1, 'decoded behind it');
  await witness.sees('what came after the revocation', (copy) => copy.get('note', later));
  await assert.rejects(back.connect(), { code: 'forbidden' });
  await back.disconnect();
  await witness.disconnect();
});

test('a token that says something else of its user pulls', async () => {
  const ben = await world.join('ben');
  await isCovered(ben);
  const token = ben.sync_token;
  await ben.disconnect();
  const other = world.client('ben', { device_id: ben.device_id, claims: { team: 'another' } });
  other.sync_token = token;
  const before = await pulls();
  await other.connect();
  await other.caughtUp();
  await until('it is live', async () => (await pulls()) === before + 1);
  await other.disconnect();
});

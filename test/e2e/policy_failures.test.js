// policy_failures.test.js - a policy that raises, or takes its time, is the trouble of those it raises for: all others get every change as it comes.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { until } from '../lib/wait.js';

// eve's policy divides by the weight, the sloth's counts for a second
const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE parcel (id int PRIMARY KEY, weight int NOT NULL, title text NOT NULL);
GRANT SELECT ON parcel TO app;
ALTER TABLE parcel ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON parcel TO app USING (CASE sync.user_id()
  WHEN 'eve' THEN 10 / weight > 0
  WHEN 'sloth' THEN (SELECT count(*) FROM generate_series(1, 8000000)) >= 0
  ELSE true END);
SELECT sync.enable('parcel');
CREATE TABLE crate (id int PRIMARY KEY, place int NOT NULL);
GRANT SELECT ON crate TO app;
INSERT INTO crate VALUES (1, 1);
SELECT sync.create_scope('place', $$ SELECT least(1, 1 / length(replace(sync.user_id(), 'finn', '')) + 1) $$);
SELECT sync.enable('crate', scope => 'place', scope_column => 'place');
`;

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

test('eve leaves the stream over a row that her policy cannot take, ben gets it at once; when it is mended she is back', async () => {
  const [eve, ben] = [await world.join('eve'), await world.join('ben')];
  await world.sql("INSERT INTO parcel VALUES (1, 5, 'fine')");
  await eve.sees('the first', (copy) => copy.get('parcel', 1));
  await world.sql("INSERT INTO parcel VALUES (2, 0, 'poison')");
  await ben.sees('the poison', (copy) => copy.get('parcel', 2));
  await until('eve is told', () => eve.events.some(({ name }) => name === 'resync' || name === 'phx_error'));
  await world.sql("INSERT INTO parcel VALUES (3, 5, 'behind it')");
  await ben.sees('what comes behind', (copy) => copy.get('parcel', 3));
  await world.sql("UPDATE parcel SET weight = 1, title = 'mended' WHERE id = 2");
  await eve.sees('all three', (copy) => copy.get('parcel', 2)?.title === 'mended' && copy.get('parcel', 3));
  assert.ok(ben.events.every(({ name }) => name === 'changes' || name === 'ready'), 'ben noticed nothing');
  for (const client of [eve, ben]) await client.disconnect();
});

const CLEAR = /^a policy, scope or type of the application's failed for this user \(SQLSTATE 22012\)$/;
const isLogged = (user, read) => until('the log says whose and where', () => new RegExp(`request_failed .*sqlstate=22012 user="${user}" read="${read}" reason="division by zero"`).test(world.streamer.log));

test('a policy that raises is named by its error class to those it raises for, by every way in, and with user and table to the operator; mended, all go on by themselves', async () => {
  const [eve, ben] = [await world.join('eve', { join: { tables: ['parcel'] } }), await world.join('ben')];
  await world.sql("INSERT INTO parcel VALUES (50, 0, 'a secret of others')");
  await until('eve is told on her channel', () => eve.events.some(({ name, payload }) => name === 'phx_error' && payload?.reason === 'policy_failed'));
  assert.match(eve.events.find(({ name, payload }) => name === 'phx_error' && payload?.reason === 'policy_failed').payload.message, CLEAR);
  await isLogged('eve', 'table "parcel"');
  await until('the judge names her too', () => /policy_failed sqlstate=22012 user="eve" table="parcel" reason="division by zero"/.test(world.streamer.log));

  await assert.rejects(world.client('eve').connect(), ({ code, message, hint }) => code === 'policy_failed' && CLEAR.test(message) && /owner/.test(hint));
  const pulled = await world.post('pull', 'eve', { device_id: 'another' });
  assert.deepEqual([pulled.status, pulled.json.error.code], [500, 'policy_failed']);
  assert.match(pulled.json.error.message, CLEAR);
  const streamed = await fetch(`${world.streamer.url}/api/v1/sync/stream?device_id=third`, { headers: { authorization: `Bearer ${world.streamer.token('eve')}` } });
  assert.equal(streamed.status, 500);
  assert.equal((await streamed.json()).error.code, 'policy_failed');
  assert.ok(!eve.frames.some((frame) => /division|secret/.test(frame)), 'nothing of the row, nor of the words of its error');

  await ben.sees('what eve cannot', (copy) => copy.get('parcel', 50));
  assert.ok(ben.events.every(({ name }) => name === 'changes' || name === 'ready'), 'ben noticed nothing');
  // tables of hers that are not concerned go on
  assert.equal((await world.post('pull', 'eve', { device_id: 'another', tables: ['crate'] })).status, 200);

  await world.sql("ALTER POLICY odd ON parcel USING (CASE sync.user_id() WHEN 'eve' THEN 10 / nullif(weight, 0) > 0 WHEN 'sloth' THEN (SELECT count(*) FROM generate_series(1, 8000000)) >= 0 ELSE true END)");
  await world.sql("INSERT INTO parcel VALUES (51, 1, 'after the cure')");
  await eve.sees('what came after the cure', (copy) => copy.get('parcel', 51));
  assert.equal(eve.copy.get('parcel', 50), undefined);
  await world.sql('DELETE FROM parcel'); // what comes next counts for a second at each row
  for (const client of world.clients) await client.disconnect();
});

test('a scope that raises is told alike', async () => {
  await assert.rejects(world.client('finn').connect(), ({ code, message }) => code === 'policy_failed' && CLEAR.test(message));
  await isLogged('finn', 'scope "place"');
  await world.sql("UPDATE sync.scope SET members = 'SELECT 1' WHERE name = 'place'");
  const finn = await world.join('finn');
  assert.ok(finn.copy.get('crate', 1));
  await finn.disconnect();
});

test('who has a slow policy waits alone, and misses nothing', async () => {
  const sloth = await world.join('sloth');
  const others = [];
  for (let i = 0; i < 5; i++) others.push(await world.join(`user${i}`));
  await world.sql("INSERT INTO parcel SELECT i, 1, 'one of many' FROM generate_series(10, 29) i");
  for (const other of others) await other.sees('all of them', (copy) => copy.get('parcel', 29));
  const behind = 20 - sloth.copy.rows('parcel').filter(({ title }) => title === 'one of many').length;
  assert.ok(behind > 0, 'they did not wait for the sloth');
  await sloth.sees('all of them too', (copy) => copy.rows('parcel').filter(({ title }) => title === 'one of many').length === 20, { limit_ms: 60_000 });
  for (const client of [sloth, ...others]) await client.disconnect();
});

// broadcast.test.js - what Supabase's own client sends into a topic reaches those who joined it, with either serializer, from SQL, and nobody else.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawSocket } from '../lib/raw.js';
import { people, Room, TOPICS } from '../lib/topics.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start({ schema: TOPICS, options: { 'public-topics': 'on', 'max-broadcast': '2k' } });
});
after(() => world?.stop());

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`a message reaches the others and, if asked for, its sender, serializer ${vsn}`, async (t) => {
    const clients = await people(t, world, ['ada', 'ben'], { vsn });
    const ada = await new Room(clients[0], 'team:1', { broadcast: { self: true, ack: true } }).subscribe();
    const ben = await new Room(clients[1], 'team:1').subscribe();
    const payload = { text: 'é "quoted"', n: 1, list: [null, true] };
    assert.equal(await ada.send('Typing', payload), 'ok');
    assert.deepEqual(await ben.hears('Typing'), payload);
    assert.deepEqual(await ada.hears('Typing'), payload);
    await ben.send('answer', {});
    await ada.hears('answer');
    assert.deepEqual(ben.heard.map(({ event }) => event), ['Typing']);
  });
}

test('serializers mix: JSON reaches everybody, bytes only those who can take them', async (t) => {
  const [one] = await people(t, world, ['ada'], { vsn: '1.0.0' });
  const [two, three] = await people(t, world, ['ben', 'ada']);
  const old = await new Room(one, 'team:1').subscribe();
  const sender = await new Room(two, 'team:1', { broadcast: { ack: true } }).subscribe();
  const young = await new Room(three, 'team:1').subscribe();
  assert.equal(await sender.send('bytes', new Uint8Array([0, 1, 255]).buffer), 'ok');
  assert.equal(await sender.send('json', { a: 1.5 }), 'ok');
  assert.deepEqual(new Uint8Array(await young.hears('bytes')), new Uint8Array([0, 1, 255]));
  assert.deepEqual(await old.hears('json'), { a: 1.5 });
  assert.deepEqual(old.heard.map(({ event }) => event), ['json']);
  await old.send('from the old one', { b: 2 });
  assert.deepEqual(await young.hears('from the old one'), { b: 2 });
});

test('topics are apart: other names, and the public one of the same name', async (t) => {
  const clients = await people(t, world, ['ada', 'ben', 'cleo']);
  const ada = await new Room(clients[0], 'team:1', { broadcast: { ack: true } }).subscribe();
  const open = await new Room(clients[1], 'team:1', { private: false, broadcast: { ack: true } }).subscribe();
  const cleo = await new Room(clients[2], 'team:2').subscribe();
  const stranger = await new Room(clients[2], 'team:1', { private: false }).subscribe();
  assert.equal(await ada.send('secret', {}), 'ok');
  assert.equal(await open.send('said aloud', {}), 'ok');
  await stranger.hears('said aloud');
  for (const room of [ada, cleo]) assert.deepEqual(room.heard, []);
  assert.deepEqual(stranger.heard.map(({ event }) => event), ['said aloud']);
});

test('what is too large or no JSON is refused to its sender and reaches nobody', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const ben = await new Room(client, 'team:1').subscribe();
  const raw = await RawSocket.open(world.streamer);
  t.after(() => raw.close());
  await raw.ask('realtime:team:1', 'phx_join', { access_token: world.streamer.token('ben'), config: { private: true, broadcast: { ack: true } } });
  const large = await raw.ask('realtime:team:1', 'broadcast', { type: 'broadcast', event: 'large', payload: 'x'.repeat(2050) });
  assert.deepEqual(large, { status: 'error', response: { error: 'payload_size_exceeded' } });
  const nameless = await raw.ask('realtime:team:1', 'broadcast', { type: 'broadcast', payload: {} });
  assert.equal(nameless.status, 'error');
  const before = raw.frames.length;
  const head = Buffer.from([3, 1, 1, 'realtime:team:1'.length, 3, 0, 1]);
  raw.ws.send(Buffer.concat([head, Buffer.from('19realtime:team:1bad{"a":')]));
  const reply = await until('the reply', () => raw.frames.slice(before).find((frame) => frame[1] === '9'));
  assert.equal(reply[4].status, 'error');
  assert.deepEqual(await raw.ask('realtime:team:1', 'broadcast', { type: 'broadcast', event: 'good', payload: {} }), { status: 'ok', response: {} });
  await ben.hears('good');
  assert.deepEqual(ben.heard.map(({ event }) => event), ['good']);
});

test('SQL sends with its transaction: at commit, in order, never after a rollback', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const ada = await new Room(client, 'team:1').subscribe();
  const open = await new Room(client, 'lobby', { private: false }).subscribe();
  await world.sql("BEGIN; SELECT sync.broadcast('team:1', 'undone', '{}'); ROLLBACK");
  await world.sql(`BEGIN;
    SELECT sync.broadcast('team:1', 'first', '{"n": 1}'), sync.broadcast('team:1', 'second', '[2]');
    INSERT INTO note (team_id, title) VALUES (1, 'with a row');
    SELECT sync.broadcast('lobby', 'third', '3', private => false); COMMIT`);
  assert.equal(await open.hears('third'), 3);
  assert.deepEqual(ada.heard, [{ event: 'first', payload: { n: 1 } }, { event: 'second', payload: [2] }]);
  // Whoever may write WAL messages cannot speak for us
  await world.sql(`SELECT pg_logical_emit_message(false, 'sync', ':{"t":"broadcast","topic":"lobby","event":"forged","payload":{},"private":false}')`);
  await world.sql("SELECT sync.broadcast('lobby', 'last', NULL, false)");
  assert.deepEqual(await open.hears('last'), {});
  assert.deepEqual(open.heard.map(({ event }) => event), ['third', 'last']);
});

test('a channel that was left hears nothing more', async (t) => {
  const clients = await people(t, world, ['ada', 'ben']);
  const ada = await new Room(clients[0], 'team:1', { broadcast: { ack: true } }).subscribe();
  const ben = await new Room(clients[1], 'team:1').subscribe();
  const raw = await RawSocket.open(world.streamer);
  t.after(() => raw.close());
  await raw.ask('realtime:team:1', 'phx_join', { access_token: world.streamer.token('ben'), config: { private: true } }, '1');
  await raw.ask('realtime:team:1', 'phx_leave', {}, '1');
  const frames = raw.frames.length;
  assert.equal(await ada.send('after', {}), 'ok');
  await ben.hears('after');
  assert.ok(!raw.frames.slice(frames).some((frame) => frame[3] === 'broadcast'));
});

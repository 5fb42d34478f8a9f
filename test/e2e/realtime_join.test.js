// realtime_join.test.js - Supabase's own client joins, leaves, renews its token and is refused, with either serializer.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawSocket } from '../lib/raw.js';
import { Channel, realtime } from '../lib/supabase.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start({ options: { 'public-topics': 'on' } });
});
after(() => world?.stop());

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`a channel is joined and left, serializer ${vsn}`, async () => {
    const client = await realtime(world, 'ada', { vsn });
    const room = await new Channel(client, 'room').subscribe();
    assert.equal(await room.channel.unsubscribe(), 'ok');
    assert.equal(room.statuses.at(-1), 'CLOSED');
    const again = await new Channel(client, 'room').subscribe();
    assert.deepEqual(again.errors, []);
    await client.disconnect();
  });
}

test('the path of self-hosted servers is served too', async () => {
  const client = await realtime(world, 'ada', { prefix: '/socket' });
  await new Channel(client, 'room').subscribe();
  await client.disconnect();
});

test('a heartbeat is answered', async () => {
  const client = await realtime(world, 'ada');
  const heard = [];
  client.onHeartbeat((status) => heard.push(status));
  await new Channel(client, 'room').subscribe();
  await client.sendHeartbeat();
  await until('the heartbeat is answered', () => heard.includes('ok'));
  await client.disconnect();
});

test('an API key that is a token stands in where a join brings none; any other is only a name', async () => {
  const good = await realtime(world, 'ada', { key: world.streamer.token('ada'), token: null });
  await new Channel(good, 'room').subscribe();
  await good.disconnect();
  const nobody = await realtime(world, 'ada', { token: null });
  const room = new Channel(nobody, 'room').start();
  await room.status('CHANNEL_ERROR');
  assert.match(room.errors[0], /^InvalidJWTToken: no access token was given/);
  await nobody.disconnect();
});

test('a token that does not hold is told as Supabase does', async () => {
  const expired = world.streamer.token('ada', { exp: 1 });
  for (const [token, error] of [[expired, 'InvalidJWTToken: Token has expired'], ['a.b.c', 'MalformedJWT: The token provided is not a valid JWT'], [`${world.streamer.token('ada')}AAAA`, 'JwtSignatureError: Failed to validate JWT signature']]) {
    const raw = await RawSocket.open(world.streamer, { path: '/realtime/v1/websocket?apikey=x&vsn=2.0.0' });
    const { status, response } = await raw.ask('realtime:room', 'phx_join', { config: {}, access_token: token });
    assert.equal(status, 'error');
    assert.deepEqual(response, { reason: error });
    raw.close();
  }
});

test('bindings go back in their order with ids, and configs may be odd', async () => {
  const raw = await RawSocket.open(world.streamer);
  const access_token = world.streamer.token('ada');
  const odd = await raw.ask('realtime:odd', 'phx_join', { access_token, config: { broadcast: { self: 'TRUE' }, presence: 7, postgres_changes: null, private: 'false' } });
  assert.deepEqual(odd, { status: 'ok', response: { postgres_changes: [] } });
  const none = await raw.ask('realtime:none', 'phx_join', { access_token });
  assert.equal(none.status, 'ok');
  const nameless = await raw.ask('realtime:', 'phx_join', { access_token });
  assert.deepEqual(nameless.response, { reason: 'TopicNameRequired: You must provide a topic name' });
  raw.close();
});

test('a second join closes the first, a leave that names an older join closes nothing', async () => {
  const raw = await RawSocket.open(world.streamer);
  const access_token = world.streamer.token('ada');
  await raw.ask('realtime:twice', 'phx_join', { access_token }, '1');
  await raw.ask('realtime:twice', 'phx_join', { access_token }, '2');
  const closed = raw.frames.find((frame) => frame[3] === 'phx_close');
  assert.deepEqual(closed, ['1', '1', 'realtime:twice', 'phx_close', {}]);
  assert.equal((await raw.ask('realtime:twice', 'phx_leave', {}, '1')).status, 'ok');
  assert.equal((await raw.ask('realtime:twice', 'no_such_event', {}, 'stale')).response.reason.split(':')[0], 'unknown_event');
  assert.equal((await raw.ask('realtime:twice', 'phx_leave', {}, '2')).status, 'ok');
  assert.deepEqual((await raw.ask('realtime:twice', 'no_such_event', {}, '2')).response, { reason: 'unmatched topic' });
  raw.close();
});

test('what cannot be read is dropped where Supabase is spoken, until it is abuse', async () => {
  const raw = await RawSocket.open(world.streamer, { path: '/realtime/v1/websocket?apikey=x&vsn=2.0.0' });
  raw.send('this is no JSON');
  raw.send('[1,2]');
  raw.ws.send(Buffer.from([9, 9, 9]));
  const { status } = await raw.ask('realtime:room', 'phx_join', { access_token: world.streamer.token('ada') });
  assert.equal(status, 'ok');
  for (let i = 0; i < 400; i++) raw.send('nonsense');
  assert.equal((await raw.closed).code, 1008);
});

test('the first serializer is spoken without vsn, and a binary frame ends it', async () => {
  const raw = await RawSocket.open(world.streamer, { path: '/socket/websocket' });
  raw.send(JSON.stringify({ topic: 'phoenix', event: 'heartbeat', payload: {}, ref: '7' }));
  const reply = await until('the reply', () => raw.frames[0]);
  assert.deepEqual(reply, { join_ref: null, ref: '7', topic: 'phoenix', event: 'phx_reply', payload: { status: 'ok', response: {} } });
  raw.ws.send(Buffer.from([3, 0, 0, 1, 1, 0, 0, 97, 97]));
  assert.equal((await raw.closed).code, 1003);
  await assert.rejects(RawSocket.open(world.streamer, { path: '/socket/websocket?vsn=3.0.0' }), { status: 400 });
});

test('an access token on a channel is taken without an answer; one that does not hold is told and changes nothing', async () => {
  const client = await realtime(world, 'ada');
  const room = await new Channel(client, 'room').subscribe();
  await client.setAuth(world.streamer.token('ada', { more: 'claims' }));
  await client.setAuth(world.streamer.token('ada', { exp: 1 }));
  const message = await room.system(({ status }) => status === 'error');
  assert.deepEqual(message, { extension: 'system', status: 'error', message: 'Token has expired', channel: 'room' });
  assert.deepEqual(room.statuses, ['SUBSCRIBED']);
  await client.disconnect();
});

test('our own channel speaks the first serializer too: reply, page and live batch', async () => {
  const raw = await RawSocket.open(world.streamer, { path: '/socket/websocket?vsn=1.0.0' });
  raw.send(JSON.stringify({ topic: 'sync:old', event: 'phx_join', payload: { access_token: world.streamer.token('ada'), device_id: 'd' }, ref: '1' }));
  await until('the reply', () => raw.frames.find((f) => f.event === 'phx_reply' && f.ref === '1' && f.payload.status === 'ok' && f.payload.response.session));
  await until('the first page', () => raw.frames.find((f) => f.event === 'changes' && f.topic === 'sync:old'));
  const id = await world.addNote(1, 'live');
  await until('the change', () => raw.frames.find((f) => f.event === 'changes' && f.payload.changes.some((change) => change.entity_id === id)));
  raw.close();
});

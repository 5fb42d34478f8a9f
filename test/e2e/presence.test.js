// presence.test.js - who is in a topic: Supabase's client and npm phoenix agree on it, through updates, several devices, leaving and vanishing.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Presence, Socket } from 'phoenix';
import WebSocket from 'ws';
import { RawSocket } from '../lib/raw.js';
import { people, Room, TOPICS } from '../lib/topics.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start({ schema: TOPICS });
});
after(() => world?.stop());

const named = (key) => ({ presence: { key } });

test('a first in the room is told that it is empty, then of itself', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const ada = await new Room(client, 'team:1', named('ada'), { presence: true }).subscribe();
  await until('the empty state comes', () => ada.presences.some(({ event }) => event === 'sync'));
  assert.deepEqual(ada.present(), {});
  assert.equal(await ada.channel.track({ at: 'desk' }), 'ok');
  await ada.seesPresent('herself', (all) => all.ada?.[0].at === 'desk');
});

test('who comes is seen, what they do too, and that they went', async (t) => {
  const clients = await people(t, world, ['ada', 'ben']);
  const ada = await new Room(clients[0], 'team:1', named('ada'), { presence: true }).subscribe();
  await ada.channel.track({ idle: false });
  const ben = await new Room(clients[1], 'team:1', named('ben'), { presence: true }).subscribe();
  await ben.channel.track({ idle: false });
  const both = { ada: [{ idle: false }], ben: [{ idle: false }] };
  for (const room of [ada, ben]) await room.seesPresent('both', (all) => JSON.stringify(all) === JSON.stringify(both));
  await ben.channel.track({ idle: true });
  await ada.seesPresent('that ben idles', (all) => all.ben?.length === 1 && all.ben[0].idle === true);
  await ada.channel.track({ idle: true });
  await ben.seesPresent('ada idle', (all) => all.ada?.[0].idle === true);
  assert.equal(await ben.channel.untrack(), 'ok');
  await ada.seesPresent('ada alone', (all) => !all.ben && all.ada);
  await ben.channel.track({});
  await ada.seesPresent('ben again', (all) => all.ben);
  await ben.channel.unsubscribe();
  await ada.seesPresent('ben gone', (all) => !all.ben);
  assert.ok(ada.presences.some(({ event, key }) => event === 'leave' && key === 'ben'));
});

test('one user at two places: gone when the last one is', async (t) => {
  const clients = await people(t, world, ['ada', 'ben', 'ben']);
  const ada = await new Room(clients[0], 'team:1', named('ada'), { presence: true }).subscribe();
  const rooms = [];
  for (const client of clients.slice(1)) rooms.push(await new Room(client, 'team:1', named('ben')).subscribe());
  for (const [n, room] of rooms.entries()) await room.channel.track({ device: n });
  await ada.seesPresent('two devices', (all) => all.ben?.length === 2);
  await clients[1].disconnect();
  await ada.seesPresent('one device', (all) => all.ben?.length === 1 && all.ben[0].device === 1);
  await clients[2].disconnect();
  await ada.seesPresent('ben gone', (all) => !all.ben);
});

test('who is not named gets a key, who wants to be anonymous shows nothing but that somebody is there', async (t) => {
  const clients = await people(t, world, ['ada', 'ben', 'ben']);
  const ada = await new Room(clients[0], 'team:1', {}, { presence: true }).subscribe();
  const masked = await new Room(clients[1], 'team:1', { presence: { key: 'ben', anonymous: true } }).subscribe();
  assert.equal(await masked.channel.track({ name: 'Ben', email: 'ben@example.org' }), 'ok');
  const all = await ada.seesPresent('somebody', (state) => Object.keys(state).length === 1 && state);
  const [[key, metas]] = Object.entries(all);
  assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
  assert.deepEqual(metas, [{}]);
  await ada.channel.track({ open: true });
  await ada.seesPresent('herself too', (state) => Object.values(state).some(([meta]) => meta.open));
  // One that does not track sees others and is not seen
  const hidden = await new Room(clients[2], 'team:1', {}, { presence: true }).subscribe();
  await hidden.seesPresent('two', (state) => Object.keys(state).length === 2);
  assert.equal(Object.keys(ada.present()).length, 2);
});

test('limits and nonsense are answered, the channel stays', async (t) => {
  const raw = await RawSocket.open(world.streamer);
  t.after(() => raw.close());
  const ask = (payload) => raw.ask('realtime:team:1', 'presence', { type: 'presence', ...payload });
  await raw.ask('realtime:team:1', 'phx_join', { access_token: world.streamer.token('ada'), config: { private: true, presence: { key: 'ada' } } });
  assert.deepEqual((await ask({ event: 'track', payload: 'here' })).response, { reason: 'Presence track payload must be a map' });
  assert.deepEqual((await ask({ event: 'track', payload: { x: 'x'.repeat(9000) } })).response, { reason: 'Track message size exceeded' });
  assert.equal((await ask({ event: 'dance' })).status, 'error');
  assert.deepEqual(await ask({ event: 'untrack' }), { status: 'ok', response: {} });
  assert.ok(!raw.frames.some((frame) => frame[3].startsWith('presence_')), 'presence is off until it tracks');
  assert.equal((await ask({ event: 'track', payload: { phx_ref: 'mine', a: 1 } })).status, 'ok');
  const diff = await until('its own diff', () => raw.frames.find((frame) => frame[3] === 'presence_diff'));
  assert.deepEqual(Object.keys(diff[4].joins), ['ada']);
  assert.notEqual(diff[4].joins.ada.metas[0].phx_ref, 'mine');
  assert.deepEqual(raw.frames.find((frame) => frame[3] === 'presence_state')[4], {});
  await ask({ event: 'track', payload: { a: 1 } });
  await ask({ event: 'untrack' });
  await until('that it left', () => raw.frames.some((frame) => frame[3] === 'presence_diff' && frame[4].leaves.ada));
  assert.equal(raw.frames.filter((frame) => frame[3] === 'presence_diff').length, 2, 'the same again is no news');
  const replies = [];
  for (let i = 0; i < 40; i++) replies.push(await ask({ event: 'track', payload: { i } }));
  assert.ok(replies.some(({ response }) => response.reason === 'Client presence rate limit exceeded'));
});

test('the Presence of npm phoenix works on such a topic', async (t) => {
  const [client] = await people(t, world, ['ben']);
  const socket = new Socket(world.streamer.socketUrl, { transport: WebSocket });
  t.after(() => socket.disconnect());
  socket.connect();
  const channel = socket.channel('realtime:team:1', { access_token: world.streamer.token('ada'), config: { private: true, presence: { key: 'ada', enabled: true } } });
  const presence = new Presence(channel);
  await new Promise((resolve, reject) => { channel.join().receive('ok', resolve).receive('error', reject); });
  channel.push('presence', { type: 'presence', event: 'track', payload: { a: 1 } });
  const ben = await new Room(client, 'team:1', named('ben')).subscribe();
  await ben.channel.track({ b: 2 });
  await until('both are there', () => presence.list((key) => key).sort().join() === 'ada,ben');
  channel.push('presence', { type: 'presence', event: 'track', payload: { a: 2 } });
  await until('the update is there', () => presence.list((key, { metas }) => key === 'ada' && metas.length === 1 && metas[0].a === 2).includes(true));
  await ben.channel.unsubscribe();
  await until('ben is gone', () => presence.list((key) => key).join() === 'ada');
});

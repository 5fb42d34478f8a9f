// realtime_rights.test.js - what Supabase's own client gets follows its user's rights: tokens renewed and run out, memberships, policies, columns; and it survives a restart.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from '@supabase/supabase-js';
import WebSocket from 'ws';
import { RawSocket } from '../lib/raw.js';
import { Channel, realtime } from '../lib/supabase.js';
import { until } from '../lib/wait.js';
import { NOTES, World } from '../lib/world.js';

const MORE = `
CREATE TABLE diary (id int PRIMARY KEY, owner text NOT NULL, page text, hidden text DEFAULT 'not for readers');
ALTER TABLE diary ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON diary TO app USING (owner = sync.user_id());
GRANT SELECT (id, owner, page) ON diary TO app;
SELECT sync.enable('diary');
`;

let world;
before(async () => {
  world = await World.start({ schema: NOTES + MORE });
});
after(() => world?.stop());

const NOTE = { event: '*', schema: 'public', table: 'note' };

test('rows are judged by their policies, columns by their grants', async () => {
  const client = await realtime(world, 'ada');
  const ada = await new Channel(client, 'diary', [{ event: '*', schema: 'public', table: 'diary' }]).subscribe();
  await world.sql("INSERT INTO diary VALUES (1, 'ben', 'his secret'), (2, 'ada', 'mine')");
  await ada.sees('the insert', (e) => e.eventType === 'INSERT'); // a row that is judged is shown as it is then: versions in between may be skipped
  await world.sql("UPDATE diary SET page = 'still mine' WHERE id = 2");
  await ada.sees('the update', (e) => e.eventType === 'UPDATE');
  await world.sql('DELETE FROM diary');
  await ada.sees('the deletion', (e) => e.eventType === 'DELETE');
  assert.deepEqual(ada.events.map((e) => [e.eventType, e.new, e.old]), [
    ['INSERT', { id: 2, owner: 'ada', page: 'mine' }, {}],
    ['UPDATE', { id: 2, owner: 'ada', page: 'still mine' }, { id: 2 }],
    ['DELETE', {}, { id: 2 }],
  ]);
  const spy = await new Channel(client, 'spy', [{ event: '*', schema: 'public', table: 'diary', filter: 'hidden=like.%' }]).subscribe();
  await spy.system(({ status, message }) => status === 'error' && /invalid column for filter hidden/.test(message));
  await client.disconnect();
});

test('a new token is another user: the stream goes on with his rights, nothing is lost', async () => {
  const client = await realtime(world, 'ada');
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  await room.system(({ status }) => status === 'ok');
  await client.setAuth(world.streamer.token('cleo'));
  await until('the subscription is renewed', () => room.systems.filter(({ message }) => message === 'Subscribed to PostgreSQL').length === 2);
  const [mine, theirs] = [await world.addNote(2, 'of her team'), await world.addNote(1, 'of the other')];
  await room.sees('her team\'s', (e) => e.new.id === mine);
  await world.addNote(2, 'last');
  await room.sees('the last', (e) => e.new.title === 'last');
  assert.ok(!room.events.some((e) => e.new.id === theirs));
  assert.deepEqual(room.statuses, ['SUBSCRIBED']);
  await client.disconnect();
});

test('a renewed token of the same user loses and repeats nothing', async () => {
  const client = await realtime(world, 'ada');
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  const ids = [];
  for (let i = 0; i < 30; i++) {
    ids.push(await world.addNote(1, `note ${i}`));
    if (i % 5 === 0) await client.setAuth(world.streamer.token('ada', { round: i }));
  }
  await room.sees('the last', (e) => e.new.id === ids.at(-1));
  assert.deepEqual(room.events.map((e) => e.new.id), ids);
  await client.disconnect();
});

test('a token that ran out is told after its grace, and the client joins again with a fresh one', async () => {
  const client = await realtime(world, 'ada', { token: world.streamer.token('ada', { exp: Math.floor(Date.now() / 1000) + 3 }) });
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  client.accessTokenValue = world.streamer.token('ada');
  room.channel.updateJoinPayload({ access_token: client.accessTokenValue });
  await room.status('CHANNEL_ERROR', 1, 60_000);
  await room.status('SUBSCRIBED', 2);
  const id = await world.addNote(1, 'after the expiry');
  await room.sees('it', (e) => e.new.id === id);
  await client.disconnect();
});

test('whoever joins a team gets its rows, whoever leaves it gets none any more; both are told to read again', async () => {
  const client = await realtime(world, 'dora');
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  await world.sql("INSERT INTO member VALUES ('dora', 1)");
  await room.system(({ message }) => /^Your rights have changed/.test(message));
  const id = await world.addNote(1, 'for members');
  await room.sees('it', (e) => e.new.id === id);
  await world.sql("DELETE FROM member WHERE user_id = 'dora'");
  const secret = await world.addNote(1, 'not for her');
  await until('she is told', () => room.systems.filter(({ message }) => /^Your rights have changed/.test(message)).length === 2);
  assert.ok(!room.events.some((e) => e.new.id === secret));
  assert.deepEqual(room.statuses, ['SUBSCRIBED']);
  await client.disconnect();
});

test('a channel comes back after the streamer was killed', async () => {
  const client = await realtime(world, 'ada');
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  await world.streamer.kill();
  await room.status('CHANNEL_ERROR');
  await world.streamer.restart();
  await room.status('SUBSCRIBED', 2);
  const id = await world.addNote(1, 'after the restart');
  await room.sees('it', (e) => e.new.id === id);
  await client.disconnect();
});

test('two channels of one client, unsubscribed and subscribed again', async () => {
  const client = await realtime(world, 'ada');
  const all = await new Channel(client, 'all', [NOTE]).subscribe();
  const some = await new Channel(client, 'some', [{ ...NOTE, event: 'INSERT', filter: 'title=eq.wanted' }]).subscribe();
  const [wanted, other] = [await world.addNote(1, 'wanted'), await world.addNote(1, 'other')];
  await all.sees('both', (e) => e.new.id === other);
  await some.sees('the one', (e) => e.new.id === wanted);
  assert.equal(some.events.length, 1);
  await all.channel.unsubscribe();
  const again = await new Channel(client, 'all', [NOTE]).subscribe();
  const late = await world.addNote(1, 'late');
  await again.sees('it', (e) => e.new.id === late);
  assert.ok(!all.events.some((e) => e.new.id === late));
  await client.disconnect();
});

test('supabase-js itself, with its accessToken', async () => {
  const client = createClient(world.streamer.url, 'anon-key', { accessToken: async () => world.streamer.token('ada'), realtime: { transport: WebSocket } });
  world.clients.push({ disconnect: () => client.removeAllChannels() });
  await client.realtime.setAuth();
  const room = await new Channel(client, 'notes', [NOTE]).subscribe();
  const id = await world.addNote(1, 'by supabase-js');
  await room.sees('it', (e) => e.new.id === id);
  assert.equal(await client.removeChannel(room.channel), 'ok');
});

test('frames: the reply comes before what it lets through, ids and types are those of the contract', async () => {
  const raw = await RawSocket.open(world.streamer, { path: '/realtime/v1/websocket?apikey=x&vsn=1.0.0' });
  raw.send(JSON.stringify({
    topic: 'realtime:raw', event: 'phx_join', ref: '1', join_ref: '1',
    payload: { access_token: world.streamer.token('ada'), config: { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'note', filter: '' }], postgres_changes_options: { wait: true } } },
  }));
  const reply = await until('the reply', () => raw.frames.find((frame) => frame.event === 'phx_reply'));
  const [binding] = reply.payload.response.postgres_changes;
  assert.deepEqual({ ...binding, id: 0 }, { id: 0, event: 'INSERT', schema: 'public', table: 'note', filter: '' });
  assert.ok(Number.isInteger(binding.id) && binding.id > 0);
  const id = await world.addNote(1, 'raw');
  const { payload, ref, join_ref } = await until('the change', () => raw.frames.find((frame) => frame.event === 'postgres_changes'));
  assert.deepEqual([ref, join_ref, payload.ids], [null, null, [binding.id]]);
  assert.deepEqual(payload.data.columns, [{ name: 'id', type: 'uuid' }, { name: 'team_id', type: 'int4' }, { name: 'title', type: 'text' }, { name: 'body', type: 'text' }, { name: 'done', type: 'bool' }]);
  assert.equal(payload.data.record.id, id);
  assert.ok(!('old_record' in payload.data));
  raw.close();
});

// private_topics.test.js - who may join a topic, send there and be present is asked of the database, at the join and whenever it may have changed.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawSocket } from '../lib/raw.js';
import { people, Room, TOPICS } from '../lib/topics.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start({ schema: TOPICS, options: { 'max-joins': 3 } });
});
after(() => world?.stop());

async function refused(t, sub, name, config) {
  const [client] = await people(t, world, [sub]);
  const room = new Room(client, name, config).start();
  await room.status('CHANNEL_ERROR');
  return room.errors[0];
}

test('a stranger, a topic that nobody declared and a public one are refused', async (t) => {
  const why = 'Unauthorized: You do not have permissions to read from this Channel topic:';
  assert.equal(await refused(t, 'cleo', 'team:1'), `${why} team:1`);
  assert.equal(await refused(t, 'ada', 'undeclared'), `${why} undeclared`);
  assert.equal(await refused(t, 'ada', 'team:1:more'), `${why} team:1:more`);
  assert.equal(await refused(t, 'ada', 'team:not a number'), `${why} team:not a number`);
  assert.equal(await refused(t, 'ada', "team:1' OR '1'='1"), `${why} team:1' OR '1'='1`);
  assert.equal(await refused(t, 'ada', 'team:1', { private: false }), 'PrivateOnly: This project only allows private channels');
});

test('who may only hear is told so when it speaks', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const room = await new Room(client, 'news:1', { broadcast: { ack: true } }).subscribe();
  assert.equal(await room.send('hello', {}), 'error');
  assert.equal(await room.channel.track({}), 'error');
  await world.sql("SELECT sync.broadcast('news:1', 'news', '{}')");
  await room.hears('news');
});

test('a new token brings new rights: kept, or the channel is over', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const room = await new Room(client, 'team:1', { broadcast: { self: true, ack: true } }).subscribe();
  await client.setAuth(world.streamer.token('ada', { renewed: true }));
  assert.equal(await room.send('still here', {}), 'ok');
  assert.deepEqual(room.statuses, ['SUBSCRIBED']);
  await client.setAuth(world.streamer.token('cleo'));
  await room.status('CLOSED');
  assert.ok(room.systems.some(({ status, message }) => status === 'error' && message === 'You no longer have permission to read from this Channel topic: team:1'));
});

test('a member that is removed is put out, the others stay', async (t) => {
  await world.sql("INSERT INTO member VALUES ('dora', 1)");
  const [ada, dora] = await people(t, world, ['ada', 'dora']);
  const stays = await new Room(ada, 'team:1', { broadcast: { ack: true } }, { presence: true }).subscribe();
  const goes = await new Room(dora, 'team:1', { presence: { key: 'dora' } }).subscribe();
  await goes.channel.track({});
  await stays.seesPresent('dora', (all) => all.dora);
  await world.sql("DELETE FROM member WHERE user_id = 'dora'");
  await goes.status('CLOSED');
  assert.equal(await stays.send('secret', {}), 'ok');
  await stays.seesPresent('dora gone', (all) => !all.dora);
  assert.deepEqual(goes.heard, []);
  assert.deepEqual(stays.statuses, ['SUBSCRIBED']);
});

test('a connection joins no more topics than it may', async (t) => {
  const raw = await RawSocket.open(world.streamer);
  t.after(() => raw.close());
  const access_token = world.streamer.token('ada');
  for (const name of ['team:1', 'news:1', 'team:1']) assert.equal((await raw.ask(`realtime:${name}`, 'phx_join', { access_token, config: { private: true } })).status, 'ok');
  assert.equal((await raw.ask('sync:main', 'phx_join', { access_token, device_id: 'd' })).status, 'ok');
  const more = await raw.ask('realtime:team:2', 'phx_join', { access_token, config: { private: true } });
  assert.deepEqual(more, { status: 'error', response: { reason: 'ChannelRateLimitReached: Too many channels' } });
});

test('a condition that fails refuses its topic and is logged, no other is touched', async (t) => {
  await world.sql('CREATE TABLE secret (id int)');
  await world.sql("SELECT sync.allow_topic('broken:{x}', 'EXISTS (SELECT FROM public.secret)')");
  assert.match(await refused(t, 'ada', 'broken:1'), /^Unauthorized: /);
  await until('the log tells why', () => world.streamer.log.includes('permission denied for table secret'));
  await new Room((await people(t, world, ['ada']))[0], 'team:1').subscribe();
});

// two_streamers.test.js - clients of two streamers on one database hear each other, see each other, and see that a streamer died with its clients.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Streamer } from '../lib/streamer.js';
import { people, Room, TOPICS } from '../lib/topics.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

let world;
let other;
before(async () => {
  world = await World.start({ schema: TOPICS });
  other = await Streamer.start(world.database, { 'jwt-secret-file': world.streamer.secretFile });
  await meet(1);
});
after(async () => {
  await other?.stop();
  await world?.stop();
});

/** Until each has met the other so often. */
const meet = (times) => until('the streamers know each other', () => [world.streamer, other].every(({ log }) => log.split('streamer_met').length > times), { limit_ms: 40_000 });

const here = async (t, name) => (await people(t, world, [name]))[0];
const there = async (t, name) => (await people(t, { clients: [], streamer: { port: other.port, token: (...of) => world.streamer.token(...of) } }, [name]))[0];

test('broadcasts cross over both ways: JSON, bytes, from HTTP; from SQL each hears once', async (t) => {
  const ada = await new Room(await here(t, 'ada'), 'team:1', { broadcast: { ack: true } }).subscribe();
  const ben = await new Room(await there(t, 'ben'), 'team:1', { broadcast: { ack: true } }).subscribe();
  assert.equal(await ada.send('from here', { é: '"1"' }), 'ok');
  assert.deepEqual(await ben.hears('from here'), { é: '"1"' });
  assert.equal(await ben.send('from there', new Uint8Array([0, 255]).buffer), 'ok');
  assert.deepEqual(new Uint8Array(await ada.hears('from there')), new Uint8Array([0, 255]));
  await new Room(await there(t, 'ada'), 'team:1').channel.httpSend('by http', {});
  for (const room of [ada, ben]) await room.hears('by http');
  await world.sql("SELECT sync.broadcast('team:1', 'by sql', '{}'), sync.broadcast('team:1', 'last', '{}')");
  for (const room of [ada, ben]) {
    await room.hears('last');
    assert.equal(room.heard.filter(({ event }) => event === 'by sql').length, 1);
  }
  assert.deepEqual(ada.heard.map(({ event }) => event), ['from there', 'by http', 'by sql', 'last']);
});

test('a burst arrives whole and in order', async (t) => {
  const ada = await new Room(await here(t, 'ada'), 'team:1').subscribe();
  const ben = await new Room(await there(t, 'ben'), 'team:1').subscribe();
  for (let n = 0; n < 80; n++) await ada.send(`n${n}`, { n, padding: 'x'.repeat(5000) });
  await ben.hears('n79');
  assert.deepEqual(ben.heard.map(({ payload }) => payload.n), [...Array(80).keys()]);
});

test('presence crosses over: who came before, what they do, that they left', async (t) => {
  const ada = await new Room(await here(t, 'ada'), 'team:1', { presence: { key: 'ada' } }, { presence: true }).subscribe();
  await ada.channel.track({ at: 'here' });
  const ben = await new Room(await there(t, 'ben'), 'team:1', { presence: { key: 'ben' } }, { presence: true }).subscribe();
  await ben.seesPresent('ada', (all) => all.ada?.[0].at === 'here');
  await ben.channel.track({ at: 'there' });
  await ada.seesPresent('ben', (all) => all.ben?.[0].at === 'there');
  await ada.channel.track({ at: 'lunch' });
  await ben.seesPresent('ada at lunch', (all) => all.ada?.length === 1 && all.ada[0].at === 'lunch');
  await ada.channel.unsubscribe();
  await ben.seesPresent('nobody but ben', (all) => Object.keys(all).join() === 'ben');
});

test('a streamer that is killed takes its clients along, and one that comes is told who is there', async (t) => {
  const ada = await new Room(await here(t, 'ada'), 'team:1', { presence: { key: 'ada' } }, { presence: true }).subscribe();
  await ada.channel.track({ at: 'here' });
  const client = await there(t, 'ben');
  const ben = await new Room(client, 'team:1', { presence: { key: 'ben' } }).subscribe();
  await ben.channel.track({});
  await ada.seesPresent('ben', (all) => all.ben);
  await client.disconnect();
  await ada.seesPresent('ben gone', (all) => !all.ben);

  const again = await new Room(await there(t, 'ben'), 'team:1', { presence: { key: 'ben' } }).subscribe();
  await again.channel.track({});
  await ada.seesPresent('ben again', (all) => all.ben);
  other.options = { ...other.options, listen: `127.0.0.1:${other.port + 1}` }; // so that ben does not come back by itself
  await other.kill();
  await ada.seesPresent('that nobody is there any more', (all) => !all.ben);
  assert.deepEqual(ada.present(), { ada: [{ at: 'here' }] });

  delete other.options.listen;
  await other.restart();
  await meet(2);
  const cleo = await new Room(await there(t, 'ben'), 'team:1', { presence: { key: 'cleo' } }, { presence: true }).subscribe();
  await cleo.seesPresent('ada, who was there all the time', (all) => all.ada?.[0].at === 'here');
});

test('a streamer that stops says so', async (t) => {
  const ada = await new Room(await here(t, 'ada'), 'team:1', { presence: { key: 'ada' } }, { presence: true }).subscribe();
  const ben = await new Room(await there(t, 'ben'), 'team:1', { presence: { key: 'ben' } }).subscribe();
  await ben.channel.track({});
  await ada.seesPresent('ben', (all) => all.ben);
  await other.stop();
  await until('it is known', () => world.streamer.log.includes('reason="it has ended"'));
  await ada.seesPresent('ben gone', (all) => !all.ben);
  await other.restart();
});

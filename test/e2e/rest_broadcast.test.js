// rest_broadcast.test.js - messages posted over HTTP reach those who joined: by Supabase's client, and as its protocol says, refusals included.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { people, Room, TOPICS } from '../lib/topics.js';
import { World } from '../lib/world.js';

let world;
before(async () => {
  world = await World.start({ schema: TOPICS + "SELECT sync.allow_topic('{any}', 'sync.user_id() IS NOT NULL');", options: { 'max-broadcast': '2k', 'allow-origin': 'https://app.example' } });
});
after(() => world?.stop());

/** As anybody may post: the answer's status and JSON. */
async function post(path, body, { sub = 'ada', token = sub && world.streamer.token(sub), type = 'application/json', headers = {}, method = 'POST' } = {}) {
  const answer = await fetch(`${world.streamer.url}${path}`, {
    method,
    headers: { ...(token ? { authorization: `Bearer ${token}` } : {}), ...(type ? { 'content-type': type } : {}), ...headers },
    body: method === 'POST' ? (typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)) : undefined,
  });
  const text = await answer.text();
  return { status: answer.status, json: text ? JSON.parse(text) : undefined, headers: answer.headers };
}

test('the client sends before it has joined, and by httpSend: names with blanks, colons and the like, JSON and bytes', async (t) => {
  const clients = await people(t, world, ['ada', 'ben']);
  const ada = await new Room(clients[0], 'team:1').subscribe();
  const unjoined = new Room(clients[1], 'team:1').channel;
  assert.equal(await unjoined.send({ type: 'broadcast', event: 'early', payload: { n: 1 } }), 'ok');
  assert.deepEqual(await ada.hears('early'), { n: 1 });
  assert.deepEqual(await unjoined.httpSend('my event, 100 % é', { n: 2 }), { success: true });
  assert.deepEqual(await ada.hears('my event, 100 % é'), { n: 2 });
  await unjoined.httpSend('bytes', new Uint8Array([0, 1, 255]).buffer);
  assert.deepEqual(new Uint8Array(await ada.hears('bytes')), new Uint8Array([0, 1, 255]));
  const odd = await new Room(clients[0], 'a/b c%41').subscribe();
  await new Room(clients[1], 'a/b c%41').channel.httpSend('x', {});
  await odd.hears('x');
});

test('the client is told what was refused', async (t) => {
  const [cleo] = await people(t, world, ['cleo']);
  const room = new Room(cleo, 'team:1').channel;
  await assert.rejects(room.httpSend('x', {}), /Unauthorized: You do not have permissions to write to this topic/);
  assert.equal(await room.send({ type: 'broadcast', event: 'x', payload: {} }), 'error');
  await assert.rejects(new Room(cleo, 'lobby', { private: false }).channel.httpSend('x', {}), /PrivateOnly/);
});

test('a batch goes as a whole or not at all', async (t) => {
  const [client] = await people(t, world, ['ada']);
  const ada = await new Room(client, 'team:1').subscribe();
  const message = (topic, event) => ({ topic, event, payload: {}, private: true });
  assert.equal((await post('/api/broadcast', { messages: [message('team:1', 'no'), message('team:2', 'no')] })).status, 403);
  assert.equal((await post('/api/broadcast', { messages: [message('news:1', 'no')] })).status, 403);
  assert.deepEqual(await post('/realtime/v1/api/broadcast', { messages: [message('team:1', 'one'), message('team:1', 'two')] }).then(({ status, json }) => ({ status, json })), { status: 202, json: undefined });
  await ada.hears('two');
  assert.deepEqual(ada.heard.map(({ event }) => event), ['one', 'two']);
});

test('each refusal has its status', async () => {
  const one = '/realtime/v1/api/broadcast/team:1/events/x?private=true';
  const status = async (...of) => (await post(...of)).status;
  assert.equal(await status(one, {}, { sub: null }), 401);
  assert.equal(await status(one, {}, { token: `${world.streamer.token('ada')}x` }), 401);
  assert.equal(await status(one, {}, { sub: null, headers: { apikey: world.streamer.token('ada') } }), 202);
  assert.equal(await status(`${one}&apikey=${world.streamer.token('ada')}`, {}, { sub: null }), 202);
  assert.equal(await status('/api/broadcast/team:1/events/x', {}), 403);
  assert.equal(await status(one, {}, { sub: 'cleo' }), 403);
  assert.equal(await status(one, {}, { headers: { origin: 'https://evil.example' } }), 403);
  assert.equal(await status('/api/broadcast/team:1', {}), 404);
  assert.equal(await status(one, undefined, { method: 'GET' }), 405);
  assert.equal(await status(one, '{}', { type: 'text/plain' }), 415);
  assert.equal(await status('/api/broadcast', new Uint8Array([1]), { type: 'application/octet-stream' }), 415);
  assert.equal(await status(one, '{"a":'), 422);
  assert.equal(await status(one, { x: 'x'.repeat(2050) }), 422);
  assert.equal(await status('/api/broadcast', { messages: [] }), 422);
  assert.equal(await status('/api/broadcast', { messages: [{ topic: 'team:1', event: 'x', private: true }] }), 422);
  const { json } = await post(one, {}, { sub: null });
  assert.equal(typeof json.error, 'string');
  assert.equal(typeof json.message, 'string');
});

test('pages of allowed origins may post', async () => {
  const one = '/api/broadcast/team:1/events/x?private=true';
  const origin = 'https://app.example';
  const asked = await post(one, undefined, { method: 'OPTIONS', sub: null, headers: { origin, 'access-control-request-method': 'POST' } });
  assert.equal(asked.status, 204);
  assert.equal(asked.headers.get('access-control-allow-origin'), origin);
  assert.match(asked.headers.get('access-control-allow-headers'), /apikey/);
  const posted = await post(one, {}, { headers: { origin } });
  assert.equal(posted.status, 202);
  assert.equal(posted.headers.get('access-control-allow-origin'), origin);
});

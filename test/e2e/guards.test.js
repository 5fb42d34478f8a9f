// guards.test.js - what the streamer must refuse, and go on serving everybody else.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, afterEach, before, test } from 'node:test';
import { freePort } from '../lib/postgres.js';
import { Streamer } from '../lib/streamer.js';
import { World } from '../lib/world.js';
import { exchange, RawSocket } from '../lib/raw.js';
import { mintToken, mintUnsignedToken } from '../lib/token.js';
import { request } from '../lib/http.js';
import { until, within } from '../lib/wait.js';

let world;
let ada;
before(async () => {
  world = await World.start();
  ada = await world.join('ada');
});
after(() => world?.stop());

// after every insult the others are still served
afterEach(async () => {
  const id = await world.addNote(1, 'still here?');
  await ada.sees('a live change', (copy) => copy.get('note', id));
});

const upgrade = (protocol, more = '') => `GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: 127.0.0.1:${world.streamer.port}\r\nConnection: Upgrade${more ? ', HTTP2-Settings' : ''}\r\nUpgrade: ${protocol}\r\n${more}\r\n`;

/** What a TCP connection to that address of this machine comes to. */
const knock = (host, port) => new Promise((resolve) => {
  const socket = connect({ host, port }, () => resolve('open'));
  socket.on('error', ({ code }) => resolve(code)).on('connect', () => socket.destroy());
});

test('it listens on the address it was given, and on no other', async () => {
  const { port } = world.streamer;
  assert.equal(await knock('127.0.0.1', port), 'open');
  for (const host of ['127.0.0.2', '::1', ...Object.values(networkInterfaces()).flat().filter(({ internal }) => !internal).map(({ address }) => address)]) {
    assert.notEqual(await knock(host, port), 'open', host);
  }
});

test('an address of IPv6, and all of them', async () => {
  for (const [listen, open, closed] of [['[::1]', ['::1'], ['127.0.0.1']], ['0.0.0.0', ['127.0.0.1', '127.0.0.2'], []], ['[::]', ['::1', '127.0.0.1'], []]]) {
    const streamer = await Streamer.start(world.database, { listen: `${listen}:${await freePort()}` }, { ready: false });
    const port = Number(streamer.options.listen.split(':').at(-1));
    await until(`it listens on ${listen}`, async () => (await knock(open[0], port)) === 'open');
    for (const host of open) assert.equal(await knock(host, port), 'open', `${host} of ${listen}`);
    for (const host of closed) assert.notEqual(await knock(host, port), 'open', `${host} of ${listen}`);
    await streamer.stop();
  }
});

test('an upgrade to h2c is refused', async () => {
  const answer = await exchange(world.streamer.port, upgrade('h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'), { enough: (text) => text.includes('\r\n\r\n') });
  assert.doesNotMatch(answer, /^HTTP\/1\.1 101/);
});

test('an upgrade to something unknown is refused', async () => {
  const answer = await exchange(world.streamer.port, upgrade('telnet'), { enough: (text) => text.includes('\r\n\r\n') });
  assert.doesNotMatch(answer, /^HTTP\/1\.1 101/);
});

test('a foreign Origin is refused, the own one is not', async () => {
  await assert.rejects(RawSocket.open(world.streamer, { origin: 'http://evil.example' }));
  const own = await RawSocket.open(world.streamer, { origin: `http://127.0.0.1:${world.streamer.port}` });
  own.close();
});

test('a message over the limit closes that connection with 1009', async () => {
  const raw = await RawSocket.open(world.streamer);
  raw.ws.on('error', () => {});
  let isClosed = false;
  const closed = raw.closed.then(({ code }) => {
    isClosed = true;
    return code;
  });
  // piece by piece, each read before the next is sent: a reset of the connection could else overtake the close frame
  raw.ws.send('[null,"1","phoenix","heartbeat",{"padding":"', { fin: false });
  for (let pieces = 0; pieces < 1000 && !isClosed; pieces++) {
    raw.ws.send('x'.repeat(8192), { fin: false });
    const answered = new Promise((resolve) => raw.ws.once('pong', resolve));
    raw.ws.ping();
    await within(10_000, 'pong or close', Promise.race([answered, closed]));
  }
  assert.equal(await within(10_000, 'the connection closes', closed), 1009);
});

test('a serializer we do not speak is refused', async () => {
  await assert.rejects(RawSocket.open(world.streamer, { path: '/socket/websocket?vsn=9.0.0' }));
});

const BAD_TOKENS = {
  'no token': () => undefined,
  'an empty token': () => '',
  'no token at all but words': () => 'let me in please',
  'an expired token': () => world.streamer.token('ada', { iat: 1, exp: Math.floor(Date.now() / 1000) - 3600 }),
  'a token that is not valid yet': () => world.streamer.token('ada', { nbf: Math.floor(Date.now() / 1000) + 3600 }),
  'a bad signature': () => world.streamer.token('ada', {}, { signWith: 'another secret' }),
  'alg none': () => mintUnsignedToken({ sub: 'ada', role: 'app' }),
  'alg none with a signature': () => world.streamer.token('ada', {}, { header: { alg: 'none' } }),
  'an algorithm that is not ours': () => world.streamer.token('ada', {}, { header: { alg: 'HS512' } }),
  'a role nobody granted': () => world.streamer.token('ada', { role: 'postgres' }),
  'no role': () => mintToken(world.streamer.secret, { sub: 'ada' }),
};

for (const [name, token] of Object.entries(BAD_TOKENS)) {
  test(`${name}: refused by socket and by HTTP`, async () => {
    const raw = await RawSocket.open(world.streamer);
    const reply = await raw.ask('sync:x', 'phx_join', { device_id: 'd', ...(token() === undefined ? {} : { access_token: token() }) });
    assert.equal(reply.status, 'error');
    assert.ok(reply.response.reason, JSON.stringify(reply));
    raw.close();
    const answer = await request(`${world.streamer.url}/api/v1/sync/pull`, { token: token(), body: { device_id: 'd' } });
    assert.ok([401, 403].includes(answer.status), `${answer.status} ${answer.text}`);
    assert.ok(answer.json.error.code && answer.json.error.message);
    // a token of some length is never logged
    if (token()?.length > 20) assert.ok(!world.streamer.log.includes(token()));
  });
}

test('a token in the query string does not count', async () => {
  const raw = await RawSocket.open(world.streamer, { path: `/socket/websocket?vsn=2.0.0&token=${world.streamer.token('ada')}&access_token=${world.streamer.token('ada')}` });
  assert.equal((await raw.ask('sync:x', 'phx_join', { device_id: 'd' })).status, 'error');
  raw.close();
});

test('an Authorization header of the handshake counts', async () => {
  const raw = await RawSocket.open(world.streamer, { headers: { authorization: `Bearer ${world.streamer.token('ada')}` } });
  assert.equal((await raw.ask('sync:x', 'phx_join', { device_id: 'd' })).status, 'ok');
  raw.close();
});

test('an unknown topic gets an error reply', async () => {
  const raw = await RawSocket.open(world.streamer);
  const reply = await raw.ask('nonsense:1', 'phx_join', { access_token: world.streamer.token('ada') });
  assert.equal(reply.status, 'error');
  assert.equal(reply.response.reason, 'unmatched topic');
  raw.close();
});

test('heartbeats are answered, before and after a join', async () => {
  const raw = await RawSocket.open(world.streamer);
  assert.deepEqual(await raw.ask('phoenix', 'heartbeat', {}), { status: 'ok', response: {} });
  raw.close();
});

const HOSTILE = ['', 'garbage', '{', '[]', '[1,2,3]', '[null,null,null,null,null]', '{"a":1}', '[["1"],"1","sync:x","phx_join",{}]', '["1","1","sync:x","phx_join",', `${'['.repeat(5000)}`, '["1","1","sync:\\u0000","phx_join",{}]', '["\\"","1","sync:x","phx_join",{}]'];
for (const frame of HOSTILE) {
  test(`a bad frame harms nobody: ${JSON.stringify(frame.slice(0, 40))}`, async () => {
    const raw = await RawSocket.open(world.streamer);
    raw.ws.on('error', () => {});
    raw.send(frame);
    raw.ws.terminate();
  });
}

test('HTTP: 401, 404, 413, 4xx for nonsense', async () => {
  const url = world.streamer.url;
  const token = world.streamer.token('ada');
  const status = async (path, options) => (await request(`${url}${path}`, options)).status;
  assert.equal(await status('/api/v1/sync/pull', { body: {} }), 401);
  assert.equal(await status('/nowhere', {}), 404);
  assert.equal(await status('/api/v1/sync/nowhere', { token, body: {} }), 404);
  assert.equal(await status('/api/v1/sync/push', { token, body: '{ this is no JSON' }), 400);
  assert.ok([400, 422].includes(await status('/api/v1/sync/push', { token, body: { device_id: 'd', changes: 'all of them' } })));
  assert.ok([400, 422].includes(await status('/api/v1/sync/pull', { token, body: [1, 2] })));
  assert.equal(await status('/healthz', {}), 200);
  assert.equal(await status('/readyz', {}), 200);
  assert.equal(await status('/demo/', {}), 404, 'the demo is served only when asked for');
});

test('HTTP: a change too many, a body too large', async () => {
  const token = world.streamer.token('ada');
  const changes = Array.from({ length: 10_001 }, (_, i) => ({ queue_id: String(i), operation: 'update', entity_type: 'note', entity_id: 'x', data: {} }));
  const many = await request(`${world.streamer.url}/api/v1/sync/push`, { token, body: { device_id: 'd', changes } });
  assert.equal(many.status, 413, many.text);
  const body = JSON.stringify({ device_id: 'd', changes: [{ data: { title: 'x'.repeat(17 * 1024 * 1024) } }] });
  const tooLarge = await new Promise((resolve, reject) => {
    // the answer comes before all is sent, which fetch takes for an error
    const sent = httpRequest(`${world.streamer.url}/api/v1/sync/push`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-length': body.length } }, (response) => {
      resolve(response.statusCode);
      sent.destroy();
    });
    sent.on('error', reject);
    sent.end(body);
  });
  assert.equal(tooLarge, 413);
});

test('HTTP: CORS is for allowed origins only', async () => {
  const answer = await request(`${world.streamer.url}/healthz`, { headers: { origin: 'http://evil.example' } });
  assert.equal(answer.headers.get('access-control-allow-origin'), null);
});

test('a renewed token must be of the same user', async () => {
  const ben = await world.join('ben');
  await ben.renew(world.streamer.token('ben', { exp: Math.floor(Date.now() / 1000) + 7200 }));
  await assert.rejects(ben.renew(world.streamer.token('cleo')));
  await ben.disconnect();
});

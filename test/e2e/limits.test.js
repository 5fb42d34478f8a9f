// limits.test.js - what one address, one user or one client may have of the streamer, and the clear refusal beyond it.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { RawSocket } from '../lib/raw.js';
import { request } from '../lib/http.js';
import { until, within } from '../lib/wait.js';

const LIMITS = { 'max-clients-per-address': 6, 'max-clients-per-user': 3, 'max-joins-per-second': 5, 'max-requests-per-second': 10, 'max-messages-per-second': 20, 'trusted-proxies': '127.0.0.1' };
let world;
before(async () => {
  world = await World.start({ options: LIMITS });
});
after(() => world?.stop());

const open = (address) => RawSocket.open(world.streamer, address ? { headers: { 'x-forwarded-for': address } } : {});
const join = (raw, sub, label = 'x') => raw.ask(`sync:${label}`, 'phx_join', { device_id: `${sub}'s`, access_token: world.streamer.token(sub) });
const fill = async (count, address) => Promise.all(Array.from({ length: count }, () => open(address)));
const closeAll = async (sockets) => {
  for (const raw of sockets) raw.close();
};

test('the limits are printed at the start', () => {
  for (const [name, value] of Object.entries(LIMITS)) if (typeof value === 'number') assert.ok(world.streamer.log.includes(`${name}=${value}`), name);
});

test('clients of one address: one too many is refused with 429, those of other addresses are not', async () => {
  const sockets = await fill(6, '198.51.100.1');
  await assert.rejects(open('198.51.100.1'), { status: 429 });
  await assert.rejects(open('6.6.6.6, 198.51.100.1'), { status: 429 }, 'what the client itself puts before counts for nothing');
  sockets.push(await open('198.51.100.2'));
  assert.match(world.streamer.log, /address_full address=198\.51\.100\.1 /);
  await closeAll(sockets);
  await until('there is room again', () => open('198.51.100.1').then((raw) => raw.close() ?? true, () => false));
});

test('an IPv6 customer is one address', async () => {
  const sockets = await Promise.all([1, 2, 3, 4, 5, 6].map((i) => open(`2001:db8:1:2::${i}`)));
  await assert.rejects(open('2001:db8:1:2:ffff::7'), { status: 429 });
  sockets.push(await open('2001:db8:1:3::1'));
  await closeAll(sockets);
});

test('connections of one user: the join of one too many is refused, and good again when another has gone', async () => {
  const sockets = await fill(4, '198.51.100.3');
  for (const raw of sockets.slice(0, 3)) assert.equal((await join(raw, 'ada')).status, 'ok');
  assert.equal((await join(sockets[0], 'ada', 'second')).status, 'ok', 'channels of one connection count once');
  const refused = await join(sockets[3], 'ada');
  assert.deepEqual([refused.status, refused.response.code], ['error', 'too_many_clients']);
  assert.equal((await join(sockets[3], 'ben')).status, 'ok');
  sockets[0].ws.close();
  await until('ada has room again', async () => (await join(sockets[3], 'ada', 'again')).status === 'ok', { every_ms: 400 });
  await closeAll(sockets);
});

test('a user is gone with the last channel, not with the first', async () => {
  const sockets = await fill(4, '198.51.100.4');
  for (const raw of sockets.slice(0, 3)) await join(raw, 'cleo');
  await join(sockets[0], 'cleo', 'second');
  await sockets[0].ask('sync:x', 'phx_leave', {});
  assert.equal((await join(sockets[3], 'cleo')).response.code, 'too_many_clients');
  await sockets[0].ask('sync:second', 'phx_leave', {});
  assert.equal((await join(sockets[3], 'cleo')).status, 'ok');
  await closeAll(sockets);
});

test('joins of one client: too many at once are refused, and taken later', async () => {
  const raw = await open('198.51.100.5');
  const replies = await Promise.all(Array.from({ length: 14 }, (_, i) => join(raw, 'ada', `j${i}`)));
  const refused = replies.filter((reply) => reply.status !== 'ok');
  assert.ok(refused.length >= 1 && refused.length <= 4, `${refused.length} refused`);
  for (const { response } of refused) assert.equal(response.code, 'rate_limited');
  await until('a join is taken again', async () => (await join(raw, 'ada', 'later')).status === 'ok', { every_ms: 250 });
  raw.close();
});

test('requests of one user over HTTP: 429 with Retry-After, others are served', async () => {
  const pull = (sub, headers) => request(`${world.streamer.url}/api/v1/sync/pull`, { token: world.streamer.token(sub), body: { device_id: 'd', tables: [] }, headers });
  const answers = await Promise.all(Array.from({ length: 60 }, () => pull('ada')));
  const refused = answers.filter(({ status }) => status === 429);
  assert.ok(refused.length >= 10, `${refused.length} refused`);
  assert.equal(refused[0].json.error.code, 'rate_limited');
  assert.match(refused[0].headers.get('retry-after'), /^\d+$/);
  assert.equal((await pull('ben')).status, 200);
  await until('ada is served again', async () => (await pull('ada')).status === 200, { every_ms: 100 });
});

test('requests of nobody over HTTP are counted by address', async () => {
  const guess = (address) => request(`${world.streamer.url}/api/v1/sync/pull`, { token: 'guess', body: {}, headers: { 'x-forwarded-for': address } });
  const answers = await Promise.all(Array.from({ length: 60 }, () => guess('198.51.100.6')));
  assert.ok(answers.some(({ status }) => status === 401) && answers.some(({ status }) => status === 429));
  assert.equal((await guess('198.51.100.7')).status, 401);
});

test('a client that floods is told 1008', async () => {
  const raw = await open('198.51.100.8');
  raw.ws.on('error', () => {});
  const one = (i) => JSON.stringify([null, String(i), 'phoenix', 'heartbeat', {}]);
  let isClosed = false;
  raw.closed.then(() => (isClosed = true));
  // without a pause for the answers, but with one for the socket
  for (let i = 0; i < 200_000 && !isClosed; i++) {
    raw.send(one(i));
    if (i % 500 === 499) await new Promise(setImmediate);
  }
  assert.equal((await within(20_000, 'the connection closes', raw.closed)).code, 1008);
  assert.ok(raw.frames.some((frame) => frame[4]?.response?.code === 'rate_limited'), 'and was warned before');
});

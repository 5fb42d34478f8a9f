// tokens.test.js - tokens of RS256, ES256 and HS256 keys of a JWKS file, which may change meanwhile; issuer and audience; never logged.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { RawSocket } from '../lib/raw.js';
import { jwkOf, makeKey, mintSigned } from '../lib/token.js';
import { request } from '../lib/http.js';
import { sleep, until } from '../lib/wait.js';

const rsa = makeKey('RS256', 'rsa-1');
const ec = makeKey('ES256', 'ec-1');
const shared = makeKey('HS256', 'oct-1');
const strangers = { RS256: makeKey('RS256', 'rsa-1'), ES256: makeKey('ES256', 'ec-1'), HS256: makeKey('HS256', 'oct-1') };
const claims = { sub: 'ada', role: 'app', iss: 'https://auth.example', aud: ['app', 'other'] };

let world;
let file;

/** Replaced at once, as any careful program does. */
function publish(text) {
  writeFileSync(`${file}.new`, typeof text === 'string' ? text : JSON.stringify({ keys: text.map(jwkOf) }));
  renameSync(`${file}.new`, file);
}

before(async () => {
  world = await World.start({ options: { 'jwt-issuer': 'https://auth.example', 'jwt-audience': 'app' } });
  file = path.join(world.streamer.directory, 'jwks.json');
  await world.streamer.stop();
  publish([rsa, ec, shared]);
  world.streamer.options['jwks-file'] = file;
  await world.streamer.restart();
});
after(() => world?.stop());

const byHttp = async (token) => (await request(`${world.streamer.url}/api/v1/sync/pull`, { token, body: { device_id: 'd' } })).status;
async function bySocket(token) {
  const raw = await RawSocket.open(world.streamer);
  const reply = await raw.ask('sync:x', 'phx_join', { device_id: 'd', access_token: token });
  raw.close();
  return reply;
}

for (const key of [rsa, ec, shared]) {
  test(`a token of the ${key.alg} key is taken by socket and by HTTP, a stranger's is not`, async () => {
    assert.equal((await bySocket(mintSigned(key, claims))).status, 'ok');
    assert.equal(await byHttp(mintSigned(key, claims)), 200);
    assert.equal((await bySocket(mintSigned(strangers[key.alg], claims))).status, 'error');
    assert.equal(await byHttp(mintSigned(strangers[key.alg], claims)), 401);
    assert.equal(await byHttp(mintSigned(key, claims, { header: { kid: 'unheard-of' } })), 401);
  });
}

test('the secret file counts beside the JWKS', async () => {
  assert.equal(await byHttp(world.streamer.token('ada', claims)), 200);
});

test('a public key is never taken for a secret', async () => {
  const head = Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'rsa-1' })).toString('base64url');
  const body = Buffer.from(JSON.stringify({ ...claims, exp: Math.floor(Date.now() / 1000) + 3600 })).toString('base64url');
  for (const secret of [rsa.publicKey.export({ type: 'spki', format: 'pem' }), rsa.publicKey.export({ type: 'pkcs1', format: 'pem' }), JSON.stringify(jwkOf(rsa))]) {
    const signature = createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url');
    assert.equal(await byHttp(`${head}.${body}.${signature}`), 401);
  }
});

test('another issuer, another audience', async () => {
  assert.equal(await byHttp(mintSigned(rsa, { ...claims, iss: 'https://elsewhere.example' })), 401);
  assert.equal(await byHttp(mintSigned(rsa, { ...claims, aud: 'other' })), 401);
  assert.equal(await byHttp(mintSigned(rsa, { ...claims, aud: undefined })), 401);
  assert.equal(await byHttp(mintSigned(rsa, { ...claims, aud: 'app' })), 200);
});

test('a changed JWKS is read, a broken one leaves the keys as they are', async () => {
  const next = makeKey('ES256', 'ec-2');
  assert.equal(await byHttp(mintSigned(next, claims)), 401);
  publish([next]);
  await until('the new key is taken', async () => (await byHttp(mintSigned(next, claims))) === 200);
  assert.equal(await byHttp(mintSigned(rsa, claims)), 401, 'a key that is gone');

  const complaints = () => world.streamer.log.split('jwks_unusable').length - 1;
  publish('{"keys": [');
  await until('the log says so', () => complaints() === 1);
  assert.equal(await byHttp(mintSigned(next, claims)), 200);
  await sleep(2500);
  assert.equal(complaints(), 1, 'once, not every second');

  publish([next, rsa]);
  await until('the mended file is read', async () => (await byHttp(mintSigned(rsa, claims))) === 200);
});

test('without a usable key the streamer does not start', async () => {
  publish('{"keys": []}');
  await world.streamer.stop();
  await world.streamer.launch({ ready: false });
  const { code } = await world.streamer.process.exited;
  assert.equal(code, 1);
  assert.match(world.streamer.lastLog(), /jwks_unusable/);
  publish([rsa]);
  await world.streamer.restart();
});

test('no token is in the log', async () => {
  const tokens = [mintSigned(rsa, claims), mintSigned(strangers.RS256, claims)];
  for (const token of tokens) {
    await byHttp(token);
    await bySocket(token);
  }
  for (const token of tokens) assert.ok(!world.streamer.log.includes(token.split('.')[2]) && !world.streamer.log.includes(token.split('.')[1]));
});

// tls.test.js - TLS of our own: HTTPS and wss with a certificate that openssl makes here, taken anew when it changes.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { connect as tlsConnect } from 'node:tls';
import path from 'node:path';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { World } from '../lib/world.js';
import { exchange } from '../lib/raw.js';
import { until, within } from '../lib/wait.js';

let world;
let files;

/** A self-signed certificate of this name. */
function makeCertificate(name) {
  const place = (suffix) => path.join(world.streamer.directory, `${name}.${suffix}`);
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', `/CN=${name}`,
    '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', place('key'), '-out', place('crt')], { stdio: 'pipe' });
  return { cert: place('crt'), key: place('key') };
}

const ca = () => readFileSync(files.cert);

function get(what, { method = 'GET', headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const sent = httpsRequest({ host: '127.0.0.1', port: world.streamer.port, path: what, method, ca: ca(), agent: false, headers: { ...headers, ...(body ? { 'content-length': Buffer.byteLength(body) } : {}) } }, (response) => {
      let text = '';
      response.on('data', (data) => (text += data));
      response.on('end', () => resolve({ status: response.statusCode, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Name and protocol that a handshake ends with. */
function shake(options = {}) {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: '127.0.0.1', port: world.streamer.port, rejectUnauthorized: false, ...options }, () => {
      resolve({ name: socket.getPeerCertificate().subject.CN, protocol: socket.getProtocol(), alpn: socket.alpnProtocol });
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

before(async () => {
  world = await World.start();
  await world.streamer.stop();
  files = { cert: path.join(world.streamer.directory, 'server.crt'), key: path.join(world.streamer.directory, 'server.key') };
  use(makeCertificate('first.example'));
  Object.assign(world.streamer.options, { 'tls-cert': files.cert, 'tls-key': files.key });
  await world.streamer.launch({ ready: false });
  await until('it is ready', () => get('/readyz').then(({ status }) => status === 200, () => false));
});
after(() => world?.stop());

function use(made) {
  copyFileSync(made.key, files.key);
  copyFileSync(made.cert, files.cert);
}

test('requests over HTTPS', async () => {
  const answer = await get('/api/v1/sync/pull', { method: 'POST', headers: { authorization: `Bearer ${world.streamer.token('ada')}` }, body: '{"device_id":"d"}' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal((await get('/api/v1/sync/pull', { method: 'POST', body: '{}' })).status, 401);
});

test('a web socket: joined, live, large messages both ways, closed in order', async () => {
  const ws = new WebSocket(`wss://127.0.0.1:${world.streamer.port}/socket/websocket?vsn=2.0.0`, { ca: ca() });
  const frames = [];
  ws.on('message', (data) => frames.push(JSON.parse(data)));
  await within(10_000, 'the handshake', new Promise((resolve, reject) => ws.on('open', resolve).on('error', reject)));
  const reply = (ref) => until(`a reply to ${ref}`, () => frames.find((frame) => frame[1] === ref && frame[3] === 'phx_reply')?.[4]);
  ws.send(JSON.stringify(['1', '1', 'sync:x', 'phx_join', { device_id: 'd', access_token: world.streamer.token('ada') }]));
  assert.equal((await reply('1')).status, 'ok');
  const body = 'x'.repeat(400_000);
  const id = await world.addNote(1, 'live', body);
  await until('the note', () => frames.some((frame) => frame[3] === 'changes' && frame[4].changes.some((change) => change.entity_id === id && change.data.body === body)));
  ws.send(JSON.stringify(['1', '2', 'sync:x', 'push', { changes: [{ queue_id: 'q', operation: 'update', entity_type: 'note', entity_id: id, data: { body: 'y'.repeat(400_000) } }] }]));
  assert.equal((await reply('2')).response.success, true);
  ws.send('no message of any kind');
  const code = await within(10_000, 'the connection closes', new Promise((resolve) => ws.on('close', resolve)));
  assert.equal(code, 1008);
});

test('nothing older than TLS 1.2, and no HTTP/2', async () => {
  assert.equal((await shake({ maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2');
  await assert.rejects(shake({ minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
  assert.equal((await shake({ ALPNProtocols: ['h2', 'http/1.1'] })).alpn, 'http/1.1');
});

test('plain HTTP is not answered on this port', async () => {
  const answer = await exchange(world.streamer.port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n', { limit_ms: 3_000 }).catch(() => '');
  assert.doesNotMatch(answer, /200/);
});

test('a changed certificate is taken; one that does not fit its key is not', async () => {
  assert.equal((await shake()).name, 'first.example');
  use(makeCertificate('second.example'));
  await until('the new one is shown', async () => (await shake()).name === 'second.example');
  writeFileSync(files.cert, readFileSync(makeCertificate('third.example').cert));
  await until('the log says so', () => /tls_unusable .*kept=yes/.test(world.streamer.log));
  assert.equal((await shake()).name, 'second.example');
  use(makeCertificate('fourth.example'));
  await until('the mended pair is taken', async () => (await shake()).name === 'fourth.example');
});

test('with a key that does not fit it does not start', async () => {
  await world.streamer.stop();
  copyFileSync(makeCertificate('other.example').key, files.key);
  await world.streamer.launch({ ready: false });
  const { code } = await world.streamer.process.exited;
  assert.equal(code, 1);
  assert.match(world.streamer.lastLog(), /tls_unusable/);
});

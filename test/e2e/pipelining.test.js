// pipelining.test.js - a client that does not wait for its answers loses its connection, and nobody else notices.
// SPDX-License-Identifier: PostgreSQL
// runs once: HTTP only, nothing is decoded
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { exchange } from '../lib/raw.js';
import { World } from '../lib/world.js';

let world;
let ada;
before(async () => {
  world = await World.start();
  ada = await world.join('ada');
});
after(() => world?.stop());

// two requests in one write once stopped the whole streamer
afterEach(async () => {
  const id = await world.addNote(1, 'still here?');
  await ada.sees('a live change', (copy) => copy.get('note', id));
});

const get = (path, user) => `GET ${path} HTTP/1.1\r\nHost: x\r\n${user ? `Authorization: Bearer ${world.streamer.token(user)}\r\n` : ''}\r\n`;
const post = (path, body, user) => `POST ${path} HTTP/1.1\r\nHost: x\r\n${user ? `Authorization: Bearer ${world.streamer.token(user)}\r\n` : ''}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const pull = (user) => post('/api/v1/sync/pull', '{"device_id": "hasty"}', user);
const answers = (text) => text.split('HTTP/1.1 ').length - 1;

// ends only when the streamer closes: `exchange` would wait for its limit
async function isClosed(bytes) {
  const began = Date.now();
  const text = await exchange(world.streamer.port, bytes, { limit_ms: 20_000 });
  assert.ok(Date.now() - began < 20_000, 'the connection stays open');
  return text;
}

const hasty = {
  'two pulls': () => pull('ada').repeat(2),
  'many pulls': () => pull('ada').repeat(200),
  'pulls without a token': () => pull().repeat(2),
  'a push and something behind it that is no request': () => `${post('/api/v1/sync/push', '{"device_id": "hasty", "changes": []}', 'ada')}\0\0\0`,
  'a stream and a pull': () => post('/api/v1/sync/stream', '{"device_id": "hasty"}', 'ada') + pull('ada'),
  'a body too large and a pull': () => post('/api/v1/sync/pull', ' '.repeat(1 << 10), 'ada').replace('Content-Length: 1024', 'Content-Length: 99999999') + pull('ada'),
};

for (const [what, bytes] of Object.entries(hasty)) {
  test(`${what} in one write: closed`, async () => {
    assert.ok(answers(await isClosed(bytes())) <= 1);
  });
}

test('a stream by GET, and later something behind it: closed', async () => {
  const bytes = await new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(world.streamer.port, '127.0.0.1', () => socket.write(get('/api/v1/sync/stream?device_id=hasty', 'ada')));
    socket.on('data', (data) => {
      if (!got) socket.write(pull('ada'));
      got += data;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(got));
    socket.setTimeout(20_000, () => reject(new Error('the connection stays open')));
  });
  assert.equal(answers(bytes), 1);
});

test('pages may be asked for all at once', async () => {
  const text = await exchange(world.streamer.port, get('/healthz').repeat(20), { enough: (got) => answers(got) === 20 && got.endsWith('}') });
  assert.equal(answers(text), 20);
});

test('one after the other on one connection: each is answered', async () => {
  let asked = 0;
  const text = await new Promise((resolve, reject) => {
    let got = '';
    const socket = connect(world.streamer.port, '127.0.0.1', () => socket.write(pull('ada')));
    socket.on('data', (data) => {
      got += data;
      if (!got.endsWith('}') || answers(got) <= asked) return;
      asked++;
      if (asked === 5) socket.end();
      else socket.write(asked % 2 ? get('/healthz') : pull('ada'));
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(got));
    socket.setTimeout(10_000, () => socket.destroy());
  });
  assert.equal(answers(text), 5);
});

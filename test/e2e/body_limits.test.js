// body_limits.test.js - a body that is announced too large, or sent so, is answered 413, however it comes; headers have a limit too.
// SPDX-License-Identifier: PostgreSQL
// runs once: requests that are refused, nothing is decoded
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { exchange } from '../lib/raw.js';

const MOST = 16 * 1024 * 1024;
let world;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

const head = (length, more = '') => `POST /api/v1/sync/push HTTP/1.1\r\nHost: 127.0.0.1:${world.streamer.port}\r\nContent-Length: ${length}\r\n${more}\r\n`;
const signed = () => `Authorization: Bearer ${world.streamer.token('ada')}\r\n`;
const hasHead = (text) => text.includes('\r\n\r\n');
const statusOf = (text) => Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]);

const CASES = {
  'announced, nothing sent': () => head(MOST + 1, signed()),
  'announced without a token': () => head(MOST + 1),
  'announced and awaited': () => head(MOST + 1, `${signed()}Expect: 100-continue\r\n`),
  'announced beyond all numbers': () => head('99999999999999999999999', signed()),
  'announced near the largest number': () => head('9223372036854775807', signed()),
  'announced, some of it sent': () => head(MOST + 1, signed()) + '{"changes":['.repeat(1000),
};
for (const [name, bytes] of Object.entries(CASES)) {
  test(`413: ${name}`, async () => {
    assert.equal(statusOf(await exchange(world.streamer.port, bytes(), { enough: hasHead })), 413);
  });
}

test('413: all of it sent before anything is read', async () => {
  for (const more of [signed(), '', `${signed()}Connection: keep-alive\r\n`]) {
    const answer = await exchange(world.streamer.port, head(MOST + 4096, more) + 'x'.repeat(MOST + 4096), { enough: hasHead, limit_ms: 20_000 });
    assert.equal(statusOf(answer), 413);
  }
});

test('a body of the largest size is read', async () => {
  const answer = await exchange(world.streamer.port, head(MOST, signed()) + ' '.repeat(MOST - 2) + '{}', { enough: hasHead, limit_ms: 20_000 });
  assert.notEqual(statusOf(answer), 413);
  assert.ok(statusOf(answer) >= 200);
});

test('endless headers end the connection', async () => {
  const answer = await exchange(world.streamer.port, `GET /healthz HTTP/1.1\r\nHost: x\r\n${`X-Padding: ${'x'.repeat(1000)}\r\n`.repeat(100)}\r\n`, { enough: hasHead });
  assert.notEqual(statusOf(answer), 200);
});

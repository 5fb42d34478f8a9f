// slow_client.test.js - a client that takes nothing costs a bounded queue, which is seen in the metrics; it catches up by pull, and nobody waits for it.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { request } from '../lib/http.js';
import { until } from '../lib/wait.js';
import { World } from '../lib/world.js';

const QUEUE = 256 * 1024;
const ROW = 64 * 1024;
let world;
before(async () => {
  world = await World.start({ options: { 'max-queue': QUEUE } });
});
after(() => world?.stop());

async function metric(name) {
  const { text } = await request(`${world.streamer.url}/metrics`);
  const line = text.split('\n').find((l) => l.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length + 1));
}

/**
 * Writes one large row after the other until somebody slow is told to pull; the most that waited. After each row somebody looks, when `quick` has it: more
 * rows than one must wait before any is thrown away, so they are seen waiting. Many rows without a look once filled this process.
 */
async function fill(quick) {
  const resyncs = () => metric('sync_resyncs_total{cause="too_slow"}');
  const before = await resyncs();
  let most = 0;
  let last;
  await until('the slow one is told to pull', async () => {
    last = await world.value("INSERT INTO note (team_id, title, body) VALUES (1, 'large', repeat('x', $1)) RETURNING id", [ROW]);
    await quick.sees('the newest', (copy) => copy.get('note', last));
    const waits = await metric('sync_outbox_bytes_max');
    if ((await resyncs()) > before) return true;
    most = Math.max(most, waits);
    return false;
  }, { limit_ms: 120_000 });
  assert.ok(most > 0 && most <= QUEUE + ROW, `at most a queue and what was under way: ${most}`);
  return last;
}

test('the queue is bounded and counted, the others get everything at once, the slow one catches up', async () => {
  const [slow, quick] = [await world.join('ada'), await world.join('ben')];
  slow.socket.conn._socket.pause();
  const last = await fill(quick);
  assert.match(world.streamer.log, /session_resync session=\d+ cause=too_slow/);
  slow.socket.conn._socket.resume();
  await slow.sees('the newest', (copy) => copy.get('note', last), { limit_ms: 60_000 });
  assert.equal(slow.copy.rows('note').length, quick.copy.rows('note').length);
  for (const client of [slow, quick]) await client.disconnect();
});

// a queue of its own counts, and what the socket has taken half of counts with it
test('a stream of events that is not read is counted like a channel, told to pull, and cut off', async () => {
  const quick = await world.join('ben');
  const body = '{"device_id":"never-reads","tables":["note"]}';
  const socket = connect(world.streamer.port, '127.0.0.1');
  const status = await new Promise((resolve, reject) => {
    let first;
    let end = '';
    socket.on('error', reject);
    socket.on('data', (data) => {
      first ??= data.toString('latin1', 0, 13);
      end = (end + data.toString('latin1')).slice(-200_000);
      if (end.includes('"has_more":false')) resolve(first);
    });
    socket.write(`POST /api/v1/sync/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${world.streamer.token('ada')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
  assert.equal(status, 'HTTP/1.1 200 ');
  socket.removeAllListeners('data');
  socket.pause();
  await fill(quick);
  await quick.disconnect();
  await until('it is cut off', async () => (await metric('sync_connections')) === 0, { limit_ms: 60_000 });
  socket.destroy();
});

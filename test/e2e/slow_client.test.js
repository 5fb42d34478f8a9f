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

test('the queue is bounded and counted, the others get everything at once, the slow one catches up', async () => {
  const [slow, quick] = [await world.join('ada'), await world.join('ben')];
  slow.socket.conn._socket.pause();
  let most = 0;
  let last;
  // more than the kernel keeps for it
  await until('the slow client is told to pull', async () => {
    for (let i = 0; i < 20; i++) last = await world.value("INSERT INTO note (team_id, title, body) VALUES (1, 'large', repeat('x', $1)) RETURNING id", [ROW]);
    await quick.sees('the newest', (copy) => copy.get('note', last));
    most = Math.max(most, await metric('sync_outbox_bytes_max'));
    // the kernel may take the rest just after all behind it was thrown away: on until something waits while somebody looks
    return most > 0 && (await metric('sync_resyncs_total{cause="too_slow"}')) > 0;
  }, { limit_ms: 120_000 });
  assert.ok(most <= QUEUE + ROW, `at most a queue and what was under way: ${most}`);
  assert.match(world.streamer.log, /session_resync session=\d+ cause=too_slow/);
  slow.socket.conn._socket.resume();
  await slow.sees('the newest', (copy) => copy.get('note', last), { limit_ms: 60_000 });
  assert.equal(slow.copy.rows('note').length, quick.copy.rows('note').length);
  for (const client of [slow, quick]) await client.disconnect();
});

// a queue of its own counts, and what the socket has taken half of counts with it
test('a stream of events that is not read is counted like a channel, told to pull, and cut off', async () => {
  const body = '{"device_id":"never-reads","tables":["note"]}';
  const socket = connect(world.streamer.port, '127.0.0.1');
  const text = await new Promise((resolve, reject) => {
    let got = '';
    socket.on('error', reject);
    socket.on('data', (data) => {
      got += data.toString('latin1');
      if (got.includes('"has_more":false')) resolve(got);
    });
    socket.write(`POST /api/v1/sync/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${world.streamer.token('ada')}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  });
  assert.match(text, /^HTTP\/1\.1 200 /);
  socket.removeAllListeners('data');
  socket.pause();
  const resyncs = () => metric('sync_resyncs_total{cause="too_slow"}');
  const before = await resyncs();
  const seen = [];
  await until('the stream is told to pull', async () => {
    for (let i = 0; i < 3; i++) await world.sql("INSERT INTO note (team_id, title, body) VALUES (1, 'large', repeat('x', $1))", [ROW]);
    seen.push(await metric('sync_outbox_bytes_max'));
    return (await resyncs()) > before;
  }, { limit_ms: 120_000 });
  assert.ok(Math.max(...seen) > ROW && Math.max(...seen) <= QUEUE + 2 * ROW, `waited: ${seen.filter(Boolean)}`);
  await until('it is cut off', async () => (await metric('sync_connections')) === 0, { limit_ms: 60_000 });
  socket.destroy();
});

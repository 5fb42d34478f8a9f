// latency.js - `make bench`: how long a committed change takes to reach a client's message event, at a steady rate of single-row updates.
// SPDX-License-Identifier: PostgreSQL
import { cpus } from 'node:os';
import WebSocket from 'ws';
import { World } from '../lib/world.js';
import { sleep, until } from '../lib/wait.js';

const RATE = Number(process.env.RATE || 100);
const SECONDS = Number(process.env.SECONDS || 10);
const IDLE = (process.env.IDLE || '0,100').split(',').map(Number);

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE watched (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE quiet (id int PRIMARY KEY);
GRANT SELECT, INSERT, UPDATE, DELETE ON watched, quiet TO app;
SELECT sync.enable('watched');
SELECT sync.enable('quiet');
INSERT INTO watched SELECT i, 0 FROM generate_series(1, 1000) i;
`;

/** A bare socket: the time is taken in its message event, before anything is parsed. */
async function openListener(world, tables, onFrame) {
  const ws = new WebSocket(`${world.streamer.socketUrl}/websocket?vsn=2.0.0`);
  let caughtUp = false;
  ws.on('message', (data) => {
    const now = performance.now();
    const text = data.toString();
    if (text.includes('"has_more":false')) caughtUp = true;
    onFrame?.(now, text);
  });
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  ws.send(JSON.stringify(['1', '1', 'sync:bench', 'phx_join', { access_token: world.streamer.token('bench'), device_id: 'bench', tables }]));
  await until('a listener has caught up', () => caughtUp);
  return ws;
}

const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))];
const ms = (value) => value.toFixed(2).padStart(8);

function report(title, values) {
  const sorted = values.sort((a, b) => a - b);
  console.log(`${title.padEnd(34)}${ms(percentile(sorted, 50))}${ms(percentile(sorted, 99))}${ms(sorted.at(-1))}   ${sorted.length}`);
}

async function measure(world, idle) {
  const received = new Map(); // n → time
  const listener = await openListener(world, ['watched'], (now, text) => {
    for (const match of text.matchAll(/"n":(\d+)/g)) if (!received.has(match[1])) received.set(match[1], now);
  });
  const others = [];
  for (let i = 0; i < idle; i++) others.push(await openListener(world, ['quiet']));
  const client = await world.database.connect();
  const first = Math.floor(performance.now()) + 1; // other numbers in each run
  const total = RATE * SECONDS;
  const sent = [];
  const begin = performance.now();
  for (let i = 0; i < total; i++) {
    const due = begin + (i * 1000) / RATE;
    if (due > performance.now()) await sleep(due - performance.now());
    const before = performance.now();
    await client.query({ name: 'update', text: 'UPDATE watched SET n = $1 WHERE id = $2', values: [first + i, 1 + (i % 1000)] });
    sent.push({ n: String(first + i), before, after: performance.now() });
  }
  await until('all updates have arrived', () => sent.every(({ n }) => received.has(n)));
  report(`${idle} idle others: from send`, sent.map(({ n, before }) => received.get(n) - before));
  report(`${idle} idle others: from return`, sent.map(({ n, after }) => received.get(n) - after));
  await client.end();
  for (const ws of [listener, ...others]) ws.terminate();
}

console.log(`bench: ${RATE} updates/s for ${SECONDS} s on loopback TCP, fsync on; ${cpus().length} CPUs, ${cpus()[0].model}; client and writer in one Node process`);
const world = await World.start({ schema: SCHEMA, tcp: true, fsync: true, options: { 'log-level': 'debug' } });
try {
  console.log(`${'ms'.padEnd(34)}${'p50'.padStart(8)}${'p99'.padStart(8)}${'max'.padStart(8)}   changes`);
  for (const idle of IDLE) await measure(world, idle); if (/stalled/.test(world.streamer.log)) { const pid = (world.streamer.pid ?? world.streamer.process?.pid ?? world.streamer.child?.pid); console.log('STALL', pid); (await import('node:fs')).writeFileSync('/tmp/plan/stallpid', String(pid)); await sleep(25000); }
} finally {
  console.log(world.streamer.log ?? ''); await world.stop();
}

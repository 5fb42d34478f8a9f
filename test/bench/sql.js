// sql.js - `make bench-sql`: what the extension costs in the database, each figure beside its peer from the same run.
// SPDX-License-Identifier: PostgreSQL
//
// Sections live in sql/, one file each, and export name and run(ctx); each makes a database of its own. SECTIONS="pull write" picks some; ROUNDS= and ROWS= make a short run.
import { readdirSync } from 'node:fs';
import { cpus } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Postgres } from '../lib/postgres.js';

const DIRECTORY = path.join(path.dirname(fileURLToPath(import.meta.url)), 'sql');
const ROUNDS = Number(process.env.ROUNDS || 5);
const SECONDS = Number(process.env.SECONDS || 5);
const ROWS = Number(process.env.ROWS || 1_000_000);

const median = (values) => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

function shuffle(list) {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [list[i], list[j]] = [list[j], list[i]];
  }
  return list;
}

const digits = (value) => (value >= 1000 ? Math.round(value).toLocaleString('en') : value.toPrecision(3));

/**
 * Runs each peer once per round, in random order, and prints the medians with their ranges and the ratio to the first one.
 * peers: [{ name, run: async () => number, rounds? }]; unit: what the numbers are.
 */
async function compare(title, unit, peers, { rounds = ROUNDS } = {}) {
  const values = new Map(peers.map((peer) => [peer.name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const peer of shuffle([...peers])) values.get(peer.name).push(await peer.run());
  }
  const base = median(values.get(peers[0].name));
  console.log(`\n${title}, ${unit} (median of ${rounds}, range)\n`);
  console.log('| | median | range | ratio |\n| --- | ---: | --- | ---: |');
  for (const [name, seen] of values) {
    console.log(`| ${name} | ${digits(median(seen))} | ${digits(Math.min(...seen))} – ${digits(Math.max(...seen))} | ${(median(seen) / base).toFixed(2)} |`);
  }
  return Object.fromEntries([...values].map(([name, seen]) => [name, median(seen)]));
}

/** Milliseconds that work takes. */
async function time(work) {
  const before = performance.now();
  await work();
  return performance.now() - before;
}

const picked = (process.env.SECTIONS || '').split(/[\s,]+/).filter(Boolean);
const files = readdirSync(DIRECTORY).filter((file) => file.endsWith('.js') && (!picked.length || picked.includes(file.slice(0, -3)))).sort();
const server = await Postgres.start({
  fsync: true,
  tcp: true,
  settings: { shared_buffers: '1GB', max_wal_size: '8GB', checkpoint_timeout: '1h', autovacuum: 'off', max_parallel_workers_per_gather: '0' },
});
console.log(`bench-sql: ${cpus().length} CPUs, ${cpus()[0].model}; PostgreSQL on loopback TCP, fsync on, one Node client; ROUNDS=${ROUNDS} ROWS=${ROWS}`);
try {
  for (const file of files) {
    const section = await import(path.join(DIRECTORY, file));
    console.log(`\n## ${section.name}`);
    await section.run({ server, compare, time, median, rounds: ROUNDS, seconds: SECONDS, rows: ROWS });
  }
} finally {
  await server.stop();
}

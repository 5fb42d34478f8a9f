// write.js - what a synced table costs its writers: bulk and single writes beside the same table without sync, in one run.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { Postgres } from '../../lib/postgres.js';

const ROUNDS = Number(process.env.ROUNDS || 5);
const SINGLE = Number(process.env.SINGLE || 2000); // transactions of each single-row run
const BURST = 1000; // a new connection each: fewer would measure the reading of the registry
const BATCHES = Number(process.env.BATCHES || 50);
const TURN = Number(process.env.TURN || 10); // statements a variant has at a time
const ROWS = 1000;
const TEAMS = 100;
const COLUMNS = 'id, team_id, author, title, body';
export const SETTINGS = { shared_buffers: '1GB', max_wal_size: '8GB', checkpoint_timeout: '30min', autovacuum: 'off' };

const VARIANTS = {
  plain: null,
  synced: '',
  scoped: ", scope => 'team', scope_column => 'team_id'",
  lww: ", rule => 'lww'",
  soft: ", deletes => 'soft'",
  updated_at: ", updated_at => 'changed_at'",
};

const table = (name) => `
CREATE TABLE note_${name} (
  id uuid PRIMARY KEY, team_id int NOT NULL, author uuid NOT NULL, title text NOT NULL, body text, done boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(), changed_at timestamptz);
ALTER TABLE note_${name} SET (autovacuum_enabled = off);
${VARIANTS[name] === null ? '' : `SELECT sync.enable('note_${name}'${VARIANTS[name]});`}`;

const source = `
SELECT sync.create_scope('team', 'SELECT 1::text');
CREATE TABLE source AS
  SELECT n, gen_random_uuid() AS id, 1 + n % ${TEAMS} AS team_id, gen_random_uuid() AS author, 'Note number ' || n AS title,
         repeat(md5(n::text), 6) || 'deadbeef' AS body, repeat(md5((-n)::text), 6) || 'deadbeef' AS next
  FROM generate_series(1, ${BATCHES * ROWS}) n;
CREATE UNIQUE INDEX ON source (n);
VACUUM ANALYZE source;`;

const median = (values) => {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
};

const shuffled = (list) => {
  const copy = [...list];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [copy[i], copy[j]] = [copy[j], copy[i]];
  }
  return copy;
};

/** CPU time of a backend in ms, where the system tells: the noise of other processes is not in it. */
function cpu(pid) {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return NaN;
  }
}

/** Rows a second of BATCHES statements, each its own transaction; the variants take turns, so that a burst of noise hits them alike. */
async function bulk(client, pid, names, what, statement, results) {
  const ms = Object.fromEntries(names.map((name) => [name, { wall: 0, cpu: 0 }]));
  for (let first = 0; first < BATCHES; first += TURN) {
    for (const name of shuffled(names)) {
      const used = cpu(pid);
      const begin = performance.now();
      for (let i = first; i < Math.min(first + TURN, BATCHES); i++) {
        await client.query({ name: `${what} ${name}`, text: statement(`note_${name}`), values: [i * ROWS + 1, (i + 1) * ROWS] });
      }
      ms[name].wall += performance.now() - begin;
      ms[name].cpu += cpu(pid) - used;
    }
  }
  for (const name of names) {
    for (const clock of ['wall', 'cpu']) results[name][clock === 'wall' ? what : `${what}, CPU`] = (BATCHES * ROWS * 1000) / ms[name][clock];
  }
}

/** Seconds that one pgbench client with prepared statements takes for a burst of transactions. */
function single(server, database, script, commit) {
  const file = path.join(server.directory, 'script.sql');
  writeFileSync(file, script);
  const args = ['-n', '-M', 'prepared', '-c', '1', '-t', String(BURST), '-f', file, '-h', server.host, '-p', String(server.port), '-U', 'postgres', database];
  const text = execFileSync(path.join(server.bin, 'pgbench'), args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, PGOPTIONS: `-c synchronous_commit=${commit}` },
  });
  return BURST / Number(/tps = ([\d.]+)/.exec(text)[1]);
}

function singles(server, database, names, results) {
  const one = `\\set n random(1, ${BATCHES * ROWS})\n\\set r random(1, 1000000000)\n`;
  const scripts = {
    update: (note) => `${one}UPDATE ${note} SET title = 'Title ' || :r WHERE id = (SELECT id FROM source WHERE n = :n);`,
    insert: (note) => `${one}INSERT INTO ${note} (${COLUMNS}) SELECT gen_random_uuid(), team_id, author, title, body FROM source WHERE n = :n;`,
  };
  for (const commit of ['on', 'off']) {
    for (const what of ['update', 'insert']) {
      const seconds = Object.fromEntries(names.map((name) => [name, 0]));
      for (let done = 0; done < SINGLE; done += BURST) {
        for (const name of shuffled(names)) seconds[name] += single(server, database, scripts[what](`note_${name}`), commit);
      }
      for (const name of names) results[name][`${what}, commit ${commit}`] = (Math.ceil(SINGLE / BURST) * BURST) / seconds[name];
    }
  }
}

async function measure(server, database, client, names) {
  const results = Object.fromEntries(names.map((name) => [name, {}]));
  const pid = (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  for (const name of names) await client.query(`TRUNCATE note_${name}`);
  await client.query('CHECKPOINT');
  await bulk(client, pid, names, 'bulk insert', (note) =>
    `INSERT INTO ${note} (${COLUMNS}) SELECT ${COLUMNS} FROM source WHERE n BETWEEN $1 AND $2`, results);
  for (const name of names) await client.query(`VACUUM ANALYZE note_${name}`);
  await bulk(client, pid, names, 'bulk update', (note) =>
    `UPDATE ${note} t SET body = s.next FROM source s WHERE s.id = t.id AND s.n BETWEEN $1 AND $2`, results);
  for (const name of names) await client.query(`VACUUM note_${name}`);
  if (SINGLE) singles(server, database, names, results);
  return results;
}

function report(print, results, names) {
  print(`${''.padEnd(20)}${'variant'.padEnd(12)}${'per s'.padStart(9)}${'min–max'.padStart(18)}${'ratio'.padStart(8)}${'min–max'.padStart(12)}`);
  for (const what of Object.keys(results.plain[0])) {
    for (const name of names) {
      const rates = results[name].map((round) => round[what]);
      const ratios = results[name].map((round, i) => round[what] / results.plain[i][what]);
      print(`${what.padEnd(20)}${name.padEnd(12)}${median(rates).toFixed(0).padStart(9)}` +
        `${`${Math.min(...rates).toFixed(0)}–${Math.max(...rates).toFixed(0)}`.padStart(18)}${median(ratios).toFixed(3).padStart(8)}` +
        `${`${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`.padStart(12)}`);
    }
  }
}

/** `ctx.server`: a started private cluster with SETTINGS; its `print` takes the lines of the report. */
export async function run({ server, print = console.log }) {
  const names = process.env.VARIANTS ? process.env.VARIANTS.split(',') : Object.keys(VARIANTS);
  const database = await server.createDatabase('bench_write', { roles: false });
  const client = await database.connect();
  await client.query(source.slice(0, source.indexOf('VACUUM')));
  await client.query('VACUUM ANALYZE source');
  for (const name of names) await client.query(table(name));
  const results = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    const rates = await measure(server, 'bench_write', client, names);
    if (round > 0) for (const name of names) results[name].push(rates[name]); // the first one warms up
  }
  await client.end();
  report(print, results, names);
}

export const name = 'write';

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = await Postgres.start({ fsync: true, tcp: true, settings: SETTINGS });
  try {
    await run({ server });
  } finally {
    await server.stop();
  }
}

// handoff.js - G5: clients go from pull to the stream at any instant, while a synchronous standby holds commits up: every copy is complete.
// SPDX-License-Identifier: PostgreSQL
//
// A commit that waits for the standby has been decoded, and nobody can see it yet: a pull of that moment must not count it as had. Rows are
// written once and deleted some seconds later, so a hole stays a hole until the copies are compared.
import { ask, standbyOf } from '../../lib/copies.js';
import { metric } from '../../lib/metrics.js';
import { Postgres } from '../../lib/postgres.js';
import { Random } from '../../lib/random.js';
import { Streamer } from '../../lib/streamer.js';
import { sleep, until } from '../../lib/wait.js';
import { makeHoppers } from '../hoppers.js';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE event (id bigserial PRIMARY KEY, body text NOT NULL);
CREATE TABLE note (id int PRIMARY KEY, body text NOT NULL);
GRANT SELECT ON event, note TO app;
SELECT sync.enable('event');
SELECT sync.enable('note');
INSERT INTO note SELECT i, 'note' FROM generate_series(1, 50) i;
`;
const SETTINGS = { shared_buffers: '64MB', max_wal_size: '4GB', checkpoint_timeout: '1h', autovacuum_naptime: '60s', max_connections: '60', lock_timeout: '10s' };
const OPTIONS = { 'max-messages-per-second': 10000, 'max-joins-per-second': 0, 'max-clients-per-user': 0, 'log-pulls': 'off', 'log-level': 'warning', 'query-connections': 6 };
const WRITERS = 12;
const PAUSE_MS = 60; // between two transactions of a writer, about
const KEPT = 600; // events
const HOP_MS = 4000; // between two comparisons

/** Commits wait for a standby that comes and goes. */
class Delay {
  static async begin(server, random) {
    const delay = new Delay();
    Object.assign(delay, { server, random, holds: 0 });
    delay.standby = await standbyOf(server, { name: 'slow' });
    await ask(server, "ALTER SYSTEM SET synchronous_standby_names = 'slow'");
    await ask(server, 'SELECT pg_reload_conf()');
    delay.sender = await until('the standby is synchronous', () => ask(server, "SELECT pid FROM pg_stat_replication WHERE application_name = 'slow' AND sync_state = 'sync'"));
    delay.running = delay.#run();
    return delay;
  }

  async #run() {
    while (!this.isOver) {
      await sleep(5 + this.random.below(this.random.chance(0.2) ? 400 : 60));
      if (this.isOver || this.isQuiet) continue;
      process.kill(this.sender, 'SIGSTOP');
      this.holds++;
      await sleep(10 + this.random.below(this.random.chance(0.1) ? 600 : 120));
      process.kill(this.sender, 'SIGCONT');
    }
  }

  async end() {
    this.isOver = true;
    await this.running;
    await this.standby?.stop();
  }
}

class Load {
  commits = 0;
  isHeld = false;
  idle = 0;

  constructor(database, random) {
    this.random = random;
    this.running = Promise.all(Array.from({ length: WRITERS }, (_, i) => this.#write(database, i, new Random(random.below(2 ** 31)))));
    this.running.catch(() => (this.isBroken = true));
  }

  async #write(database, i, random) {
    const connection = await database.connect();
    // most wait for the standby, some can be seen at once
    await connection.query(`SET synchronous_commit = ${i % 6 === 5 ? 'local' : i % 6 === 4 ? 'off' : 'on'}`);
    while (!this.isOver) {
      if (this.isHeld) {
        this.idle++;
        await until('the writers go on', () => !this.isHeld, { limit_ms: 600_000, every_ms: 5 });
        this.idle--;
      }
      await this.#transaction(connection, random, i);
      await sleep(random.below(2 * PAUSE_MS));
    }
    await connection.end();
  }

  async #transaction(connection, random, i) {
    await connection.query('BEGIN');
    await connection.query(`INSERT INTO event (body) SELECT 'event' FROM generate_series(1, ${1 + random.below(3)})`);
    if (random.chance(0.3)) await connection.query(`UPDATE note SET body = 'note ' || clock_timestamp() WHERE id = ${1 + random.below(50)}`);
    if (random.chance(0.1)) await sleep(random.below(20));
    if (i === 0) await connection.query(`DELETE FROM event WHERE id < (SELECT max(id) FROM event) - ${KEPT}`);
    await connection.query(random.chance(0.05) ? 'ROLLBACK' : 'COMMIT');
    this.commits++;
  }

  /** Nobody writes any more. */
  async hold() {
    this.isHeld = true;
    await until('the writers have stopped', () => this.isBroken || this.idle === WRITERS, { limit_ms: 120_000, every_ms: 5 });
  }

  goOn() {
    this.isHeld = false;
  }

  async end() {
    this.isOver = true;
    this.isHeld = false;
    await this.running;
  }
}

/** `event 7: missing` and the like; empty when the copy holds what the tables hold, in the same versions. */
function holes(copy, tables) {
  const found = [];
  for (const [table, rows] of tables) {
    const held = copy.table(table);
    for (const { id, version } of rows) {
      const row = held.get(String(id));
      if (row?.server_version !== version) found.push(`${table} ${id}: ${row ? `version ${row.server_version}, is ${version}` : 'missing'}`);
    }
    const living = held.size > rows.length - found.length ? new Set(rows.map(({ id }) => String(id))) : undefined;
    if (living) for (const id of held.keys()) if (!living.has(id)) found.push(`${table} ${id}: should be gone`);
  }
  return found;
}

const readTables = async (database) => Promise.all(['event', 'note'].map(async (table) => [table, await database.sql(`SELECT id, sync_version::int AS version FROM ${table}`)]));

/** All stand still, then every copy is compared. What is not complete within the limit has a hole, and begins anew. */
async function compare(stage, { limit_ms }) {
  await stage.load.hold();
  const tables = await readTables(stage.database);
  const areComplete = async () => {
    for (const hopper of stage.hoppers) if (hopper.isGone) await hopper.join();
    return stage.hoppers.every(({ copy }) => !holes(copy, tables).length);
  };
  await until('all copies are complete', areComplete, { limit_ms, every_ms: 50 }).catch(() => {});
  const failures = [];
  for (const hopper of stage.hoppers) {
    const found = holes(hopper.copy, tables);
    if (!found.length) continue;
    stage.tally.holes += found.length;
    failures.push(`${hopper.topic} after ${hopper.visits} hand-offs, ${hopper.isGone ? 'gone' : 'live'} with ${hopper.line.streamer.options.plugin}, token ${hopper.position}: ${found.length} rows, e.g. ${found.slice(0, 3).join('; ')}`);
    hopper.forget();
  }
  stage.tally.comparisons++;
  stage.load.goOn();
  return failures;
}

/** Everybody comes and goes, then stays for the comparison. */
async function hopAndCompare(stage, { end, control }) {
  let isStaying = false;
  const until_ms = Math.min(end, Date.now() + HOP_MS);
  const hopping = Promise.all(stage.hoppers.map((hopper) => hopper.hop(() => isStaying)));
  hopping.catch(() => {});
  await sleep(Math.max(1000, until_ms - Date.now()));
  isStaying = true;
  await hopping;
  const failures = await compare(stage, { limit_ms: control ? 8_000 : 90_000 });
  await Promise.all(stage.hoppers.map((hopper) => hopper.leave()));
  return failures;
}

async function count(stage) {
  let handoffs = 0;
  for (const streamer of stage.streamers) handoffs += await metric({ streamer }, 'sync_catch_ups_total');
  stage.tally.hand_offs = handoffs;
  stage.tally.holds = stage.delay.holds;
  stage.tally.commits = stage.load.commits;
  stage.tally.joins = stage.hoppers.reduce((sum, { joins }) => sum + joins, 0);
}

async function run({ seconds, random, say, most = Infinity, control }) {
  const isLong = seconds > 30;
  const tally = { hand_offs: 0, joins: 0, commits: 0, holds: 0, comparisons: 0, holes: 0 };
  const stage = { tally, streamers: [] };
  const failures = [];
  const server = await Postgres.start({ settings: SETTINGS });
  try {
    stage.database = await server.createDatabase('app');
    server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    const plugins = isLong ? ['wal2json', 'pgoutput'] : [random.pick(['wal2json', 'pgoutput'])];
    // a small ring: some find their place gone, and pull again
    for (const [i, plugin] of plugins.entries()) stage.streamers.push(await Streamer.start(stage.database, { ...OPTIONS, plugin, 'ring-size': i ? '1M' : '64M' }, { secret: stage.streamers[0]?.secret }));
    stage.delay = await Delay.begin(server, new Random(random.below(2 ** 31)));
    stage.load = new Load(stage.database, random);
    stage.hoppers = makeHoppers(stage.streamers, { sockets: 4, channels: isLong ? 6 : 8, random });
    const end = Date.now() + seconds * 1000;
    let told = Date.now();
    do {
      const found = await hopAndCompare(stage, { end, control });
      found.forEach((text) => say(text));
      failures.push(...found);
      await count(stage);
      if (Date.now() - told > 30_000) {
        say(`${tally.hand_offs} hand-offs, ${tally.holes} holes`);
        told = Date.now();
      }
    } while (Date.now() < end && tally.hand_offs < most && !(control && failures.length) && failures.length < 20);
    await stage.load.end();
  } finally {
    for (const { line } of stage.hoppers ?? []) line.cut();
    await stage.load?.end().catch(() => {}); // while somebody still lets commits go
    await stage.delay?.end();
    for (const streamer of stage.streamers) await streamer.stop();
    await server.stop();
  }
  return { figures: tally, failures };
}

export const play = {
  row: 'G5',
  name: 'handoff',
  title: 'between pull and stream nothing is left out, whatever waits for a synchronous standby at that moment',
  control: 'visible',
  run,
};

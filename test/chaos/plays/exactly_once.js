// exactly_once.js - G2: pushes repeated, doubled, reordered and cut off while streamer, backends and server are killed: each counts exactly once.
// SPDX-License-Identifier: PostgreSQL
//
// Witnesses: the sums of counters, a row for each create, an entry of the conflict log for each edit that lost, and a trigger's own account of
// every write. Half of the kills wait for the word that a push is committed, so that they fall between the commit and its answer.
import pg from 'pg';
import { Postgres } from '../../lib/postgres.js';
import { isRunning } from '../../lib/process.js';
import { Random } from '../../lib/random.js';
import { Streamer } from '../../lib/streamer.js';
import { sleep, until, within } from '../../lib/wait.js';
import { Device, DEVICES, LANES, ROWS, SCHEMA } from '../pushers.js';

const SETTINGS = {
  shared_buffers: '32MB', max_connections: '60', checkpoint_timeout: '1h', max_wal_size: '4GB', wal_writer_delay: '10s', wal_writer_flush_after: '1GB', log_min_messages: 'panic',
  'sync.max_conflicts': '1000000000', 'sync.max_ledger': '1000000000',
};
const OPTIONS = { 'max-requests-per-second': 0, 'max-clients-per-user': 0, 'log-level': 'warning', 'log-pulls': 'off' };
const LIMIT_MS = 120_000;
const PASSING = /^(57P0|08|40001|40P01|55P03|53300|25P0)/;

class Stage {
  failures = [];
  tally = { operations: 0, increments: 0, creates: 0, conflicts: 0, pushes: 0, cut: 0, kills: 0, kills_at_commit: 0, server_crashes: 0, lost: 0, doubled: 0 };
  sums = new Array(ROWS + 1).fill(0);
  sessions = new Map(); // user → idle connections of its own

  async start({ seconds, random }) {
    this.random = random;
    // pushes are committed synchronously whatever this says
    this.mode = random.pick(['on', 'off']);
    this.server = await Postgres.start({ settings: { ...SETTINGS, synchronous_commit: this.mode } });
    this.database = await this.server.createDatabase('app');
    this.server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    this.streamer = await Streamer.start(this.database, { ...OPTIONS, plugin: random.pick(['wal2json', 'pgoutput']) });
    this.end = Date.now() + seconds * 1000;
    const ways = [(...args) => this.overHttp(...args), (...args) => this.bySql(...args)];
    this.devices = Array.from({ length: DEVICES }, (_, i) => new Device(i, { ways, random: new Random(random.below(2 ** 31)), tally: this.tally, sums: this.sums }));
  }

  /** The answer, or undefined: it may have been done or not. */
  async overHttp(sub, body, cut_ms) {
    try {
      const response = await fetch(`${this.streamer.url}/api/v1/sync/push`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${this.streamer.token(sub)}` },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(cut_ms ?? 30_000),
      });
      const text = await response.text();
      if (response.status === 200) return JSON.parse(text);
      if (response.status < 500) this.failures.push(`push answered ${response.status}: ${text}`);
    } catch {
      // cut by us, or by a kill
    }
    return undefined;
  }

  async session(sub) {
    const idle = this.sessions.get(sub)?.pop();
    if (idle) return idle;
    const client = new pg.Client(this.server.options('app', 'app'));
    client.on('error', () => {});
    await client.connect();
    await client.query("SELECT set_config('request.jwt.claims', $1, false)", [JSON.stringify({ sub, role: 'app' })]);
    return client;
  }

  async bySql(sub, body, cut_ms) {
    let client;
    let cutting;
    try {
      client = await this.session(sub);
      if (cut_ms !== undefined) cutting = setTimeout(() => client.connection.stream.destroy(), cut_ms);
      const { rows: [{ answer }] } = await within(30_000, 'a push by SQL', client.query('SELECT sync.push($1::jsonb) AS answer', [JSON.stringify(body)]));
      if (cut_ms === undefined) this.sessions.set(sub, [...(this.sessions.get(sub) ?? []), client]);
      return answer;
    } catch (error) {
      if (error.code && !PASSING.test(error.code) && !/^E[A-Z]+$/.test(error.code)) this.failures.push(`push by SQL: ${error.code} ${error.message}`);
      client?.end().catch(() => {});
      return undefined;
    } finally {
      clearTimeout(cutting);
    }
  }

  /** The pid of a backend whose push has just been committed; undefined if none is within a moment. */
  async nextCommit() {
    const listener = await this.server.connect('app').catch(() => undefined);
    if (!listener) return undefined;
    try {
      await listener.query('LISTEN written');
      return await within(1000, 'a push', new Promise((resolve) => listener.on('notification', ({ payload }) => resolve(Number(payload)))));
    } catch {
      return undefined;
    } finally {
      listener.end().catch(() => {});
    }
  }

  async kill() {
    const backend = this.random.chance(0.5) ? await this.nextCommit() : undefined;
    const victim = this.random.pick(['streamer', 'streamer', 'streamer', 'backend', 'server']);
    this.tally.kills_at_commit += backend !== undefined;
    this.tally.kills++;
    if (victim === 'streamer') {
      await this.streamer.kill();
      await this.streamer.restart({ ready: false });
    } else if (victim === 'backend' && backend) {
      this.tally.server_crashes++;
      try {
        process.kill(backend, 'SIGKILL');
      } catch {
        // gone by itself
      }
    } else {
      this.tally.server_crashes++;
      await this.server.crash();
      await this.server.start();
    }
    if (!isRunning(this.streamer.process)) await this.streamer.restart({ ready: false });
  }

  async keepKilling() {
    while (this.goesOn()) {
      await sleep(150 + this.random.below(900));
      if (this.goesOn()) await this.kill();
    }
  }

  goesOn() {
    return !this.isOver && Date.now() < this.end && this.tally.operations < this.most && !this.failures.length;
  }

  async perform() {
    const lanes = this.devices.flatMap((device) => Array.from({ length: LANES }, (_, lane) => device.lane(lane, () => this.goesOn(), this.failures)));
    try {
      await Promise.all([this.keepKilling(), ...lanes]);
    } finally {
      this.isOver = true;
    }
  }

  /** What the witnesses say. */
  async judge() {
    await until('the server answers', () => this.database.value('SELECT 1').catch(() => undefined), { limit_ms: LIMIT_MS });
    const tallies = await this.database.sql('SELECT id, n FROM tally ORDER BY id');
    for (const { id, n } of tallies) if (n !== this.sums[id]) this.blame(n - this.sums[id], `counter ${id} is ${n}, ${this.sums[id]} was acknowledged`);
    await this.#judgeOnce('increments', 'SELECT op FROM witness');
    await this.#judgeOnce('creates', 'SELECT op FROM made');
    await this.#judgeOnce('conflicts', "SELECT local_data ->> 'body' AS op FROM sync.conflict WHERE entity_type = 'title'");
  }

  async #judgeOnce(what, query) {
    const [{ all, distinct }] = await this.database.sql(`SELECT count(*)::int AS all, count(DISTINCT op)::int AS distinct FROM (${query}) o`);
    const doubled = all - distinct;
    const lost = this.tally[what] - distinct;
    if (!doubled && !lost) return;
    const examples = await this.database.sql(`SELECT op, count(*)::int AS times FROM (${query}) o GROUP BY op HAVING count(*) > 1 LIMIT 5`);
    this.tally.lost += lost;
    this.tally.doubled += doubled;
    this.failures.push(`${what}: ${this.tally[what]} acknowledged, ${distinct} found, ${doubled} found again ${JSON.stringify(examples)}`);
  }

  blame(difference, text) {
    this.tally[difference < 0 ? 'lost' : 'doubled']++;
    this.failures.push(text);
  }

  async stop() {
    this.isOver = true;
    for (const client of [...this.sessions.values()].flat()) client.end().catch(() => {});
    await this.streamer?.stop().catch(() => {});
    await this.server?.stop();
  }
}

async function run({ seconds, random, say, most = Infinity }) {
  const stage = new Stage();
  stage.most = most;
  const telling = setInterval(() => say(JSON.stringify(stage.tally)), 30_000);
  try {
    await stage.start({ seconds, random });
    await stage.perform();
    await stage.judge();
  } finally {
    clearInterval(telling);
    await stage.stop();
  }
  return { figures: { ...stage.tally, synchronous_commit: stage.mode }, failures: stage.failures.slice(0, 20) };
}

export const play = {
  row: 'G2',
  name: 'exactly_once',
  title: 'an acknowledged push is neither lost nor applied twice, however often it is sent and whatever is killed meanwhile',
  run,
};

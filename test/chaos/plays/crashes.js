// crashes.js - G1: random writers and pullers on a server that is killed again and again; who keeps pulling ends with the tables.
// SPDX-License-Identifier: PostgreSQL
//
// A history is a few crashes long. Nothing but commits, their own flushes and pull writes the log out, so a crash takes back
// whatever may be taken back: a cursor that counts ids of it hides rows, as the control shows.
import { Copy } from '../../lib/client.js';
import { differences, expectedRows } from '../../lib/expected.js';
import { Postgres } from '../../lib/postgres.js';
import { isAlive } from '../../lib/process.js';
import { Random } from '../../lib/random.js';
import { sleep, until, within } from '../../lib/wait.js';
import { crashWriter, SCHEMA, TABLES } from '../crash_writers.js';

const SETTINGS = {
  shared_buffers: '4MB', wal_buffers: '4MB', max_connections: '40', max_wal_senders: '0', max_replication_slots: '0', autovacuum: 'off', restart_after_crash: 'on',
  wal_writer_delay: '10s', wal_writer_flush_after: '1GB', checkpoint_timeout: '1h', bgwriter_delay: '10s', log_min_messages: 'panic', update_process_title: 'off',
};
const WRITERS = 4;
const PULLERS = 2;
const LIMIT_MS = 60_000;
const CUT = /^(57P0|08|25P0[34])/; // the server went away, or comes back just now

const isCut = (error) => CUT.test(error.code ?? '') || /^E[A-Z]+$/.test(error.code ?? '') || /Connection terminated|not queryable|timeout/.test(error.message);

function shoot(pid) {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

const positionOf = (token) => Buffer.from(token.split('.')[1], 'base64url').toString();

/** What the server knows of a row that is wrong, for whoever has to find out why. */
async function describe(admin, table, difference) {
  const entity = difference.match(/^\S+ ?(?:be gone:)? (\[.*?\]|\d+)/)?.[1] ?? '';
  const { rows } = await admin.query(
    `SELECT (SELECT jsonb_agg(t) FROM (SELECT version, sync_xid, reason FROM sync.tombstone WHERE entity_id = $1 ORDER BY version DESC LIMIT 3) t) AS tombstones,
            (SELECT jsonb_agg(t) FROM (SELECT sync_version, sync_xid, xmin FROM ${table} WHERE $1 IN (id::text, label)) t) AS rows, pg_current_snapshot()`, [entity]);
  return `${entity}: ${JSON.stringify(rows[0])}`;
}

/** A lane: one server, on which history follows history. */
class Lane {
  constructor(number, tally) {
    this.number = number;
    this.tally = tally;
    this.copies = [];
  }

  async start() {
    this.server = await Postgres.start({ settings: SETTINGS });
    await this.server.createDatabase('app', { roles: false });
    this.server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
  }

  /** Runs `step` on one connection after another until the history is over; an error that no crash explains ends it. */
  async live(history, open, step) {
    while (!history.over) {
      let client;
      try {
        client = await open();
        history.pids.add(client.processID);
        while (!history.over) await step(client);
      } catch (error) {
        if (!isCut(error)) {
          history.failures.push(`${error.message} (${error.code ?? error.stack})`);
          history.over = true;
        }
        await sleep(5);
      } finally {
        history.pids.delete(client?.processID);
        client?.end().catch(() => {});
      }
    }
  }

  async write(history, name, random) {
    const mode = history.modes[name % history.modes.length];
    const writer = crashWriter(random, { name: `${this.number}.${name}`, directory: this.server.directory, tally: this.tally });
    await this.live(history, async () => {
      const client = await this.server.connect('app');
      await client.query(`SET synchronous_commit = ${mode}; SET lock_timeout = '50ms'`); // a prepared transaction keeps its locks
      return client;
    }, (client) => writer.step(client));
  }

  async openPuller() {
    const client = await this.server.connect('app', 'app');
    await client.query(`SELECT set_config('request.jwt.claims', '{"sub":"ada","role":"app"}', false)`);
    return client;
  }

  async pull(client, holder, limit) {
    const request = { device_id: 'crashes', limit, ...(holder.token ? { sync_token: holder.token } : {}) };
    const { rows: [{ answer }] } = await client.query('SELECT sync.pull($1::jsonb) AS answer', [JSON.stringify(request)]);
    if (holder.token && answer.reset) this.tally.resets++;
    holder.copy.apply(answer);
    holder.token = answer.next_sync_token;
    holder.positions = [...(holder.positions ?? []).slice(-11), `${limit}→${answer.changes.length} ${answer.changes[0]?.entity_type}${answer.changes[0]?.entity_id}..${answer.changes.at(-1)?.entity_type}${answer.changes.at(-1)?.entity_id} ${answer.reset ?? ""} ${positionOf(holder.token)} ${answer.has_more ? 'more' : 'end'}`];
    this.tally.pulls++;
    return answer.has_more;
  }

  /** The round it is in may have begun long ago: that one, and a new one. */
  async pullToTheEnd(client, holder) {
    for (let rounds = 0; rounds < 2; rounds++) while (await this.pull(client, holder, 1000));
  }

  async keepPulling(history, holder, random) {
    await this.live(history, () => this.openPuller(), async (client) => {
      await sleep(random.below(30));
      await this.pull(client, holder, 1 + random.below(random.chance(0.5) ? 10 : 1000));
    });
  }

  /** One of three ways for the whole server to lose its memory. */
  async crash(history, random) {
    const victim = [...history.pids].find(isAlive);
    const way = random.pick(['kill', 'kill', 'immediate', 'backend']);
    if (way === 'backend' && victim) {
      shoot(victim);
      await until('the killed backend is seen', () => !history.pids.has(victim), { limit_ms: LIMIT_MS });
    } else if (way === 'immediate') {
      process.kill(this.server.process.pid, 'SIGQUIT');
      await within(LIMIT_MS, 'an immediate stop', this.server.process.exited);
      await this.server.start();
    } else {
      await this.server.crash();
      await this.server.start();
    }
    this.tally.crashes++;
  }

  /** Ends what was prepared, then every holder pulls to the end. What differs. */
  async judge(random) {
    const admin = await until('the server answers', () => this.server.connect('app').catch(() => undefined), { limit_ms: LIMIT_MS });
    const { rows } = await admin.query('SELECT gid FROM pg_prepared_xacts');
    for (const { gid } of rows) await admin.query(`${random.chance(0.5) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`);
    const client = await this.openPuller();
    const failures = [];
    const asDatabase = { sql: async (text, values) => (await admin.query(text, values)).rows };
    for (const table of TABLES) {
      const expected = await expectedRows(asDatabase, table);
      for (const [i, holder] of this.copies.entries()) {
        await this.pullToTheEnd(client, holder);
        const wrong = differences(holder.copy.table(table), expected);
        this.tally.stale_rows += wrong.length;
        if (wrong.length) {
          failures.push(`puller ${i}, ${table}: ${wrong.length} rows wrong: ${wrong.slice(0, 3).map((text) => text.slice(0, 300)).join('; ')}; the server: ${await describe(admin, table, wrong[0])}; its positions: ${holder.positions.join(', ')}`);
        }
        holder.isWrong ||= wrong.length > 0;
      }
    }
    this.copies = this.copies.filter(({ isWrong }) => !isWrong);
    await client.end();
    await admin.end();
    return failures;
  }

  /** What went wrong in it. */
  async history(seed, isControl) {
    const random = new Random(seed);
    const history = { over: false, failures: [], pids: new Set(), modes: random.pick([['on'], ['off'], ['on', 'off'], ['off', 'local']]) };
    const resets = this.tally.resets;
    // one goes on with the token it has, one begins
    this.copies = [...this.copies.slice(-(PULLERS - 1)), { copy: new Copy() }];
    const lives = [
      ...Array.from({ length: WRITERS }, (_, name) => this.write(history, name, new Random(random.below(2 ** 31)))),
      ...this.copies.map((holder) => this.keepPulling(history, holder, new Random(random.below(2 ** 31)))),
    ];
    try {
      for (let left = 3 + random.below(5); left > 0 && !history.over; left--) {
        await sleep(random.below(160));
        await this.crash(history, random);
      }
      await sleep(random.below(160));
    } finally {
      history.over = true;
      await within(LIMIT_MS, 'writers and pullers end', Promise.all(lives));
    }
    history.failures.push(...(await this.judge(random)));
    if (this.tally.resets > resets && !isControl) history.failures.push('a pull was answered with a reset after a crash');
    this.tally.histories++;
    return history.failures.map((text) => `history ${seed} (synchronous_commit ${history.modes}): ${text}`);
  }
}

async function run({ seconds, random, say, most = Infinity, control }) {
  const tally = { histories: 0, crashes: 0, pulls: 0, commits: 0, rolled_back: 0, prepared: 0, copied: 0, resets: 0, stale_rows: 0 };
  const failures = [];
  const lanes = Array.from({ length: seconds > 30 && !control ? 2 : 1 }, (_, number) => new Lane(number, tally));
  const watching = setInterval(() => say(`${tally.histories} histories, ${tally.crashes} crashes, ${tally.stale_rows} stale rows`), 30_000);
  try {
    await Promise.all(lanes.map(async (lane) => {
      await lane.start();
      const end = Date.now() + seconds * 1000;
      while ((Date.now() < end || tally.histories === 0) && tally.histories < most && !(control && failures.length)) {
        const found = await lane.history(random.below(2 ** 31), control !== undefined);
        found.forEach(say);
        failures.push(...found);
      }
    }));
  } finally {
    clearInterval(watching);
    for (const lane of lanes) await lane.server?.stop();
  }
  return { figures: tally, failures };
}

export const play = {
  row: 'G1',
  name: 'crashes',
  title: 'whoever keeps pulling misses no committed change, however often the server is killed, with synchronous_commit on and off',
  control: 'flush',
  run,
};

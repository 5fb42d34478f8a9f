// tools.js - what the sections of the stream bench share: the world of teams, its crowd of clients, the floor's server, pg_recvlogical, writers.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort, ROOT } from '../lib/postgres.js';
import { start } from '../lib/process.js';
import { sleep, until } from '../lib/wait.js';
import { World } from '../lib/world.js';

const TOOLS = path.join(ROOT, 'streamer/build/plain/bench');
const SOCKET = '/socket/websocket?vsn=2.0.0';
export const TEAMS = 10;
export const ROWS = 10_000;

/** Rows of 10 teams; user u<n> is in team n % 10. `how`: scope, which says it all, or policy: rows are judged too. */
export const schema = (how, users, rows = ROWS) => `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (user_id text NOT NULL, team_id int NOT NULL, PRIMARY KEY (user_id, team_id));
INSERT INTO member SELECT 'u' || i, i % ${TEAMS} FROM generate_series(0, ${users - 1}) i;
CREATE TABLE note (id int PRIMARY KEY, team_id int NOT NULL, title text NOT NULL);
INSERT INTO note SELECT i, i % ${TEAMS}, '@0@' FROM generate_series(0, ${rows - 1}) i;
CREATE TABLE quiet (id int PRIMARY KEY, team_id int NOT NULL);
GRANT SELECT ON member, quiet TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_of_my_teams ON note TO app USING (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()));
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', ${how === 'scope' ? 'policy_is_scope' : 'verify'} => true);
SELECT sync.enable('quiet', scope => 'team', scope_column => 'team_id');
CREATE PROCEDURE churn(count int, first int, step int, many int) LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 0 .. count - 1 LOOP
    UPDATE note SET title = '@0@ ' || i WHERE id = first + (i % many) * step;
    COMMIT;
  END LOOP;
END $$;
ANALYZE;
`;

export async function startWorld(how, users, { rows, options = {}, settings = {} } = {}) {
  const plugin = process.env.PLUGIN ? { plugin: process.env.PLUGIN } : {};
  return World.start({
    schema: schema(how, users, rows),
    tcp: true,
    fsync: true,
    settings: { shared_buffers: '512MB', max_wal_size: '8GB', checkpoint_timeout: '1h', max_connections: '50', ...settings },
    options: { 'log-level': 'warning', 'max-clients': 19000, 'max-clients-per-address': 0, 'max-clients-per-user': 0, 'max-requests-per-second': 0, ...plugin, ...options },
  });
}

/** A child that takes commands by line and answers each with one line of JSON. */
class Tool {
  constructor(name, args) {
    this.process = start(path.join(TOOLS, name), args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.process.stdin.on('error', () => {});
    this.process.stdout.setEncoding('utf8');
    this.process.stdout.on('data', (data) => {
      this.#text += data;
      for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
        this.#asked.shift()?.(this.#text.slice(0, end));
        this.#text = this.#text.slice(end + 1);
      }
    });
    this.process.exited.then(() => this.#asked.forEach((resolve) => resolve('null')));
  }

  #text = '';
  #asked = [];

  answer() {
    return new Promise((resolve) => this.#asked.push(resolve));
  }

  tell(line) {
    this.process.stdin.write(`${line}\n`);
  }

  async ask(line) {
    const answer = this.answer();
    this.tell(line);
    const result = JSON.parse(await answer);
    if (!result) throw new Error(`the bench's client ended at: ${line}`);
    return result;
  }

  async stop() {
    this.tell('quit');
    await Promise.race([this.process.exited, sleep(3000)]);
    if (this.process.exitCode === null) this.process.kill('SIGKILL');
  }
}

/** Makes them, where a target of the Makefile has not. */
export const buildTools = () => execFileSync('make', ['-s', '--no-print-directory', '-C', path.join(ROOT, 'streamer'), 'bench-tools'], { stdio: ['ignore', 'ignore', 'inherit'] });

/** Clients of the crowd: open(n), wait(messages), stats. `joins`: one frame for each. */
export class Crowd extends Tool {
  constructor(port, joins, { track = false, small = false, socket = SOCKET } = {}) {
    const directory = mkdtempSync(path.join(tmpdir(), 'sync-load.'));
    const file = path.join(directory, 'joins');
    writeFileSync(file, joins.map((join) => `${join}\n`).join(''), { mode: 0o600 });
    super('load', [String(port), socket, file, ...(track ? ['track'] : []), ...(small ? ['small'] : [])]);
    this.process.exited.then(() => rmSync(directory, { recursive: true, force: true }));
  }

  async open(count, at_once = 100) {
    const answer = await this.ask(`open ${count} ${at_once}`);
    if (answer.live < answer.clients) throw new Error(`only ${answer.live} of ${answer.clients} clients came up`);
    return answer;
  }

  /** Since the last reset: until so many messages have come. */
  async wait(messages, limit_ms = 60_000) {
    const answer = await this.ask(`wait ${messages} ${limit_ms}`);
    if (answer.messages < messages) throw new Error(`${answer.messages} of ${messages} messages came in ${limit_ms} ms`);
    return answer;
  }
}

/** Joins of users u0… on our own channel. */
export function joins(world, count, { tables, first = 0 } = {}) {
  return Array.from({ length: count }, (_, i) => {
    const access_token = world.streamer.token(`u${first + i}`);
    return JSON.stringify(['1', '1', 'sync:bench', 'phx_join', { access_token, device_id: `d${first + i}`, ...(tables ? { tables } : {}) }]);
  });
}

export function crowdOf(world, count, options = {}) {
  return new Crowd(world.streamer.port, joins(world, count, options), options);
}

/** The bare epoll server, and a crowd of its own. */
export async function startFloor(count) {
  const port = await freePort();
  const server = new Tool('floor', [String(port)]);
  await server.answer();
  const crowd = new Crowd(port, Array(count).fill('["1","1","floor","phx_join",{}]'));
  await crowd.open(count, 200);
  const stop = async () => {
    await crowd.stop();
    await server.stop();
  };
  return { server, crowd, stop };
}

export const clock_us = () => Number(process.hrtime.bigint() / 1000n);

export const pause = (child) => process.kill(child.pid, 'SIGSTOP');
export const resume = (child) => process.kill(child.pid, 'SIGCONT');

/** One backend that commits single-row updates as fast as it can; ids first, first + step, … */
export async function churn(world, count, { first = 0, step = 1, many = ROWS } = {}) {
  const client = await world.database.connect();
  await client.query('SET synchronous_commit = off');
  await client.query(`CALL churn(${count}, ${first}, ${step}, ${many})`);
  await client.query('SET synchronous_commit = on');
  await client.query("SELECT pg_logical_emit_message(true, 'bench', '')"); // all before it is flushed
  await client.end();
}

/** Updates at a steady rate; each row carries the time at which its statement was sent. */
export async function steady(world, rate, seconds, { ids = ROWS } = {}) {
  const client = await world.database.connect();
  const begin = performance.now();
  const total = Math.round(rate * seconds);
  for (let i = 0; i < total; i++) {
    const due = begin + (i * 1000) / rate;
    if (due > performance.now()) await sleep(due - performance.now());
    await client.query({ name: 'steady', text: 'UPDATE note SET title = $1 WHERE id = $2', values: [`@${clock_us()}@`, (i * 7) % ids] });
  }
  await client.end();
  return total;
}

export function rss_kb(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
}

/** Seconds of processor time that a process has used. */
export function cpu_s(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** While the streamer is away: its own slot would decode the same beside. */
export async function alone(world, work) {
  await world.streamer.stop();
  try {
    return await work();
  } finally {
    await world.streamer.launch();
  }
}

/** pg_recvlogical on a fresh slot, with the options the streamer gives its plugin; it counts bytes and looks for `sentinel`. */
export class Drain {
  static async start(world, { plugin = process.env.PLUGIN || 'wal2json', onText } = {}) {
    const drain = new Drain();
    drain.slot = `bench_${Date.now()}`;
    await world.sql('SELECT pg_create_logical_replication_slot($1, $2)', [drain.slot, plugin]);
    const given = plugin === 'pgoutput' ? ['proto_version=1', 'publication_names=sync', 'messages=true']
      : ['format-version=2', 'include-xids=1', 'include-lsn=1', 'include-timestamp=1', 'include-types=0', 'include-typmod=0', 'include-pk=0', 'include-transaction=1', 'add-msg-prefixes=sync'];
    const args = ['-d', world.database.conninfo('postgres'), '--slot', drain.slot, '--start', '--no-loop', '-F', '0', '-f', '-', ...given.flatMap((option) => ['-o', option])];
    drain.process = start(path.join(world.server.bin, 'pg_recvlogical'), args, { stdio: ['ignore', 'pipe', 'ignore'] });
    drain.world = world;
    let tail = Buffer.alloc(0);
    drain.process.stdout.on('data', (data) => {
      if (data.includes(drain.sentinel) || Buffer.concat([tail, data.subarray(0, 100)]).includes(drain.sentinel)) drain.done_us ??= clock_us();
      onText?.(data.toString('latin1'));
      tail = data.subarray(-100);
    });
    await until('the slot is read', () => world.value('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [drain.slot]));
    return drain;
  }

  sentinel = 'end of the workload';

  async stop() {
    this.process.kill('SIGINT');
    await this.process.exited;
    await until('the slot is free', async () => !(await this.world.value('SELECT active FROM pg_replication_slots WHERE slot_name = $1', [this.slot])));
    await this.world.sql('SELECT pg_drop_replication_slot($1)', [this.slot]);
  }
}

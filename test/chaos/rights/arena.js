// arena.js - one random database of rights with its streamer, its oracle and its receivers; steps, and the moment when all copies must be right.
// SPDX-License-Identifier: PostgreSQL
import { appendFileSync } from 'node:fs';
import { request } from '../../lib/http.js';
import { Streamer } from '../../lib/streamer.js';
import { Random } from '../../lib/random.js';
import { sleep } from '../../lib/wait.js';
import { mintToken } from '../../lib/token.js';
import { Actions } from './actions.js';
import { judge } from './judge.js';
import { Oracle } from './oracle.js';
import { Caller, Channel, Puller, Realtime, Stream } from './receivers.js';
import { Schema } from './schema.js';
import { Ways } from './ways.js';

const LEAKS_SHOWN = 20;
const SETTLED_MS = 45_000;
const WAYS = 3; // between two steps, at most

export class Arena {
  tokens = new Map(); // number → {table, id, by}
  failures = [];
  lags = []; // {kind, ms}: rows that still came after they were lost
  withdrawals = []; // {kind, ms}: how long a lost row stayed in a live copy
  tally = { steps: 0, events: 0, decisions: 0, judged: 0, texts: 0, leaks: 0, missing: 0, settled: 0 };
  #number = 0;

  static async start(server, random, number, { subjects = 9, kinds, env, plugin, seed = number } = {}) {
    const arena = new Arena();
    Object.assign(arena, { server, random, number });
    arena.schema = new Schema(random, number, { kinds });
    arena.database = await server.createDatabase(`rights${number}`);
    server.psql(`rights${number}`, ['-f', '-', '-o', '/dev/null'], arena.schema.ddl());
    arena.connection = await arena.database.connect();
    arena.streamer = await Streamer.start(arena.database, { 'verify-interval': 2, 'max-joins-per-second': 0, 'max-requests-per-second': 0, 'max-messages-per-second': 1000, plugin: plugin ?? random.pick(['wal2json', 'pgoutput']) });
    arena.oracle = new Oracle(arena.database, arena.schema);
    await arena.oracle.prepare();
    arena.actions = new Actions(arena);
    arena.ways = new Ways(arena, new Random(seed ^ 0x5bd1e995));
    await arena.actions.fill();
    await arena.#enter(arena.schema.subjects(subjects).map((claims) => arena.oracle.subject(claims)));
    return arena;
  }

  async #enter(subjects) {
    await this.oracle.look('begin', Date.now());
    const { random } = this;
    this.channels = [...subjects, ...subjects].map((subject, i) => new Channel(this, subject, i % 3 === 1 ? 'a channel of changed fields' : 'a channel'));
    this.pullers = subjects.filter(() => random.chance(0.4)).map((subject) => new Puller(this, subject, 'pull'));
    this.streams = subjects.filter(() => random.chance(0.4)).map((subject) => new Stream(this, subject, 'a stream of events'));
    this.realtimes = subjects.filter(() => random.chance(0.6)).map((subject) => new Realtime(this, subject, 'postgres_changes'));
    this.callers = subjects.map((subject) => new Caller(this, subject, 'calls'));
    this.receivers = [...this.channels, ...this.pullers, ...this.streams, ...this.realtimes, ...this.callers];
    await Promise.all([
      ...this.channels.map((channel, i) => channel.start(i % 3 === 1 ? { fields: 'changed' } : i % 3 === 2 ? { tables: ['*', 'sync.conflict', 'sync.activity', 'sync.lock'] } : {})),
      ...this.pullers.map((puller) => puller.start()), ...this.streams.map((stream) => stream.start()), ...this.realtimes.map((realtime) => realtime.start(this.#bindings())),
    ]);
    this.settledEpoch = this.oracle.epoch;
    this.receivers.push(...(await this.ways.enter(subjects)));
    for (const receiver of this.receivers) receiver.judgeNow = () => judge(this, receiver);
  }

  #bindings() {
    const { random } = this;
    if (random.chance(0.5)) return [{ event: '*', schema: 'public' }];
    return this.schema.tables.map(({ name }) => ({ event: '*', schema: 'public', table: name, ...(random.chance(0.4) ? { filter: random.pick(['id=lt.12', 'owner=eq.ada', 'team=in.(1,2)', 'a=like.%1%']) } : {}) }));
  }

  next() {
    return ++this.#number;
  }

  newToken(about) {
    const number = String(this.next());
    this.tokens.set(number, about);
    return `~${number}~`;
  }

  token(claims) {
    return mintToken(this.streamer.secret, claims);
  }

  post(name, claims, body) {
    return request(`${this.streamer.url}/api/v1/sync/${name}`, { token: this.token(claims), body });
  }

  /** What a statement answers, as text, asked as the streamer asks. */
  async as(claims, statement) {
    return this.database.transaction(async (client) => {
      await client.query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [claims.role, JSON.stringify(claims)]);
      return JSON.stringify((await client.query(statement)).rows);
    });
  }

  /** SQL of the owner; a constraint that says no is part of the play. */
  async write(text) {
    this.trace(text);
    try {
      await this.connection.query(text);
    } catch (error) {
      await this.connection.query('ROLLBACK');
      this.trace(`refused: ${error.message}`);
      if (!/^(23|40)/.test(error.code ?? '')) throw new Error(`${error.message}: ${text}`);
    }
  }

  /** What was done, for whoever has to find out why: CHAOS_TRACE names a file. */
  trace(text) {
    if (process.env.CHAOS_TRACE) appendFileSync(process.env.CHAOS_TRACE, `${new Date().toISOString()} ${this.oracle?.epoch} ${text}\n`);
  }

  leak(text) {
    this.tally.leaks++;
    if (this.failures.length < LEAKS_SHOWN) this.failures.push(`LEAK ${text}`);
  }

  async step() {
    for (let i = this.ways.random.below(WAYS + 1); i > 0; i--) await this.#wayOut();
    const kind = await this.actions.any();
    this.trace(kind);
    await this.#looked(kind);
    if (this.random.chance(0.2) && this.pullers.length) {
      const puller = this.random.pick(this.pullers);
      if (puller.cut === undefined) await puller.pull();
    }
    for (const receiver of this.receivers) judge(this, receiver);
  }

  async #wayOut() {
    const kind = await this.ways.any();
    this.trace(`way ${kind}`);
    if (kind) await this.#looked(kind);
  }

  async #looked(kind) {
    const committed = Date.now();
    const events = await this.oracle.look(kind, committed);
    for (const receiver of [...this.channels, ...this.streams]) for (const image of receiver.subject.lostNow ?? []) if (receiver.cut === undefined) receiver.lost(image, kind, committed);
    this.tally.steps++;
    this.tally.events += events;
    this.tally.decisions += events * (this.receivers.length - this.callers.length);
  }

  /** Until every copy is what its subject sees; what is wrong after that is missing, or was not withdrawn. */
  async settle() {
    const end = Date.now() + SETTLED_MS;
    let found;
    for (;;) {
      await this.ways.restore();
      await Promise.all(this.pullers.map((puller) => puller.pull()));
      await sleep(100);
      await this.oracle.look('tick', Date.now());
      for (const receiver of this.receivers) judge(this, receiver);
      found = this.receivers.flatMap((receiver) => receiver.differences().map((text) => `${receiver.who}: ${text}`));
      if (!found.length || Date.now() > end) break;
      await sleep(200);
    }
    this.tally.settled++;
    this.tally.missing += found.length;
    if (found.length) this.failures.push(...found.slice(0, 10).map((text) => `WRONG COPY ${text} (epoch ${this.oracle.epoch})`));
    this.oracle.settle();
    this.settledEpoch = this.oracle.epoch;
  }

  async stop() {
    for (const receiver of this.receivers ?? []) await receiver.stop();
    await this.streamer?.stop();
    await this.oracle?.end();
    await this.connection?.end();
  }
}

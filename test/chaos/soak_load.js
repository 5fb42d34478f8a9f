// soak_load.js - everything at once on two streamers, one with each decoder: writes, pushes, channels, server-sent events, pulls, topics, memberships, faults.
// SPDX-License-Identifier: PostgreSQL
import { spawnSync } from 'node:child_process';
import { setTimeout as after } from 'node:timers/promises';
import { Copy } from '../lib/client.js';
import { differences, expectedRows } from '../lib/expected.js';
import { request } from '../lib/http.js';
import { Postgres } from '../lib/postgres.js';
import { Streamer } from '../lib/streamer.js';
import { sleep, together, until } from '../lib/wait.js';
import { NOTES } from '../lib/world.js';
import { faultsOf } from './soak_faults.js';
import { LightChannel, LightClient, LightStream } from './light.js';
import { backends, descriptors, lag_kb, memory_kb, trend, trendLine } from './trend.js';

const TEAMS = 6;
const NOTES_KEPT = 1500;
const LIMIT_MS = 30_000; // for what must be seen through the other streamer, whatever goes on
const SAMPLE_MS = 10_000;

const SCHEMA = `${NOTES}
SELECT sync.allow_topic('team:{team}', $$ EXISTS (SELECT FROM public.member m WHERE m.team_id = {team}::int AND m.user_id = sync.user_id()) $$);
CREATE TABLE aside (id int PRIMARY KEY, label text NOT NULL);
GRANT SELECT ON aside TO app;
SELECT sync.enable('aside');
INSERT INTO member SELECT 'u' || u || '-' || t, t FROM generate_series(1, ${TEAMS}) t, generate_series(1, 6) u;
INSERT INTO member SELECT 'all', t FROM generate_series(1, ${TEAMS}) t;
INSERT INTO note (team_id, title) SELECT 1 + g % ${TEAMS}, 'note ' || g FROM generate_series(1, ${NOTES_KEPT / 2}) g;
`;

export async function soak({ seconds, random, say = () => {} }) {
  const server = await Postgres.start({ settings: { max_wal_size: '512MB' } });
  const stage = { server, random, seconds, say, streamers: [], clients: [], copies: [], failures: [], samples: new Map(), isOver: false, tally: {}, waits: new Map(), began: Date.now() };
  try {
    stage.database = await server.createDatabase('app');
    server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    const options = { 'ring-size': '4M', 'max-clients-per-user': 0, 'max-requests-per-second': 0 };
    for (const plugin of ['wal2json', 'pgoutput']) stage.streamers.push(await Streamer.start(stage.database, { ...options, plugin }, { secret: stage.streamers[0]?.secret }));
    joinAll(stage);
    await until('all clients are live', () => stage.clients.every((client) => client.isLive ?? client.isJoined), { limit_ms: 60_000 });
    await perform(stage);
    await untilEqual(stage);
    return result(stage);
  } finally {
    stage.isOver = true;
    await Promise.all(stage.clients.map((client) => client.stop()));
    for (const streamer of stage.streamers) await streamer.stop();
    await server.stop();
  }
}

const count = (stage, name, many = 1) => (stage.tally[name] = (stage.tally[name] ?? 0) + many);

/** How long something took to be seen; the longest of each kind is told at the end. */
function waited(stage, kind, ms) {
  const known = stage.waits.get(kind) ?? { times: 0, most_ms: 0, sum_ms: 0 };
  stage.waits.set(kind, { times: known.times + 1, most_ms: Math.max(known.most_ms, ms), sum_ms: known.sum_ms + ms });
}

const team = (sub) => (sub === 'all' ? '' : `WHERE team_id = ${Number(sub.split('-')[1])}`);

/** A client with a copy that must equal the tables in the end. */
function withCopy(stage, streamer, sub, start) {
  const copy = new Copy();
  const take = (batch) => {
    copy.apply(batch);
    count(stage, 'changes', batch.changes.length);
  };
  const told = (event) => event === 'resync' && count(stage, 'resyncs');
  const client = start({ take, told });
  stage.copies.push({ copy, sub, who: `${sub} at ${streamer.options.plugin}` });
  stage.clients.push(client);
}

function joinAll(stage) {
  for (const streamer of stage.streamers) {
    for (let t = 1; t <= TEAMS; t++) withCopy(stage, streamer, `u1-${t}`, (calls) => new LightClient(streamer, `u1-${t}`, { ...calls, join: t % 2 ? { fields: 'changed' } : {} }).start());
    withCopy(stage, streamer, 'all', (calls) => new LightClient(streamer, 'all', calls).start());
    withCopy(stage, streamer, 'u2-1', (calls) => new LightStream(streamer, 'u2-1', calls).start());
    withCopy(stage, streamer, 'u2-2', (calls) => new Poller(stage, streamer, 'u2-2', calls).start());
  }
}

/** A client that knows nothing but pulls over HTTP. */
class Poller {
  constructor(stage, streamer, sub, { take }) {
    Object.assign(this, { stage, streamer, sub, take });
  }

  isLive = true;
  isOver = false;

  start() {
    this.running = this.#run();
    return this;
  }

  async #run() {
    while (!this.isOver) {
      await this.#pull().catch(() => count(this.stage, 'pulls_failed'));
      await sleep(700);
    }
  }

  async #pull() {
    const body = { device_id: `poller-${this.streamer.port}`, ...(this.sync_token ? { sync_token: this.sync_token } : {}) };
    const { status, json } = await request(`${this.streamer.url}/api/v1/sync/pull`, { token: this.streamer.token(this.sub), body });
    if (status !== 200) throw new Error(`pull answered ${status}`);
    this.take(json);
    this.sync_token = json.next_sync_token;
    count(this.stage, 'pulls');
    if (json.has_more) await this.#pull();
  }

  cut() {}

  async stop() {
    this.isOver = true;
    await this.running;
  }
}

async function perform(stage) {
  const end = Date.now() + stage.seconds * 1000;
  stage.goesOn = () => !stage.isOver && Date.now() < end;
  const [first, second] = stage.streamers;
  const parts = [
    write(stage), write(stage), push(stage, first), push(stage, second), comeAndGo(stage, first), comeAndGo(stage, second),
    talk(stage, first, second), talk(stage, second, first), moveMembers(stage, first), moveMembers(stage, second), bePresent(stage, first, second),
    listen(stage, first), listen(stage, second), ...faultsOf(stage, count), sample(stage),
  ];
  await together(parts, () => (stage.isOver = true));
}

/** Two of these write some 40 transactions a second and keep the number of rows about the same. */
async function write(stage) {
  const { random } = stage;
  while (stage.goesOn()) {
    const one = 'id = (SELECT id FROM note ORDER BY random() LIMIT 1)';
    const statement = random.pick([
      `INSERT INTO note (team_id, title, body) VALUES (${1 + random.below(TEAMS)}, 'written', repeat('x', ${random.below(400)}))`,
      `INSERT INTO note (team_id, title) SELECT 1 + g % ${TEAMS}, 'many' FROM generate_series(1, ${1 + random.below(8)}) g`,
      `UPDATE note SET done = NOT done, body = 'updated ${random.below(1e6)}' WHERE ${one}`,
      `UPDATE note SET title = 'turned ${random.below(1e6)}' WHERE ${one}`,
      `UPDATE note SET team_id = ${1 + random.below(TEAMS)} WHERE ${one}`,
      `DELETE FROM note WHERE id IN (SELECT id FROM note ORDER BY random() LIMIT greatest(1, ((SELECT count(*) FROM note) - ${NOTES_KEPT}) / 10))`,
      `INSERT INTO aside VALUES (${random.below(200)}, 'label ${random.below(1e6)}') ON CONFLICT (id) DO UPDATE SET label = excluded.label`,
    ]);
    await stage.database.sql(statement).then(() => count(stage, 'writes'), (error) => tolerate(stage, error));
    await sleep(30 + random.below(40));
  }
}

/** Deadlocks, and backends that a fault ended. */
function tolerate(stage, error) {
  if (!/^(40|57P0|08)/.test(error.code ?? '') && !/terminated|ECONNRESET/.test(error.message)) throw error;
  count(stage, 'statements_refused');
}

async function push(stage, streamer) {
  const { random } = stage;
  for (let i = 0; stage.goesOn(); i++) {
    const t = 1 + random.below(TEAMS);
    const sub = `u3-${t}`;
    const change = { queue_id: `${streamer.port}-${i}`, operation: 'create', entity_type: 'note', entity_id: crypto.randomUUID(), data: { team_id: t, title: 'pushed' }, timestamp: new Date().toISOString() };
    const body = { device_id: `pusher-${streamer.port}`, changes: [change, { ...change, queue_id: `${change.queue_id}+`, operation: 'update', data: { done: true } }] };
    const answer = await request(`${streamer.url}/api/v1/sync/push`, { token: streamer.token(sub), body }).catch(() => undefined);
    if (answer?.status === 200) count(stage, answer.json.success ? 'pushes' : 'pushes_refused');
    else count(stage, 'pushes_failed');
    if (answer?.status === 200 && !answer.json.success) stage.failures.push(`a push was refused: ${JSON.stringify(answer.json.processed).slice(0, 300)}`);
    await sleep(150 + random.below(200));
  }
}

/** Someone joins with no copy, gets everything, and leaves. */
async function comeAndGo(stage, streamer) {
  const { random } = stage;
  for (let i = 0; stage.goesOn(); i++) {
    const copy = new Copy();
    const client = new LightClient(streamer, `u4-${1 + random.below(TEAMS)}`, { take: (batch) => copy.apply(batch), device_id: `guest-${streamer.port}` }).start();
    try {
      await until(`a guest of ${streamer.options.plugin} is live`, () => client.isLive, { limit_ms: LIMIT_MS });
      count(stage, 'visits');
      await sleep(random.below(1500));
    } finally {
      await client.stop();
    }
  }
}

/** What to look at when a streamer tells nothing any more; SOAK_STALL= is a program that gets its pid, as a debugger would. */
async function evidence(stage, streamer) {
  const text = (path) => request(`${streamer.url}${path}`).then((answer) => answer.text, (error) => String(error));
  const rows = (query) => stage.database.sql(query).then((found) => found.map((row) => JSON.stringify(row)).join('\n'), (error) => String(error));
  const metrics = (await text('/metrics')).split('\n').filter((line) => /^sync_(stream_ready|slot|queries|sessions|works|outbox|ring|gaps|database)/.test(line)).join('\n');
  const program = process.env.SOAK_STALL ? spawnSync(process.env.SOAK_STALL, [String(streamer.process.pid)], { encoding: 'utf8', timeout: 60_000 }).stdout : '';
  return ['what was to be seen then:', await text('/readyz'), metrics, await rows('SELECT * FROM pg_replication_slots'), await rows('SELECT * FROM pg_stat_replication'),
    await rows("SELECT pid, usename, state, wait_event_type, wait_event, xact_start, query FROM pg_stat_activity WHERE datname = current_database()"), program].join('\n');
}

/** Waits for something to be seen through a streamer; what is not seen within the limit is a failure, and what to look at is told. */
async function seen(stage, kind, streamer, condition, again = async () => {}) {
  const began = Date.now();
  let asked = began;
  while (!condition()) {
    await sleep(20);
    if (Date.now() - asked > 2000) {
      asked = Date.now();
      await again();
    }
    if (Date.now() - began > LIMIT_MS) {
      stage.failures.push(`${kind} was not seen at ${streamer.options.plugin} in ${LIMIT_MS} ms; its log ends\n${streamer.lastLog(3000)}`);
      stage.isOver = true;
      stage.failures.push(await evidence(stage, streamer));
      return;
    }
  }
  waited(stage, kind, Date.now() - began);
}

const topic = (t) => `realtime:team:${t}`;
const ROOM = () => ({ config: { private: true, broadcast: { ack: false, self: false }, presence: { key: '', enabled: true } } });

/** Broadcasts through one streamer must be heard at the other; one that a fault swallowed is sent again. */
async function talk(stage, from, to) {
  let heard = -1;
  const listener = new LightChannel(to, 'u5-1', topic(1), { join: ROOM, told: (event, payload) => event === 'broadcast' && payload.event === `from ${from.port}` && (heard = Math.max(heard, payload.payload.n)) }).start();
  const speaker = new LightChannel(from, 'u6-1', topic(1), { join: ROOM }).start();
  stage.clients.push(listener, speaker);
  for (let n = 0; stage.goesOn(); n++) {
    const say = () => speaker.say('broadcast', { type: 'broadcast', event: `from ${from.port}`, payload: { n } }) && count(stage, 'broadcasts');
    say();
    await seen(stage, 'a broadcast', to, () => heard >= n || !stage.goesOn(), async () => {
      count(stage, 'broadcasts_again');
      say();
    });
    await sleep(200 + stage.random.below(300));
  }
}

/** Someone is removed from a team and taken back: their client, through this streamer, must lose the rows and get them again. */
async function moveMembers(stage, streamer) {
  const sub = `guest-${streamer.port}`;
  const copy = new Copy();
  const client = new LightClient(streamer, sub, { take: (batch) => copy.apply(batch) }).start();
  stage.clients.push(client);
  const member = (is) => stage.database.sql(is ? 'INSERT INTO member VALUES ($1, 2) ON CONFLICT DO NOTHING' : 'DELETE FROM member WHERE user_id = $1', [sub]).catch((error) => tolerate(stage, error));
  await member(true);
  while (stage.goesOn()) {
    await member(true);
    await seen(stage, 'a new membership', streamer, () => copy.table('note').size > 0 || !stage.goesOn(), () => member(true));
    await sleep(stage.random.below(1000));
    await member(false);
    await seen(stage, 'a removal', streamer, () => copy.table('note').size === 0 || !stage.goesOn(), () => member(false));
    count(stage, 'memberships');
  }
}

/** Someone who tracks through one streamer is seen at the other, and seen to have left. */
async function bePresent(stage, from, to) {
  const present = new Set();
  const told = (event, payload) => {
    if (event === 'presence_state') {
      present.clear();
      for (const key of Object.keys(payload)) present.add(key);
    } else if (event === 'presence_diff') {
      for (const key of Object.keys(payload.leaves)) if (!payload.joins[key]) present.delete(key);
      for (const key of Object.keys(payload.joins)) present.add(key);
    }
  };
  stage.clients.push(new LightChannel(to, 'u5-3', topic(3), { join: ROOM, told }).start());
  for (let i = 0; stage.goesOn(); i++) {
    const key = `visitor ${i}`;
    const visitor = new LightChannel(from, 'u6-3', topic(3), { join: () => ({ config: { private: true, presence: { key, enabled: true } } }), told: () => {} }).start();
    const track = () => visitor.say('presence', { type: 'presence', event: 'track', payload: { i } });
    await until('the visitor has joined', () => visitor.isJoined, { limit_ms: LIMIT_MS });
    track();
    await seen(stage, 'a presence', to, () => present.has(key) || !stage.goesOn(), async () => track());
    await visitor.stop();
    await seen(stage, 'a departure', to, () => !present.has(key) || !stage.goesOn());
    count(stage, 'presences');
  }
}

/** A channel as Supabase's client joins it: a row written for it must come. */
async function listen(stage, streamer) {
  let newest = -1;
  const join = () => ({ config: { private: false, postgres_changes: [{ event: '*', schema: 'public', table: 'aside' }] } });
  const mark = 1000 + streamer.port;
  const told = (event, payload) => {
    const record = event === 'postgres_changes' ? payload.data.record : undefined;
    if (record?.id === mark) newest = Math.max(newest, Number(record.label));
  };
  stage.clients.push(new LightChannel(streamer, 'u5-4', 'realtime:rows', { join, told }).start());
  for (let n = 0; stage.goesOn(); n++) {
    const write = () => stage.database.sql('INSERT INTO aside VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET label = excluded.label', [mark, String(n)]).catch((error) => tolerate(stage, error));
    await write();
    await seen(stage, 'a row by postgres_changes', streamer, () => newest >= n || !stage.goesOn(), write);
    await sleep(300 + stage.random.below(500));
  }
}

const note = (stage, name, value) => stage.samples.get(name)?.push({ at_s: (Date.now() - stage.began) / 1000, value }) ?? stage.samples.set(name, [{ at_s: (Date.now() - stage.began) / 1000, value }]);

async function sample(stage) {
  for (let i = 0; stage.goesOn(); i++) {
    for (const [k, streamer] of stage.streamers.entries()) {
      const pid = streamer.process.pid;
      note(stage, `streamer ${k + 1} (${streamer.options.plugin}).memory_kb`, memory_kb(pid));
      note(stage, `streamer ${k + 1} (${streamer.options.plugin}).descriptors`, descriptors(pid));
    }
    try {
      const { connections, backends_kb } = await backends(stage.database);
      note(stage, 'connections', connections);
      note(stage, 'backends_kb', backends_kb);
      note(stage, 'lag_kb', await lag_kb(stage.database));
    } catch (error) {
      tolerate(stage, error);
    }
    if (i % 6 === 0) stage.say(`${Math.round((Date.now() - stage.began) / 1000)} s: ${[...stage.samples].map(([name, list]) => `${name} ${list.at(-1).value}`).join(', ')}; ${JSON.stringify(stage.tally)}`);
    const next = Date.now() + SAMPLE_MS;
    while (Date.now() < next && stage.goesOn()) await after(50);
  }
}

/** Nothing is written any more: every copy becomes what SQL says, each in its own time but within the limit. */
async function untilEqual(stage) {
  if (stage.failures.length) return;
  const aside = await expectedRows(stage.database, 'aside');
  for (const { copy, sub, who } of stage.copies) {
    await stage.database.sql(`CREATE OR REPLACE VIEW seen AS SELECT id FROM note ${team(sub)}`);
    const ids = new Set((await stage.database.sql('SELECT id FROM seen')).map(({ id }) => id));
    const notes = new Map([...(await expectedRows(stage.database, 'note'))].filter(([id]) => ids.has(id)));
    const different = () => [...differences(copy.table('note'), notes), ...differences(copy.table('aside'), aside)];
    await until('equal', () => !different().length, { limit_ms: 60_000, every_ms: 200 }).catch(() => stage.failures.push(`the copy of ${who} differs in ${different().length} rows: ${different()[0]}`));
  }
}

function result(stage) {
  const lines = [...stage.waits].map(([kind, { times, most_ms, sum_ms }]) => `${kind}: seen ${times} times, after ${Math.round(sum_ms / times)} ms on average, ${most_ms} ms at most`);
  const trends = [...stage.samples].map(([name, samples]) => trend(name, samples)).filter(Boolean);
  for (const one of trends) {
    lines.push(trendLine(one));
    if (one.grows) stage.failures.push(`grows: ${trendLine(one)}`);
  }
  return { figures: { ...stage.tally, copies_compared: stage.copies.length }, lines, failures: stage.failures };
}

// bad_neighbours.js - G9: raising, recursive and slow policies, a row no decoder takes, a table dropped in a queue of locks, a million rows at once.
// SPDX-License-Identifier: PostgreSQL
import { Postgres } from '../../lib/postgres.js';
import { Streamer } from '../../lib/streamer.js';
import { sleep, until } from '../../lib/wait.js';
import { LightClient } from '../light.js';
import { memory_kb } from '../trend.js';

const SILENCE_LIMIT_MS = 15_000; // of what the others are sent every 100 ms, whatever happens beside it
const MEMORY_LIMIT_KB = 700 * 1024; // of a streamer, whatever is written
const PLUGINS = ['wal2json', 'pgoutput'];
const SCENES = (process.env.SCENES || '').split(/[\s,]+/).filter(Boolean); // some alone, by the names of their functions
const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE pulse (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE parcel (id int PRIMARY KEY, weight int NOT NULL);
CREATE TABLE knot (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE huge (id int PRIMARY KEY, body text NOT NULL);
CREATE TABLE mass (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE doomed (id int PRIMARY KEY, n int NOT NULL);
GRANT SELECT ON pulse, parcel, knot, huge, mass, doomed TO app;
ALTER TABLE parcel ENABLE ROW LEVEL SECURITY;
CREATE POLICY odd ON parcel TO app USING (CASE sync.user_id()
  WHEN 'eve' THEN 10 / weight > 0
  WHEN 'sloth' THEN weight < 50 OR (SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b) >= 0
  ELSE true END);
SELECT sync.enable(t::regclass) FROM unnest('{pulse,parcel,knot,huge,mass,doomed}'::text[]) t;
INSERT INTO pulse VALUES (1, 0);
INSERT INTO parcel VALUES (1, 1);
INSERT INTO knot VALUES (1, 0);
INSERT INTO doomed SELECT g, 0 FROM generate_series(1, 100) g;
`;

export const play = {
  row: 'G9',
  name: 'bad_neighbours',
  title: 'a bad policy, row or table is told to those it concerns; all others get what is theirs within a limit',
  run,
};

async function run({ seconds, random, say }) {
  const stage = { random, say, figures: {}, failures: [], clients: [], full: seconds >= 60 };
  stage.server = await Postgres.start({ settings: { max_wal_size: '8GB', shared_buffers: '256MB' } });
  try {
    const end = Date.now() + seconds * 1000;
    for (let round = 0; round === 0 || Date.now() < end; round++) {
      for (const plugin of stage.full && !process.env.SYNC_PLUGIN ? PLUGINS : [process.env.SYNC_PLUGIN || PLUGINS[0]]) await oneRound(stage, plugin, `app_${plugin}_${round}`);
      stage.figures.rounds = round + 1;
      if (stage.failures.length) break;
    }
    return { figures: stage.figures, failures: stage.failures };
  } finally {
    await stage.server.stop();
  }
}

async function oneRound(stage, plugin, name) {
  stage.database = await stage.server.createDatabase(name);
  stage.server.psql(name, ['-o', '/dev/null', '-f', '-'], !stage.hasRole ? SCHEMA : SCHEMA.replace('CREATE ROLE app NOLOGIN;', '').replace('GRANT app TO sync_query;', ''));
  stage.hasRole = true;
  stage.streamer = await Streamer.start(stage.database, { plugin });
  stage.plugin = plugin;
  stage.pulse = new Pulse(stage);
  try {
    await stage.pulse.start();
    // the others have short forms of their own: e2e policy_failures, large_rows, bulk
    const scenes = stage.full || SCENES.length ? [raisingPolicy, slowPolicy, recursivePolicy, droppedTable, hugeRow, millionRows] : [raisingPolicy, recursivePolicy, droppedTable];
    for (const scene of scenes) if (!SCENES.length || SCENES.includes(scene.name)) await perform(stage, scene);
  } finally {
    await stage.pulse.stop();
    for (const client of stage.clients.splice(0)) await client.stop();
    await stage.streamer.stop();
    await stage.server.connect('postgres').then(async (admin) => {
      // a walsender that decodes a million rows hears of its client's end only afterwards
      await until('the slot is gone', async () => (await admin.query('SELECT FROM pg_replication_slots WHERE database = $1', [name])).rows.length === 0, { limit_ms: 120_000 });
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    });
  }
}

/** Something written ten times a second, and how long its watchers had to wait: one who has that table alone, and one who has it beside the bad ones. */
class Pulse {
  constructor(stage) {
    this.stage = stage;
  }

  n = 0;
  silence_ms = 0;
  memory_kb = 0;
  isOver = false;

  async start() {
    const seen = () => ({ n: 0, at: Date.now() });
    this.seen = seen();
    this.client = new LightClient(this.stage.streamer, 'ann', {
      join: { tables: ['pulse'] },
      take: (batch) => batch.changes.forEach(({ data }) => {
        if (data.n <= this.seen.n) return;
        this.silence_ms = Math.max(this.silence_ms, Date.now() - this.seen.at);
        this.seen = { n: data.n, at: Date.now() };
      }),
    }).start();
    this.running = this.#beat();
    await until('the pulse is seen', () => this.seen.n > 0);
    this.fresh();
  }

  /** Counts from now on. */
  fresh() {
    this.silence_ms = 0;
    this.memory_kb = 0;
  }

  async #beat() {
    const connection = await this.stage.database.connect();
    while (!this.isOver) {
      await connection.query('UPDATE pulse SET n = $1', [++this.n]);
      this.memory_kb = Math.max(this.memory_kb, memory_kb(this.stage.streamer.process.pid));
      await sleep(100);
    }
    await connection.end();
  }

  /** Until what is written now has come. */
  async beats() {
    const { n } = this;
    await until('the pulse goes on', () => this.seen.n > n, { limit_ms: 60_000 });
  }

  async stop() {
    this.isOver = true;
    await this.running;
    await this.client?.stop();
  }
}

async function perform(stage, scene) {
  const { pulse, plugin } = stage;
  const pid = stage.streamer.process.pid;
  const name = scene.name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  pulse.fresh();
  const began = Date.now();
  try {
    await scene(stage);
    await pulse.beats();
  } catch (error) {
    stage.failures.push(`${plugin}: ${name}: ${error.message}; its log ends\n${stage.streamer.lastLog(1500)}`);
  }
  const silence_ms = Math.max(pulse.silence_ms, Date.now() - pulse.seen.at);
  const key = `${name}_${plugin}`;
  stage.figures[`${key}_silence_ms`] = Math.max(stage.figures[`${key}_silence_ms`] ?? 0, silence_ms);
  stage.figures[`${key}_memory_mb`] = Math.max(stage.figures[`${key}_memory_mb`] ?? 0, pulse.memory_kb >> 10);
  stage.say(`${plugin}: ${name}: ${Date.now() - began} ms, the others waited ${silence_ms} ms at most, memory ${pulse.memory_kb >> 10} MiB`);
  if (stage.full && silence_ms > SILENCE_LIMIT_MS) stage.failures.push(`${plugin}: ${name}: the others got nothing for ${silence_ms} ms`);
  if (pulse.memory_kb > MEMORY_LIMIT_KB) stage.failures.push(`${plugin}: ${name}: the streamer held ${pulse.memory_kb >> 10} MiB`);
  if (stage.streamer.process.exitCode !== null || stage.streamer.process.pid !== pid) stage.failures.push(`${plugin}: ${name}: the streamer ended`);
}

/** A client of some tables: what it holds (key → version and data), how many rows of a table with an n (to walk through a million again and again would be the play's own stall), and what it was told. */
function watch(stage, sub, tables) {
  const rows = new Map();
  const told = [];
  const counts = new Map();
  const count = (table, n, by) => counts.set(`${table}/${n}`, (counts.get(`${table}/${n}`) ?? 0) + by);
  const take = (batch) => {
    for (const table of batch.reset ?? []) {
      for (const key of rows.keys()) if (key.startsWith(`${table}/`)) rows.delete(key);
      for (const key of counts.keys()) if (key.startsWith(`${table}/`)) counts.delete(key);
    }
    for (const { operation, entity_type, entity_id, server_version, data, reason } of batch.changes) {
      const key = `${entity_type}/${entity_id}`;
      const before = rows.get(key);
      if (before?.version > server_version) continue;
      if (before) count(entity_type, before.n, -1);
      if (operation === 'delete') rows.delete(key);
      else {
        rows.set(key, { version: server_version, n: data?.n, reason });
        count(entity_type, data?.n, 1);
      }
    }
  };
  const client = new LightClient(stage.streamer, sub, { take, told: (event, payload) => told.push({ event, code: payload.code ?? payload.reason, payload }), join: { tables } }).start();
  stage.clients.push(client);
  return { client, rows, told, has: (table, n) => counts.get(`${table}/${n}`) ?? 0, isLive: () => until(`${sub} is live`, () => client.isLive, { limit_ms: 60_000 }) };
}

const has = ({ told }, events) => told.some(({ event }) => events.includes(event));

async function raisingPolicy(stage) {
  const eve = watch(stage, 'eve', ['parcel', 'pulse']);
  const ben = watch(stage, 'ben', ['parcel', 'pulse']);
  await eve.isLive();
  await ben.isLive();
  await stage.database.sql('INSERT INTO parcel VALUES (2, 0), (3, 1)');
  await until('ben gets them', () => ben.rows.has('parcel/2') && ben.rows.has('parcel/3'));
  await until('eve is told that her rows cannot be judged, and that her pull fails', () => has(eve, ['resync']) && has(eve, ['phx_error']), { limit_ms: 60_000 });
  await stage.database.sql('UPDATE parcel SET weight = 2 WHERE id = 2');
  await until('eve gets them when they are mended', () => eve.rows.has('parcel/2') && eve.rows.has('parcel/3'), { limit_ms: 60_000 });
  if (has(ben, ['resync', 'phx_error'])) stage.failures.push(`${stage.plugin}: ben was disturbed by eve's policy: ${JSON.stringify(ben.told)}`);
}

/** Far beyond every limit of time: the sloth is told, nobody waits with it. */
async function slowPolicy(stage) {
  const sloth = watch(stage, 'sloth', ['parcel', 'pulse']);
  const ben = watch(stage, 'ben', ['parcel', 'pulse']);
  await sloth.isLive();
  await ben.isLive();
  await stage.database.sql('INSERT INTO parcel VALUES (4, 60), (5, 60)');
  await until('ben gets them', () => ben.rows.has('parcel/5'), { limit_ms: SILENCE_LIMIT_MS });
  await until('the sloth is told', () => has(sloth, ['resync', 'phx_error']), { limit_ms: 60_000 });
  await stage.database.sql('UPDATE parcel SET weight = 3 WHERE id IN (4, 5)');
  if (!stage.full) return; // its pull of the old rows ends with the 30 s of the role's statement_timeout
  await until('the sloth gets them in the end', () => sloth.rows.has('parcel/5'), { limit_ms: 120_000 });
}

async function recursivePolicy(stage) {
  const kim = watch(stage, 'kim', ['knot', 'pulse']);
  await kim.isLive();
  await stage.database.sql('CREATE POLICY knot ON knot TO app USING (n >= (SELECT min(k.n) FROM knot k)); ALTER TABLE knot ENABLE ROW LEVEL SECURITY; UPDATE knot SET n = n + 1');
  await until('kim is told', () => has(kim, ['resync', 'phx_error', 'phx_reply']), { limit_ms: 60_000 });
  await stage.pulse.beats();
  await stage.database.sql('DROP POLICY knot ON knot; CREATE POLICY plain ON knot TO app USING (n >= 0); UPDATE knot SET n = 77');
  await until('kim goes on when it is mended', () => kim.rows.get('knot/1')?.n === 77, { limit_ms: 60_000 });
}

/** DROP TABLE waits behind a reader, and all who ask for the table wait behind the DROP. */
async function droppedTable(stage) {
  const dan = watch(stage, 'dan', ['doomed', 'pulse']);
  await dan.isLive();
  const [reader, dropper] = [await stage.database.connect(), await stage.database.connect()];
  try {
    await reader.query('BEGIN; SELECT * FROM doomed LIMIT 1');
    const dropping = dropper.query('DROP TABLE doomed');
    await sleep(200);
    const pulls = Array.from({ length: 12 }, (_, i) => watch(stage, `asker${i}`, ['doomed']));
    await sleep(stage.full ? 12_000 : 3_000);
    await stage.pulse.beats();
    await reader.query('COMMIT');
    await dropping;
    await until('those who asked are answered', () => pulls.every(({ client }) => client.joins + client.refused > 0), { limit_ms: 60_000 });
    for (const { client } of pulls) await client.stop();
    await until('dan is told of the change, or told nothing and lives on', () => has(dan, ['resync', 'phx_error', 'phx_reply']) || dan.client.isLive);
  } finally {
    await reader.end();
    await dropper.end();
  }
}

/** 190 MB of what takes six bytes each in JSON. */
async function hugeRow(stage) {
  const hal = watch(stage, 'hal', ['huge', 'pulse']);
  await hal.isLive();
  await stage.database.sql("INSERT INTO huge VALUES (1, 'small')");
  await until('hal sees the small one', () => hal.rows.has('huge/1'));
  const megabytes = stage.full ? 190 : 40;
  await stage.database.sql(`BEGIN; INSERT INTO huge VALUES (2, repeat(chr(1), ${megabytes} * 1000 * 1000)); INSERT INTO huge VALUES (3, 'beside it'); COMMIT`);
  await stage.database.sql("INSERT INTO huge VALUES (4, 'behind it')");
  await until('hal sees what came beside and behind it', () => hal.rows.has('huge/3') && hal.rows.has('huge/4'), { limit_ms: 120_000 });
  await until('hal is told of the row that is too large', () => hal.rows.get('huge/2')?.reason === 'too_large', { limit_ms: 120_000 });
  await stage.database.sql("UPDATE huge SET body = 'small again' WHERE id = 2");
  await until('hal sees it small again', () => hal.rows.get('huge/2')?.version === 2 && !hal.rows.get('huge/2').reason, { limit_ms: 120_000 });
  const late = watch(stage, 'late', ['huge']);
  await late.isLive();
  if (late.rows.size !== 4) stage.failures.push(`${stage.plugin}: a new client has ${late.rows.size} of 4 rows`);
}

/** All of them are pulled or come live: the copy must be right after each. */
async function millionRows(stage) {
  const rows = stage.full ? 1_000_000 : 20_000;
  const mia = watch(stage, 'mia', ['mass', 'pulse']);
  await mia.isLive();
  const step = async (what, statement, isDone) => {
    const began = Date.now();
    await stage.database.sql(statement);
    const committed = Date.now();
    await until(`mia has ${what}`, isDone, { limit_ms: 180_000, every_ms: 100 });
    const key = `rows_${what}_${stage.plugin}_s`; // from the commit to the whole copy
    stage.figures[key] = Math.max(stage.figures[key] ?? 0, (Date.now() - committed) / 1000);
    stage.say(`${stage.plugin}: ${rows} rows ${what}: committed after ${committed - began} ms, at the client ${Date.now() - committed} ms later, silence so far ${stage.pulse.silence_ms} ms, memory ${stage.pulse.memory_kb >> 10} MiB`);
  };
  await step('inserted', `INSERT INTO mass SELECT g, 1 FROM generate_series(1, ${rows}) g`, () => mia.has('mass', 1) === rows);
  await step('updated', 'UPDATE mass SET n = 2', () => mia.has('mass', 2) === rows);
  await step('deleted', 'DELETE FROM mass', () => mia.has('mass', 2) === 0);
  if ([...mia.rows.keys()].some((key) => key.startsWith('mass/'))) stage.failures.push(`${stage.plugin}: rows of mass are left`);
}

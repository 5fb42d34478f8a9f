// cancels.js - G13: statements of the extension are cancelled at any moment; the next one on the same connection is right, and nothing is half done.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Postgres } from '../../lib/postgres.js';
import { start } from '../../lib/process.js';
import { Random } from '../../lib/random.js';
import { Copy } from '../../lib/client.js';
import { differences, expectedRows } from '../../lib/expected.js';

// after a cancel within a transaction its rest fails, after one of its BEGIN it runs without the claims; enabled or disabled already, and things of the table that went
const HALF = new Set(['25P01', '25P02', '3B001', '55000', '42P01', '42703', '42710', 'SY401']);

const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (user_id text NOT NULL, team_id int NOT NULL, PRIMARY KEY (user_id, team_id));
CREATE TABLE note (id uuid PRIMARY KEY, team_id int NOT NULL, title text NOT NULL, body text NOT NULL DEFAULT '', done boolean NOT NULL DEFAULT false);
CREATE TABLE item (id int PRIMARY KEY, name text, deleted_at timestamptz);
CREATE TABLE part (id int PRIMARY KEY, n int) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (500);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (500) TO (100000);
CREATE TABLE coming (id int PRIMARY KEY, txt text);
CREATE TABLE paper (id int PRIMARY KEY, owner text NOT NULL, body text);
ALTER TABLE paper ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON paper TO app USING (owner = sync.user_id());
GRANT SELECT ON member TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note, item, part, coming, paper TO app;
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_memberships ON member FOR SELECT TO app USING (user_id = sync.user_id());
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_of_my_teams ON note TO app USING (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()));
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
SELECT sync.enable('item', deleted_at => 'deleted_at');
SELECT sync.enable('part');
SELECT sync.enable('paper');
INSERT INTO member VALUES ('ada', 1), ('ben', 1), ('ben', 2);
INSERT INTO coming SELECT i, 'row ' || i FROM generate_series(1, 300) i;
`;

const TABLES = ['note', 'item', 'part', 'paper'];
const BULKS = Number(process.env.BULKS || 2); // psqls side by side
const CANCELLED = new Set(['57014']); // query_canceled
// deadlock, serialisation, lock not available; a table that sync.disable() takes away under a pull: the other connections are at work too
const MAY_FAIL = new Set(['40P01', '40001', '55P03', '42703']);

/** A row moved to a key that another psql inserts in the same moment: PostgreSQL's answer, whoever syncs the table. */
const isKeyRace = (state, message) => state === '23505' && /"part_[12]_pkey"/.test(message);

/** One connection as the streamer uses it: requests as a user, SQL as the owner, each cancelled or not. */
class Worker {
  cancelled = 0;
  finished = 0;
  pushes = new Map(); // queue_id → { change, verdict: of the first answer that came }

  constructor(database, number, random, fail) {
    Object.assign(this, { database, number, random, fail });
    this.user = number % 2 ? 'ada' : 'ben';
    this.claims = { sub: this.user, role: 'app' };
    this.device = `device-${number}`;
  }

  async open() {
    this.connection = await this.database.connect();
    this.pid = (await this.connection.query('SELECT pg_backend_pid() AS pid')).rows[0].pid;
  }

  async close() {
    await this.connection.end();
  }

  /** As the streamer calls: in a transaction, as the role. Its parts are one text, so that a cancel hits any of them. */
  #request(name, body) {
    const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
    return `BEGIN; SELECT set_config('role', 'app', true), set_config('request.jwt.claims', ${quoted(JSON.stringify(this.claims))}, true); SELECT sync.${name}(${quoted(JSON.stringify(body))}::jsonb) AS answer; COMMIT`;
  }

  /** Runs it, cancels may come at any moment; undefined if one did. Those that come late hit nothing, or the clean-up. */
  async attempt(kind, text) {
    const { result, error } = await this.connection.query(text).then((answer) => ({ result: answer }), (reason) => ({ error: reason }));
    if (!error) {
      this.finished++;
      return [result].flat().flatMap(({ rows }) => rows).findLast((row) => 'answer' in row)?.answer ?? true;
    }
    if (CANCELLED.has(error.code)) this.cancelled++;
    else if (!MAY_FAIL.has(error.code)) this.fail(`${kind}: ${error.code} ${error.message}${error.where ? ` at ${error.where}` : ''}`);
    while (!(await this.connection.query('ROLLBACK').then(() => true, (reason) => !CANCELLED.has(reason.code)))) this.cancelled++;
    return undefined;
  }

  async push() {
    const changes = Array.from({ length: 1 + this.random.below(4) }, () => ({
      queue_id: randomUUID(), operation: 'create', entity_type: 'note', entity_id: randomUUID(), timestamp: new Date().toISOString(), data: { team_id: 1, title: this.random.word() },
    }));
    // until an answer comes: each may have been applied before the cancel
    for (;;) {
      const answer = await this.attempt('push', this.#request('push', { device_id: this.device, changes }));
      if (!answer) continue;
      const bad = answer.processed?.find(({ status }) => status !== 'success');
      if (bad || answer.processed?.length !== changes.length) this.fail(`push: ${JSON.stringify(answer).slice(0, 400)}`);
      for (const change of changes) this.pushes.set(change.entity_id, change);
      return;
    }
  }

  async pull() {
    let sync_token;
    const copy = new Copy();
    for (let pages = 0; pages < 200; pages++) {
      const answer = await this.attempt('pull', this.#request('pull', { device_id: this.device, limit: 200, ...(sync_token ? { sync_token } : {}) }));
      if (!answer) continue;
      copy.apply(answer);
      sync_token = answer.next_sync_token;
      if (!answer.has_more) return copy;
    }
    return undefined;
  }

  async turn() {
    await (this.random.chance(0.7) ? this.push() : this.pull());
  }
}

/** A request as the streamer sends it, in one text, so that a cancel may hit any of its parts. */
const asked = (name, body, claims) =>
  `BEGIN; SELECT set_config('role', 'app', true), set_config('request.jwt.claims', '${JSON.stringify(claims)}', true); SELECT sync.${name}('${JSON.stringify(body).replaceAll("'", "''")}'::jsonb) AS answer; COMMIT;`;

/** The same within a block that takes a cancel for an error like any other and goes on. */
const caught = (name, body, claims) => `DO $do$ BEGIN
  BEGIN
    PERFORM set_config('role', 'app', true), set_config('request.jwt.claims', '${JSON.stringify(claims)}', true);
    PERFORM sync.${name}('${JSON.stringify(body).replaceAll("'", "''")}'::jsonb);
  EXCEPTION WHEN query_canceled THEN
    NULL;
  END;
  IF current_user <> session_user AND sync.user_id() IS NULL THEN RAISE 'half of the block is left'; END IF;
END $do$;`;

// a transaction that goes on when its statement is over
const IS_OVER = 'SELECT 1 / (now() = statement_timestamp())::int AS "is over";';

/** What the streamer asks for several at once, about rows and about such that went. */
const seen = (n) => `SELECT sync.visible_keys(jsonb_build_object('identities', '[{"role":"app","claims":{"sub":"ada"}},{"role":"app","claims":{"sub":"ben"}}]'::jsonb, 'identity_ms', ${n % 3 ? 1000 : 1}, 'tables', jsonb_build_array(
    jsonb_build_object('id', (SELECT id FROM sync.synced_table WHERE relation = 'paper'::regclass), 'keys', '["${n % 50}"]'::jsonb, 'gone', (SELECT coalesce(jsonb_agg(t.old_values), '[]') FROM (SELECT old_values FROM sync.tombstone WHERE old_values IS NOT NULL LIMIT 200) t)))));`;

function statement(random, mayAlter) {
  const n = random.below(1000);
  const claims = { sub: random.pick(['ada', 'ben']), role: 'app' };
  const pushed = { device_id: 'bulk', changes: [{ queue_id: `p${n}`, operation: 'create', entity_type: 'paper', entity_id: String(n % 50), timestamp: new Date().toISOString(), data: { owner: claims.sub, body: 'pushed' } }] };
  const id = `${'0'.repeat(8)}-0000-4000-8000-${String(n).padStart(12, '0')}`;
  if (mayAlter && random.chance(0.05)) {
    return random.pick(["SELECT sync.enable('coming');", "SELECT sync.disable('coming');", 'ALTER TABLE coming ADD COLUMN IF NOT EXISTS more int DEFAULT 7;', 'ALTER TABLE coming DROP COLUMN IF EXISTS more;',
      'SELECT count(*) FROM sync.check();', "SELECT sync.purge(interval '1 hour');", 'TRUNCATE coming;', 'GRANT SELECT ON coming TO app;', "INSERT INTO coming SELECT i, 'x' FROM generate_series(1, 50) i ON CONFLICT DO NOTHING;"]);
  }
  return random.pick([
    `INSERT INTO item VALUES (${n}, 'x') ON CONFLICT (id) DO UPDATE SET name = 'again ' || item.sync_version, deleted_at = NULL;`,
    `UPDATE item SET deleted_at = now() WHERE id % 70 = ${n % 70};`,
    `DELETE FROM item WHERE id % 110 = ${n % 110};`,
    `INSERT INTO part VALUES (${n}, 1) ON CONFLICT (id) DO UPDATE SET n = part.n + 1;`,
    `UPDATE part SET id = (id + 500) % 1000 WHERE id = ${n} AND NOT EXISTS (SELECT FROM part WHERE id = (${n} + 500) % 1000);`,
    `INSERT INTO note VALUES ('${id}', ${1 + (n % 2)}, 'sql ${n}') ON CONFLICT (id) DO UPDATE SET title = 'sql ${n} again';`,
    `BEGIN; SAVEPOINT a; UPDATE note SET done = NOT done WHERE id = '${id}'; ROLLBACK TO a; UPDATE note SET body = 'b' WHERE id = '${id}'; DELETE FROM note WHERE id = '${id}'; COMMIT;`,
    `BEGIN; INSERT INTO member VALUES ('cleo', ${n % 5}) ON CONFLICT DO NOTHING; DELETE FROM member WHERE user_id = 'cleo' AND team_id <> ${n % 5}; COMMIT;`,
    asked('push', { device_id: 'bulk', changes: [{ queue_id: `q${n}`, operation: 'update', entity_type: 'note', entity_id: id, timestamp: new Date().toISOString(), data: { title: 'pushed' } }] }, claims),
    `INSERT INTO paper SELECT i, 'ada', 'of many' FROM generate_series(${n % 50}, ${(n % 50) + 8}) i ON CONFLICT (id) DO UPDATE SET body = 'again';`,
    `DELETE FROM paper WHERE id % 9 = ${n % 9};`,
    `BEGIN; SAVEPOINT a; DELETE FROM paper WHERE id = ${n % 50}; INSERT INTO paper VALUES (${n % 50}, 'ben', 'x') ON CONFLICT DO NOTHING; ROLLBACK TO a; INSERT INTO paper VALUES (${n % 50}, 'ben', 'y') ON CONFLICT (id) DO UPDATE SET body = 'z'; COMMIT;`,
    `SET lock_timeout = 1; UPDATE paper SET body = 'in haste' WHERE id % 7 = ${n % 7}; RESET lock_timeout;`,
    caught('push', pushed, claims), caught('pull', { device_id: 'bulk' }, claims), asked('push', pushed, claims), seen(n), 'SELECT sync.status();', `SELECT sync.feed_changes('1:1:', ${n});`,
    `SELECT sync.feed_rows((SELECT id FROM sync.synced_table WHERE relation = 'paper'::regclass), '{1,2,${n % 50}}');`,
    asked('pull', { device_id: 'bulk', limit: 50 }, claims), asked('digest', { device_id: 'bulk', entity_type: 'item' }, claims), 'SELECT sync.feed_tables();', `SELECT sync.checkpoint(${n});`,
  ]);
}

/** psql with a long list of statements, faster than we are; each that is cancelled is given up. */
class Bulk {
  cancelled = 0;
  finished = 0;

  constructor(server, number, random, fail) {
    Object.assign(this, { server, number, random, fail });
    this.file = path.join(server.directory, `bulk${number}.sql`);
  }

  async run(isOver) {
    while (!isOver()) {
      const count = 100;
      const statements = Array.from({ length: count }, () => `${statement(this.random, this.number === 0)}\n${IS_OVER}\nROLLBACK;`);
      writeFileSync(this.file, statements.join('\n'));
      const child = start(path.join(this.server.bin, 'psql'), ['-X', '-q', '-v', 'VERBOSITY=verbose', '-o', '/dev/null', '-d', this.server.conninfo('app'), '-c', '\\set VERBOSITY verbose', '-c', 'SET client_min_messages = error', '-c', 'SELECT 1', '-f', this.file]);
      let text = '';
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (text += data));
      const { code } = await child.exited;
      await child.closed;
      const codes = [...text.matchAll(/(ERROR|FATAL|PANIC): {2}(\w{5}): (.*)/g)];
      for (const [, , state, message] of codes) {
        if (CANCELLED.has(state)) this.cancelled++;
        else if (!MAY_FAIL.has(state) && !HALF.has(state) && !isKeyRace(state, message)) this.fail(`${state} ${message}`);
      }
      if (code !== 0) this.fail(`psql ended with ${code}: ${text.slice(-400)}`);
      this.finished += count - codes.length;
    }
  }
}

/** Cancels one of them after the other, so often that about every second statement is hit; until `isOver`. */
async function cancelAll(database, workers, isOver) {
  const connection = await database.connect();
  const count = (what) => workers.reduce((sum, worker) => sum + worker[what], 0);
  for (let pause_us = 300; !isOver();) {
    const before = [count('cancelled'), count('finished')];
    await connection.query(`DO $$ BEGIN
      FOR i IN 1..50 LOOP
        PERFORM pg_sleep(random() * ${pause_us} / 1e6);
        PERFORM pg_stat_clear_snapshot(); -- else all of the transaction sees who was active at its first look
        PERFORM pg_cancel_backend(pid) FROM pg_stat_activity WHERE state IN ('active', 'idle in transaction') AND backend_type = 'client backend' AND pid <> pg_backend_pid();
      END LOOP; END $$`);
    const isTooOften = count('cancelled') - before[0] > count('finished') - before[1];
    pause_us = Math.min(Math.max(isTooOften ? pause_us * 1.5 : pause_us / 1.5, 1), 50_000);
  }
  await connection.end();
}

/** Uncancelled, on the connection that was cancelled so often: it knows everything, and everything is there once. */
async function judge(worker, fail) {
  const { database } = worker;
  const expected = await expectedRows(database, 'note');
  for (const [id, change] of worker.pushes) {
    const row = expected.get(id);
    if (!row) fail(`push: acknowledged ${id} is not there`);
    else if (row.title !== change.data.title) fail(`push: ${id} has the title ${row.title}`);
  }
  const versions = await database.sql('SELECT count(*)::int AS n FROM note WHERE id = ANY($1::uuid[]) AND sync_version <> 1', [[...worker.pushes.keys()]]);
  if (versions[0].n) fail(`push: ${versions[0].n} changes were applied more than once`);
}

async function pullAll(worker, database, tables, fail) {
  const copy = new Copy();
  let sync_token;
  const { connection } = worker;
  for (;;) {
    await connection.query('BEGIN');
    await connection.query("SELECT set_config('role', 'app', true), set_config('request.jwt.claims', $1, true)", [JSON.stringify(worker.claims)]);
    const { rows } = await connection.query('SELECT sync.pull($1::jsonb) AS answer', [JSON.stringify({ device_id: `${worker.device}-last`, ...(sync_token ? { sync_token } : {}) })]);
    await connection.query('COMMIT');
    copy.apply(rows[0].answer);
    sync_token = rows[0].answer.next_sync_token;
    if (!rows[0].answer.has_more) break;
  }
  for (const table of tables) {
    let expected = await expectedRows(database, table);
    if (table === 'note') {
      const mine = new Set((await database.sql('SELECT id::text FROM note WHERE team_id IN (SELECT team_id FROM member WHERE user_id = $1)', [worker.user])).map(({ id }) => id));
      expected = new Map([...expected].filter(([id]) => mine.has(id)));
    }
    if (table === 'paper') expected = new Map([...expected].filter(([, row]) => row.owner === worker.user));
    if (table === 'item') expected = new Map([...expected].filter(([, row]) => row.deleted_at === null));
    const found = differences(copy.table(table), expected);
    if (found.length) fail(`the copy of ${worker.user} on the connection ${worker.number} differs in ${found.length} rows of ${table}: ${found[0]}`);
  }
}

async function run({ seconds, random, most = Infinity, say }) {
  const failures = [];
  const fail = (text) => failures.length < 20 && failures.push(text);
  const server = await Postgres.start();
  const workers = [];
  try {
    const database = await server.createDatabase('app');
    server.psql('app', ['-f', '-'], SCHEMA);
    for (let i = 0; i < 2; i++) workers.push(new Worker(database, i, new Random(random.below(2 ** 31)), fail));
    const bulks = Array.from({ length: BULKS }, (_, i) => new Bulk(server, i, new Random(random.below(2 ** 31)), fail));
    for (const worker of workers) await worker.open();
    const count = (what) => [...workers, ...bulks].reduce((sum, worker) => sum + worker[what], 0);
    for (let end = Date.now() + seconds * 1000, told = 0; Date.now() < end && count('cancelled') < most && !failures.length;) {
      const until_ms = Math.min(end, Date.now() + 10_000);
      const isOver = () => Date.now() > until_ms || failures.length > 0;
      const cancelling = cancelAll(database, [...workers, ...bulks], isOver);
      await Promise.all([...bulks.map((bulk) => bulk.run(isOver)), ...workers.map(async (worker) => {
        while (!isOver()) await worker.turn();
      })]);
      await cancelling;
      // the last one may be on its way
      for (const { connection } of workers) await connection.query('SELECT 1').catch(() => connection.query('SELECT 1'));
      for (const worker of workers) await judge(worker, fail);
      for (const worker of workers) await pullAll(worker, database, TABLES, fail);
      if (Date.now() - told > 60_000) {
        told = Date.now();
        say(`${count('cancelled')} cancelled, ${count('finished')} finished`);
      }
    }
    const broken = await database.sql("SELECT * FROM sync.check() AS c WHERE c.severity = 'error' AND c.object NOT IN ('fsync', 'full_page_writes')").catch((error) => [error.message]);
    if (broken.length) fail(`sync.check(): ${JSON.stringify(broken).slice(0, 500)}`);
    const crashes = server.log.match(/.*(terminated by signal|PANIC|TRAP|leak|still referenced|not closed).*/);
    if (crashes) fail(`the server's log: ${crashes[0]}`);
    assert.ok(count('cancelled') > 0 || failures.length, 'not one statement was cancelled');
    return { figures: { cancelled: count('cancelled'), finished: count('finished') }, failures };
  } catch (error) {
    const lines = server.log.split('\n').filter((line) => /terminated by signal|exited with exit code|PANIC|TRAP|FATAL|DETAIL: {2}Failed process/.test(line));
    throw new Error(`${error.stack}\nthe server's log: ${lines.slice(0, 8).join('\n')}`);
  } finally {
    for (const worker of workers) await worker.close().catch(() => {});
    await server.stop();
  }
}

export const play = { row: 'G13', name: 'cancels', title: 'statements cancelled at any moment leave nothing half done, and the connection is right', run, short: 8 };

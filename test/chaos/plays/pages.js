// pages.js - copies pulled in tiny pages while others write: wherever a page ends and whatever commits between two, nothing is missed.
// SPDX-License-Identifier: PostgreSQL
//
// By SQL alone, so that a page ends some thousand times a second. Many short histories in one database: writers overlap, hold their
// transactions open, roll back and move rows and members; then all is quiet, every copy is pulled to its end and compared.
import { Copy } from '../../lib/client.js';
import { Postgres } from '../../lib/postgres.js';
import { Random } from '../../lib/random.js';
import { sleep } from '../../lib/wait.js';

const TEAMS = [1, 2, 3];
const USERS = ['ada', 'ben', 'cleo'];
const KEYS = 60;
const WRITERS = 4;
const PULLERS = 6;
const HISTORY_MS = 1200;
const TABLES = ['open_item', 'team_item', 'part_item', 'soft_item', 'own_item', 'step', 'seen_item'];
const IS_MINE = 'team IN (SELECT m.team FROM member m WHERE m.user_id = sync.user_id())';

const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE TABLE member (user_id text NOT NULL, team int NOT NULL, PRIMARY KEY (user_id, team));
CREATE TABLE open_item (id int PRIMARY KEY, team int, body text NOT NULL);
CREATE TABLE team_item (id int PRIMARY KEY, team int NOT NULL, body text NOT NULL);
CREATE TABLE part_item (id int PRIMARY KEY, team int NOT NULL, body text NOT NULL) PARTITION BY RANGE (id);
CREATE TABLE part_low PARTITION OF part_item FOR VALUES FROM (MINVALUE) TO (${KEYS / 2});
CREATE TABLE part_high PARTITION OF part_item FOR VALUES FROM (${KEYS / 2}) TO (MAXVALUE);
CREATE TABLE soft_item (id int PRIMARY KEY, team int NOT NULL, body text NOT NULL);
CREATE TABLE own_item (id int PRIMARY KEY, team int, owner text NOT NULL, body text NOT NULL);
CREATE TABLE step (id int PRIMARY KEY, item_id int REFERENCES team_item ON DELETE CASCADE, body text NOT NULL);
CREATE TABLE seen_item (id int PRIMARY KEY, team int NOT NULL, body text NOT NULL);
GRANT SELECT ON ALL TABLES IN SCHEMA public TO app;
ALTER TABLE own_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON own_item TO app USING (owner = sync.user_id());
ALTER TABLE seen_item ENABLE ROW LEVEL SECURITY;
CREATE POLICY ours ON seen_item TO app USING (${IS_MINE});
SELECT sync.create_scope('team', 'SELECT m.team FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('open_item');
SELECT sync.enable('team_item', scope => 'team', scope_column => 'team');
SELECT sync.enable('part_item', scope => 'team', scope_column => 'team');
SELECT sync.enable('soft_item', scope => 'team', scope_column => 'team', deletes => 'soft');
SELECT sync.enable('own_item');
SELECT sync.enable('step', via => 'item_id');
SELECT sync.enable('seen_item', verify => true);
INSERT INTO member SELECT u, t FROM unnest('{ada,ben,cleo}'::text[]) WITH ORDINALITY AS users (u, t);
`;

// what a user's complete copy holds of each table
const SEEN = {
  open_item: 'true',
  team_item: IS_MINE,
  part_item: IS_MINE,
  soft_item: `deleted_at IS NULL AND ${IS_MINE}`,
  own_item: 'owner = sync.user_id()',
  step: `item_id IN (SELECT t.id FROM team_item t WHERE ${IS_MINE})`,
  seen_item: IS_MINE,
};

// --- writing ------------------------------------------------------------------------------------

function statement(random) {
  const table = random.pick(TABLES);
  const id = random.below(KEYS);
  const team = random.pick(TEAMS);
  const body = `'${random.below(1e6)}'`;
  const column = { own_item: 'owner', step: 'item_id' }[table] ?? 'team';
  const value = { own_item: `'${random.pick(USERS)}'`, step: `(SELECT min(id) FROM team_item WHERE id >= ${random.below(KEYS)})` }[table] ?? team;
  if (random.chance(0.03)) return `INSERT INTO member VALUES ('${random.pick(USERS)}', ${team}) ON CONFLICT DO NOTHING`;
  if (random.chance(0.03)) return `DELETE FROM member WHERE user_id = '${random.pick(USERS)}' AND team = ${team}`;
  if (random.chance(0.3)) return `INSERT INTO ${table} (id, ${column}, body) VALUES (${id}, ${value}, ${body}) ON CONFLICT (id) DO UPDATE SET body = excluded.body`;
  if (random.chance(0.2)) return `UPDATE ${table} SET body = ${body} WHERE id BETWEEN ${id} AND ${id + random.below(20)}`;
  if (random.chance(0.2)) return `DELETE FROM ${table} WHERE id = ${id}`;
  if (random.chance(0.2)) return `UPDATE ${table} SET id = ${random.below(KEYS)} WHERE id = ${id}`;
  return `UPDATE ${table} SET ${column} = ${value} WHERE id = ${id}`;
}

// what a random statement may meet: a key that is taken, a parent that went, somebody else's lock in the wrong order
const isRefusal = (error) => /^(23|40)/.test(error.code ?? '');

async function oneTransaction(client, random, tally) {
  await client.query('BEGIN');
  try {
    for (let left = 1 + random.below(3); left > 0; left--) {
      const isInside = random.chance(0.3);
      if (isInside) await client.query('SAVEPOINT inside');
      await client.query(statement(random));
      if (isInside && random.chance(0.5)) await client.query('ROLLBACK TO inside');
      if (random.chance(0.3)) await sleep(random.below(30));
    }
    await client.query(random.chance(0.1) ? 'ROLLBACK' : 'COMMIT');
    tally.transactions++;
  } catch (error) {
    await client.query('ROLLBACK');
    if (!isRefusal(error)) throw error;
  }
}

// --- pulling ------------------------------------------------------------------------------------

class Puller {
  constructor(client, user, random) {
    Object.assign(this, { client, user, random });
    this.#forget();
  }

  #forget() {
    this.copy = new Copy();
    this.token = undefined;
  }

  /** One page; whether the round is over and whether it brought anything. */
  async page(limit, tally) {
    const { rows } = await this.client.query('SELECT sync.pull($1::jsonb) AS answer', [JSON.stringify({ limit, ...(this.token ? { sync_token: this.token } : {}) })]);
    const { answer } = rows[0];
    this.copy.apply(answer);
    this.token = answer.next_sync_token;
    tally.pages++;
    tally.rows += answer.changes.length;
    return { isOver: !answer.has_more, isQuiet: !answer.changes.length && !answer.withdrawn && !answer.reset };
  }

  async wander(until_ms, tally) {
    while (Date.now() < until_ms) {
      if (this.random.chance(0.01)) this.#forget();
      const { isOver } = await this.page(1 + this.random.below(this.random.chance(0.8) ? 6 : 60), tally);
      tally.rounds += isOver;
      if (this.random.chance(0.1)) await sleep(this.random.below(20));
    }
  }

  // Until a whole round brings nothing: the one that was under way shows the tables of when it began.
  async finish(tally) {
    let isStart = false;
    for (let pages = 0; pages < 10_000; pages++) {
      const { isOver, isQuiet } = await this.page(7, tally);
      if (isStart && isOver && isQuiet) return;
      isStart = isOver;
    }
    throw new Error(`${this.user}'s copy does not come to its end in 10,000 pages although nobody writes`);
  }

  async differences() {
    const found = [];
    for (const table of TABLES) {
      const column = { own_item: 'owner', step: 'item_id' }[table] ?? 'team';
      const { rows } = await this.reader.query(`SELECT id::text, concat_ws('/', ${column}, body) AS now FROM ${table} WHERE ${SEEN[table]}`);
      const held = this.copy.table(table);
      for (const { id, now } of rows) {
        const row = held.get(id);
        const has = row && [row.data[column], row.data.body].filter((part) => part !== null).join('/');
        if (has !== now) found.push(`${this.user} ${table} ${id}: ${row ? `has ${has}` : 'missing'}, is ${now}`);
      }
      for (const id of held.keys()) if (!rows.some((row) => row.id === id)) found.push(`${this.user} ${table} ${id}: should be gone`);
    }
    return found;
  }
}

async function connectAs(database, user, role) {
  const client = await database.connect();
  await client.query("SELECT set_config('role', $1, false), set_config('request.jwt.claims', $2, false)", [role, JSON.stringify({ sub: user, role: 'app' })]);
  return client;
}

async function newPuller(database, i, random) {
  const user = USERS[i % USERS.length];
  const puller = new Puller(await connectAs(database, user, 'app'), user, random);
  puller.reader = await connectAs(database, user, 'postgres'); // sees everything; SEEN says what the user should
  return puller;
}

// --- the play -----------------------------------------------------------------------------------

async function oneHistory(writers, pullers, random, tally) {
  const until_ms = Date.now() + HISTORY_MS;
  const write = async (client, own) => {
    while (Date.now() < until_ms) await oneTransaction(client, own, tally);
  };
  await Promise.all([
    ...writers.map((client) => write(client, new Random(random.below(2 ** 31)))),
    ...pullers.map((puller) => {
      puller.random = new Random(random.below(2 ** 31));
      return puller.wander(until_ms, tally);
    }),
  ]);
  await Promise.all(pullers.map((puller) => puller.finish(tally)));
  return (await Promise.all(pullers.map((puller) => puller.differences()))).flat();
}

async function run({ seconds, random, say, most = Infinity }) {
  const server = await Postgres.start({ settings: { deadlock_timeout: '50ms' } });
  const figures = { histories: 0, rounds: 0, pages: 0, rows: 0, transactions: 0, differences: 0 };
  const failures = [];
  const clients = [];
  try {
    const database = await server.createDatabase('app', { roles: false });
    server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    for (let i = 0; i < WRITERS; i++) clients.push(await database.connect());
    const writers = [...clients];
    const pullers = [];
    for (let i = 0; i < PULLERS; i++) pullers.push(await newPuller(database, i, random));
    clients.push(...pullers.flatMap(({ client, reader }) => [client, reader]));
    const end = Date.now() + seconds * 1000;
    while (Date.now() < end && figures.histories < most && !failures.length) {
      const found = await oneHistory(writers, pullers, random, figures);
      figures.histories++;
      figures.differences += found.length;
      if (found.length) failures.push(`history ${figures.histories}: ${found.length} places differ:\n${found.slice(0, 10).join('\n')}`);
      if (figures.histories % 50 === 0) say(`${figures.histories} histories, ${figures.pages} pages`);
    }
    return { figures, failures };
  } finally {
    await Promise.all(clients.map((client) => client.end().catch(() => {})));
    await server.stop();
  }
}

export const play = { row: 'G1', name: 'pages', title: 'a copy pulled in tiny pages beside overlapping writers ends equal to the tables', run };

// bulk_writers.js - transactions of 1 to 10,000 rows on three tables: savepoints, roll-backs, upserts, moves between teams, prepared ones that end later.
// SPDX-License-Identifier: PostgreSQL
import { sleep, together } from '../lib/wait.js';

export const TABLES = ['plain', 'scoped', 'judged'];
const IDS = 20_000; // of each table
const WRITERS = 3;

/** plain is seen by all, scoped by its team, judged by what its policy says. Every statement gives its rows a tag of its own. */
export const SCHEMA = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (user_id text, team_id int, PRIMARY KEY (user_id, team_id));
INSERT INTO member VALUES ('both', 1), ('both', 2), ('one', 1), ('two', 2);
GRANT SELECT ON member TO app;
CREATE TABLE plain (id int PRIMARY KEY, team int NOT NULL, tag bigint NOT NULL, filler text NOT NULL DEFAULT 'some words that are always there');
CREATE TABLE scoped (LIKE plain INCLUDING ALL);
CREATE TABLE judged (LIKE plain INCLUDING ALL);
GRANT SELECT ON plain, scoped, judged TO app;
ALTER TABLE judged ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON judged TO app USING (sync.user_id() = 'both' OR team = CASE sync.user_id() WHEN 'one' THEN 1 WHEN 'two' THEN 2 END);
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('plain');
SELECT sync.enable('scoped', scope => 'team', scope_column => 'team', policy_is_scope => true);
SELECT sync.enable('judged');
INSERT INTO plain SELECT g, 1, 0 FROM generate_series(0, ${IDS / 2}) g;
INSERT INTO scoped SELECT g, 1 + g % 2, 0 FROM generate_series(1, ${IDS / 2}) g;
INSERT INTO judged SELECT g, 1 + g % 2, 0 FROM generate_series(1, ${IDS / 2}) g;
`;

export class Bulk {
  /** `rows_per_s`: of all writers together; `goesOn()`: false ends them. */
  constructor(database, random, { rows_per_s, goesOn }) {
    Object.assign(this, { database, random, rows_per_s, goesOn });
  }

  tally = { rows_written: 0, committed: 0, rolled_back: 0, savepoints_undone: 0, prepared: 0, refused: 0 };
  #tags = 0;
  #failed = false;
  #prepared = [];

  async write() {
    await together(Array.from({ length: WRITERS }, (_, i) => this.#writer(i)), () => (this.#failed = true));
    await Promise.all(this.#prepared);
  }

  async #writer(number) {
    const client = await this.database.connect();
    const began = Date.now();
    let written = 0;
    for (let i = 0; this.goesOn() && !this.#failed; i++) {
      written += await this.#transaction(client, `bulk ${number} ${i}`);
      const due = began + (written * 1000 * WRITERS) / this.rows_per_s;
      while (Date.now() < due && this.goesOn()) await sleep(Math.min(50, due - Date.now()));
    }
    await client.end();
  }

  /** Most are small, a few very large. */
  #size() {
    const { random } = this;
    const place = random.below(1000);
    return 1 + random.below(place < 900 ? 5 : place < 980 ? 100 : place < 997 ? 1000 : 10_000);
  }

  #statement(rows) {
    const { random } = this;
    const table = random.pick(TABLES);
    const first = 1 + random.below(Math.max(1, IDS - rows));
    const where = `WHERE id BETWEEN ${first} AND ${first + rows - 1}`;
    const tag = ++this.#tags;
    const mine = `SELECT id FROM ${table} ${where} ORDER BY id FOR UPDATE`;
    const update = (set) => `WITH mine AS MATERIALIZED (${mine}) UPDATE ${table} t SET tag = ${tag}${set} FROM mine WHERE t.id = mine.id`;
    return random.pick([
      () => update(''),
      () => update(''),
      () => update(', team = 3 - team'),
      () => `DELETE FROM ${table} ${where} AND id % 3 = 0`,
      () => `INSERT INTO ${table} (id, team, tag) SELECT g, 1 + g % 2, ${tag} FROM generate_series(${first}, ${first + rows - 1}) g ON CONFLICT (id) DO UPDATE SET tag = excluded.tag`,
    ])();
  }

  /** How many rows it wrote. */
  async #transaction(client, name) {
    const { random, tally } = this;
    const rows = this.#size();
    let written = 0;
    try {
      await client.query('BEGIN');
      for (let left = 1 + random.below(3); left > 0; left--) {
        const undone = random.chance(0.15);
        if (undone) await client.query('SAVEPOINT s');
        const { rowCount } = await client.query(this.#statement(Math.ceil(rows / left)));
        written += rowCount;
        if (undone) await client.query(random.chance(0.7) ? 'ROLLBACK TO s' : 'RELEASE s');
        tally.savepoints_undone += undone;
      }
      if (random.chance(0.04)) await this.#prepare(client, name);
      else await client.query(random.chance(0.05) ? (tally.rolled_back++, 'ROLLBACK') : (tally.committed++, 'COMMIT'));
    } catch (error) {
      await client.query('ROLLBACK');
      if (!/^(40|55P03)/.test(error.code ?? '')) throw error; // a deadlock, or a lock that a prepared one holds
      tally.refused++;
    }
    tally.rows_written += written;
    return written;
  }

  /** Its end comes later, from another connection. */
  async #prepare(client, name) {
    await client.query(`PREPARE TRANSACTION '${name}'`);
    this.tally.prepared++;
    const how = this.random.chance(0.8) ? 'COMMIT' : 'ROLLBACK';
    const delay_ms = this.random.below(1200);
    const ending = sleep(delay_ms).then(() => this.database.sql(`${how} PREPARED '${name}'`));
    this.#prepared.push(ending);
    ending.finally(() => this.#prepared.splice(this.#prepared.indexOf(ending), 1)).catch(() => {});
  }
}

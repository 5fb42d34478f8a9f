// crash_writers.js - the tables of the crash play, and writers that do everything a transaction can do to them.
// SPDX-License-Identifier: PostgreSQL

export const TABLES = ['item', 'shelf'];

export const SCHEMA = `
CREATE ROLE app LOGIN;
CREATE TABLE item (id int PRIMARY KEY, label text NOT NULL);
CREATE TABLE shelf (kind int, id int, label text, PRIMARY KEY (kind, id)) PARTITION BY LIST (kind);
CREATE TABLE shelf_1 PARTITION OF shelf FOR VALUES IN (1);
CREATE TABLE shelf_2 PARTITION OF shelf FOR VALUES IN (2);
GRANT SELECT, INSERT, UPDATE, DELETE ON item, shelf TO app;
SELECT sync.enable('item');
SELECT sync.enable('shelf');
INSERT INTO item SELECT i, 'item ' || i FROM generate_series(1, 40) i;
INSERT INTO shelf SELECT 1 + i % 2, i, 'shelf ' || i FROM generate_series(1, 20) i;
`;
const IDS = 60;
const REFUSED = /^(23|40|42710|42704|55006|55P03|25P02)/; // keys, deadlocks, waiting in vain; prepared ones that another writer ended

/** `name` is part of what only this writer may name: prepared transactions and files (in a directory that the server may write to). */
export function crashWriter(random, { name, directory, tally }) {
  const file = `${directory}/copy.${name}`;
  let serial = 0;

  const word = () => `'${name}.${++serial}${'x'.repeat(random.chance(0.1) ? 2000 : 0)}'`;
  const id = () => 1 + random.below(IDS);
  const kind = () => 1 + random.below(2);
  const statements = [
    () => `INSERT INTO item VALUES (${id()}, ${word()}) ON CONFLICT (id) DO UPDATE SET label = excluded.label`,
    () => `UPDATE item SET label = ${word()} WHERE id = ${id()}`,
    () => `UPDATE item SET label = ${word()} WHERE id % 9 = ${random.below(9)}`,
    () => `UPDATE item SET id = ${id()} WHERE id = ${id()}`,
    () => `DELETE FROM item WHERE id = ${id()}`,
    () => `UPDATE shelf SET label = ${word()} WHERE id = ${id()}`,
    () => `UPDATE shelf SET kind = 3 - kind WHERE id = ${id()}`,
    () => `INSERT INTO shelf VALUES (${kind()}, ${id()}, ${word()})`,
    () => `DELETE FROM shelf WHERE id = ${id()}`,
  ];
  const any = () => random.pick(statements)();

  /** Statements of one transaction, some of them undone by a savepoint. */
  async function work(client) {
    for (let left = 1 + random.below(4); left > 0; left--) {
      if (!random.chance(0.3)) {
        await client.query(any());
        continue;
      }
      await client.query('SAVEPOINT one');
      await client.query(any());
      await client.query(random.chance(0.5) ? 'ROLLBACK TO one' : 'RELEASE one');
    }
  }

  async function burn(client) {
    for (let left = 1 + random.below(10); left > 0; left--) await client.query('BEGIN; SELECT pg_current_xact_id(); ROLLBACK');
  }

  async function prepare(client) {
    await client.query(`PREPARE TRANSACTION '${name}.${++serial}.${random.below(1e9)}'`);
    tally.prepared++;
  }

  async function endPrepared(client) {
    const { rows } = await client.query('SELECT gid FROM pg_prepared_xacts LIMIT 1');
    for (const { gid } of rows) {
      await client.query(`${random.chance(0.6) ? 'COMMIT' : 'ROLLBACK'} PREPARED '${gid}'`).catch((error) => {
        if (!/is busy/.test(error.message)) throw error; // another writer ends it just now
      });
    }
  }

  async function copyIn(client) {
    const from = id();
    await client.query(`COPY (SELECT i, ${word()} FROM generate_series(${from}, ${from + 5}) i) TO '${file}'`);
    await client.query('BEGIN');
    await client.query(`DELETE FROM item WHERE id BETWEEN ${from} AND ${from + 5}`);
    await client.query(`COPY item (id, label) FROM '${file}'`);
    await client.query('COMMIT');
    tally.copied++;
  }

  async function transaction(client) {
    await client.query('BEGIN');
    await work(client);
    if (random.chance(0.08)) await prepare(client);
    else if (random.chance(0.2)) {
      await client.query('ROLLBACK');
      tally.rolled_back++;
    } else {
      await client.query('COMMIT');
      tally.commits++;
    }
  }

  const doings = [burn, endPrepared, copyIn, transaction, transaction, transaction, transaction, transaction];

  return {
    async step(client) {
      try {
        await random.pick(doings)(client);
      } catch (error) {
        if (!REFUSED.test(error.code ?? '')) throw error;
        await client.query('ROLLBACK');
      }
    },
  };
}

// writers.js - random inserts, updates and deletes on Chinook by plain SQL: several sessions, some roll back, some dawdle.
// SPDX-License-Identifier: PostgreSQL
import { sleep } from '../lib/wait.js';

// per table: key columns, what an insert takes, what an update may set. `ref` picks an existing row of another table.
const ref = (table, column) => ({ ref: [table, column] });
const SHAPES = {
  artist: { key: ['artist_id'], insert: (r) => ({ name: r.word() }), update: { name: (r) => r.word() } },
  genre: { key: ['genre_id'], insert: (r) => ({ name: r.word() }), update: { name: (r) => (r.chance(0.2) ? null : r.word()) } },
  media_type: { key: ['media_type_id'], insert: (r) => ({ name: r.word() }), update: { name: (r) => r.word() } },
  playlist: { key: ['playlist_id'], insert: (r) => ({ name: r.word() }), update: { name: (r) => r.word() } },
  album: { key: ['album_id'], insert: (r) => ({ title: r.word(), artist_id: ref('artist', 'artist_id') }), update: { title: (r) => r.word() } },
  track: {
    key: ['track_id'],
    insert: (r) => ({ name: r.word(), album_id: ref('album', 'album_id'), media_type_id: ref('media_type', 'media_type_id'), milliseconds: r.below(1e6), unit_price: (r.below(500) / 100).toFixed(2) }),
    update: { name: (r) => r.word(), composer: (r) => (r.chance(0.3) ? null : r.word()), unit_price: (r) => (r.below(500) / 100).toFixed(2), bytes: (r) => r.below(2 ** 31 - 1) },
  },
  playlist_track: {
    key: ['playlist_id', 'track_id'],
    insert: () => ({ playlist_id: ref('playlist', 'playlist_id'), track_id: ref('track', 'track_id') }),
    update: { track_id: () => ref('track', 'track_id') }, // a change of the key: the old one must go
  },
  employee: { key: ['employee_id'], insert: (r) => ({ last_name: 'New', first_name: r.word().slice(0, 20), birth_date: '1970-02-03 04:05:06.5' }), update: { title: (r) => r.word().slice(0, 30), reports_to: () => ref('employee', 'employee_id') } },
  customer: { key: ['customer_id'], insert: (r) => ({ first_name: 'New', last_name: 'Customer', email: `${r.below(1e6)}@example.com`, support_rep_id: ref('employee', 'employee_id') }), update: { company: (r) => r.word(), fax: () => null } },
  invoice: { key: ['invoice_id'], insert: (r) => ({ customer_id: ref('customer', 'customer_id'), invoice_date: '2026-01-02 03:04:05', total: (r.below(9999) / 100).toFixed(2) }), update: { total: (r) => (r.below(9999) / 100).toFixed(2), invoice_date: () => '1999-12-31 23:59:59.999' } },
  invoice_line: { key: ['invoice_line_id'], insert: (r) => ({ invoice_id: ref('invoice', 'invoice_id'), track_id: ref('track', 'track_id'), unit_price: '0.99', quantity: 1 + r.below(9) }), update: { quantity: (r) => r.below(100), unit_price: (r) => (r.below(300) / 100).toFixed(2) } },
};
const NAMES = Object.keys(SHAPES);

/** One statement and its parameters. */
class Statement {
  values = [];

  constructor(random) {
    this.random = random;
  }

  param(value) {
    this.values.push(value);
    return `$${this.values.length}`;
  }

  // some existing row: the first one at or after a random key
  existing(table, column) {
    return `(SELECT ${column} FROM ${table} WHERE ${column} >= ${this.param(this.random.below(3600))} ORDER BY ${column} LIMIT 1)`;
  }

  value(value) {
    return value?.ref ? this.existing(...value.ref) : this.param(value);
  }

  // some existing row of this very table, by its whole key
  where(table) {
    const key = SHAPES[table].key.join(', ');
    const place = SHAPES[table].key.map((_, i) => this.param(i === 0 && table === 'playlist_track' ? this.random.below(18) : this.random.below(3600))).join(', ');
    return `WHERE (${key}) = (SELECT ${key} FROM ${table} WHERE (${key}) >= (${place}) ORDER BY ${key} LIMIT 1)`;
  }
}

let freshId = 1_000_000;

function insert(table, random) {
  const statement = new Statement(random);
  const { key, insert: make } = SHAPES[table];
  const row = { ...(key.length === 1 ? { [key[0]]: random.chance(0.5) ? freshId++ : 3600 + random.below(2000) } : {}), ...make(random) };
  statement.text = `INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.values(row).map((value) => statement.value(value))})`;
  return statement;
}

function update(table, random) {
  const statement = new Statement(random);
  const [column, make] = random.pick(Object.entries(SHAPES[table].update));
  statement.text = `UPDATE ${table} SET ${column} = ${statement.value(make(random))} ${statement.where(table)}`;
  return statement;
}

function remove(table, random) {
  const statement = new Statement(random);
  statement.text = `DELETE FROM ${table} ${statement.where(table)}`;
  return statement;
}

function anyStatement(random) {
  const table = random.pick(NAMES);
  return random.pick([insert, update, update, remove])(table, random);
}

/** Runs a statement that may break a constraint: then only it is undone. Whether it stood. */
async function attempt(client, statement) {
  await client.query('SAVEPOINT one');
  try {
    await client.query(statement.text, statement.values);
    await client.query('RELEASE one');
    return true;
  } catch (error) {
    if (!/^(23|40P01|40001)/.test(error.code ?? '')) throw error;
    if (error.code.startsWith('40')) throw error;
    await client.query('ROLLBACK TO one');
    return false;
  }
}

async function oneTransaction(client, random, tally, pause) {
  await client.query('BEGIN');
  try {
    for (let left = 1 + random.below(6); left > 0; left--) {
      if (await attempt(client, anyStatement(random))) tally.changes++;
      else tally.refused++;
    }
    if (random.chance(0.04)) {
      tally.held++;
      await pause(1000 + random.below(2500));
    }
    const back = random.chance(0.15);
    await client.query(back ? 'ROLLBACK' : 'COMMIT');
    tally[back ? 'rolledBack' : 'committed']++;
  } catch (error) {
    await client.query('ROLLBACK');
    if (!error.code?.startsWith('40')) throw error;
    tally.deadlocks++;
  }
}

/** `sessions` writers until `changes` statements have been done and `seconds` have passed; counts in `tally` as it goes. */
export async function runWriters(database, random, { changes, seconds, sessions = 4, tally }) {
  const start = Date.now();
  const share = () => Math.min(1, (Date.now() - start) / (seconds * 1000));
  const writer = async () => {
    const client = await database.connect();
    try {
      while (tally.changes < changes) {
        // spread over the time, so that every kill hits a busy moment
        if (tally.changes > changes * share()) await sleep(20);
        else await oneTransaction(client, random, tally, sleep);
      }
    } finally {
      await client.end();
    }
  };
  await Promise.all(Array.from({ length: sessions }, writer));
}

export const newTally = () => ({ changes: 0, refused: 0, held: 0, committed: 0, rolledBack: 0, deadlocks: 0 });

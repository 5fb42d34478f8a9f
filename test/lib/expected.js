// expected.js - what a complete copy of a table must look like, rendered by SQL alone, and the comparison with a client's copy.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';

// the contract's rendering, for the types that the tables compared here use
const RENDERED = {
  int2: (c) => `to_jsonb(${c})`,
  int4: (c) => `to_jsonb(${c})`,
  bool: (c) => `to_jsonb(${c})`,
  timestamp: (c) => `to_jsonb(replace(${c}::text, ' ', 'T'))`,
};
const asText = (c) => `to_jsonb(${c}::text)`; // text, varchar, int8, uuid, date, numeric without NaN

/** entity_id → data of all living rows of a table. */
export async function expectedRows(database, table) {
  const columns = await database.sql(
    `SELECT a.attname AS name, t.typname AS type,
            array_position(i.indkey::int2[], a.attnum) AS key
       FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
       JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
      WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname !~ '^sync_'
      ORDER BY a.attnum`,
    [table],
  );
  const pairs = columns.map(({ name, type }) => `'${name}', ${(RENDERED[type] ?? asText)(`"${name}"`)}`);
  const key = columns.filter((column) => column.key !== null).sort((a, b) => a.key - b.key).map(({ name }) => `"${name}"::text`);
  const rows = await database.sql(`SELECT ARRAY[${key}] AS key, jsonb_build_object(${pairs}) AS data FROM ${table}`);
  return new Map(rows.map((row) => [row.key.length === 1 ? row.key[0] : JSON.stringify(row.key), row.data]));
}

/** What differs between a copy's rows of one type and the table; empty when they are equal. */
export function differences(rows, expected) {
  const found = [];
  for (const [id, data] of expected) {
    const row = rows.get(id);
    if (!row) {
      found.push(`missing ${id}`);
      continue;
    }
    try {
      assert.deepEqual(row.data, data);
    } catch {
      found.push(`stale ${id}: has ${JSON.stringify(row.data)} (version ${row.server_version}), is ${JSON.stringify(data)}`);
    }
  }
  for (const id of rows.keys()) {
    if (!expected.has(id)) found.push(`should be gone: ${id} (version ${rows.get(id).server_version})`);
  }
  return found;
}

/** Fails with the first differences of all tables, if there are any. */
export async function assertEqualCopy(database, copy, tables, who = 'the copy') {
  const found = [];
  for (const table of tables) {
    const expected = await expectedRows(database, table);
    found.push(...differences(copy.table(table), expected).map((text) => `${table}: ${text}`));
  }
  assert.equal(found.length, 0, `${who} differs from the tables in ${found.length} places:\n${found.slice(0, 20).join('\n')}`);
}

/** True as soon as nothing differs. */
export async function isEqualCopy(database, copy, tables) {
  for (const table of tables) {
    if (differences(copy.table(table), await expectedRows(database, table)).length) return false;
  }
  return true;
}

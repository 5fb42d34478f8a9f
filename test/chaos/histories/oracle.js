// oracle.js - Postgres says what each user may see, what was counted and what was logged; the copies and verdicts are held against it.
// SPDX-License-Identifier: PostgreSQL
import { createHash } from 'node:crypto';
import { differences } from '../../lib/expected.js';
import { NAMES, SEEN, TABLES, USERS } from './schema.js';

const RENDERED = { int2: 'to_jsonb(%)', int4: 'to_jsonb(%)', bool: 'to_jsonb(%)' };

async function columnsOf(client, table, role) {
  const { rows } = await client.query(
    `SELECT a.attname AS name, t.typname AS type, array_position(i.indkey::int2[], a.attnum) AS key
       FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
       JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
      WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname !~ '^sync_' AND has_column_privilege($2, a.attrelid, a.attnum, 'SELECT')
      ORDER BY a.attnum`, [table, role]);
  return rows;
}

/** {rel, key, data} of all rows of a table, as the one who asks sees them. */
function rowsOf(table, columns) {
  const pairs = columns.map(({ name, type }) => `'${name}', ${(RENDERED[type] ?? 'to_jsonb(%::text)').replace('%', `t."${name}"`)}`);
  const key = columns.filter((column) => column.key !== null).sort((a, b) => a.key - b.key).map(({ name }) => `t."${name}"::text`);
  return `SELECT '${table}' AS rel, ARRAY[${key}] AS key, jsonb_build_object(${pairs}) AS data FROM ${table} t WHERE ${SEEN[table] ?? 'true'}`;
}

async function whatOneSees(client, user, question) {
  const { role } = USERS[user];
  await client.query('BEGIN');
  await client.query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [role, JSON.stringify({ sub: user, role })]);
  const { rows } = await client.query(question);
  await client.query('COMMIT');
  const seen = Object.fromEntries(TABLES.map((table) => [table, new Map()]));
  for (const { rel, key, data } of rows) seen[rel].set(key.length === 1 ? key[0] : JSON.stringify(key), data);
  return seen;
}

/** user → table → rows that this user may see now, asked under the user's own role. */
export async function whatAllSee(database) {
  const client = await database.connect();
  const questions = {};
  const seen = {};
  try {
    for (const role of new Set(NAMES.map((user) => USERS[user].role))) {
      questions[role] = [];
      for (const table of TABLES) questions[role].push(rowsOf(table, await columnsOf(client, table, role)));
    }
    for (const user of NAMES) seen[user] = await whatOneSees(client, user, questions[USERS[user].role].join(' UNION ALL '));
    return seen;
  } finally {
    await client.end();
  }
}

/** All rows in the order of their keys: whatever order a plan of PostgreSQL's gave them. */
export const inOrder = (rows) => JSON.stringify([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));

/** Where a copy differs from what its user sees; empty when it does not. */
export const wrongOf = (copy, seen) => TABLES.flatMap((table) => differences(copy.table(table), seen[table]).map((text) => `${table}: ${text}`));

/** A copy's own digest, as PROTOCOL.md words it: table → {count, hash}. */
export function digestOf(copy) {
  const sums = {};
  for (const table of TABLES) {
    let hash = 0n;
    for (const [id, { server_version }] of copy.table(table)) {
      hash += createHash('sha256').update(`${id}\0${server_version}`).digest().readBigUInt64BE();
    }
    sums[table] = { count: copy.table(table).size, hash: String(hash & 0xffff_ffff_ffff_ffffn) };
  }
  return sums;
}

// Rows of these come again under an older title without a push: moved between partitions, or brought back from history.
const REAPPEAR = ['event', 'doc'];

/** Every acknowledged push once, or in the log: the texts that say otherwise. */
export async function wrongVerdicts(database, outboxes) {
  const wrong = [];
  const audit = new Map((await database.sql('SELECT rel, title, count(*)::int AS n FROM audit GROUP BY rel, title')).map(({ rel, title, n }) => [`${rel} ${title}`, n]));
  const logged = new Set((await database.sql('SELECT conflict_id::text AS id FROM sync.conflict')).map(({ id }) => id));
  for (const { change, title, answers } of outboxes.flatMap((outbox) => [...outbox.made.values()])) {
    const first = answers[0];
    const say = (text) => wrong.push(`${text}: ${JSON.stringify({ change, verdict: first })}`);
    if (!first) {
      say('no verdict');
      continue;
    }
    if (first.conflict_id && !logged.has(String(first.conflict_id))) say('not in the conflict log');
    if (['superseded', 'conflict'].includes(first.outcome) && !first.conflict_id) say('lost without an entry in the log');
    if (!title) continue;
    const written = audit.get(`${change.entity_type} ${title}`) ?? 0;
    const isOnce = first.outcome === 'applied' ? written === 1 : first.outcome === 'merged' ? written <= 1 : written === 0;
    if (!isOnce && !(written > 1 && REAPPEAR.includes(change.entity_type))) say(`written ${written} times`);
  }
  return wrong;
}

/** The counters: all increments by SQL and by acknowledged pushes, each once. */
export async function wrongCounts(database, outboxes) {
  const pushed = new Map();
  for (const { change, d, answers } of outboxes.flatMap((outbox) => [...outbox.made.values()])) {
    if (d && answers[0]?.status === 'success') pushed.set(change.entity_id, (pushed.get(change.entity_id) ?? 0) + d);
  }
  const rows = await database.sql('SELECT t.id::text AS id, t.n, coalesce((SELECT sum(w.d) FROM witness w WHERE w.tally = t.id), 0)::int AS written FROM tally t');
  return rows.filter(({ id, n, written }) => n !== written + (pushed.get(id) ?? 0)).map(({ id, n, written }) => `counter ${id} is ${n}, but ${written} by SQL and ${pushed.get(id) ?? 0} by acknowledged pushes`);
}

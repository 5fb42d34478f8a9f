// statements.js - the random SQL of a history: rows, transactions around them, and what only an owner does.
// SPDX-License-Identifier: PostgreSQL
import pg from 'pg';
import { KEYS, NAMES, PRIVATE_FROM, SECRET_TEAM, TEAMS, USERS } from './schema.js';

const quote = pg.escapeLiteral;
const key = (r) => 1 + r.below(KEYS);
const team = (r) => r.pick(TEAMS);
const word = (r) => quote(r.word());
const user = (r) => quote(r.pick(NAMES));

/** Per table: the columns of an insert with a value each, what an update may set. The key of `event` is two columns. */
const SHAPES = {
  note: { row: (r) => ({ id: key(r), team_id: team(r), title: word(r), body: word(r) }), set: [['title', word], ['body', word], ['done', (r) => r.chance(0.5)], ['team_id', team], ['team_id', team]] },
  todo: { row: (r) => ({ id: key(r), team_id: team(r), title: word(r), place: r.below(100) }), set: [['title', word], ['place', (r) => r.below(100)], ['team_id', team], ['deleted_at', (r) => r.pick(['now()', 'NULL'])]] },
  event: { row: (r) => ({ id: key(r), day: r.below(20), team_id: team(r), title: word(r) }), set: [['title', word], ['day', (r) => r.below(20)], ['day', (r) => r.below(20)], ['team_id', team]] },
  comment: { row: (r) => ({ id: key(r), note_id: key(r), title: word(r) }), set: [['title', word], ['note_id', key]] },
  doc: { row: (r) => ({ id: key(r), owner: user(r), open: r.chance(0.4), title: word(r) }), set: [['title', word], ['open', (r) => r.chance(0.5)], ['owner', user]] },
  post: { row: (r) => ({ id: key(r), author: user(r), title: word(r) }), set: [['title', word], ['author', user]] },
  label: { row: (r) => ({ id: key(r), title: word(r), price: r.below(100) }), set: [['title', word], ['price', (r) => r.pick([r.below(100), 'NULL'])]] },
};
const NAMES_OF_TABLES = Object.keys(SHAPES);
const ROW_KINDS = ['insert', 'insert', 'upsert', 'copy', 'update', 'update', 'update', 'update', 'updateMany', 'remove', 'remove', 'rekey', 'tally', 'tally', 'hidden', 'touch'];

const ordinary = (table, r) => `${table === 'doc' ? `id < ${PRIVATE_FROM}` : 'id < 9000'} AND id % ${1 + r.below(6)} = 0`;

const MAKE = {
  insert(table, r) {
    const row = SHAPES[table].row(r);
    return `INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.values(row)})${r.chance(0.6) ? ' ON CONFLICT DO NOTHING' : ''}`;
  },
  upsert(table, r) {
    const row = SHAPES[table].row(r);
    const target = table === 'event' ? 'id, day' : 'id';
    const others = Object.keys(row).filter((name) => !target.includes(name));
    return `INSERT INTO ${table} (${Object.keys(row)}) VALUES (${Object.values(row)}) ON CONFLICT (${target}) DO UPDATE SET ${others.map((name) => `${name} = EXCLUDED.${name}`)}`;
  },
  copy(table, r) {
    const rows = Array.from({ length: 1 + r.below(8) }, (_, i) => ({ ...SHAPES[table].row(r), id: 200 + r.below(400) * 8 + i, title: `copied ${r.below(1000)}` }));
    const plain = (value) => String(value).replace(/'/g, '').replace(/[^A-Za-z0-9 ]/g, '');
    const lines = rows.map((row) => Object.values(row).map(plain).join('\\t')).join('\\n');
    return `COPY ${table} (${Object.keys(rows[0])}) FROM PROGRAM ${quote(`printf '${lines}\\n'`)}`;
  },
  update: (table, r) => `UPDATE ${table} SET ${assignment(table, r)} WHERE id = ${key(r)}`,
  updateMany: (table, r) => `UPDATE ${table} SET ${assignment(table, r)} WHERE ${ordinary(table, r)}`,
  remove: (table, r) => `DELETE FROM ${table} WHERE ${r.chance(0.85) ? `id = ${key(r)}` : ordinary(table, r)}`,
  rekey: (table, r) => `UPDATE ${table} SET id = ${key(r)} WHERE id = ${key(r)}`,
  touch: (table, r) => `UPDATE ${table} SET title = title WHERE id = ${key(r)}`, // writes nothing new
  // increments that the oracle counts: both or neither
  tally(table, r) {
    const [id, d] = [1 + r.below(4), r.below(9) - 4];
    return `WITH w AS (INSERT INTO witness VALUES (${id}, ${d})) UPDATE tally SET n = n + ${d} WHERE id = ${id}`;
  },
  // what nobody may ever get
  hidden: (table, r) => r.pick([
    `UPDATE note SET title = ${word(r)} WHERE team_id = ${SECRET_TEAM}`,
    `INSERT INTO todo (id, team_id, title) VALUES (${9000 + r.below(50)}, ${SECRET_TEAM}, ${word(r)}) ON CONFLICT DO NOTHING`,
    `DELETE FROM todo WHERE team_id = ${SECRET_TEAM}`,
    `UPDATE note SET team_id = ${SECRET_TEAM}, title = 'went away' WHERE id = ${key(r)}`,
    `UPDATE doc SET title = ${word(r)} WHERE id >= ${PRIVATE_FROM}`,
    `DELETE FROM doc WHERE id = ${PRIVATE_FROM * (1 + r.below(8)) + 1}`,
  ]),
};

function assignment(table, r) {
  const [column, make] = r.pick(SHAPES[table].set);
  return `${column} = ${make(r)}`;
}

const rowStatement = (r) => MAKE[r.pick(ROW_KINDS)](r.pick(NAMES_OF_TABLES), r);

/** {steps: [{sql}|{hold}|{mark}|{back}], guarded, end, settle_ms, settled}: `mark` and `back` are savepoints and returns to them. */
export function transaction(r, name) {
  const steps = [];
  let marks = 0;
  for (let left = 1 + r.below(7); left > 0; left--) {
    if (r.chance(0.15)) steps.push({ mark: ++marks });
    steps.push({ sql: rowStatement(r) });
    if (marks && r.chance(0.15)) steps.push({ back: 1 + r.below(marks) });
  }
  if (r.chance(0.08)) steps.splice(r.below(steps.length), 0, { hold: 100 + r.below(900) });
  const end = r.chance(0.12) ? 'rollback' : r.chance(0.1) ? 'prepare' : 'commit';
  return { name, steps, guarded: r.chance(0.7), end, settle_ms: r.below(700), settled: r.chance(0.75) ? 'COMMIT' : 'ROLLBACK' };
}

// ---- what an owner does: each its own transaction ----------------------------------------------------------------

const OWNER = {
  gain: (r) => {
    const name = r.pick(NAMES.filter((one) => USERS[one].teams.length));
    return `INSERT INTO member VALUES ('${name}', ${r.pick(USERS[name].teams)}) ON CONFLICT DO NOTHING`;
  },
  lose: (r) => `DELETE FROM member WHERE user_id = ${user(r)}${r.chance(0.8) ? ` AND team_id = ${team(r)}` : ''}`,
  befriend: (r) => {
    const name = r.pick(NAMES.filter((one) => USERS[one].friends.length));
    return `INSERT INTO friend VALUES ('${name}', '${r.pick(USERS[name].friends)}') ON CONFLICT DO NOTHING`;
  },
  unfriend: (r) => `DELETE FROM friend WHERE user_id = ${user(r)}`,
  column: (r) => `ALTER TABLE ${r.pick(['note', 'todo', 'event', 'doc', 'post'])} ADD COLUMN extra_${r.below(1000)} ${r.pick(['int', "text DEFAULT 'given'", 'boolean NOT NULL DEFAULT true'])}`,
  drop: (r) => `ALTER TABLE ${r.pick(['note', 'todo'])} DROP COLUMN IF EXISTS ${r.pick(['body', 'place', 'done'])}`,
  type: () => 'ALTER TABLE label ALTER COLUMN price TYPE bigint',
  truncate: (r) => `TRUNCATE ${r.pick(['todo', 'event', 'label', 'comment', 'post', 'note CASCADE'])}`,
  revoke: () => 'REVOKE SELECT (price) ON label FROM app',
  grant: () => 'GRANT SELECT (price) ON label TO app',
  policy: (r) => `ALTER POLICY own_or_open ON doc USING (owner = sync.user_id() OR ${r.pick(['open', 'open = true'])})`,
};
const OWNER_WEIGHTS = ['gain', 'gain', 'gain', 'gain', 'lose', 'lose', 'lose', 'befriend', 'befriend', 'unfriend', 'column', 'drop', 'type', 'truncate', 'revoke', 'grant', 'policy'];

export function ownerSteps(r, length) {
  const steps = [];
  const start = NAMES.flatMap((name) => USERS[name].teams.filter(() => r.chance(0.6)).map((one) => `('${name}', ${one})`));
  if (start.length) steps.push({ at: 0, sql: `INSERT INTO member VALUES ${start.join(', ')}` });
  for (let at = r.below(400); at < length; at += 30 + r.below(400)) {
    const sql = OWNER[r.pick(OWNER_WEIGHTS)](r);
    // sometimes with rows of its own, in one transaction
    steps.push({ at, sql: r.chance(0.3) ? `BEGIN; ${rowStatement(r)}; ${sql}; ${rowStatement(r)}; COMMIT` : sql });
  }
  return steps;
}

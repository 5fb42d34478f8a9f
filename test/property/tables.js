// tables.js - the tables of the property test, once for the server (DDL) and once for the model (columns and rules).
// SPDX-License-Identifier: PostgreSQL
//
// A name or key that starts with @ belongs to one case: its number takes the place of the @ on the server.

const RULES = ['merge', 'lww', 'reject', 'manual'];
const DELETES = [
  ['hard', 'delete_wins', false], ['hard', 'lww', false], ['hard', 'delete_wins', true], ['hard', 'edit_wins', true], ['hard', 'lww', true],
  ['soft', 'delete_wins', false], ['soft', 'edit_wins', false], ['soft', 'lww', false],
];
const KEYS = ['text', 'int', 'pair'];
const HOUR = 3_600_000_000;

/** What the resolver of column `res` does, here and in SQL below. */
const resolver = (local, server, base) => (local === 666 ? new Error('this resolver fails') : (local ?? 0) * 10 + (server ?? 0) + (base ?? 0) * 100);

const RULED = {
  u: { type: 'jsonb', rule: 'union' },
  ua: { type: 'int[]', rule: 'union' },
  ap: { type: 'jsonb', rule: 'append' },
  n: { type: 'int', rule: 'counter', default: 0 },
  txt: { type: 'text', rule: 'text', default: '' },
  srv: { type: 'text', rule: 'server' },
  cli: { type: 'text', rule: 'client' },
  mx: { type: 'int', rule: 'max' },
  mn: { type: 'int', rule: 'min' },
  obj: { type: 'jsonb', rule: 'object', members: { list: 'union', count: 'counter', high: 'max', log: 'append' } },
  res: { type: 'int', rule: 'resolver', resolver },
  lw: { type: 'text', rule: 'lww' },
  big: { type: 'bigint', rule: 'max' },
  num: { type: 'numeric', rule: 'counter', default: 0 },
  day: { type: 'date', rule: 'min' },
};

function syncedTable(name, options, index) {
  const deferred = index % 2 === 1;
  return {
    name, key: KEYS[index % 3], mark: options.deletes === 'soft' ? 'deleted_at' : undefined, scoped: false, ...options,
    columns: {
      a: { type: 'text' }, b: { type: 'text' }, c: { type: 'int' }, d: { type: 'text', default: 'given' },
      req: { type: 'text', required: true, longest: 20 },
      uniq: { type: 'text', unique: true },
      parent: { type: 'text', references: 'parent', deferred },
      twice: { type: 'int', kept: true },
      ...(options.scoped ? { team: { type: 'int' } } : {}),
      // a table whose rows win or lose as a whole takes no rules for columns
      ...(options.rule === 'lww' ? Object.fromEntries(Object.entries(RULED).map(([column, { rule, members, ...rest }]) => [column, rest])) : RULED),
    },
  };
}

function allTables() {
  const list = [];
  for (const rule of RULES) {
    for (const [deletes, delete_rule, history] of DELETES) {
      list.push(syncedTable(`p_${rule}_${deletes}_${delete_rule}${history ? '_history' : ''}`, { rule, deletes, delete_rule, history }, list.length));
    }
  }
  list.push(syncedTable('p_scoped_hard', { rule: 'merge', deletes: 'hard', delete_rule: 'lww', history: false, scoped: true }, 0));
  list.push(syncedTable('p_scoped_soft', { rule: 'merge', deletes: 'soft', delete_rule: 'edit_wins', history: false, scoped: true }, 1));
  list.push(syncedTable('p_window', { rule: 'merge', deletes: 'hard', delete_rule: 'lww', history: false, window: HOUR }, 0));
  return list;
}

export const PARENT = { name: 'parent', key: 'text', rule: 'merge', deletes: 'hard', delete_rule: 'delete_wins', columns: { name: { type: 'text' } } };
export const MAIN_TABLES = allTables();
export const TABLES = Object.fromEntries([PARENT, ...MAIN_TABLES].map((table) => [table.name, table]));

export const TEAMS = { ada: [1, 3], ben: [1], cleo: [2] };
/** Users of one worker: what they may store is bounded, and two workers must not wait for one another. */
export const userOf = (worker, name) => `${name}${worker}`;

const KEY_DDL = { text: 'id text PRIMARY KEY', int: 'id int PRIMARY KEY', pair: 'k1 int, k2 text, PRIMARY KEY (k1, k2)' };

function columnDdl([name, column]) {
  if (column.kept) return `${name} int GENERATED ALWAYS AS (c * 2) STORED`;
  return [
    name, column.type,
    column.default === undefined ? '' : `DEFAULT '${column.default}'`,
    column.required ? 'NOT NULL' : '',
    column.longest ? `CHECK (length(${name}) <= ${column.longest})` : '',
    column.unique ? 'UNIQUE' : '',
    column.references ? `REFERENCES ${column.references}${column.deferred ? ' DEFERRABLE INITIALLY DEFERRED' : ''}` : '',
  ].join(' ');
}

function tableDdl(table) {
  const rules = Object.entries(table.columns).filter(([, column]) => column.rule);
  const members = rules.flatMap(([name, column]) => Object.entries(column.members ?? {}).map(([member, rule]) => [`${name}.${member}`, { rule }]));
  return [
    `CREATE TABLE ${table.name} (${Object.entries(table.columns).map(columnDdl).join(', ')}, ${KEY_DDL[table.key]});`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ${table.name} TO app;`,
    table.scoped ? `ALTER TABLE ${table.name} ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_teams ON ${table.name} TO app USING (team IN (SELECT m.team FROM member m WHERE m.who = sync.user_id()))
  WITH CHECK (team IN (SELECT m.team FROM member m WHERE m.who = sync.user_id()));` : '',
    `SELECT sync.enable('${table.name}', rule => '${table.rule}', deletes => '${table.deletes}', delete_rule => '${table.delete_rule}', history => ${Boolean(table.history)}${
      table.window ? ", edit_window => '1 hour'" : ''}${table.scoped ? ", scope => 'team', scope_column => 'team', policy_is_scope => true" : ''});`,
    ...[...rules, ...members].map(([path, column]) => `SELECT sync.set_column_rule('${table.name}', '${path}', '${column.rule}'${column.rule === 'resolver' ? ", 'resolve(jsonb,jsonb,jsonb)'" : ''});`),
  ].join('\n');
}

/** The whole schema; `workers`: how many sets of users. */
export function schema(workers) {
  const members = Array.from({ length: workers }, (_, worker) => Object.entries(TEAMS).flatMap(([name, teams]) => teams.map((team) => `('${userOf(worker, name)}', ${team})`))).flat();
  return `
SET client_min_messages = warning;
CREATE ROLE app NOLOGIN;
CREATE TABLE member (who text, team int, PRIMARY KEY (who, team));
INSERT INTO member VALUES ${members.join(', ')};
GRANT SELECT ON member TO app;
CREATE FUNCTION resolve(local jsonb, server jsonb, base jsonb) RETURNS jsonb LANGUAGE plpgsql AS
$$
BEGIN
    IF local = '666' THEN RAISE EXCEPTION 'this resolver fails'; END IF;
    RETURN to_jsonb(coalesce(nullif(local, 'null')::int, 0) * 10 + coalesce(nullif(server, 'null')::int, 0) + coalesce(nullif(base, 'null')::int, 0) * 100);
END
$$;
SELECT sync.create_scope('team', 'SELECT m.team FROM public.member m WHERE m.who = sync.user_id()');
CREATE TABLE parent (id text PRIMARY KEY, name text);
GRANT SELECT, INSERT, UPDATE, DELETE ON parent TO app;
SELECT sync.enable('parent');
${MAIN_TABLES.map(tableDdl).join('\n')}
`;
}

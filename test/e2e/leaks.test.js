// leaks.test.js - random writes under row-level security, column grants and scopes: nobody is ever sent what their role could not SELECT, and all end with what it shows.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { World } from '../lib/world.js';
import { Random } from '../lib/random.js';
import { until } from '../lib/wait.js';

// doc: scope and a policy beside it; memo: a policy alone; both roles see other columns and other rows
const SCHEMA = `
CREATE ROLE app NOLOGIN;
CREATE ROLE guest NOLOGIN;
GRANT app, guest TO sync_query;
CREATE TABLE member (user_id text NOT NULL, team_id int NOT NULL, PRIMARY KEY (user_id, team_id));
CREATE TABLE doc (id int PRIMARY KEY, team_id int, is_draft boolean NOT NULL, author text NOT NULL, text text NOT NULL, price int NOT NULL);
CREATE TABLE memo (id int PRIMARY KEY, owner text NOT NULL, level int NOT NULL, text text NOT NULL);
GRANT SELECT ON member, doc, memo TO app;
GRANT SELECT ON member, memo TO guest;
GRANT SELECT (id, team_id, is_draft, author, text) ON doc TO guest;
ALTER TABLE doc ENABLE ROW LEVEL SECURITY;
ALTER TABLE memo ENABLE ROW LEVEL SECURITY;
CREATE POLICY done_or_mine ON doc TO app USING (NOT is_draft OR author = sync.user_id());
CREATE POLICY done ON doc TO guest USING (NOT is_draft);
CREATE POLICY own ON memo TO app USING (owner = sync.user_id() OR level = 0);
CREATE POLICY low ON memo TO guest USING (level = 0);
CREATE POLICY not_hidden ON memo AS RESTRICTIVE TO PUBLIC USING (level < 9);
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('doc', scope => 'team', scope_column => 'team_id');
SELECT sync.enable('memo');
INSERT INTO member VALUES ('ada', 1), ('ben', 1), ('ben', 2), ('cleo', 2);
`;

const TEAMS = { ada: [1], ben: [1, 2], cleo: [2] };
const USERS = [['ada', 'app'], ['ben', 'app'], ['cleo', 'app'], ['ben', 'guest'], ['cleo', 'guest']];

/** The policies, said once more: what a change shows must be a row that its receiver might see as it is. */
const MAY_SEE = {
  doc: (user, role, d) => TEAMS[user].includes(d.team_id) && (!d.is_draft || (role === 'app' && d.author === user)) && (role === 'app' || !('price' in d)),
  memo: (user, role, d) => d.level < 9 && (d.level === 0 || (role === 'app' && d.owner === user)),
};

/** A deletion may be told to whoever might have seen the row as it was, whether it reached them or not. */
function mightHaveSeen(client, { entity_type, entity_id }, tombstones) {
  return tombstones.some(({ type, id, scope_value, old_values: old }) => type === entity_type && id === entity_id
    && MAY_SEE[type](client.sub, 'app', { ...old, team_id: Number(scope_value), is_draft: /^t/.test(old.is_draft), level: Number(old.level) })
    && (client.role === 'app' || !/^t/.test(old.is_draft ?? 'f')) && (client.role === 'app' || type === 'doc' || Number(old.level) === 0));
}

let world;
before(async () => {
  world = await World.start({ schema: SCHEMA });
});
after(() => world?.stop());

function statement(random) {
  const id = 1 + random.below(40);
  const user = random.pick(['ada', 'ben', 'cleo']);
  const team = random.pick(['1', '2', '3', 'NULL']);
  return random.pick([
    `INSERT INTO doc VALUES (${id}, ${team}, ${random.chance(0.5)}, '${user}', 't', ${random.below(100)}) ON CONFLICT (id) DO UPDATE SET text = doc.text || 'x'`,
    `UPDATE doc SET is_draft = NOT is_draft WHERE id = ${id}`,
    `UPDATE doc SET team_id = ${team}, author = '${user}' WHERE id % 7 = ${id % 7}`,
    `DELETE FROM doc WHERE id = ${id}`,
    `INSERT INTO memo VALUES (${id}, '${user}', ${random.pick([0, 1, 9])}, 'm') ON CONFLICT (id) DO UPDATE SET owner = excluded.owner, level = excluded.level`,
    `UPDATE memo SET level = ${random.pick([0, 1, 9])} WHERE id % 5 = ${id % 5}`,
    `UPDATE memo SET id = id + 100 WHERE id = ${id} AND NOT EXISTS (SELECT FROM memo WHERE id = ${id} + 100)`,
    `DELETE FROM memo WHERE id % 11 = ${id % 11}`,
  ]);
}

test('five receivers, 400 transactions: every row sent was theirs to see, every deletion of a row that had been, and all copies are right in the end', async () => {
  const random = new Random(Number(process.env.SEED || 4));
  const clients = [];
  for (const [user, role] of USERS) clients.push(Object.assign(await world.join(user, { claims: { role } }), { role }));
  for (let i = 0; i < 400; i++) {
    const many = Array.from({ length: 1 + random.below(3) }, () => statement(random));
    await world.sql(`BEGIN; ${many.join('; ')}; COMMIT`);
  }
  const tombstones = await world.sql('SELECT s.entity_type AS type, t.entity_id AS id, t.scope_value, t.old_values FROM sync.tombstone t JOIN sync.synced_table s ON s.id = t.table_id');
  for (const client of clients) {
    for (const [table, columns] of [['doc', client.role === 'app' ? '*' : 'id, team_id, is_draft, author, text'], ['memo', '*']]) {
      const wanted = await world.database.transaction(async (connection) => {
        await connection.query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [client.role, JSON.stringify({ sub: client.sub, role: client.role })]);
        const { rows } = await connection.query(`SELECT id FROM ${table} ${table === 'doc' ? `WHERE team_id = ANY ('{${TEAMS[client.sub]}}')` : ''}`);
        return rows.map(({ id }) => id).sort((a, b) => a - b);
      });
      await until(`${client.sub} as ${client.role} has ${table} as it is (columns ${columns})`, () => JSON.stringify(client.copy.rows(table).map(({ id }) => id).sort((a, b) => a - b)) === JSON.stringify(wanted));
    }
    let decisions = 0;
    for (const { payload } of client.events.filter(({ name }) => name === 'changes')) {
      for (const change of payload.changes) {
        decisions++;
        if (change.operation === 'delete') assert.ok(mightHaveSeen(client, change, tombstones), `${client.sub} as ${client.role} heard of ${JSON.stringify(change)}`);
        else assert.ok(MAY_SEE[change.entity_type](client.sub, client.role, change.data), `${client.sub} as ${client.role} was sent ${JSON.stringify(change)}`);
      }
    }
    assert.ok(decisions > 50, 'something was sent');
    assert.equal(client.events.filter(({ name }) => name === 'resync').length, 0);
    await client.disconnect();
  }
});

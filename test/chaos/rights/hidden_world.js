// hidden_world.js - tables of many kinds with rows that ada may see and rows that she may not, each of the latter beside a key that is nowhere.
// SPDX-License-Identifier: PostgreSQL
//
// All keys have nine digits and all teams one, so that answers about them can be compared to the byte and to the length.

const MEMBER = 'team IN (SELECT m.team FROM public.member m WHERE m.usr = sync.user_id())';
const OPTIONS = [
  [{}], [{ deletes: 'soft' }], [{ history: true, delete_rule: 'edit_wins' }], [{ rule: 'lww' }], [{ rule: 'reject' }], [{ rule: 'manual', deletes: 'soft' }],
  [{ edit_window: '1 hour' }], [{ enforce_locks: true }], [{ anonymous: true, deletes: 'soft', history: true }],
].flat();

/** What decides about sight. `policies`: FOR command, USING, WITH CHECK. */
const RIGHTS = {
  scope: { options: { scope: 'team', scope_column: 'team' } },
  policy_is_scope: { options: { scope: 'team', scope_column: 'team', policy_is_scope: true }, policies: [['ALL', MEMBER]] },
  local: { policies: [['SELECT', "owner = sync.user_id() OR shared"], ['INSERT', null, 'owner = sync.user_id()'], ['UPDATE', 'owner = sync.user_id()'], ['DELETE', 'owner = sync.user_id()']] },
  scope_local: { options: { scope: 'team', scope_column: 'team' }, policies: [['SELECT', 'owner = sync.user_id() OR shared'], ['INSERT', null, 'owner = sync.user_id()'], ['UPDATE', 'owner = sync.user_id()'], ['DELETE', 'owner = sync.user_id()']] },
  verify: { options: { verify: true }, policies: [['ALL', `${MEMBER} AND (owner = sync.user_id() OR shared)`]] },
};

export const COLUMNS = ['team', 'owner', 'shared', 'body', 'needed', 'n', 'tags', 'short', 'code', 'parent', 'twice', 'secret'];

export function tables() {
  const list = [];
  for (const [rights, { options = {}, policies = [] }] of Object.entries(RIGHTS)) {
    for (const [i, more] of OPTIONS.entries()) list.push({ name: `h_${rights}_${i}`, rights, policies, options: { ...options, ...more } });
  }
  return list;
}

const literal = (value) => (typeof value === 'string' ? `'${value}'` : String(value));

function tableDdl({ name, policies, options }) {
  return `
CREATE TABLE ${name} (id int PRIMARY KEY, team int, owner text DEFAULT 'ben', shared boolean NOT NULL DEFAULT false, body text DEFAULT 'given', needed text NOT NULL DEFAULT 'needed', n int DEFAULT 0,
  tags jsonb, short varchar(10), code text UNIQUE, parent int REFERENCES parent DEFERRABLE, twice int GENERATED ALWAYS AS (n * 2) STORED, secret text CHECK (secret <> 'wrong'));
GRANT SELECT (id, team, owner, shared, body, needed, n, tags, short, code, parent, twice), INSERT, UPDATE, DELETE ON ${name} TO app;
REVOKE UPDATE, INSERT ON ${name} FROM app;
GRANT INSERT (id, team, owner, shared, body, needed, n, tags, short, code, parent), UPDATE (id, team, owner, shared, body, needed, n, tags, short, code, parent) ON ${name} TO app;
${policies.length ? `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY;` : ''}
${policies.map(([command, using, check], i) => `CREATE POLICY p${i} ON ${name} FOR ${command} ${using ? `USING (${using})` : ''} ${check ? `WITH CHECK (${check})` : ''};`).join('\n')}
SELECT sync.enable('${name}', ${Object.entries(options).map(([option, value]) => `${option} => ${literal(value)}`).join(', ') || 'priority => 2'});
${options.rule === 'lww' ? '' : `SELECT sync.set_column_rule('${name}', 'n', 'counter'); SELECT sync.set_column_rule('${name}', 'tags', 'union');`}
${options.deletes === 'soft' ? `GRANT SELECT (deleted_at) ON ${name} TO app;` : ''}`;
}

/** The situations of a key, as SQL that brings one about. `$` stands for the table. */
const SITUATIONS = {
  'in another team': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, 2, 'ben', 'code${id}')`,
  'in no team': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, NULL, 'ben', 'code${id}')`,
  'written often': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, 2, 'ben', 'code${id}'); UPDATE $ SET n = 1 WHERE id = ${id}; UPDATE $ SET n = 2, body = 'x' WHERE id = ${id}`,
  'moved away': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, 1, 'ada', 'code${id}'); UPDATE $ SET team = 2, owner = 'ben' WHERE id = ${id}`,
  'large': (id) => `INSERT INTO $ (id, team, owner, body, code) VALUES (${id}, 2, 'ben', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 5000) i), 'code${id}')`,
  'another user\'s': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, 1, 'ben', 'code${id}')`,
  'deleted elsewhere': (id) => `INSERT INTO $ (id, team, owner, code) VALUES (${id}, 2, 'ben', 'code${id}'); DELETE FROM $ WHERE id = ${id}`,
};

/** Which of them hide a row from ada, by what decides about sight. */
const HIDES = {
  scope: ['in another team', 'in no team', 'written often', 'moved away', 'large', 'deleted elsewhere'],
  policy_is_scope: ['in another team', 'in no team', 'written often', 'moved away', 'large', 'deleted elsewhere'],
  local: ['in another team', 'in no team', 'written often', 'moved away', 'large', 'another user\'s', 'deleted elsewhere'],
  scope_local: ['in another team', 'in no team', 'written often', 'moved away', 'large', 'another user\'s', 'deleted elsewhere'],
  verify: ['in another team', 'in no team', 'written often', 'moved away', 'large', 'another user\'s', 'deleted elsewhere'],
};

export class HiddenWorld {
  /** `few`: only so many tables, drawn from all. */
  constructor(random, few = Infinity) {
    const all = tables();
    while (all.length > few) all.splice(random.below(all.length), 1);
    this.tables = all;
    let id = 100_000_001;
    for (const table of this.tables) {
      table.keys = { 'nowhere': id++, 'nowhere either': id++, ...Object.fromEntries(HIDES[table.rights].map((situation) => [situation, id++])) };
      table.mine = id++;
    }
    this.parents = { hidden: id++, absent: id++, mine: id++ };
  }

  ddl() {
    return `
SET client_min_messages = warning;
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (usr text, team int, PRIMARY KEY (usr, team));
INSERT INTO member VALUES ('ada', 1), ('ada', 3), ('ben', 2);
GRANT SELECT ON member TO app;
SELECT sync.create_scope('team', 'SELECT m.team FROM public.member m WHERE m.usr = sync.user_id()', watch => '{public.member.usr}');
SELECT sync.set_scope_users('team', 'SELECT team, usr FROM public.member');
CREATE TABLE parent (id int PRIMARY KEY, team int);
GRANT SELECT, INSERT, UPDATE, DELETE ON parent TO app;
SELECT sync.enable('parent', scope => 'team', scope_column => 'team');
INSERT INTO parent VALUES (${this.parents.hidden}, 2), (${this.parents.mine}, 1);
${this.tables.map(tableDdl).join('\n')}
SET request.jwt.claims = '{"sub":"ben","role":"app"}';
${this.tables.map((table) => this.#rows(table)).join('\n')}
SELECT sync.lock(jsonb_build_object('device_id', 'ben-1', 'entity_type', t.entity_type, 'entity_id', k.id)) FROM (VALUES ${this.#locked()}) k (name, id) JOIN sync.synced_table t ON t.entity_type = k.name;
RESET request.jwt.claims;
`;
  }

  #rows(table) {
    const all = Object.entries(table.keys).filter(([situation]) => SITUATIONS[situation]).map(([situation, id]) => SITUATIONS[situation](id).replaceAll('$', table.name));
    return `${all.join(';\n')};\nINSERT INTO ${table.name} (id, team, owner, code) VALUES (${table.mine}, 1, 'ada', 'code${table.mine}');`;
  }

  // ben edits what ada does not see
  #locked() {
    return this.tables.filter(({ options, rights }) => options.enforce_locks && rights !== 'verify').map(({ name, keys }) => `('${name}', '${keys['written often']}')`).join(', ') || "('none', '0')";
  }
}

// schema.js - a random database of synced tables, each with rights of another kind: policies, scopes, column grants, roles, helper functions.
// SPDX-License-Identifier: PostgreSQL
//
// Every table has the same columns; what differs is who may see which rows. `ghost.<table>` keeps the rows that are gone or were changed, under the
// same policies: asking it as somebody says whether they may be told that such a row went.

export const KEYS = 60; // keys of a table: 1..KEYS
const USERS = ['ada', 'ben', 'cleo', 'dora', 'eve', 'finn'];
const TEAMS = [1, 2, 3, 4];

const CLAIM = (name) => `(nullif(current_setting('request.jwt.claims', true), '')::json ->> '${name}')`;
const MEMBER = 'team IN (SELECT m.team FROM public.member m WHERE m.usr = sync.user_id())';

/** What row-local policies say: own columns and claims only. */
const LOCAL = [
  () => 'owner = sync.user_id()',
  () => `level <= coalesce(${CLAIM('level')}::int, 0)`,
  () => 'flag',
  () => 'NOT flag OR owner = sync.user_id()',
  (r) => `level < ${1 + r.below(3)}`,
  () => `owner = ANY (string_to_array(coalesce(${CLAIM('friends')}, ''), ','))`,
  () => 'public.low_enough(level)',
  () => 'public.is_mine(owner)',
  (r, roles) => `flag OR pg_has_role('${roles.clerk}', 'member')`,
  () => "CASE WHEN flag THEN owner = sync.user_id() ELSE level > 0 END",
];

/** What looks at other tables or at the clock. */
const FOREIGN = [
  () => MEMBER,
  () => 'public.is_member(team)',
  () => 'public.is_member_by_plpgsql(team)',
  (r, roles, t, s) => `EXISTS (SELECT FROM public.shared s WHERE s.usr = sync.user_id() AND s.tab = '${t}' AND s.row_id = ${s}.${t}.id)`,
  () => 'open_at <= now()',
  () => 'owner = sync.user_id() OR open_at <= now()',
  () => `EXISTS (SELECT FROM public.member a JOIN public.member b ON a.team = b.team WHERE a.usr = sync.user_id() AND b.usr = owner)`,
  () => `flag AND ${MEMBER}`,
];

export const usesClock = (expression) => expression.includes('now()');

/** kind of rights → what enable() is told, whose policies it has. Scoped ones come first: children need a parent. */
const KINDS = {
  scope: { scope: 'team' },
  scope_policy_is_scope: { scope: 'team', policy_is_scope: true },
  scope_local: { scope: 'team', policies: LOCAL },
  claim_scope: { scope: 'club' },
  local: { policies: LOCAL },
  verify: { policies: FOREIGN, verify: true },
  verify_scope: { scope: 'team', policies: FOREIGN, verify: true },
  child: { via: true },
  child_local: { via: true, policies: LOCAL },
  open: {},
};

/** How often each is drawn beside the three that are always there. */
const DRAWN = ['scope', 'scope_local', 'claim_scope', 'local', 'verify', 'verify_scope', 'child', 'child_local', 'open'];

export class Schema {
  constructor(random, number, { kinds } = {}) {
    this.random = random;
    this.roles = Object.fromEntries(['app', 'clerk', 'guest'].map((name) => [name, `e${number}_${name}`]));
    const drawn = kinds ?? ['scope', 'scope_policy_is_scope', 'local', ...Array.from({ length: 4 }, () => random.pick(DRAWN))];
    this.tables = drawn.map((kind, i) => this.#table(`t${i}`, kind));
    const parents = this.tables.filter(({ scope, via }) => scope && !via);
    for (const child of this.tables.filter(({ via }) => via)) {
      child.parent = random.pick(parents);
      child.scope = child.parent.scope;
    }
    this.tables.sort((a, b) => Number(Boolean(a.via)) - Number(Boolean(b.via)));
    this.users = USERS;
    this.teams = TEAMS;
  }

  #policies = 0;

  #policyName() {
    return `p${this.#policies++}`;
  }

  #table(name, kind) {
    const { random } = this;
    const rules = KINDS[kind];
    const table = {
      name, kind, ...rules,
      soft: random.chance(0.3),
      history: random.chance(0.2),
      whole: random.chance(0.3), // REPLICA IDENTITY FULL
      key: rules.via || rules.scope ? 'int' : random.pick(['int', 'pair']),
      policies: [],
    };
    if (rules.policies) table.policies = this.newPolicies(table, rules.policies);
    if (rules.policy_is_scope) {
      const expression = random.pick([MEMBER, 'public.is_member(team)']);
      table.policies = [{ name: this.#policyName(), command: 'ALL', role: 'PUBLIC', expression: () => expression }];
    }
    return table;
  }

  /** Permissive ones, maybe a restrictive one; for commands and roles as it comes, at least one lets somebody read. */
  newPolicies(table, list = KINDS[table.kind].policies) {
    const { random } = this;
    const one = (command, role, restrictive) => {
      const make = random.pick(list);
      const pick = random.below(1e6); // the same draw for the table and for its ghost
      return { name: this.#policyName(), command, role, restrictive, expression: (schema) => make({ below: (n) => pick % n }, this.roles, table.name, schema) };
    };
    const role = () => random.pick(['PUBLIC', ...Object.values(this.roles)]);
    const policies = [one(random.pick(['SELECT', 'ALL']), random.pick(['PUBLIC', this.roles.app]))];
    for (let i = random.below(3); i > 0; i--) policies.push(one(random.pick(['SELECT', 'ALL', 'UPDATE', 'INSERT', 'DELETE']), role()));
    if (random.chance(0.4)) policies.push(one(random.pick(['SELECT', 'ALL']), role(), true));
    return policies;
  }

  /** Claims of those who look on; the same user may come with other claims and roles. */
  subjects(count) {
    const { random } = this;
    return Array.from({ length: count }, (_, i) => this.claims(USERS[i % USERS.length], i < 3 ? this.roles.app : random.pick(Object.values(this.roles))));
  }

  claims(sub, role) {
    const { random } = this;
    const some = (list) => list.filter(() => random.chance(0.4)).join(',');
    return { sub, role, level: String(random.below(4)), friends: some(USERS), clubs: some(TEAMS) };
  }

  ddl() {
    const roles = Object.values(this.roles);
    return `
SET client_min_messages = warning;
${roles.map((role) => `CREATE ROLE ${role} NOLOGIN;`).join('\n')}
GRANT ${roles} TO sync_query;
CREATE SCHEMA ghost;
GRANT USAGE ON SCHEMA ghost TO ${roles};
CREATE SEQUENCE ghost.number;
CREATE TABLE member (usr text NOT NULL, team int NOT NULL, PRIMARY KEY (usr, team));
CREATE TABLE shared (usr text NOT NULL, tab text NOT NULL, row_id int NOT NULL, PRIMARY KEY (usr, tab, row_id));
GRANT SELECT ON member, shared TO ${roles};
${functions({ low: 1, mine: 'owner' })}
CREATE FUNCTION is_member(team int) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT EXISTS (SELECT FROM public.member m WHERE m.usr = sync.user_id() AND m.team = $1) $$;
CREATE FUNCTION is_member_by_plpgsql(team int) RETURNS boolean LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ BEGIN RETURN EXISTS (SELECT FROM public.member m WHERE m.usr = sync.user_id() AND m.team = is_member_by_plpgsql.team); END $$;
CREATE FUNCTION ghost.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ BEGIN EXECUTE format('INSERT INTO ghost.%I SELECT nextval(''ghost.number''), ($1).*', TG_TABLE_NAME) USING OLD; RETURN NULL; END $$;
SELECT sync.create_scope('team', 'SELECT m.team FROM public.member m WHERE m.usr = sync.user_id()', watch => '{public.member.usr}');
SELECT sync.create_scope('club', $$ SELECT unnest(string_to_array(coalesce(${CLAIM('clubs')}, ''), ','))::int $$);
SELECT sync.allow_topic('team:{team}', $$ EXISTS (SELECT FROM public.member m WHERE m.team = {team}::int AND m.usr = sync.user_id()) $$);
${this.tables.map((table) => this.#tableDdl(table)).join('\n')}
INSERT INTO member VALUES ${USERS.flatMap((user, i) => [[user, TEAMS[i % 4]], [user, TEAMS[(i + 1) % 4]]]).map(([user, team]) => `('${user}', ${team})`)};
`;
  }

  #tableDdl(table) {
    const { name, key } = table;
    const options = [
      ...(table.via ? ["via => 'parent'"] : table.scope ? [`scope => '${table.scope}', scope_column => '${table.scope}'`] : []),
      ...(table.policy_is_scope ? ['policy_is_scope => true'] : []), ...(table.verify ? ['verify => true'] : []),
      ...(table.soft ? ["deletes => 'soft'"] : []), ...(table.history ? ['history => true'] : []),
    ];
    return `
CREATE TABLE ${name} (id int, k text DEFAULT 'x', owner text, team int, club int, level int DEFAULT 1, flag boolean DEFAULT false, open_at timestamptz DEFAULT now(),
  ${table.via ? `parent int REFERENCES ${table.parent.name} (id) ON DELETE CASCADE,` : ''} a text, b text, c text, PRIMARY KEY (id${key === 'pair' ? ', k' : ''}));
${table.whole ? `ALTER TABLE ${name} REPLICA IDENTITY FULL;` : ''}
${table.policies.length ? `ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY;` : ''}
${createPolicies(table, 'public')}
SELECT sync.enable('${name}'${options.map((option) => `, ${option}`).join('')});
CREATE TABLE ghost.${name} (gid bigint PRIMARY KEY, LIKE public.${name});
${table.policies.length ? `ALTER TABLE ghost.${name} ENABLE ROW LEVEL SECURITY;` : ''}
${createPolicies(table, 'ghost')}
CREATE TRIGGER ghost AFTER UPDATE OR DELETE ON ${name} FOR EACH ROW EXECUTE FUNCTION ghost.keep();
GRANT SELECT (gid) ON ghost.${name} TO ${Object.values(this.roles)};
GRANT SELECT, INSERT, UPDATE, DELETE ON ${name} TO ${this.roles.app};
${grantColumns(table, ['id', 'k', 'owner', 'team', 'club', 'a', ...(table.via ? ['parent'] : [])], this.roles.clerk)}
${this.random.chance(0.5) ? `GRANT SELECT ON ${name} TO ${this.roles.guest};` : ''}`;
  }
}

/** What bookkeeping a role needs to read beside its columns. */
export const BOOKKEEPING = ['sync_version', 'sync_xid', 'sync_at', 'sync_by', 'sync_clock'];

export function grantColumns(table, columns, role) {
  const more = [...BOOKKEEPING, ...(table.via ? ['sync_scope'] : []), ...(table.soft ? ['deleted_at'] : [])];
  return `GRANT SELECT (${[...columns, ...more]}) ON ${table.name} TO ${role};`;
}

export function createPolicies(table, schema) {
  return table.policies.map(({ name, command, role, restrictive, expression }) =>
    `CREATE POLICY ${name} ON ${schema}.${table.name} ${restrictive ? 'AS RESTRICTIVE ' : ''}FOR ${command} TO ${role} ${clauses(command, expression(schema))};`).join('\n');
}

function clauses(command, expression) {
  if (command === 'INSERT') return `WITH CHECK (${expression})`;
  return `USING (${expression})`;
}

/** The helpers of row-local policies; they may be replaced while all runs. */
export const functions = ({ low, mine }) => `
CREATE OR REPLACE FUNCTION low_enough(level int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT level <= ${low} $$;
CREATE OR REPLACE FUNCTION is_mine(owner text) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT ${mine} = sync.user_id() $$;`;

// actions.js - one random step of the owner, of an administrator or of a client; each is committed when it returns.
// SPDX-License-Identifier: PostgreSQL
import { createPolicies, functions, grantColumns, KEYS } from './schema.js';

const COLUMNS = ['owner', 'team', 'club', 'level', 'flag', 'open_at', 'a', 'b', 'c'];

export class Actions {
  constructor(arena) {
    this.arena = arena;
    this.random = arena.random;
    this.helpers = { low: 1, mine: 'owner' };
    this.revoked = new Set();
  }

  get #schema() {
    return this.arena.schema;
  }

  /** The kind of what was done. */
  async any() {
    const { random } = this;
    const draw = random.next();
    const [kind, act] = draw < 0.66 ? ['data', () => this.data()] : draw < 0.75 ? ['membership', () => this.membership()] : draw < 0.79 ? ['share', () => this.share()]
      : draw < 0.81 ? ['grant', () => this.grant()] : draw < 0.83 ? ['policy', () => this.policy()] : draw < 0.84 ? ['function', () => this.helper()]
        : draw < 0.93 ? ['push', () => this.push()] : ['token', () => this.renew()];
    await act();
    return kind;
  }

  // ---- rows ------------------------------------------------------------------------------------------------------

  #value(table, column, id, by) {
    const { random } = this;
    switch (column) {
      case 'owner': return random.pick(this.#schema.users);
      case 'team': case 'club': return random.pick([...this.#schema.teams, null]);
      case 'level': return random.below(4);
      case 'flag': return random.chance(0.5);
      case 'open_at': return new Date(Date.now() + random.pick([-60_000, -1000, 1000, 3000, 60_000])).toISOString();
      case 'parent': return 1 + random.below(KEYS);
      default: return this.arena.newToken({ table: table.name, id, by });
    }
  }

  #row(table, id, columns, by) {
    return Object.fromEntries(columns.map((column) => [column, this.#value(table, column, id, by)]));
  }

  #some() {
    const { random } = this;
    const moves = ['owner', 'team', 'club', 'level', 'flag', 'open_at'].filter(() => random.chance(0.2));
    const texts = ['a', 'b', 'c'].filter(() => random.chance(0.4));
    return moves.length + texts.length ? [...moves, ...texts] : [random.pick(COLUMNS)];
  }

  #literal(value) {
    return value === null ? 'NULL' : typeof value === 'string' ? `'${value}'` : String(value);
  }

  #set(row) {
    return Object.entries(row).map(([name, value]) => `${name} = ${this.#literal(value)}`).join(', ');
  }

  statement() {
    const { random } = this;
    const table = random.pick(this.#schema.tables);
    const { name } = table;
    const id = 1 + random.below(KEYS);
    const several = `id % ${1 + random.below(3)} = 0`;
    switch (random.below(12)) {
      case 0: case 1: case 2: case 3: return this.#insert(table, id);
      case 4: return `DELETE FROM ${name} WHERE id = ${id}`;
      case 5: return `DELETE FROM ${name} WHERE id % 7 = ${id % 7}`;
      case 6: return table.scope && !table.via ? `UPDATE ${name} SET ${this.#set(this.#row(table, id, ['team', 'club']))} WHERE ${several}` : this.#rename(table, id);
      case 7: return table.via ? `UPDATE ${name} SET parent = (SELECT id FROM ${table.parent.name} WHERE id >= ${id} ORDER BY id LIMIT 1) WHERE ${several}` : this.#rename(table, id);
      case 8: case 9: return `UPDATE ${name} SET ${this.#set(this.#row(table, id, this.#some()))} WHERE ${several}`;
      default: return `UPDATE ${name} SET ${this.#set(this.#row(table, id, this.#some()))} WHERE id = ${id}`;
    }
  }

  #rename(table, id) {
    const { name } = table;
    if (this.#schema.tables.some(({ parent }) => parent === table)) return this.#insert(table, id);
    const to = 1 + this.random.below(KEYS);
    return `UPDATE ${name} SET id = ${to} WHERE id = ${id} AND NOT EXISTS (SELECT FROM ${name} o WHERE o.id = ${to})`;
  }

  #insert(table, id) {
    const row = this.#row(table, id, COLUMNS);
    const names = ['id', ...Object.keys(row), ...(table.via ? ['parent'] : [])];
    const values = [id, ...Object.values(row).map((value) => this.#literal(value))];
    if (table.via) values.push(`(SELECT id FROM ${table.parent.name} WHERE id >= ${1 + this.random.below(KEYS)} ORDER BY id LIMIT 1)`);
    return `INSERT INTO ${table.name} (${names}) VALUES (${values}) ON CONFLICT (id${table.key === 'pair' ? ', k' : ''}) DO UPDATE SET a = excluded.a${table.soft ? ', deleted_at = NULL' : ''}`;
  }

  /** Every key of every table, for a beginning. */
  async fill() {
    for (const table of this.#schema.tables) {
      for (let id = 1; id <= KEYS; id++) await this.arena.write(this.#insert(table, id));
    }
  }

  async data() {
    const { random } = this;
    const statements = [];
    for (let i = 1 + random.below(8); i > 0; i--) {
      statements.push(this.statement());
      if (random.chance(0.1)) statements.push(`SAVEPOINT s; ${this.statement()}; ROLLBACK TO s`);
    }
    const end = random.chance(0.05) ? 'ROLLBACK' : 'COMMIT';
    await this.arena.write(`BEGIN; ${statements.join('; ')}; ${end}`);
  }

  // ---- rights ----------------------------------------------------------------------------------------------------

  async membership() {
    const { random } = this;
    const user = random.pick(this.#schema.users);
    const team = random.pick(this.#schema.teams);
    const one = () => random.pick([
      `INSERT INTO member VALUES ('${user}', ${team}) ON CONFLICT DO NOTHING`, `DELETE FROM member WHERE usr = '${user}' AND team = ${team}`,
      `DELETE FROM member WHERE usr = '${user}'`, `UPDATE member SET team = ${team} WHERE usr = '${user}' AND NOT EXISTS (SELECT FROM member WHERE usr = '${user}' AND team = ${team}) AND team = (SELECT min(team) FROM member WHERE usr = '${user}')`,
      `INSERT INTO member SELECT u, ${team} FROM unnest('{${this.#schema.users.slice(0, 4)}}'::text[]) u ON CONFLICT DO NOTHING`,
    ]);
    await this.arena.write(random.chance(0.3) ? `BEGIN; ${one()}; ${this.statement()}; COMMIT` : one());
  }

  async share() {
    const { random } = this;
    const [user, table, id] = [random.pick(this.#schema.users), random.pick(this.#schema.tables).name, 1 + random.below(KEYS)];
    await this.arena.write(random.chance(0.6) ? `INSERT INTO shared SELECT '${user}', '${table}', i FROM generate_series(${id}, ${id} + 5) i ON CONFLICT DO NOTHING`
      : `DELETE FROM shared WHERE usr = '${user}' AND tab = '${table}' AND row_id < ${id}`);
  }

  async grant() {
    const { random } = this;
    const { roles, tables } = this.#schema;
    const table = random.pick(tables);
    const { name } = table;
    const column = random.pick(['a', 'b', 'c', 'level', 'flag']);
    await this.arena.write(random.pick([
      grantColumns(table, ['id', 'k', 'owner', 'team', 'club', column, ...(table.via ? ['parent'] : [])], roles.clerk), `REVOKE SELECT (${column}) ON ${name} FROM ${roles.clerk}`,
      `REVOKE SELECT (a) ON ${name} FROM ${roles.clerk}`, `GRANT SELECT ON ${name} TO ${roles.guest}`, `REVOKE SELECT ON ${name} FROM ${roles.guest}`,
    ]));
  }

  // By themselves: a pull that waited for a change of policies shows the rows of its own snapshot under the policies of after it
  async policy() {
    const { random } = this;
    const table = random.pick(this.#schema.tables.filter(({ policies, policy_is_scope }) => policies.length && !policy_is_scope));
    if (!table) return;
    const { name } = table;
    const drop = ['public', 'ghost'].flatMap((schema) => table.policies.map((policy) => `DROP POLICY ${policy.name} ON ${schema}.${name};`));
    table.policies = this.#schema.newPolicies(table);
    await this.arena.write(`BEGIN; ${drop.join('\n')} ${createPolicies(table, 'public')} ${createPolicies(table, 'ghost')} COMMIT`);
  }

  async helper() {
    const { random } = this;
    this.helpers = { low: random.below(4), mine: random.pick(['owner', 'lower(owner)', `CASE WHEN owner <> 'ada' THEN owner END`]) };
    await this.arena.write(`BEGIN; ${functions(this.helpers)} COMMIT`);
  }

  // ---- clients ---------------------------------------------------------------------------------------------------

  async push() {
    const { random } = this;
    const caller = random.pick(this.arena.callers);
    const changes = Array.from({ length: 1 + random.below(3) }, () => this.#change(caller.subject.sub));
    await caller.post('push', { changes });
  }

  #change(sub) {
    const { random } = this;
    const table = random.pick(this.#schema.tables);
    const id = 1 + random.below(KEYS);
    const operation = random.pick(['create', 'update', 'update', 'delete']);
    const data = this.#row(table, id, operation === 'create' ? COLUMNS : this.#some(), sub);
    if (operation === 'create' && table.via) data.parent = 1 + random.below(KEYS);
    return {
      queue_id: `q${this.arena.next()}`, operation, entity_type: table.name, entity_id: table.key === 'pair' ? JSON.stringify([String(id), 'x']) : String(id),
      ...(operation === 'delete' ? {} : { data }), ...(random.chance(0.5) ? { local_version: 1 + random.below(9) } : {}),
      ...(random.chance(0.3) ? { base: { a: this.#value(table, 'a', id, sub) } } : {}), timestamp: new Date(Date.now() - random.below(100_000)).toISOString(),
    };
  }

  /** A token with other claims for a channel that is open. */
  async renew() {
    const channel = this.random.pick(this.arena.channels);
    const { sub, role } = channel.subject;
    await channel.renew(this.#schema.claims(sub, role));
  }
}

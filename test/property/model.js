// model.js - the push rules as a small model in memory, written from the contract alone: what a push must answer and leave behind.
// SPDX-License-Identifier: PostgreSQL
//
// A row: { living, data, writes: {column: {version, at, device}}, version, deletion: {version, at, device, team}, image }.
// Times are microseconds. `table`: see tables.js. A verdict: { status, outcome, code, version, logged, shown } (shown: conflict_data).
import { canonical, decide, same } from './values.js';

/** Whether the column, or a member of it, has one of these rules. */
const has = (column, rules) => [column.rule, ...Object.values(column.members ?? {})].some((rule) => rules.includes(rule));

export const CLAMP = 60_000_000;

const success = (outcome, more) => ({ status: 'success', outcome, ...more });
const conflict = (outcome, more) => ({ status: 'conflict', outcome, ...more });
const rejected = (code, more) => ({ status: 'error', outcome: 'rejected', code, ...more });
// what a later change of the batch may mend; undefined: a trigger or resolver of the application
const MAY_WAIT = ['foreign_key', 'unique', 'exclusion', 'check', undefined];
const LOGGED_ERRORS = ['unique', 'check', 'foreign_key', 'exclusion'];

/** Ends a change with an error; what it did is taken back. */
class Refused extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

export class Model {
  rows = new Map();
  ledger = new Map();
  log = []; // {table, key, kind, outcome, fields}

  /** tables: {name: table}; teams: {user: [teams held]}. */
  constructor(tables, teams) {
    this.tables = tables;
    this.teams = teams;
  }

  row(table, key) {
    return this.rows.get(`${table.name}/${key}`);
  }

  // ---- a push -------------------------------------------------------------------------------------------------

  /** The verdicts; `now` is the server's time of this push. */
  push({ user, device, atomic = false, changes }, now) {
    const before = this.#copy();
    const me = `${user}/${device}`;
    this.coming = changes.filter((c) => c.operation === 'create' && c.table === 'parent').map((c) => c.key);
    const asked = changes.map((change) => ({ ...change, user, me, now }));
    const verdicts = asked.map((change) => this.#change(change));
    if (!atomic) this.#tryAgain(asked, verdicts);
    if (!atomic || verdicts.every((v) => v.status === 'success')) return verdicts;
    Object.assign(this, before);
    // which of several bad changes says why is left open; a constraint that waits speaks for all
    const late = verdicts.some((v) => v.code === 'foreign_key');
    // what was done earlier stays done
    return verdicts.map((v) => (v.repeat && v.status === 'success' ? v : { ...(v.status === 'success' ? rejected('atomic') : { ...v, logged: undefined, shown: undefined }), or: late ? ['atomic', 'foreign_key'] : ['atomic'] }));
  }

  /**
   * A child may be made before its parent, a value taken before it is given up: what failed so is tried again while that helps, and what named it meanwhile after it; not behind a later
   * change of its row that went through.
   */
  #tryAgain(asked, verdicts) {
    const sameRow = (a, b) => a.table === b.table && a.key === b.key;
    const revived = new Set();
    const mayStand = (i) => MAY_WAIT.includes(verdicts[i].code) || (verdicts[i].code === 'not_found' && [...revived].some((j) => j < i && sameRow(asked[j], asked[i])));
    const isFollowed = (i) => asked.some((later, j) => j > i && sameRow(later, asked[i]) && verdicts[j].status !== 'error');
    for (let progress = true; progress; ) {
      progress = false;
      for (const [i, verdict] of verdicts.entries()) {
        if (verdict.status !== 'error' || verdict.repeat || !mayStand(i) || isFollowed(i)) continue;
        this.ledger.delete(`${asked[i].me}/${asked[i].queue}`);
        this.log = this.log.filter((one) => one.change !== asked[i]);
        verdicts[i] = this.#change(asked[i]);
        if (verdicts[i].status === 'error') continue;
        revived.add(i);
        progress = true;
      }
    }
  }

  #copy() {
    return { rows: new Map([...this.rows].map(([id, row]) => [id, structuredClone(row)])), ledger: new Map(this.ledger), log: [...this.log] };
  }

  #change(change) {
    const id = change.queue && `${change.me}/${change.queue}`;
    const { user, me, now, ...asked } = change;
    const body = canonical(asked);
    const first = id && this.ledger.get(id);
    if (first) return first.body === body ? { ...first.verdict, repeat: true } : rejected('queue_id_reused');
    const verdict = this.#decide(change);
    if (id && verdict.outcome !== 'retry') this.ledger.set(id, { body, verdict });
    return verdict;
  }

  #decide(change) {
    const table = this.tables[change.table];
    const before = this.#copy();
    const at = change.at === undefined ? change.now : Math.min(change.at, change.now + CLAMP);
    // exact: no clock but the client's has a say in it
    const c = { ...change, table, at, exact: change.at === at, change };
    try {
      this.#check(c);
      return this.#onRow(c);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.rows = before.rows;
      this.log = before.log;
      if (!LOGGED_ERRORS.includes(error.code)) return rejected(error.code);
      this.#note(c, 'constraint', undefined);
      return rejected(error.code, { logged: true, shown: true });
    }
  }

  #check({ table, data = {}, base = {}, at, now }) {
    if (!table) throw new Refused('unknown_table');
    for (const name of [...Object.keys(data), ...Object.keys(base)]) {
      if (!table.columns[name]) throw new Refused('unknown_column');
    }
    if (table.window && now - at > table.window) throw new Refused('too_old');
    const isOdd = ([name, value]) => table.columns[name].type === 'int' && value !== null && typeof value !== 'number';
    if ([data, base].some((values) => Object.entries(values).some(isOdd))) throw new Refused('invalid_value');
  }

  #onRow(c) {
    const row = this.row(c.table, c.key);
    const holds = (team) => !c.table.scoped || (this.teams[c.user] ?? []).includes(team);
    // only values of columns that clients write
    c.data = Object.fromEntries(Object.entries(c.data ?? {}).filter(([name]) => !c.table.columns[name].kept));
    c.holds = holds;
    if (row?.living && holds(row.data.team)) return c.operation === 'delete' ? this.#delete(c, row) : this.#update(c, row);
    const known = row?.deletion && holds(row.deletion.team);
    if (row?.living || (row?.data && !holds(row.data.team))) throw new Refused(c.operation === 'create' ? 'forbidden' : 'not_found');
    if (c.operation === 'create') return known ? this.#resurrect(c, row) : this.#insert(c);
    if (!known) throw new Refused('not_found');
    return c.operation === 'delete' ? success('noop') : this.#updateDeleted(c, row);
  }

  // ---- a living row -------------------------------------------------------------------------------------------

  #update(c, row) {
    const { table, me } = c;
    // a version that the row never had says nothing; a create claims to know none
    const knows = c.operation === 'create' || c.local_version > row.version ? undefined : c.local_version;
    const knewValue = (name) => c.base?.[name] !== undefined && same(c.base[name], row.data[name]);
    // two increments of one device may arrive in another order than they were made in: each counts by its base
    const isIncrement = (name) => has(table.columns[name], ['counter']) && (c.base?.[name] ?? null) !== null;
    const isFree = (name) => row.writes[name].version <= knows || knewValue(name) || (row.writes[name].device === me && !isIncrement(name));
    const foreignSince = (names) => knows !== undefined && names.some((name) => row.writes[name].device !== me && row.writes[name].version > knows);

    // the value that the row has already is no edit, unless a counter was raised by both, or an equal entry added to a list
    const raisesTwice = (name) => {
      const column = table.columns[name];
      if (table.rule === 'lww' || !has(column, ['counter', 'append']) || c.base === undefined || isFree(name)) return false;
      const { took, value } = decide(column, { base: c.base[name], server: row.data[name], local: c.data[name], newer: c.at > row.writes[name].at });
      return took === 'mixed' && !same(value, row.data[name]);
    };
    const touched = Object.keys(c.data).filter((name) => !same(c.data[name], row.data[name]) || raisesTwice(name));
    if (!touched.length) return success('noop', { version: row.version });

    // rows that win or lose as a whole: the base holds for all of it, or for nothing
    const whole = table.rule === 'lww';
    const collided = whole ? (this.#knewRow(c, row, knows) ? [] : touched) : touched.filter((name) => !isFree(name));
    if (!collided.length) {
      const merged = !whole && foreignSince(Object.keys(row.writes));
      this.#write(c, row, Object.fromEntries(touched.map((name) => [name, c.data[name]])));
      return success(merged ? 'merged' : 'applied', { version: row.version });
    }

    const values = {};
    const mixed = []; // what both wrote: nobody's, so that the device's next edit does not undo the other's
    const took = new Set();
    for (const name of touched) {
      const column = table.columns[name];
      const newer = c.at > (whole ? this.#newest(row) : row.writes[name]).at;
      const sides = { base: c.base?.[name], server: row.data[name], local: c.data[name], newer };
      const outcome = collided.includes(name) ? decide({ ...column, rule: column.rule ?? 'lww' }, sides) : { value: c.data[name] };
      if (outcome.value instanceof Error) throw new Refused(undefined);
      values[name] = outcome.value;
      if (outcome.took) took.add(outcome.took);
      if (outcome.took === 'mixed') mixed.push(name);
    }
    const open = collided.some((name) => !table.columns[name].rule);
    if ((table.rule === 'reject' || table.rule === 'manual') && open) {
      const [outcome, logged] = table.rule === 'manual' ? ['conflict', 'open'] : ['superseded', 'server'];
      this.#note(c, 'edit', logged, collided);
      return conflict(outcome, { version: row.version, logged: true, shown: true });
    }
    return this.#settle(c, row, { values, mixed, collided, took, elsewhere: !whole && foreignSince(Object.keys(row.writes).filter((name) => !collided.includes(name))) });
  }

  #settle(c, row, { values, mixed, collided, took, elsewhere }) {
    const written = Object.keys(values).filter((name) => !same(values[name], row.data[name]));
    const local = !took.has('server') && !took.has('mixed');
    if (!written.length) {
      this.#note(c, 'edit', 'server', collided);
      return conflict('superseded', { version: row.version, logged: true, shown: true });
    }
    this.#write(c, row, values, false, mixed);
    this.#note(c, 'edit', local ? 'local' : 'merged', collided);
    return success(local && !elsewhere ? 'applied' : 'merged', { version: row.version, logged: true, shown: took.has('server') });
  }

  // of one write that merged some columns, what it merged counts
  #newest(row) {
    return Object.values(row.writes).reduce((a, b) => (b.version > a.version || (b.version === a.version && b.device === null) ? b : a));
  }

  #knewRow(c, row, knows) {
    const listed = Object.entries(c.base ?? {});
    return knows === row.version || (listed.length > 0 && listed.every(([name, value]) => same(value, row.data[name]))) || this.#newest(row).device === c.me;
  }

  #delete(c, row) {
    const { table, me } = c;
    const foreign = Object.values(row.writes).filter((write) => write.device !== me).map((write) => write.version);
    const knows = c.local_version > row.version ? undefined : c.local_version;
    const nothingSaid = c.local_version === undefined && c.base === undefined;
    const holds = nothingSaid || this.#knewRow(c, row, knows) || Math.max(0, ...foreign) <= knows;
    if (holds) {
      this.#remove(c, row);
      return success('applied', { version: row.version });
    }
    const wins = table.delete_rule === 'delete_wins' || (table.delete_rule === 'lww' && c.at > this.#newest(row).at);
    this.#note(c, 'delete', wins ? 'local' : 'server');
    if (!wins) return conflict('superseded', { version: row.version, logged: true, shown: true });
    this.#remove(c, row);
    return success('applied', { version: row.version, logged: true });
  }

  // ---- a deleted row, or none -----------------------------------------------------------------------------------

  #resurrect(c, row) {
    const { deletion } = row;
    if (c.local_version >= deletion.version || c.at > deletion.at || deletion.device === c.me) return this.#bringBack(c, row, 'applied');
    this.#note(c, 'delete', 'server');
    return conflict('superseded', { version: deletion.version, logged: true, shown: true });
  }

  #updateDeleted(c, row) {
    const { table } = c;
    const { deletion } = row;
    const meantIt = deletion.device === c.me || c.local_version >= deletion.version;
    const wins = table.delete_rule === 'edit_wins' || (table.delete_rule === 'lww' && c.at > deletion.at);
    const image = table.deletes === 'soft' ? row.data : table.history ? row.image : undefined;
    const whole = Object.entries(table.columns).every(([name, column]) => !column.required || name in c.data);
    if (meantIt || !wins || !(image || whole)) {
      this.#note(c, 'delete', 'server');
      return conflict('superseded', { version: deletion.version, logged: true, shown: true });
    }
    this.#note(c, 'delete', 'local');
    return { ...this.#bringBack(c, row, 'merged', image), logged: true };
  }

  #bringBack(c, row, outcome, image = {}) {
    if (c.table.deletes !== 'soft') return this.#insert({ ...c, data: { ...image, ...c.data } }, outcome);
    // one write: the mark is cleared and the change applied
    row.living = true;
    this.#write(c, row, c.data, c.table.mark);
    row.deletion = undefined;
    return success(outcome, { version: row.version });
  }

  #insert(c, outcome = 'applied') {
    const { table } = c;
    const old = this.row(table, c.key);
    const row = { living: true, data: {}, writes: {}, version: old?.deletion?.version ?? 0 };
    for (const [name, column] of Object.entries(table.columns)) {
      if (!column.kept) row.data[name] = column.default ?? null;
    }
    const fresh = Object.fromEntries(Object.keys(row.data).map((name) => [name, c.data[name] === undefined ? row.data[name] : c.data[name]]));
    this.rows.set(`${table.name}/${c.key}`, row);
    this.#write(c, row, fresh, true);
    return success(outcome, { version: row.version });
  }

  // ---- writing --------------------------------------------------------------------------------------------------

  /** `every`: true: every column counts as written; a name: the mark does. `mixed`: columns that count as nobody's. */
  #write(c, row, values, every, mixed = []) {
    const write = { version: row.version + 1, at: c.at, device: c.me ?? null, exact: c.exact };
    const names = Object.keys(values).filter((name) => every === true || !same(values[name], row.data[name]));
    for (const name of names) {
      row.data[name] = values[name];
      row.writes[name] = mixed.includes(name) ? { ...write, device: null } : write;
    }
    if (typeof every === 'string') row.writes[every] = write;
    row.version++;
    this.#constraints(c, row, names);
  }

  #constraints(c, row, names) {
    const { table } = c;
    if (c.holds && !c.holds(row.data.team)) throw new Refused('forbidden');
    for (const [name, column] of Object.entries(table.columns)) {
      if (!names.includes(name)) continue;
      const value = row.data[name];
      if (column.required && value === null) throw new Refused('not_null');
      if (column.longest && value?.length > column.longest) throw new Refused('check');
    }
    for (const [name, column] of Object.entries(table.columns)) {
      const value = row.data[name];
      if (!names.includes(name) || value === null) continue;
      if (column.unique && [...this.rows].some(([id, other]) => id.startsWith(`${table.name}/`) && other !== row && other.data?.[name] === value)) throw new Refused('unique');
      if (column.references && !this.row(this.tables[column.references], value)?.living && !(column.deferred && this.coming?.includes(value))) throw new Refused('foreign_key');
    }
  }

  #remove(c, row) {
    row.living = false;
    row.version++;
    row.deletion = { version: row.version, at: c.at, device: c.me ?? null, exact: c.exact, team: row.data.team };
    if (c.table.deletes === 'soft') {
      row.writes[c.table.mark] = row.deletion;
    } else {
      row.image = row.data;
      row.data = undefined;
    }
  }

  #note(c, kind, outcome, fields) {
    this.log.push({ change: c.change, table: c.table.name, key: c.key, kind, outcome, fields });
  }

  // ---- plain SQL --------------------------------------------------------------------------------------------------

  /** `at`: the server's time of the write. False if it found nothing to do. */
  sql(statement, at) {
    const { rows } = this.#copy();
    try {
      return this.#sql(statement, at);
    } catch (error) {
      this.rows = rows;
      throw error;
    }
  }

  #sql({ operation, table: name, key, data }, at) {
    const table = this.tables[name];
    const row = this.row(table, key);
    const c = { table, key, data, at, exact: true };
    if (operation === 'insert') {
      if (row?.data) return false;
      this.#insert(c);
    } else if (operation === 'update') {
      if (!row?.data || Object.entries(data).every(([column, value]) => same(value, row.data[column]))) return false;
      this.#write(c, row, data);
    } else if (operation === 'delete') {
      if (!row?.living) return false;
      this.#remove(c, row);
    } else if (operation === 'restore') {
      if (table.deletes !== 'soft' || !row?.data || row.living) return false;
      row.living = true;
      this.#write(c, row, {}, table.mark);
      row.deletion = undefined;
    }
    return true;
  }
}

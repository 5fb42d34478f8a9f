// generate.js - random histories: what devices and plain SQL might do next, given what the model holds.
// SPDX-License-Identifier: PostgreSQL
import { TABLES } from './tables.js';
import { mergeText, same } from './values.js';

const SECOND = 1_000_000;
const HOUR = 3600 * SECOND;
const WORDS = ['oak', 'elm', 'ash', 'fir', 'yew', 'box', 'bay', 'fig', 'lime', 'pine', 'teak', 'plum', 'pear', 'palm', 'rose', 'vine', 'reed', 'moss', 'fern', 'iris'];
const PLAIN = ['a', 'b', 'c', 'd'];
const RULED = ['u', 'ua', 'ap', 'n', 'txt', 'srv', 'cli', 'mx', 'mn', 'obj', 'res', 'lw', 'big', 'num', 'day'];
const PEOPLE = [['ada', 'phone'], ['ada', 'laptop'], ['ben', 'phone'], ['ben', 'tablet'], ['cleo', 'phone']];

/** How often things happen. `typical`: people who edit different fields mostly, some lists, counters and texts, few deletions. */
export const MIXES = {
  hard: { steps: 5, same: 0.5, ruled: 0.5, odd: 0.25, broken: 0.06, deletes: 0.12, creates: 0.12, sql: 0.25, repeats: 0.1, atomic: 0.1, nothing: 0.15, lost: 0.5 },
  typical: { steps: 5, same: 0.15, ruled: 0.3, odd: 0, broken: 0.002, deletes: 0.02, creates: 0.03, sql: 0.1, repeats: 0.05, atomic: 0, nothing: 0, lost: 0.05 },
};

export class Generator {
  constructor(random, trial, mix) {
    Object.assign(this, { random, trial, mix, table: trial.table });
    this.queues = 0;
  }

  /** The whole history, step by step: the next one depends on what the model has come to. */
  *steps() {
    const { random } = this;
    yield this.#insertParent();
    if (!random.chance(this.mix.nothing)) yield { sql: { operation: 'insert', table: this.table.name, key: '@k0', data: this.#fullData() } };
    const count = 1 + random.below(this.mix.steps);
    for (let i = 0; i < count; i++) yield random.chance(this.mix.sql) ? this.#sql() : this.#push();
  }

  #insertParent() {
    return { sql: { operation: 'insert', table: 'parent', key: '@p0', data: { name: 'parent' } } };
  }

  // ---- values -------------------------------------------------------------------------------------------------

  #colour() {
    return this.random.pick(['red', 'green', 'blue', 'grey', 'pink', 'teal']);
  }

  /** A new value of a column, made from `old` as a person would. */
  #edit(name, old, server) {
    const { random } = this;
    switch (name) {
      case 'c': return random.chance(0.1) ? null : random.below(5);
      case 'day': return random.pick(['2026-02-03', '2025-12-31', '2026-10-01', null]);
      case 'n': case 'mx': case 'mn': case 'big': case 'num': return (typeof old === 'number' ? old : 0) + random.pick([-3, -1, 1, 2, 5]);
      case 'res': return random.chance(this.mix.odd / 8) ? 666 : random.below(20);
      case 'u': case 'ap': return this.#editList(old, () => random.pick(['x', 'y', 'z', 1, 2, { k: 1 }]));
      case 'ua': return this.#editList(old, () => random.below(6));
      case 'txt': return this.#editText(old ?? '', server ?? old ?? '');
      case 'obj': return this.#editObject(old);
      case 'team': return random.pick([1, 1, 3, 2, null]);
      case 'uniq': return random.pick(['@u0', '@u1', null]);
      case 'parent': return random.pick(['@p0', '@p0', null, this.table.columns.parent.deferred ? '@p1' : '@p0', '@p9']);
      case 'req': return random.chance(0.9) ? this.#colour() : random.pick([null, 'much too long for this column']);
      default: return random.chance(0.1) ? null : this.#colour();
    }
  }

  #editList(old, item) {
    const list = Array.isArray(old) ? [...old] : [];
    const cuts = this.random.below(list.length ? 2 : 1);
    for (let i = 0; i < cuts; i++) list.splice(this.random.below(list.length), 1);
    for (let i = 1 + this.random.below(2) - cuts; i > 0; i--) list.push(item());
    return list;
  }

  // Edits of neighbouring words are left to taste: both sides stay two words apart, or meet
  #editText(old, server) {
    for (let tries = 0; tries < 20; tries++) {
      const words = old === '' ? [] : old.split(' ');
      const place = this.random.below(words.length + 1);
      const unused = WORDS.filter((word) => !words.includes(word) && !server.split(' ').includes(word));
      if (!unused.length) break;
      words.splice(place, this.random.below(2), ...(this.random.chance(0.8) ? [this.random.pick(unused)] : []));
      const text = words.join(' ');
      const { gap } = mergeText(old, server, text);
      if (text !== old && gap !== 1 && gap !== 0) return text;
    }
    return old;
  }

  #editObject(old) {
    const object = old !== null && typeof old === 'object' && !Array.isArray(old) ? { ...old } : {};
    for (let i = 1 + this.random.below(2); i > 0; i--) {
      const name = this.random.pick(['list', 'log', 'count', 'high', 'name', 'mood']);
      if (this.random.chance(0.15)) delete object[name];
      else if (name === 'list' || name === 'log') object[name] = this.#editList(object[name], () => this.random.pick(['p', 'q', 'r']));
      else if (name === 'count' || name === 'high') object[name] = (object[name] ?? 0) + this.random.pick([-2, 1, 3]);
      else object[name] = this.#colour();
    }
    return object;
  }

  #fullData() {
    const { random, mix } = this;
    const data = { req: this.#colour(), a: this.#colour(), b: this.#colour(), c: random.below(5) };
    const ruled = { u: ['x', 'y'], ua: [1, 2], ap: ['x'], n: 10, txt: 'oak elm ash fir yew box bay', srv: 'server', cli: 'client', mx: 5, mn: 5, obj: { list: ['p'], count: 1, name: 'red' }, res: 1, lw: 'red', big: 9, num: 5, day: '2026-05-05' };
    for (const name of RULED) if (random.chance(0.8)) data[name] = ruled[name];
    if (random.chance(mix.odd + 0.02)) data.uniq = '@u0';
    if (random.chance(0.3)) data.parent = '@p0';
    if (this.table.scoped) data.team = random.pick([1, 1, 1, 3, 2]);
    return data;
  }

  // ---- pushes ---------------------------------------------------------------------------------------------------

  #push() {
    const { random, mix } = this;
    const people = this.table.scoped ? PEOPLE : PEOPLE.slice(0, 4);
    const [user, device] = random.pick(people);
    const atomic = random.chance(mix.atomic);
    const changes = Array.from({ length: 1 + (random.chance(0.4) ? random.below(3) : 0) }, () => this.#change(user, device, atomic));
    // a parent made after its children, where the constraint waits
    const wants = changes.some((change) => Object.values(change.data ?? {}).includes('@p1'));
    if (wants && random.chance(0.6)) {
      const place = atomic && !this.table.columns.parent.deferred ? 0 : random.below(changes.length + 1);
      changes.splice(place, 0, { operation: 'create', table: 'parent', key: '@p1', data: { name: 'made on the way' }, queue: `q${this.queues++}` });
    }
    this.#settleParents(changes);
    return { push: { user, device, ...(atomic ? { atomic } : {}), changes } };
  }

  // Foreign keys look at rows as the batch leaves them: what a later change of the row mends is not turned away
  #settleParents(changes) {
    for (const [i, change] of changes.entries()) {
      const later = changes.slice(i + 1).some((other) => other.key === change.key);
      if (later && ['@p1', '@p9'].includes(change.data?.parent)) change.data = { ...change.data, parent: '@p0' };
    }
  }

  #change(user, device, atomic) {
    const { random, mix, trial } = this;
    const mine = [...trial.sent.keys()].filter((id) => id.startsWith(`${user}/${device}/`)).map((id) => id.split('/')[2]);
    if (mine.length && random.chance(mix.repeats)) return { again: random.pick(mine), ...(random.chance(0.2) ? { instead: { a: 'another body' } } : {}) };
    const key = random.chance(0.8) ? '@k0' : '@k1';
    const row = trial.model.row(this.table, key);
    const operation = this.#operation(row);
    const seen = this.#seen(key, row);
    const change = { operation, table: this.table.name, key, ...(random.chance(0.9) ? { queue: `q${this.queues++}` } : {}) };
    if (operation !== 'delete') change.data = operation === 'create' ? this.#createData(seen, row) : this.#editedData(seen, row, atomic);
    Object.assign(change, this.#knowledge(change, seen, row));
    const when = this.#when(row, change);
    if (when) change.when = when;
    return random.chance(mix.broken) ? this.#broken(change) : change;
  }

  #operation(row) {
    const { random, mix } = this;
    if (!row?.living) return random.chance(mix.lost) ? random.pick(['update', 'update', 'delete']) : 'create';
    return random.chance(mix.deletes) ? 'delete' : random.chance(mix.creates) ? 'create' : 'update';
  }

  /** A state of the row that this device may have seen: often the newest. */
  #seen(key, row) {
    const past = this.trial.past[key];
    if (!past) return { version: 0, data: {} };
    return row && this.random.chance(0.35) ? past.at(-1) : this.random.pick(past);
  }

  #editedData(seen, row, atomic) {
    const { random, mix } = this;
    const names = new Set();
    for (let i = 1 + random.below(3); i > 0; i--) {
      const special = ['req', 'uniq', 'parent', ...(this.table.scoped ? ['team', 'team'] : [])];
      // two people at the same field, or each at their own
      const pool = random.chance(mix.ruled) ? RULED : random.chance(mix.odd * 0.6) ? special : random.chance(mix.same) ? ['a'] : PLAIN;
      names.add(random.pick(pool));
    }
    const data = Object.fromEntries([...names].map((name) => [name, this.#edit(name, seen.data[name] ?? null, row?.data?.[name])]));
    // the columns that wait for their constraint share one error in an atomic batch
    if (atomic && data.parent === '@p9') delete data.parent;
    if (random.chance(mix.odd * 0.3)) data.twice = 99;
    return data;
  }

  #createData(seen, row) {
    const data = { ...this.#fullData(), ...(this.random.chance(0.5) ? this.#editedData(seen, row, true) : {}) };
    if ((data.req ?? null) === null && this.random.chance(0.7)) data.req = 'red';
    return data;
  }

  #knowledge(change, seen, row) {
    const { random, mix } = this;
    const how = random.below(10);
    const known = {};
    if (how < 6) known.local_version = seen.version;
    if (how >= 3 && how < 9 && (change.data || random.chance(0.5))) {
      const names = change.data ? Object.keys(change.data) : random.chance(0.5) ? ['a'] : ['a', 'b'];
      known.base = Object.fromEntries(names.filter(() => random.chance(0.9)).filter((name) => name !== 'twice').map((name) => [name, seen.data[name] ?? null]));
    }
    if (random.chance(mix.odd * 0.2)) known.local_version = random.pick([0, 99, (row?.version ?? 0) + 1]);
    if (known.base && random.chance(mix.odd * 0.2)) known.base.a = 'never was';
    if (change.data && 'txt' in change.data) this.#tame(change, known, row);
    return known;
  }

  // a text is merged over the base it was edited from, or not at all
  #tame(change, known, row) {
    const { gap } = mergeText(known.base?.txt, row?.data?.txt, change.data.txt);
    if (gap === 0 || gap === 1) delete known.base.txt;
  }

  #when(row, change) {
    const { random } = this;
    const names = Object.keys(change.data ?? {});
    if (random.chance(this.mix.odd * 0.6)) {
      const tie = row?.deletion ? 'deletion' : random.pick(names.length ? names : ['a']);
      return { tie, offset: random.pick([0, 0, 1, -1, 1000, -1000]) };
    }
    // typical clocks are off by seconds; here those of others by days, but never so little that the server's own clock decides
    return random.pick([
      undefined, undefined, { offset: -2 * 60 * SECOND - random.below(600) * SECOND }, { offset: -3 * HOUR - random.below(20) * HOUR },
      { offset: 20 * SECOND + random.below(20) * SECOND }, { offset: 24 * HOUR }, { offset: -10 * SECOND - random.below(10) * 1000 },
    ]);
  }

  #broken({ when, ...rest }) {
    const { random } = this;
    // one mistake at a time
    const change = this.table.window ? rest : { ...rest, ...(when ? { when } : {}) };
    const data = change.data && { ...change.data };
    switch (random.below(5)) {
      case 0: return { ...change, table: 'nowhere' };
      case 1: return data ? { ...change, data: { ...data, no_such_column: 1 } } : change;
      case 2: return data ? { ...change, data: { ...data, c: 'many' } } : change;
      case 3: return { ...change, base: { ...change.base, no_such_column: 1 } };
      default: return data ? { ...change, data: { ...data, req: null } } : change;
    }
  }

  // ---- plain SQL --------------------------------------------------------------------------------------------------

  #sql() {
    const { random, table, trial } = this;
    const key = random.chance(0.85) ? '@k0' : '@k1';
    const row = trial.model.row(table, key);
    const statement = (operation, data) => ({ sql: { operation, table: table.name, key, ...(data ? { data } : {}) } });
    if (!row?.data) return statement('insert', this.#fullData());
    if (!row.living) return random.chance(0.5) ? statement('restore') : statement('update', this.#sqlData(row));
    return random.chance(0.25) ? statement('delete') : statement('update', this.#sqlData(row));
  }

  #sqlData(row) {
    const { random } = this;
    const names = [random.pick(random.chance(this.mix.ruled) ? RULED : PLAIN), ...(this.table.scoped && random.chance(0.3) ? ['team'] : []), ...(random.chance(0.1) ? ['uniq'] : [])];
    const data = Object.fromEntries(names.map((name) => [name, this.#edit(name, row.data[name], row.data[name])]));
    return Object.fromEntries(Object.entries(data).filter(([name, value]) => !(TABLES[this.table.name].columns[name].required && value === null) && !same(value, undefined)));
  }
}

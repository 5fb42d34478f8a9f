// harness.js - carries out one step of a history on the real server and on the model, and says where they differ.
// SPDX-License-Identifier: PostgreSQL
import pg from 'pg';
import { Model } from './model.js';
import { PARENT, TABLES, TEAMS, userOf } from './tables.js';
import { same } from './values.js';

const literal = pg.escapeLiteral;
const MICROS = "(extract(epoch FROM %) * 1000000)::bigint::text";
const micros = (column) => MICROS.replace('%', column);

/** Microseconds since 1970 of an ISO time that may carry six digits. */
export function microseconds(text) {
  const [, seconds, , fraction = '', zone] = /^(.*?)(\.(\d+))?(Z|[+-]\d\d(?::?\d\d)?)$/.exec(text);
  return Date.parse(seconds + zone) * 1000 + Number(fraction.padEnd(6, '0').slice(0, 6));
}

export function isoTime(at) {
  const fraction = ((at % 1_000_000) + 1_000_000) % 1_000_000;
  return new Date((at - fraction) / 1000).toISOString().replace('.000Z', `.${String(fraction).padStart(6, '0')}Z`);
}

/** One case on the server: its rows are told apart by its number. */
export class Trial {
  constructor(client, worker, number, table) {
    Object.assign(this, { client, worker, number, table });
    this.model = new Model(TABLES, TEAMS);
    this.start = Date.now() * 1000;
    this.keys = ['@k0', '@k1'];
    this.parents = ['@p0', '@p1'];
    this.sent = new Map(); // queue → what was pushed
    this.seen = new Set(); // conflict ids
    this.past = {}; // key → every state a client may have seen: {version, data}
  }

  // ---- names of this case ---------------------------------------------------------------------------------------

  real(value) {
    return typeof value === 'string' && value.startsWith('@') ? `c${this.number}-${value.slice(1)}` : value;
  }

  plain(value) {
    const own = `c${this.number}-`;
    return typeof value === 'string' && value.startsWith(own) ? `@${value.slice(own.length)}` : value;
  }

  keyValues(table, key) {
    const place = Number(key.slice(2));
    if (table.key === 'int') return { id: this.number * 8 + place };
    if (table.key === 'pair') return { k1: this.number, k2: `k${place}` };
    return { id: this.real(key) };
  }

  entityId(table, key) {
    const values = Object.values(this.keyValues(table, key)).map(String);
    return values.length === 1 ? values[0] : JSON.stringify(values);
  }

  // ---- steps ----------------------------------------------------------------------------------------------------

  /** What differs, as text, or undefined. */
  async run(step) {
    return step.push ? this.#push(step) : this.#sql(step);
  }

  async #push({ push }) {
    const changes = push.changes.map((change) => this.#resolve(change, push)).filter(Boolean);
    if (!changes.length) return undefined;
    const request = { device_id: `${push.device}-${this.worker}`, ...(push.atomic ? { atomic: true } : {}), changes: changes.map((change) => this.#render(change)) };
    const claims = { sub: userOf(this.worker, push.user), role: 'app' };
    const [answer, state] = await this.#ask(`SET LOCAL ROLE app; SELECT set_config('request.jwt.claims', ${literal(JSON.stringify(claims))}, true);
      SELECT sync.push(${literal(JSON.stringify(request))}::jsonb) AS answer;`);
    const expected = this.model.push({ ...push, changes }, microseconds(answer.server_time));
    this.last = { answer, expected };
    return this.#compareVerdicts(expected, answer, changes) ?? this.#compareState(state);
  }

  async #sql({ sql }) {
    let [, state] = [undefined, undefined];
    try {
      [, state] = await this.#ask(this.#statement(sql));
    } catch (error) {
      // the model must refuse it too
      if (!/^23/.test(error.code ?? '')) throw error;
      try {
        this.model.sql(sql, 0);
      } catch {
        return undefined;
      }
      return `plain SQL failed: ${error.message}`;
    }
    const row = state.rows.find((one) => one.key === sql.key && one.table === sql.table);
    const at = sql.operation === 'delete' ? state.deleted[`${sql.table}/${sql.key}`] : row?.at;
    this.model.sql(sql, Number(at));
    this.last = { state };
    return this.#compareState(state);
  }

  /** A change as the model reads it, with its time; undefined for a repeat of one that was never sent. */
  #resolve(change, push) {
    const memory = (queue) => `${push.user}/${push.device}/${queue}`;
    if (change.again) {
      const first = this.sent.get(memory(change.again));
      return first && { ...first, ...(change.instead ? { data: { ...first.data, ...change.instead } } : {}) };
    }
    const { when, ...rest } = change;
    const resolved = { ...rest, ...(when ? { at: this.#time(rest, when) } : {}) };
    if (change.queue && !this.sent.has(memory(change.queue))) this.sent.set(memory(change.queue), resolved);
    return resolved;
  }

  #time(change, when) {
    if (when.tie) {
      const row = this.model.row(TABLES[change.table] ?? this.table, change.key);
      const write = when.tie === 'deletion' ? row?.deletion : row?.writes[when.tie];
      if (write?.exact) return write.at + when.offset;
    }
    return this.start + when.offset;
  }

  #render(change) {
    const table = TABLES[change.table] ?? this.table;
    const values = (object) => object && Object.fromEntries(Object.entries(object).map(([name, value]) => [name, this.real(value)]));
    return {
      ...(change.queue ? { queue_id: `c${this.number}-${change.queue}` } : {}),
      operation: change.operation,
      entity_type: change.table,
      entity_id: this.entityId(table, change.key),
      ...(change.data ? { data: values(change.data) } : {}),
      ...(change.base ? { base: values(change.base) } : {}),
      ...(change.local_version === undefined ? {} : { local_version: change.local_version }),
      ...(change.at === undefined ? {} : { timestamp: isoTime(change.at) }),
    };
  }

  #statement({ operation, table: name, key, data = {} }) {
    const table = TABLES[name];
    const value = (column, v) => (v === null || v === undefined ? 'NULL' : column.type === 'jsonb' ? literal(JSON.stringify(v)) : Array.isArray(v) ? `'{${v}}'` : literal(String(this.real(v))));
    const where = Object.entries(this.keyValues(table, key)).map(([column, v]) => `${column} = ${literal(String(v))}`).join(' AND ');
    const assignments = Object.entries(data).map(([column, v]) => [column, value(table.columns[column], v)]);
    if (operation === 'insert') {
      const all = [...Object.entries(this.keyValues(table, key)).map(([column, v]) => [column, literal(String(v))]), ...assignments];
      return `INSERT INTO ${name} (${all.map(([column]) => column)}) VALUES (${all.map(([, v]) => v)}) ON CONFLICT (${Object.keys(this.keyValues(table, key))}) DO NOTHING;`;
    }
    if (operation === 'delete') return `DELETE FROM ${name} WHERE ${where};`;
    if (operation === 'restore') return `UPDATE ${name} SET deleted_at = NULL WHERE ${where};`;
    return `UPDATE ${name} SET ${assignments.map(([column, v]) => `${column} = ${v}`)} WHERE ${where};`;
  }

  /** Runs it in a transaction of its own, then looks: [answer, state]. */
  async #ask(work) {
    let results;
    try {
      results = await this.client.query(`BEGIN; ${work} COMMIT; ${this.#look()}`);
    } catch (error) {
      await this.client.query('ROLLBACK');
      throw error;
    }
    const answer = results.map((result) => result.rows[0]?.answer).find(Boolean);
    return [answer, this.#state(results.at(-1).rows[0])];
  }

  #look() {
    const rows = [[this.table, this.keys], [PARENT, this.parents]].map(([table, keys]) => {
      const columns = Object.keys(this.keyValues(table, '@k0'));
      const list = keys.map((key) => `(${Object.values(this.keyValues(table, key)).map((v) => literal(String(v)))})`);
      return `(SELECT coalesce(jsonb_agg(to_jsonb(t) || jsonb_build_object('at', ${micros('t.sync_at')}, 'table', '${table.name}')), '[]') FROM ${table.name} t WHERE (${columns}) IN (${list}))`;
    });
    const ids = this.keys.map((key) => literal(this.entityId(this.table, key)));
    const of = (alias) => `${alias}.table_id = ${this.table.id} AND ${alias}.entity_id IN (${ids})`;
    return `SELECT ${rows.join(' || ')} AS rows,
      (SELECT coalesce(jsonb_agg(to_jsonb(c)), '[]') FROM sync.conflict c WHERE ${of('c')}) AS conflicts,
      (SELECT coalesce(jsonb_object_agg(t.entity_id, ${micros('t.at')} ORDER BY t.id), '{}') FROM sync.tombstone t WHERE ${of('t')}) AS deleted`;
  }

  #state({ rows, conflicts, deleted }) {
    const names = new Map();
    for (const [table, keys] of [[this.table, this.keys], [PARENT, this.parents]]) {
      for (const key of keys) names.set(`${table.name}/${this.entityId(table, key)}`, key);
    }
    const entity = (row) => (TABLES[row.table].key === 'pair' ? JSON.stringify([String(row.k1), row.k2]) : String(row.id));
    return {
      rows: rows.map((row) => ({ ...row, key: names.get(`${row.table}/${entity(row)}`) })),
      conflicts: conflicts.map((one) => ({ ...one, key: names.get(`${this.table.name}/${one.entity_id}`) })),
      deleted: Object.fromEntries(Object.entries(deleted).map(([id, at]) => [`${this.table.name}/${names.get(`${this.table.name}/${id}`)}`, at])),
    };
  }

  // ---- comparing --------------------------------------------------------------------------------------------------

  #compareVerdicts(expected, { processed, success }, changes) {
    if (processed.length !== expected.length) return `${processed.length} verdicts for ${expected.length} changes`;
    if (success !== expected.every((v) => v.status === 'success')) return `success: ${success}`;
    for (const [i, verdict] of processed.entries()) {
      const why = this.#compareVerdict(expected[i], verdict, changes[i]);
      if (why && !(verdict.status === 'error' && expected[i].or?.includes(verdict.error.code))) return `change ${i}: ${why}`;
    }
    if (expected[0]?.or && processed.every((verdict) => verdict.repeat || verdict.error?.code === 'atomic') && !expected.some((v) => v.repeat)) return 'no change says why the batch failed';
    return undefined;
  }

  #compareVerdict(expected, verdict, change) {
    const pairs = [['status', expected.status, verdict.status], ['outcome', expected.outcome, verdict.outcome], ['repeat', expected.repeat ?? false, verdict.repeat ?? false]];
    if (expected.status === 'error') {
      if (expected.code) pairs.push(['error.code', expected.code, verdict.error?.code]);
      if (!verdict.error?.message) return 'no error.message';
    }
    if (verdict.entity_id !== undefined && TABLES[change.table]) pairs.push(['entity_id', this.entityId(TABLES[change.table], change.key), verdict.entity_id]);
    if (!expected.repeat) {
      if (expected.version !== undefined) pairs.push(['server_version', expected.version, Number(verdict.server_version)]);
      pairs.push(['conflict_id', Boolean(expected.logged), Boolean(verdict.conflict_id)], ['conflict_data', Boolean(expected.shown), Boolean(verdict.conflict_data)]);
    }
    const wrong = pairs.find(([, a, b]) => a !== b);
    return wrong && `${wrong[0]}: expected ${JSON.stringify(wrong[1])}, got ${JSON.stringify(wrong[2])}`;
  }

  #compareState(state) {
    for (const [table, keys] of [[this.table, this.keys], [PARENT, this.parents]]) {
      for (const key of keys) {
        const why = this.#compareRow(table, this.model.row(table, key), state.rows.find((row) => row.table === table.name && row.key === key));
        if (why) return `${table.name} ${key}: ${why}`;
      }
    }
    const why = this.#compareLog(state.conflicts);
    if (!why) this.#remember();
    return why;
  }

  #compareRow(table, expected, row) {
    if (!expected?.data) return row && 'a row that should not be there';
    if (!row) return 'the row is missing';
    if (table.mark && expected.living !== (row.deleted_at === null)) return `deleted_at: ${row.deleted_at}`;
    if (Number(row.sync_version) !== expected.version) return `version: expected ${expected.version}, got ${row.sync_version}`;
    for (const [name, value] of Object.entries(expected.data)) {
      const got = this.plain(row[name]);
      if (!same(value, got)) return `${name}: expected ${JSON.stringify(value)}, got ${JSON.stringify(got)}`;
    }
    return undefined;
  }

  #compareLog(conflicts) {
    const fresh = conflicts.filter((one) => !this.seen.has(one.conflict_id));
    for (const one of fresh) this.seen.add(one.conflict_id);
    const expected = this.model.log.splice(0).filter((one) => one.table === this.table.name);
    const told = (one) => `${one.kind} ${one.outcome} of ${one.key}${one.kind === 'edit' ? ` in ${[...(one.fields ?? [])].sort()}` : ''}`;
    const left = [...fresh];
    for (const one of expected) {
      const i = left.findIndex((other) => told({ ...other, outcome: one.outcome === undefined ? undefined : other.outcome }) === told(one));
      if (i < 0) return `conflict log: expected "${told(one)}", got ${JSON.stringify(left.map(told))}`;
      left.splice(i, 1);
    }
    return left.length ? `conflict log: too many: ${JSON.stringify(left.map(told))}` : undefined;
  }

  #remember() {
    for (const key of this.keys) {
      const row = this.model.row(this.table, key);
      if (!row?.data) continue;
      const past = (this.past[key] ??= []);
      if (past.at(-1)?.version !== row.version) past.push({ version: row.version, data: structuredClone(row.data) });
    }
  }
}

// case.js - one random history of one row: pushes of several devices with clocks of all kinds, plain SQL in between; after each step nothing may have vanished.
// SPDX-License-Identifier: PostgreSQL
//
// Every value written is another. A push that knew what it overwrote (its base held, or it was its own) may do so; else what it overwrote, or what it could
// not write, must be in the conflict log.
import pg from 'pg';

const { escapeLiteral: literal } = pg;
const YEARS_10 = 315_576_000_000;
const COLUMNS = ['a', 'b', 'c'];
const DEVICES = [['ada', 'phone'], ['ada', 'laptop'], ['ben', 'phone'], ['cleo', 'tablet']];
const OFFSETS = [0, 0, -1, 1000, -1000, 3_600_000, -3_600_000, 86_400_000, -86_400_000, YEARS_10, -YEARS_10, 59_000, 61_000];
const ABSURD = [
  'infinity', '-infinity', '0000-01-01T00:00:00Z', '0001-01-01T00:00:00Z', '-0001-01-01T00:00:00Z', '9999-12-31T23:59:59.999999Z', '294276-12-31T23:59:59.999999Z', '294277-01-01T00:00:00Z',
  '4714-11-24 BC', '2026-02-30T00:00:00Z', '2026-11-21T25:00:00Z', '2026-11-21T00:00:00+99:00', '1970-01-01T00:00:00Z', 'now', 'tomorrow', 'epoch', '', 'NaN', 0, -1, 1e15, 1e18, -1e18, 8.64e15, 1.5, true, null, {}, [],
];
const CLAMP_MS = 60_000;

export const TABLES = ['merge', 'lww', 'reject', 'manual'].flatMap((rule) => [
  { name: `c_${rule}_hard`, rule, deletes: 'hard', delete_rule: 'delete_wins' },
  { name: `c_${rule}_lww`, rule, deletes: 'hard', delete_rule: 'lww', history: true },
  { name: `c_${rule}_soft`, rule, deletes: 'soft', delete_rule: 'edit_wins' },
]);

export const SCHEMA = `
SET client_min_messages = warning;
CREATE ROLE app NOLOGIN;
${TABLES.map(({ name, rule, deletes, delete_rule, history }) => `
CREATE TABLE ${name} (id int PRIMARY KEY, a text, b text, c text);
GRANT SELECT, INSERT, UPDATE, DELETE ON ${name} TO app;
SELECT sync.enable('${name}', rule => '${rule}', deletes => '${deletes}', delete_rule => '${delete_rule}', history => ${Boolean(history)});`).join('')}
`;

export class ClockCase {
  constructor(connection, random, number, figures) {
    Object.assign(this, { connection, random, number, figures });
    this.table = random.pick(TABLES);
    this.id = number;
    this.offsets = new Map(DEVICES.map(([user, device]) => [`${user}/${device}`, random.pick(OFFSETS)]));
    this.stamps = []; // that were sent: others may send the same, or one a microsecond away
    this.writers = new Map(); // value → {me, version}: who wrote it
    this.past = []; // states that a device may have seen
    this.steps = [];
    this.seen = 0; // entries of the conflict log
  }

  #values = 0;

  /** What was wrong, as texts. */
  async run() {
    this.row = { living: false, data: undefined, version: 0 };
    for (let i = 3 + this.random.below(9); i > 0; i--) {
      const why = this.random.chance(0.25) ? await this.#sql() : await this.#push();
      if (why) return [`${this.table.name} ${this.id}: ${why}; after ${JSON.stringify(this.steps)}`];
    }
    return [];
  }

  #value() {
    return `v${this.number}-${++this.#values}`;
  }

  #some() {
    const { random } = this;
    const names = COLUMNS.filter(() => random.chance(0.5));
    return Object.fromEntries((names.length ? names : [random.pick(COLUMNS)]).map((name) => [name, this.#value()]));
  }

  // ---- plain SQL --------------------------------------------------------------------------------------------------

  async #sql() {
    const { random, table: { name }, id } = this;
    const data = this.#some();
    const kind = random.pick(['insert', 'update', 'update', 'delete']);
    const set = Object.entries(data).map(([column, value]) => `${column} = '${value}'`);
    const text = kind === 'insert' ? `INSERT INTO ${name} (id, ${Object.keys(data)}) VALUES (${id}, ${Object.values(data).map(literal)}) ON CONFLICT DO NOTHING`
      : kind === 'update' ? `UPDATE ${name} SET ${set} WHERE id = ${id}` : `DELETE FROM ${name} WHERE id = ${id}`;
    this.steps.push({ sql: text });
    const { row } = await this.#ask(text);
    this.#follow(row, null);
    return undefined;
  }

  // ---- pushes -----------------------------------------------------------------------------------------------------

  #stamp(device) {
    const { random, stamps } = this;
    const now = Date.now() + this.offsets.get(device);
    const micros = (text, by) => text.replace(/\.(\d{6})Z$/, (_, digits) => `.${String(Math.min(999_999, Math.max(0, Number(digits) + by))).padStart(6, '0')}Z`);
    const said = stamps.filter((stamp) => typeof stamp === 'string' && /\.\d{6}Z$/.test(stamp));
    const draw = random.next();
    const stamp = draw < 0.12 ? random.pick(ABSURD) : draw < 0.4 && said.length ? micros(random.pick(said), random.pick([0, 0, 1, -1]))
      : draw < 0.5 ? new Date(now - random.below(100_000)).getTime() : new Date(now + random.below(3) - 1).toISOString().replace('Z', `${String(random.below(1000)).padStart(3, '0')}Z`);
    stamps.push(stamp);
    return stamp;
  }

  #change(device) {
    const { random, row, past } = this;
    const operation = row.living ? random.pick(['update', 'update', 'update', 'update', 'create', 'delete']) : random.pick(['create', 'create', 'update', 'delete']);
    const known = random.chance(0.4) ? { version: row.version, data: row.data } : past.length ? random.pick(past) : undefined;
    const data = operation === 'delete' ? undefined : this.#some();
    const how = random.pick(['version', 'version', 'base', 'nothing']);
    const base = known?.data && Object.fromEntries(COLUMNS.filter((column) => (data ? column in data : random.chance(0.5))).map((column) => [column, known.data[column]]));
    return {
      queue_id: `q${this.number}-${this.steps.length}`, operation, entity_type: this.table.name, entity_id: String(this.id), ...(data ? { data } : {}),
      ...(how === 'version' && known ? { local_version: known.version } : {}), ...(how === 'base' && base ? { base } : {}),
      ...(random.chance(0.92) ? { timestamp: this.#stamp(device) } : {}),
    };
  }

  async #push() {
    const [user, device] = this.random.pick(DEVICES);
    const me = `${user}/${device}`;
    const change = this.#change(me);
    const before = this.row;
    const { answer, row, log, ahead } = await this.#ask(`SET LOCAL ROLE app; SELECT set_config('request.jwt.claims', ${literal(JSON.stringify({ sub: user, role: 'app' }))}, true);
      SELECT sync.push(${literal(JSON.stringify({ device_id: device, changes: [change] }))}::jsonb) AS answer`);
    const verdict = answer.processed[0];
    this.steps.push({ me, change, verdict: { ...verdict, conflict_data: undefined }, from: before, to: row });
    this.figures.pushes++;
    if (ahead > CLAMP_MS + 1000) return `a write is stored ${ahead} ms ahead of the server's clock`;
    const why = this.#judge(me, change, verdict, before, row, log);
    this.#follow(row, me);
    return why;
  }

  #judge(me, change, verdict, before, row, log) {
    if (verdict.status === 'error') {
      this.figures.refused++;
      if (JSON.stringify(before) !== JSON.stringify(row)) return `refused with ${verdict.error.code}, and the row changed`;
      return ['invalid_change', 'not_found'].includes(verdict.error.code) ? undefined : `refused with ${verdict.error.code}: ${verdict.error.message}`;
    }
    const fresh = log.slice(this.seen);
    this.seen = log.length;
    return this.#notWritten(change, verdict, row, fresh) ?? this.#overwritten(me, change, before, row, fresh) ?? this.#deletion(change, before, row, verdict, fresh);
  }

  /** Each value sent is in the row, or in the log as what was lost. */
  #notWritten(change, verdict, row, fresh) {
    for (const [column, value] of Object.entries(change.data ?? {})) {
      this.figures.writes++;
      if (row.living && row.data[column] === value) continue;
      this.figures.losers++;
      if (!fresh.some((entry) => entry.local_data?.[column] === value)) return `${value} of ${column} is neither in the row nor in the log (${verdict.outcome})`;
    }
    return undefined;
  }

  /** Each value that is gone from the row was known to who wrote over it, or is in the log as what was lost. */
  #overwritten(me, change, before, row, fresh) {
    if (!before.living) return undefined;
    for (const column of COLUMNS) {
      const value = before.data[column];
      if (value === null || (row.living && row.data[column] === value) || this.#knew(me, change, before, column)) continue;
      this.figures.overwritten++;
      if (!fresh.some((entry) => entry.server_data?.[column] === value)) return `${value} of ${column} was overwritten and is not in the log`;
    }
    return undefined;
  }

  #knew(me, { operation, local_version, base }, before, column) {
    if (operation === 'delete' && local_version === undefined && base === undefined) return true; // it means the row as it is
    const write = this.writers.get(before.data[column]);
    if (this.table.rule === 'lww' && (this.newest === me || (base && Object.entries(base).every(([name, value]) => before.data[name] === value) && Object.keys(base).length))) return true; // rows count as a whole
    if (write?.me === me) return true;
    if (base && column in base && base[column] === before.data[column]) return true;
    if (operation === 'delete' && base && Object.keys(base).length && Object.entries(base).every(([name, value]) => before.data[name] === value)) return true;
    if (operation === 'delete' && this.newest === me) return true;
    return local_version !== undefined && local_version <= before.version && (write?.version ?? 0) <= local_version;
  }

  /** A deletion that an edit undid, and one that was not carried out, are in the log. */
  #deletion({ operation, local_version }, before, row, verdict, fresh) {
    const told = () => fresh.some(({ kind }) => kind === 'delete');
    if (operation === 'delete' && row.living && !told()) return `the row is still there (${verdict.outcome}), and the log says nothing`;
    const knew = local_version !== undefined && local_version >= before.version;
    if (operation === 'update' && !before.living && row.living && !knew && !told()) return 'an edit brought the row back, and the log says nothing';
    return undefined;
  }

  // ---- the server -------------------------------------------------------------------------------------------------

  async #ask(work) {
    const { table: { name, deletes }, id } = this;
    const living = deletes === 'soft' ? 't.deleted_at IS NULL' : 'true';
    const look = `SELECT (SELECT jsonb_build_object('living', ${living}, 'data', jsonb_build_object('a', t.a, 'b', t.b, 'c', t.c), 'version', t.sync_version) FROM ${name} t WHERE t.id = ${id}) AS row,
      (SELECT max(g.version) FROM sync.tombstone g JOIN sync.synced_table s ON s.id = g.table_id WHERE s.entity_type = '${name}' AND g.entity_id = '${id}') AS gone,
      (SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.sync_xid::text::bigint), '[]') FROM sync.conflict c WHERE c.entity_type = '${name}' AND c.entity_id = '${id}') AS log,
      (SELECT coalesce(max(extract(epoch FROM greatest(edited, '2000-01-01') - clock_timestamp()) * 1000), 0)::float8
       FROM (SELECT g.edited_at FROM sync.tombstone g WHERE g.entity_id = '${id}' UNION ALL SELECT c.edited_at FROM sync.conflict c WHERE c.entity_id = '${id}'
             UNION ALL SELECT w.at FROM jsonb_path_query(sync.clock('${name}', '${id}')::jsonb, '$.**.edited_at') j, LATERAL (SELECT (j #>> '{}')::timestamptz) w (at)) e (edited)) AS ahead`;
    let results;
    try {
      results = await this.connection.query(`BEGIN; ${work}; COMMIT; ${look}`);
    } catch (error) {
      await this.connection.query('ROLLBACK');
      throw new Error(`${error.message} (${error.code}): ${work}`);
    }
    const { row, gone, log, ahead } = results.at(-1).rows[0];
    const now = row ?? { living: false, version: Number(gone ?? 0) };
    return { answer: results.map(({ rows }) => rows[0]?.answer).find(Boolean), row: now.living ? now : { living: false, version: Math.max(now.version, Number(gone ?? 0)) }, log, ahead };
  }

  #follow(row, me) {
    for (const column of COLUMNS) {
      const value = row.data?.[column];
      const isNew = !this.row.living && row.living && this.table.deletes === 'hard'; // an insert writes every column
      if (value && (isNew || !this.writers.has(value))) this.writers.set(value, { me, version: row.version });
    }
    if (row.version !== this.row.version) this.newest = me;
    if (row.living) this.past.push({ version: row.version, data: row.data });
    this.row = row;
  }
}

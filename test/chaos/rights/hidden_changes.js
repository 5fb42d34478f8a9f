// hidden_changes.js - one random change (or question), put to every key of a kind that ada must not be able to tell apart, and what differs in the answers.
// SPDX-License-Identifier: PostgreSQL
import pg from 'pg';
import { RawSocket } from '../../lib/raw.js';
import { COLUMNS } from './hidden_world.js';

const { escapeLiteral: literal } = pg;
const CLAIMS = JSON.stringify({ sub: 'ada', role: 'app' });
const HOUR = 3_600_000;

export class HiddenChanges {
  static async start(world, hidden, random, figures) {
    const one = new HiddenChanges();
    Object.assign(one, { world, hidden, random, figures });
    one.client = await world.database.connect();
    one.activities = await world.value('SELECT coalesce(max(activity_id), 0) FROM sync.activity');
    one.raw = await RawSocket.open(world.streamer);
    const { status, response } = await one.raw.ask('sync:main', 'phx_join', { access_token: world.streamer.token('ada'), device_id: 'socket', tables: ['parent'] }, '0');
    if (status !== 'ok') throw new Error(JSON.stringify(response));
    return one;
  }

  #number = 0;

  /** What differs, as texts. */
  async any() {
    const table = this.random.pick(this.hidden.tables);
    if (this.random.chance(0.12)) return this.#function(table);
    const change = this.#change(table);
    const shape = this.#shape(change);
    const keys = this.#alike(table, change, shape);
    const draw = this.random.next();
    const ask = draw < 0.8 ? this.#bySql : draw < 0.9 ? this.#byHttp : this.#bySocket;
    const answers = [];
    for (const [situation, id] of keys) answers.push([situation, await ask.call(this, shape, id)]);
    this.figures.comparisons += answers.length - 1;
    return differences(answers, `${table.name} ${ask.name} ${JSON.stringify(shape.changes)}`);
  }

  async end() {
    this.raw.close();
    await this.client.end();
  }

  // ---- what is pushed --------------------------------------------------------------------------------------------

  #value(name) {
    const { random, hidden: { parents } } = this;
    switch (name) {
      case 'team': return random.pick([1, 2, 3, null, 'no number']);
      case 'owner': return random.pick(['ada', 'ben', null]);
      case 'shared': return random.pick([true, false, null]);
      case 'body': return random.pick(['x', 'given', '', null, 7, random.chance(0.1) ? 'long '.repeat(230_000) : 'y']);
      case 'needed': return random.pick(['z', 'needed', null]);
      case 'n': return random.pick([0, 1, 5, -1, 3_000_000_000, 'two', null]);
      case 'tags': return random.pick([['a'], ['a', 'b'], {}, null]);
      case 'short': return random.pick(['fits', 'does not fit at all']);
      case 'code': return random.pick(['codex', null]);
      case 'parent': return random.pick([parents.absent, parents.hidden, parents.mine, null]);
      case 'twice': return 4;
      case 'secret': return random.pick(['guess', 'wrong']);
      default: return 'nothing';
    }
  }

  #data() {
    const { random } = this;
    const names = [...COLUMNS, 'no_such_column', 'sync_version', 'sync_at', 'deleted_at', 'id'].filter((name) => random.chance(COLUMNS.indexOf(name) >= 0 && COLUMNS.indexOf(name) < 8 ? 0.3 : 0.06));
    return Object.fromEntries(names.map((name) => [name, name === 'id' ? 'KEY' : this.#value(name)]));
  }

  #change(table) {
    const { random } = this;
    const operation = random.pick(['create', 'update', 'update', 'delete', random.chance(0.05) ? 'upsert' : 'update']);
    const when = random.pick([Date.now(), Date.now() - 30_000, Date.now() - 2 * HOUR, Date.now() + HOUR, 0, 'no time', 253402300800000]);
    return {
      operation, entity_type: table.name, entity_id: 'KEY', ...(operation === 'delete' && random.chance(0.7) ? {} : { data: this.#data() }),
      ...(random.chance(0.4) ? { base: this.#data() } : {}), ...(random.chance(0.5) ? { local_version: random.pick([0, 1, 2, 3, 9, -1]) } : {}), ...(random.chance(0.8) ? { timestamp: when } : {}),
    };
  }

  /** The keys that must be answered alike for this change. */
  #alike(table, { operation, data = {} }, { atomic }) {
    const keys = Object.entries(table.keys);
    if (operation !== 'create') return keys;
    const free = ['nowhere', 'nowhere either', 'deleted elsewhere'];
    // a free key may be taken: what hides must then be answered like a policy that says no
    const refused = keys.filter(([situation]) => !free.includes(situation));
    const isHard = table.options.deletes !== 'soft';
    // that a key is free may be told: a constraint that the new row breaks, or another change of its atomic batch, is blamed then (PROMISES.md, open)
    const tellsFree = atomic || data.needed === null;
    if (tellsFree || this.random.chance(0.5)) return isHard ? keys.filter(([situation]) => free.includes(situation)) : refused;
    Object.assign(data, { team: 2, owner: 'ben' });
    return [...(isHard ? keys.filter(([situation]) => free.includes(situation)) : keys.filter(([situation]) => situation.startsWith('nowhere'))), ...refused];
  }

  /** The request around it: alone, among others, atomic, sent twice. */
  #shape(change) {
    const { random } = this;
    const other = { operation: 'update', entity_type: 'parent', entity_id: String(this.hidden.parents.mine), data: { team: random.pick([1, 2]) } };
    const changes = random.pick([[change], [change], [change, other], [other, change], [change, change], [change, { ...change, operation: 'delete', data: undefined }]]);
    return { changes, atomic: random.chance(0.2), twice: random.chance(0.2) };
  }

  #request({ changes, atomic }, id) {
    const named = changes.map((change, i) => ({ queue_id: `q${this.#number}-${i}`, ...change }));
    return JSON.stringify({ device_id: 'd', ...(atomic ? { atomic } : {}), changes: named }).replaceAll('"KEY"', `"${id}"`);
  }

  // ---- ways ------------------------------------------------------------------------------------------------------

  /** The answer and all that ada may look at afterwards; then everything is undone. */
  async #bySql(shape, id) {
    this.#number++;
    this.figures.by_sql++;
    const push = `SELECT sync.push(${literal(this.#request(shape, id))}::jsonb)::text AS answer`;
    return this.#undone(id, `${push}${shape.twice ? `; ${push}` : ''};
      SELECT coalesce(json_agg(c), '[]')::text AS log FROM sync.conflicts(false) c; SELECT count(*)::text AS told FROM sync.notifications();
      SELECT coalesce(json_agg(a), '[]')::text AS activity FROM sync.activity() a WHERE a.activity_id > ${this.activities}; SELECT coalesce(json_agg(l), '[]')::text AS locks FROM sync.lock l`);
  }

  async #undone(id, sql) {
    let answer;
    try {
      const results = await this.client.query(`BEGIN; SET LOCAL ROLE app; SELECT set_config('request.jwt.claims', ${literal(CLAIMS)}, true); ${sql}`);
      answer = results.slice(3).map(({ rows }) => JSON.stringify(rows)).join('\n');
    } catch ({ code, message, detail, hint, where }) {
      answer = JSON.stringify({ code, message, detail, hint, where });
    }
    await this.client.query('ROLLBACK');
    return bare(answer, id);
  }

  async #byHttp(shape, id) {
    this.#number++;
    this.figures.by_http++;
    const answer = await this.world.post('push', 'ada', this.#request(shape, id), { headers: { 'content-type': 'application/json' } });
    await this.#restore(id);
    const said = Number(answer.headers.get('content-length')) - Buffer.byteLength(answer.text);
    return bare(JSON.stringify([answer.status, [...answer.headers].filter(([name]) => !['date', 'content-length'].includes(name)), said, answer.text]), id);
  }

  async #bySocket(shape, id) {
    this.#number++;
    this.figures.by_socket++;
    const payload = JSON.parse(this.#request(shape, id));
    const answer = await this.raw.ask('sync:main', 'push', payload, '0');
    this.raw.frames.length = 0;
    await this.#restore(id);
    return bare(JSON.stringify(answer), id);
  }

  // What was taken is given back: a free key stays free, the parent where it was
  async #restore(id) {
    const table = this.hidden.tables.find(({ keys }) => Object.values(keys).includes(id));
    const free = ['nowhere', 'nowhere either', 'deleted elsewhere'].some((situation) => table.keys[situation] === id);
    await this.client.query(`UPDATE parent SET team = 1 WHERE id = ${this.hidden.parents.mine} AND team <> 1; DELETE FROM sync.conflict WHERE pushed_by = 'ada'`);
    if (!free) return;
    const { rowCount } = await this.client.query(`DELETE FROM ${table.name} WHERE id = ${id}`);
    if (rowCount) await this.client.query(`DELETE FROM ${table.name} WHERE id = ${id}; DELETE FROM sync.tombstone WHERE entity_id = '${id}' AND scope_value IS DISTINCT FROM '2'`);
  }

  // ---- functions -------------------------------------------------------------------------------------------------

  async #function(table) {
    const { random } = this;
    const request = (more) => `${literal(JSON.stringify({ device_id: 'd', entity_type: table.name, entity_id: 'KEY', ...more }))}::jsonb`;
    const sql = random.pick([
      `SELECT sync.lock(${request({ field: random.pick(['body', 'secret', 'none']) })})::text`, `SELECT sync.unlock(${request()})::text`, `SELECT sync.lock(${request()})::text`,
      `SELECT * FROM sync.history('${table.name}', 'KEY')`, `SELECT sync.restore('${table.name}', 'KEY')::text`, `SELECT sync.rollback_to('${table.name}', 'KEY', 1)::text`,
      `SELECT sync.record_activity(${request({ action: 'viewed' })})::text`, `SELECT sync.may_see('${table.name}', 'KEY')`,
      `SELECT * FROM sync.activity(entity_type => '${table.name}', entity_id => 'KEY')`,
      `SELECT sync.notify(${request({ users: ['ada'], type: 't', title: 't' })})::text`,
    ]);
    const answers = [];
    const keys = Object.entries(table.keys).filter(([situation]) => !(situation === 'moved away' && /activity\(entity/.test(sql)) && !(situation === 'deleted elsewhere' && /restore|rollback/.test(sql)));
    for (const [situation, id] of keys) answers.push([situation, await this.#undone(id, sql.replaceAll('KEY', String(id)))]);
    this.figures.functions += answers.length;
    this.figures.comparisons += answers.length - 1;
    return differences(answers, `${table.name} ${sql}`);
  }
}

/** Without what the caller itself sent, what is random, and what the clock says. Also the version that a key is told to go on from. */
export function bare(text, id) {
  return text.replaceAll(String(id), 'KEY')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'UUID')
    .replace(/\bq\d+-(\d)/g, 'QUEUE-$1')
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)/g, 'TIME')
    .replace(/(\\?"success\\?",\\?"outcome\\?":\\?"applied\\?",\\?"entity_id\\?":\\?"KEY\\?",\\?"server_version\\?":)\d+/g, '$1V');
}

/** Every answer against the first. */
function differences(answers, about) {
  const [[first, expected], ...others] = answers;
  return others.filter(([, text]) => text !== expected).map(([situation, text]) => {
    const place = [...text].findIndex((letter, i) => letter !== expected[i]);
    return `a key ${situation} is told from one ${first} by ${about.slice(0, 1200)}\n  ${expected.slice(Math.max(0, place - 200), place + 300)}\n  ${text.slice(Math.max(0, place - 200), place + 300)}`;
  });
}

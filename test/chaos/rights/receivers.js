// receivers.js - the ways out of the streamer, each as one subject: whatever arrives is kept with its moment, and judged once the oracle has looked.
// SPDX-License-Identifier: PostgreSQL
import { randomUUID } from 'node:crypto';
import { Copy, SyncClient } from '../../lib/client.js';
import { RawSocket } from '../../lib/raw.js';
import { until } from '../../lib/wait.js';

const TOKEN = /~(\d+)~/g;
const VALUE = (value) => (typeof value === 'string' && /^\d{4}-\d\d-\d\dT/.test(value) ? Date.parse(value) : JSON.stringify(value));

export const sameValue = (a, b) => VALUE(a) === VALUE(b);

/** One subject at one way out. `views`: as whom it is served, and from which epoch to which. */
export class Receiver {
  inbox = [];
  waiting = []; // {table, id, version, at, kind}: rows that were lost and are still in the copy, for all we know
  fine = new Set(); // numbers in texts that it has had in sight
  told = new Set(); // deletions that were allowed once: repeats are part of the contract
  decisions = 0;
  cut; // the epoch in which its device was revoked: nothing that was committed later may come

  constructor(arena, subject, name) {
    Object.assign(this, { arena, name });
    this.device = randomUUID();
    this.views = [{ subject, from: arena.oracle.epoch, to: Infinity }];
  }

  get subject() {
    return this.views.at(-1).subject;
  }

  get who() {
    const { sub, role } = this.subject;
    return `${sub} as ${role.replace(/^.*_/, '')} by ${this.name}`;
  }

  token() {
    return this.arena.token(this.subject.claims);
  }

  note(kind, what) {
    this.inbox.push({ kind, at: Date.now(), epoch: this.arena.oracle.epoch, ...what });
  }

  /** A batch or an answer of pull. */
  batch({ changes = [], withdrawn = [] }) {
    for (const change of changes) {
      if (change.operation === 'delete') this.note('gone', { table: change.entity_type, id: change.entity_id, version: Number(change.server_version) });
      else this.note('row', { table: change.entity_type, id: change.entity_id, version: Number(change.server_version), data: change.data, scope: change.scope });
    }
    for (const { entity_type, keep } of withdrawn) this.note('keep', { table: entity_type, keep });
  }

  /** A row that was in sight until a step of this kind, committed at this time. */
  lost({ table, id, version }, kind, at) {
    if (Number(this.copy?.table(table).get(id)?.server_version) === version) this.waiting.push({ table, id, version, kind, at });
    else if (this.applied) this.arena.withdrawals.push({ kind, ms: Math.max(0, this.applied - at) });
  }

  /** After a batch: how long those rows took that are gone now. */
  settleLost() {
    this.applied = Date.now();
    this.waiting = this.waiting.filter(({ table, id, version, kind, at }) => {
      if (Number(this.copy.table(table).get(id)?.server_version) === version) return true;
      this.arena.withdrawals.push({ kind, ms: this.applied - at });
      return false;
    });
  }

  /** What differs between its copy and what its subject sees now. */
  differences() {
    const { oracle } = this.arena;
    const found = [];
    for (const { name } of oracle.tables) {
      const expected = oracle.expected(this.subject, name);
      const rows = this.copy.table(name);
      for (const [id, { version, data }] of expected) {
        const row = rows.get(id);
        if (!row) found.push(`${name} ${id} is missing`);
        else if (Number(row.server_version) !== version) found.push(`${name} ${id} has version ${row.server_version}, not ${version}`);
        else if (!Object.keys(data).every((column) => sameValue(row.data[column], data[column])) || Object.keys(row.data).some((column) => !(column in data))) {
          found.push(`${name} ${id} is ${JSON.stringify(row.data)}, not ${JSON.stringify(data)}`);
        }
      }
      for (const id of rows.keys()) if (!expected.has(id)) found.push(`${name} ${id} should be gone`);
    }
    return found;
  }

  async stop() {}
}

/** sync:<label> over WebSocket, by the reference client. */
export class Channel extends Receiver {
  async start(join = {}) {
    const { streamer } = this.arena;
    this.client = new SyncClient(streamer.socketUrl, () => this.token(), { join, device_id: this.device });
    this.copy = this.client.copy;
    this.#guard();
    this.client.onEvent((name, payload) => {
      if (name !== 'changes') return;
      this.batch(payload);
      this.settleLost();
    });
    await this.client.connect();
    await this.client.caughtUp();
    return this;
  }

  // A batch that cannot be applied is a failure of the play, not of the process
  #guard() {
    const { copy } = this;
    const apply = copy.apply.bind(copy);
    copy.apply = (batch) => {
      try {
        apply(batch);
      } catch (error) {
        this.arena.failures.push(`${this.who}: ${error.message} (epoch ${this.arena.oracle.epoch}), in ${JSON.stringify(batch).slice(0, 3000)}`);
      }
    };
  }

  /** Another token of the same user and role: until the reply either may count. */
  async renew(claims) {
    const { oracle } = this.arena;
    const subject = oracle.subject(claims);
    const before = this.views.at(-1);
    this.views.push({ subject, from: oracle.epoch, to: Infinity });
    await this.client.renew(this.arena.token(claims));
    before.to = oracle.epoch + 1;
  }

  texts() {
    return this.client.frames.splice(0).map((text) => ({ text }));
  }

  async digest(more) {
    return this.client.ask('digest', { device_id: this.device, sync_token: this.client.sync_token, ...more });
  }

  async stop() {
    await this.client.disconnect();
  }
}

/** POST pull, now and then. */
export class Puller extends Receiver {
  copy = new Copy();
  #texts = [];

  async start() {
    await this.pull();
    return this;
  }

  async pull() {
    for (let more = true; more; ) {
      const { status, text, json } = await this.arena.post('pull', this.subject.claims, { device_id: this.device, limit: 20, ...(this.sync_token ? { sync_token: this.sync_token } : {}) });
      if (status !== 200) throw new Error(`pull of ${this.who} answered ${status}: ${text}`);
      this.#texts.push(text);
      this.batch(json);
      this.copy.apply(json);
      this.sync_token = json.next_sync_token;
      more = json.has_more;
    }
  }

  texts() {
    return this.#texts.splice(0).map((text) => ({ text }));
  }

  async digest(more) {
    const { json } = await this.arena.post('digest', this.subject.claims, { device_id: this.device, sync_token: this.sync_token, ...more });
    return json;
  }
}

/** Server-sent events. */
export class Stream extends Receiver {
  copy = new Copy();
  #texts = [];
  #abort = new AbortController();

  async start() {
    await this.#open();
    await until(`${this.who} has caught up`, () => this.caughtUp, { limit_ms: 30_000 });
    return this;
  }

  async #open() {
    const response = await fetch(`${this.arena.streamer.url}/api/v1/sync/stream`, {
      method: 'POST', signal: this.#abort.signal,
      headers: { authorization: `Bearer ${this.token()}`, 'content-type': 'application/json', ...(this.last ? { 'last-event-id': this.last } : {}) },
      body: JSON.stringify({ device_id: this.device }),
    });
    if (response.status !== 200) throw new Error(`stream of ${this.who} answered ${response.status}: ${await response.text()}`);
    this.#read(response.body).catch(() => {});
  }

  async #read(body) {
    let text = '';
    const decoder = new TextDecoder();
    for await (const bytes of body) {
      text += decoder.decode(bytes, { stream: true });
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) this.#event(event);
    }
    if (!this.#abort.signal.aborted) await this.#open();
  }

  #event(text) {
    const field = (name) => text.split('\n').filter((line) => line.startsWith(`${name}: `)).map((line) => line.slice(name.length + 2)).join('\n');
    this.#texts.push(text);
    if (field('event') !== 'changes') return;
    const batch = JSON.parse(field('data'));
    this.batch(batch);
    this.copy.apply(batch);
    this.settleLost();
    this.last = field('id') || this.last;
    if (batch.has_more === false) this.caughtUp = true;
  }

  texts() {
    return this.#texts.splice(0).map((text) => ({ text }));
  }

  async stop() {
    this.#abort.abort();
  }
}

/** postgres_changes of Supabase's dialect, with filters on some; it has no copy, so only what must have come is asked. */
export class Realtime extends Receiver {
  arrived = new Map(); // 't/id' → the last record
  #texts = [];

  async start(bindings) {
    this.bindings = bindings;
    this.raw = await RawSocket.open(this.arena.streamer, { path: '/realtime/v1/websocket?apikey=x&vsn=2.0.0' });
    this.raw.ws.on('message', (data) => {
      this.#texts.push(data.toString());
      this.#message(JSON.parse(data.toString()));
    });
    await this.#join();
    return this;
  }

  async #join() {
    const { status, response } = await this.raw.ask('realtime:all', 'phx_join', { access_token: this.token(), config: { postgres_changes: this.bindings } });
    if (status !== 'ok') throw new Error(`realtime of ${this.who}: ${JSON.stringify(response)}`);
    this.fresh = this.arena.oracle.epoch + 2; // what is written from now on must come; a step may have committed already that nobody has looked at
  }

  #message([, , , event, payload]) {
    if (event === 'phx_error') this.lost = this.#join().catch((error) => this.arena.failures.push(`${this.who}: ${error.message}`));
    if (event === 'system') this.fresh = this.arena.oracle.epoch + 2;
    if (event !== 'postgres_changes') return;
    const { table, type, record, old_record } = payload.data;
    const row = record ?? old_record;
    const id = this.arena.oracle.byName.get(table)?.key === 'pair' ? JSON.stringify([String(row.id), row.k]) : String(row.id);
    if (type === 'DELETE') this.note('deleted', { table, id });
    else this.note('record', { table, id, data: record, old: old_record });
    this.arrived.set(`${table}/${id}`, type === 'DELETE' ? undefined : record);
  }

  texts() {
    return this.#texts.splice(0).map((text) => ({ text }));
  }

  /** Rows that were written since it listens, in its sight ever since: their last version must have come. */
  differences() {
    const { oracle } = this.arena;
    const found = [];
    for (const image of this.subject.now) {
      const table = oracle.byName.get(image.table);
      const [span] = this.subject.live.get(image);
      if (table.verify || image.born < this.fresh || span.from !== image.born || !this.bindings.some((binding) => !binding.filter && (binding.table === image.table || !binding.table))) continue;
      const record = this.arrived.get(`${image.table}/${image.id}`);
      if (!record || !Object.keys(record).every((column) => sameValue(record[column], image.data[column]))) found.push(`${image.table} ${image.id} version ${image.version} did not come, but ${JSON.stringify(record)}`);
    }
    return found;
  }

  async stop() {
    this.raw.close();
  }
}

/** All other calls of one subject: it keeps nothing, but what is answered is looked at. */
export class Caller extends Receiver {
  #texts = [];

  /** POST /api/v1/sync/<name>; `loose`: the answer may show values that a row had before it came into sight. */
  async post(name, body, { loose } = {}) {
    const answer = await this.arena.post(name, this.subject.claims, { device_id: this.device, ...body });
    this.#texts.push({ text: answer.text, loose });
    return answer;
  }

  /** A function, called by SQL as the streamer does. */
  async sql(statement, { loose } = {}) {
    const text = await this.arena.as(this.subject.claims, statement).catch((error) => `${error.message} ${error.detail} ${error.hint}`);
    this.#texts.push({ text, loose });
    return text;
  }

  texts() {
    return this.#texts.splice(0);
  }

  differences() {
    return [];
  }
}

/** The numbers of the texts in some bytes. */
export const tokensIn = (text) => [...text.matchAll(TOKEN)].map((match) => match[1]);

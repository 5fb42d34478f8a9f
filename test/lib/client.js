// client.js - a small sync client on the unmodified npm `phoenix` package: keeps a copy of the rows, and the token to go on from.
// SPDX-License-Identifier: PostgreSQL
//
// It is the reference for what PROTOCOL.md asks of a client, and the story object of the tests.
import { randomUUID } from 'node:crypto';
import { Socket } from 'phoenix';
import WebSocket from 'ws';
import { until, within } from './wait.js';

/** What a client knows: one Map per entity_type, entity_id → { data, server_version, scope, changed_by }. */
export class Copy {
  tables = new Map();

  table(entityType) {
    if (!this.tables.has(entityType)) this.tables.set(entityType, new Map());
    return this.tables.get(entityType);
  }

  /** One answer of a pull, or one batch: reset, then withdrawn, then changes. */
  apply({ reset = [], withdrawn = [], changes = [] }) {
    for (const entityType of reset) this.table(entityType).clear();
    for (const { entity_type, keep } of withdrawn) this.#withdraw(entity_type, keep);
    for (const change of changes) this.#change(change);
  }

  #withdraw(entityType, keep) {
    const held = new Set(keep.map(String));
    const rows = this.table(entityType);
    for (const [id, row] of rows) {
      if (!held.has(String(row.scope))) rows.delete(id);
    }
  }

  #change(change) {
    const rows = this.table(change.entity_type);
    const known = rows.get(change.entity_id);
    // repeats are part of the contract: what is older than the copy is skipped
    if (known && change.server_version < known.server_version) return;
    if (change.operation !== 'delete') {
      const { data, server_version, scope, changed_by, fields } = change;
      if (!fields) rows.set(change.entity_id, { data, server_version, scope, changed_by });
      else if (known?.server_version === server_version - 1) rows.set(change.entity_id, { data: { ...known.data, ...data }, server_version, scope, changed_by });
      else if (known?.server_version !== server_version) throw new Error(`only fields of ${change.entity_type} ${change.entity_id}, and we hold version ${known?.server_version}`);
      return;
    }
    // a row that moved here carries the version of the tombstone it left in its old scope
    const arrived = change.reason === 'moved' && known && known.server_version === change.server_version && known.scope !== change.scope;
    if (!arrived) rows.delete(change.entity_id);
  }

  rows(entityType) {
    return [...this.table(entityType).values()].map((row) => row.data);
  }

  get(entityType, id) {
    return this.table(entityType).get(String(id))?.data;
  }
}

export class SyncClient {
  /** `token`: a string or a function that returns one; `join`: more members of the join payload; `tls`: what a wss: address needs. */
  constructor(url, token, { label = 'main', join = {}, device_id = randomUUID(), origin, tls = {}, heartbeat_ms = 30_000 } = {}) {
    this.token = typeof token === 'function' ? token : () => token;
    this.device_id = device_id;
    this.copy = new Copy();
    this.frames = []; // every text frame that came in, for tests that look for what must not be there
    this.events = [];
    this.batches = 0;
    this.sync_token = undefined;
    this.url = url;
    this.#label = label;
    this.#join = join;
    this.#origin = origin;
    this.#tls = tls;
    this.#heartbeat_ms = heartbeat_ms;
  }

  #label;
  #join;
  #origin;
  #tls;
  #heartbeat_ms;
  #session; // announced by `ready`, in force with the next batch
  #listeners = new Set();

  /** Opens the socket and joins; resolves with the reply's response once the first pull has been answered. */
  async connect() {
    const client = this;
    this.batches = 0;
    this.has_more = undefined;
    const headers = this.#origin ? { origin: this.#origin } : {};
    const options = { ...this.#tls, headers };
    class Transport extends WebSocket {
      constructor(address) {
        super(address, [], options);
        this.on('message', (data) => client.frames.push(data.toString()));
      }
    }
    this.socket = new Socket(this.url, { transport: Transport, reconnectAfterMs: () => 50, rejoinAfterMs: () => 100, timeout: 20_000, heartbeatIntervalMs: this.#heartbeat_ms });
    this.socket.onError(() => {});
    this.socket.onClose((event) => this.#emit('close', event));
    this.channel = this.socket.channel(`sync:${this.#label}`, () => this.#joinPayload());
    this.#listen();
    this.socket.connect();
    const joined = new Promise((resolve, reject) => {
      this.channel.join().receive('ok', (response) => {
        this.#announce(response.session);
        resolve(response);
      }).receive('error', (error) => {
        // the package tries again by itself, as it shall where a server has just started
        if (error.code !== 'unavailable') reject(Object.assign(new Error(error.reason), error));
      }).receive('timeout', () => reject(new Error('the join timed out')));
    });
    return within(25_000, `join of sync:${this.#label}`, joined);
  }

  #joinPayload() {
    return { access_token: this.token(), device_id: this.device_id, ...(this.sync_token ? { sync_token: this.sync_token } : {}), ...this.#join };
  }

  #listen() {
    this.channel.on('ready', ({ session }) => {
      this.#announce(session);
      this.#emit('ready', { session });
    });
    this.channel.on('changes', (batch) => {
      this.take(batch);
      this.#emit('changes', batch);
    });
    this.channel.on('resync', (payload) => this.#emit('resync', payload));
    this.channel.onError((reason) => this.#emit('phx_error', reason));
    this.channel.onClose((reason) => this.#emit('phx_close', reason));
  }

  // A new session part counts from the next batch on: with an older position it would claim rows that are still to come.
  #announce(session) {
    if (session) this.#session = session;
  }

  take(batch) {
    this.copy.apply(batch);
    this.batches++;
    if (batch.next_sync_token) this.sync_token = batch.next_sync_token;
    else if (batch.cursor && this.#session) this.sync_token = `${this.#session}.${batch.cursor}`;
    this.has_more = batch.has_more;
  }

  #emit(name, payload) {
    this.events.push({ name, payload });
    for (const listener of [...this.#listeners]) listener(name, payload);
  }

  onEvent(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Until the copy satisfies `condition`. */
  sees(what, condition, options) {
    return until(`the client sees ${what}`, () => condition(this.copy), options).catch((error) => {
      const last = this.frames.slice(-3).map((frame) => frame.slice(0, 500)).join('\n');
      throw new Error(`${error.message}\nlast frames:\n${last}`);
    });
  }

  /** Until the round that the join began has come to its end. */
  caughtUp() {
    return until('the first round ends', () => this.batches > 0 && this.has_more === false);
  }

  #ask(event, payload) {
    const answer = new Promise((resolve, reject) => {
      this.channel.push(event, payload).receive('ok', resolve).receive('error', (error) => reject(Object.assign(new Error(error.reason), error)))
        .receive('timeout', () => reject(new Error(`${event} timed out`)));
    });
    return within(25_000, event, answer);
  }

  /** Any other event that the reply answers: `lock`, `digest`, … */
  ask(event, payload) {
    return this.#ask(event, payload);
  }

  push(changes, more = {}) {
    return this.#ask('push', { changes, ...more });
  }

  /** One page over the socket, from our own token; it is applied. */
  async pull(more = {}) {
    const answer = await this.#ask('pull', { ...(this.sync_token ? { sync_token: this.sync_token } : {}), ...more });
    this.take(answer);
    return answer;
  }

  renew(access_token) {
    return this.#ask('access_token', { access_token });
  }

  /** Off line: the socket is closed, copy and token stay. */
  async disconnect() {
    if (!this.socket) return;
    const closed = new Promise((resolve) => this.socket.disconnect(resolve));
    await within(5_000, 'the socket closes', closed).catch(() => {});
    this.socket = undefined;
  }
}

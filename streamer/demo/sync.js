// sync.js - the demo's client: a copy of the rows, a queue of own edits, and a Phoenix channel between them and the server.
// SPDX-License-Identifier: PostgreSQL
import { Socket } from './phoenix.js';

const RETRY_MS = 1000;

/**
 * Keeps the notes of one person. What the page shows is the server's copy with the queued edits laid over it.
 * Events (all bubble up by one callback): 'state', 'rows', 'news', 'verdict'.
 */
export class SyncClient {
  constructor({ url, token, label, onEvent }) {
    this.url = url;
    this.token = token;
    this.label = label;
    this.emit = onEvent;
    this.device = crypto.randomUUID();
    this.rows = new Map(); // entity_id → { data, version, by, scope }
    this.queue = []; // edits not yet answered, oldest first
    this.state = 'offline';
    this.syncToken = undefined;
    this.session = undefined;
    this.firstRound = true;
  }

  // --- the connection -----------------------------------------------------------------------------

  goOnline() {
    if (this.socket) return;
    this.#setState('connecting');
    const socket = new Socket(this.url, { reconnectAfterMs: (tries) => Math.min(250 * tries, 3000), rejoinAfterMs: () => 1000 });
    const channel = socket.channel(`sync:${this.label}`, () => this.#joinPayload());
    socket.onClose(() => this.socket === socket && this.#setState('connecting'));
    channel.on('ready', ({ session }) => this.#announce(session));
    channel.on('changes', (batch) => this.#take(batch));
    channel.on('resync', () => this.emit('news', { text: 'The server asked for a fresh pull.' }));
    channel.join()
      .receive('ok', ({ session }) => this.#joined(session))
      .receive('error', ({ reason }) => this.emit('news', { text: `The server refused: ${reason}`, bad: true }));
    this.socket = socket;
    this.channel = channel;
    socket.connect();
  }

  goOffline() {
    const { socket } = this;
    this.socket = this.channel = undefined;
    this.#releaseInFlight();
    this.#setState('offline');
    if (socket) socket.disconnect();
  }

  #joinPayload() {
    return { access_token: this.token, device_id: this.device, ...(this.syncToken ? { sync_token: this.syncToken } : {}) };
  }

  #joined(session) {
    this.#announce(session);
    this.#releaseInFlight(); // what was sent on the lost connection is sent again: the server knows repeats by queue_id
    this.#setState('live');
    this.#flush();
  }

  // A new session part counts from the next batch on: with the older position it would claim rows still to come.
  #announce(session) {
    if (session) this.session = session;
  }

  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.emit('state', state);
  }

  // --- what comes in ------------------------------------------------------------------------------

  #take({ reset = [], withdrawn = [], changes = [], cursor, has_more }) {
    if (reset.length) this.rows.clear();
    for (const { keep } of withdrawn) this.#withdraw(new Set(keep.map(String)));
    for (const change of changes) this.#apply(change);
    if (cursor && this.session) this.syncToken = `${this.session}.${cursor}`;
    this.emit('rows');
    if (this.firstRound && has_more === false) {
      this.firstRound = false;
      this.emit('news', { text: `${this.rows.size} notes received.` });
    }
  }

  #withdraw(held) {
    for (const [id, row] of this.rows) if (!held.has(String(row.scope))) this.rows.delete(id);
  }

  #apply(change) {
    const known = this.rows.get(change.entity_id);
    if (known && change.server_version < known.version) return; // a repeat
    const repeated = known && change.server_version === known.version;
    if (change.operation === 'delete') {
      if (known) this.rows.delete(change.entity_id);
    } else {
      this.rows.set(change.entity_id, { data: change.data, version: change.server_version, by: change.changed_by, scope: change.scope });
    }
    if (!this.firstRound && !(repeated && change.operation !== 'delete') && (known || change.operation !== 'delete')) {
      this.emit('news', { change, before: known?.data });
    }
  }

  // --- what goes out ------------------------------------------------------------------------------

  /** The rows as this person sees them: own edits laid over the server's copy. */
  view() {
    const seen = new Map([...this.rows].map(([id, row]) => [id, { ...row.data, by: row.by }]));
    for (const edit of this.queue) {
      if (edit.operation === 'delete') seen.delete(edit.entity_id);
      else if (edit.operation === 'create' || seen.has(edit.entity_id)) seen.set(edit.entity_id, { ...seen.get(edit.entity_id), ...edit.data, waiting: true });
    }
    return [...seen].map(([id, row]) => ({ id, ...row })).sort((a, b) => (a.created_at < b.created_at ? -1 : a.created_at > b.created_at ? 1 : a.id < b.id ? -1 : 1));
  }

  create(data) {
    const id = crypto.randomUUID();
    this.#enqueue('create', id, { id, ...data });
    return id;
  }

  update(id, data) {
    this.#enqueue('update', id, data);
  }

  remove(id) {
    this.#enqueue('delete', id);
  }

  #enqueue(operation, id, data) {
    const timestamp = new Date().toISOString();
    const waiting = this.queue.find((edit) => edit.entity_id === id && !edit.inFlight);
    if (waiting && operation === 'update') {
      // base: what the row was before the first edit of it
      waiting.base = { ...this.#base(id, data), ...waiting.base };
      Object.assign(waiting, { data: { ...waiting.data, ...data }, timestamp });
    } else {
      if (waiting) this.queue.splice(this.queue.indexOf(waiting), 1);
      if (!(waiting?.operation === 'create' && operation === 'delete')) this.queue.push(this.#edit(operation, id, data, timestamp));
    }
    this.emit('rows');
    this.#flush();
  }

  #edit(operation, id, data, timestamp) {
    const known = this.rows.get(id);
    return {
      queue_id: crypto.randomUUID(),
      operation,
      entity_id: id,
      data,
      timestamp,
      title: known?.data.title, // for the page, not sent
      ...(known ? { local_version: known.version } : {}),
      ...(operation === 'update' ? { base: this.#base(id, data) } : {}),
    };
  }

  // The touched columns as the server last showed them.
  #base(id, data) {
    const known = this.rows.get(id)?.data ?? {};
    return Object.fromEntries(Object.keys(data ?? {}).filter((name) => name in known).map((name) => [name, known[name]]));
  }

  #releaseInFlight() {
    for (const edit of this.queue) edit.inFlight = false;
  }

  /** Sends what waits, one batch at a time. */
  #flush() {
    if (this.state !== 'live' || !this.queue.length || this.queue.some((edit) => edit.inFlight)) return;
    const { channel } = this;
    const batch = [...this.queue];
    for (const edit of batch) edit.inFlight = true;
    const changes = batch.map(({ inFlight, title, base, ...edit }) => ({ entity_type: 'note', ...edit, ...(base && Object.keys(base).length ? { base } : {}) }));
    channel.push('push', { device_id: this.device, changes })
      .receive('ok', ({ processed }) => this.channel === channel && this.#answered(batch, processed))
      .receive('error', ({ reason }) => this.channel === channel && this.#failed(reason))
      .receive('timeout', () => this.channel === channel && this.#failed('no answer in time'));
  }

  #answered(batch, processed) {
    let again = false;
    for (const verdict of processed) {
      const edit = batch.find((one) => one.queue_id === verdict.queue_id);
      if (!edit) continue;
      if (verdict.outcome === 'retry') {
        again = true;
        continue;
      }
      this.queue.splice(this.queue.indexOf(edit), 1);
      const before = this.rows.get(edit.entity_id);
      this.#settle(edit, verdict);
      this.emit('verdict', { edit, verdict, before: before?.data });
    }
    this.#releaseInFlight();
    this.emit('rows');
    if (again) setTimeout(() => this.#flush(), RETRY_MS);
    else this.#flush();
  }

  // The row as the server now has it; edits made meanwhile go on from there.
  #settle(edit, verdict) {
    const known = this.rows.get(edit.entity_id);
    const version = verdict.server_version;
    if (edit.operation === 'delete' && verdict.status === 'success') this.rows.delete(edit.entity_id);
    else if (verdict.data && version >= (known?.version ?? 0)) {
      this.rows.set(edit.entity_id, { data: verdict.data, version, by: verdict.status === 'success' ? this.label : (verdict.conflict_data?.changed_by ?? known?.by), scope: known?.scope ?? String(verdict.data.team_id) });
    }
    for (const later of this.queue) {
      if (later.entity_id === edit.entity_id && version) later.local_version = version;
    }
  }

  #failed(reason) {
    this.#releaseInFlight();
    this.emit('news', { text: `Sending failed: ${reason}. The edits stay in the queue.`, bad: true });
    setTimeout(() => this.#flush(), RETRY_MS);
  }
}

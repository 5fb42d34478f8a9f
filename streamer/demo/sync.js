// sync.js - the demo's client: copies of the rows, a queue of own edits, locks, and a Phoenix channel between them and the server.
// SPDX-License-Identifier: PostgreSQL
import { Socket } from './phoenix.js';

const RETRY_MS = 1000;
const LOCK_SECONDS = 20;
const LOCK_AGAIN_MS = 8000;
const TABLES = ['*', 'sync.lock']; // the application's, and who is editing what

/**
 * Keeps the notes of one person, the members of the team, and the locks. What the page shows is the server's copy with the queued edits laid over it.
 * Events (all bubble up by one callback): 'state', 'rows', 'news', 'verdict'.
 */
export class SyncClient {
  constructor({ url, token, label, onEvent }) {
    this.url = url;
    this.token = token;
    this.label = label;
    this.emit = onEvent;
    this.device = crypto.randomUUID();
    this.copies = new Map(); // entity type → Map of entity_id → { data, version, by, scope }
    this.held = new Map(); // place of a lock of ours → timer that extends it
    this.queue = []; // edits not yet answered, oldest first
    this.state = 'offline';
    this.syncToken = undefined;
    this.session = undefined;
    this.firstRound = true;
  }

  copy(type) {
    if (!this.copies.has(type)) this.copies.set(type, new Map());
    return this.copies.get(type);
  }

  get rows() {
    return this.copy('note');
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
    this.#dropLocks();
    this.socket = this.channel = undefined;
    this.#releaseInFlight();
    this.#setState('offline');
    if (socket) socket.disconnect();
  }

  #joinPayload() {
    return { access_token: this.token, device_id: this.device, tables: TABLES, ...(this.syncToken ? { sync_token: this.syncToken } : {}) };
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
    for (const type of reset) this.copy(type).clear();
    for (const { entity_type, keep } of withdrawn) this.#withdraw(entity_type, new Set(keep.map(String)));
    for (const change of changes) this.#apply(change);
    if (cursor && this.session) this.syncToken = `${this.session}.${cursor}`;
    this.emit('rows');
    if (this.firstRound && has_more === false) {
      this.firstRound = false;
      this.emit('news', { text: `${this.rows.size} notes received.` });
    }
  }

  #withdraw(type, held) {
    const copy = this.copy(type);
    const before = copy.size;
    for (const [id, row] of copy) if (!held.has(String(row.scope))) copy.delete(id);
    if (type === 'note' && copy.size < before) this.emit('news', { text: `No longer in the team: ${before - copy.size} notes are gone.`, bad: true });
  }

  #apply(change) {
    const copy = this.copy(change.entity_type);
    const known = copy.get(change.entity_id);
    if (known && change.server_version < known.version) return; // a repeat
    const repeated = known && change.server_version === known.version;
    if (change.operation === 'delete') {
      copy.delete(change.entity_id);
    } else {
      copy.set(change.entity_id, { data: change.data, version: change.server_version, by: change.changed_by, scope: change.scope });
    }
    if (change.entity_type === 'note' && !this.firstRound && !(repeated && change.operation !== 'delete') && (known || change.operation !== 'delete')) {
      this.emit('news', { change, before: known?.data });
    }
  }

  // --- what goes out ------------------------------------------------------------------------------

  /** The rows as this person sees them: own edits laid over the server's copy. */
  view() {
    const seen = new Map([...this.rows].map(([id, row]) => [id, { ...row.data, by: row.by }]));
    for (const edit of this.queue.filter(({ type }) => type === 'note')) {
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

  members() {
    return [...this.copy('member').values()].map(({ data }) => data).sort((a, b) => (a.user_id < b.user_id ? -1 : 1));
  }

  addMember(member) {
    this.#enqueue('create', JSON.stringify([member.user_id, String(member.team_id)]), member, 'member');
  }

  removeMember({ user_id, team_id }) {
    this.#enqueue('delete', JSON.stringify([user_id, String(team_id)]), undefined, 'member');
  }

  update(id, data) {
    this.#enqueue('update', id, data);
  }

  remove(id) {
    this.#enqueue('delete', id);
  }

  #enqueue(operation, id, data, type = 'note') {
    const timestamp = new Date().toISOString();
    const waiting = this.queue.find((edit) => edit.type === type && edit.entity_id === id && !edit.inFlight);
    if (waiting && operation === 'update') {
      // base: what the row was before the first edit of it
      waiting.base = { ...this.#base(id, data), ...waiting.base };
      Object.assign(waiting, { data: { ...waiting.data, ...data }, timestamp });
    } else {
      if (waiting) this.queue.splice(this.queue.indexOf(waiting), 1);
      if (!(waiting?.operation === 'create' && operation === 'delete')) this.queue.push(this.#edit(operation, id, data, timestamp, type));
    }
    this.emit('rows');
    this.#flush();
  }

  #edit(operation, id, data, timestamp, type) {
    const known = this.copy(type).get(id);
    return {
      type, // for the page, like title; sent as entity_type
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
    const changes = batch.map(({ inFlight, title, type, base, ...edit }) => ({ entity_type: type, ...edit, ...(base && Object.keys(base).length ? { base } : {}) }));
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
      const before = this.copy(edit.type).get(edit.entity_id);
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
    const copy = this.copy(edit.type);
    const known = copy.get(edit.entity_id);
    const version = verdict.server_version;
    if (edit.operation === 'delete' && verdict.status === 'success') copy.delete(edit.entity_id);
    else if (verdict.data && version >= (known?.version ?? 0)) {
      copy.set(edit.entity_id, { data: verdict.data, version, by: verdict.status === 'success' ? this.label : (verdict.conflict_data?.changed_by ?? known?.by), scope: known?.scope ?? String(verdict.data.team_id) });
    }
    for (const later of this.queue) {
      if (later.type === edit.type && later.entity_id === edit.entity_id && version) later.local_version = version;
    }
  }

  #failed(reason) {
    this.#releaseInFlight();
    this.emit('news', { text: `Sending failed: ${reason}. The edits stay in the queue.`, bad: true });
    setTimeout(() => this.#flush(), RETRY_MS);
  }

  // --- locks --------------------------------------------------------------------------------------

  /** Who else is editing a field: { holder } or undefined. */
  lockOf(id, field) {
    const now = Date.now();
    for (const { data } of this.copy('sync.lock').values()) {
      if (data.entity_type === 'note' && data.entity_id === id && (data.field === field || data.field === null) && data.holder !== this.label && Date.parse(data.expires_at) > now) return data;
    }
    return undefined;
  }

  /** Takes a field while it has the focus; without a connection nothing is locked. `refused` hears who was quicker. */
  lock(id, field, refused) {
    const place = `${id} ${field}`;
    if (this.state !== 'live' || this.held.has(place)) return;
    const ask = () => this.channel?.push('lock', { device_id: this.device, entity_type: 'note', entity_id: id, field, seconds: LOCK_SECONDS })
      .receive('ok', ({ success, lock }) => !success && refused(lock));
    this.held.set(place, setInterval(ask, LOCK_AGAIN_MS));
    ask();
  }

  unlock(id, field) {
    const place = `${id} ${field}`;
    if (!this.held.has(place)) return;
    clearInterval(this.held.get(place));
    this.held.delete(place);
    this.channel?.push('unlock', { device_id: this.device, entity_type: 'note', entity_id: id, field });
  }

  #dropLocks() {
    for (const place of [...this.held.keys()]) this.unlock(...place.split(' '));
  }
}

// ways.js - the ways out beside pull and stream: history, conflicts and their resolution, digests, broadcasts, presence; devices that are revoked, tokens that run out.
// SPDX-License-Identifier: PostgreSQL
//
// Each is taken now and then between two steps, when nobody else writes; what is written is a step of its own. Its draws are from a generator of its own, so that the
// steps of a kept seed stay what they were.
import { randomUUID } from 'node:crypto';
import { request } from '../../lib/http.js';
import { until } from '../../lib/wait.js';
import { Channel } from './receivers.js';
import { Room } from './rooms.js';
import { KEYS, usesClock } from './schema.js';

const GRACE_S = 30; // that a channel outlives its token
const LATE_S = 5; // the streamer looks once in a while
const BUCKETS = 4;

const usesTheClock = (table) => table.policies.some(({ expression }) => usesClock(expression('public')));

/** A channel whose token runs out, and that comes back with another when it was told. */
export class Expiring extends Channel {
  token() {
    this.expires ??= Math.floor(Date.now() / 1000) + 3;
    return this.arena.token({ ...this.subject.claims, exp: this.expires });
  }

  get #isOver() {
    return Date.now() / 1000 > this.expires + GRACE_S + LATE_S;
  }

  /** Of its events: it must have been told, and got nothing since. */
  async renewIfOver() {
    if (!this.#isOver) return;
    await until(`${this.who} is told that its token has run out`, () => this.client.events.some(({ name, payload }) => name === 'phx_error' && payload.reason === 'token_expired'), { limit_ms: 20_000 });
    this.client.events.length = 0;
    this.expires = Math.floor(Date.now() / 1000) + 3600;
    this.arena.tally.expired++;
    await until(`${this.who} is back`, () => this.client.channel.state === 'joined', { limit_ms: 20_000 });
  }

  /** Between the end of its token and the next one it is away. */
  differences() {
    return Date.now() / 1000 > this.expires ? [] : super.differences();
  }
}

export class Ways {
  sent = []; // {number, team, epoch}: broadcasts that were let through

  constructor(arena, random) {
    Object.assign(this, { arena, random });
    Object.assign(arena.tally, { histories: 0, digests: 0, resolutions: 0, broadcasts: 0, presences: 0, revocations: 0, expired: 0 });
  }

  async enter(subjects) {
    const { arena, random } = this;
    this.rooms = subjects.flatMap((subject) => arena.schema.teams.filter(() => random.chance(0.5)).map((team) => new Room(arena, subject, team)));
    this.expiring = [new Expiring(arena, random.pick(subjects), 'a channel whose token runs out')];
    await Promise.all([...this.rooms, ...this.expiring].map((receiver) => receiver.start()));
    return [...this.rooms, ...this.expiring];
  }

  /** The kind of what was written, undefined for nothing. */
  async any() {
    const draw = this.random.next();
    if (draw < 0.3) return this.history();
    if (draw < 0.5) return this.resolve();
    if (draw < 0.65) return this.digest();
    if (draw < 0.8) return this.broadcast();
    if (draw < 0.92) return this.presence();
    return this.revoke();
  }

  #key(table) {
    const id = 1 + this.random.below(KEYS);
    return table.key === 'pair' ? JSON.stringify([String(id), 'x']) : String(id);
  }

  // ---- calls -----------------------------------------------------------------------------------------------------

  /** Of a row in sight, or of one that is gone whose last scope value is held: readable columns only. */
  async history() {
    const { arena, random } = this;
    const { oracle } = arena;
    const caller = random.pick(arena.callers);
    const table = random.pick(arena.schema.tables.filter((one) => one.history).concat(random.pick(arena.schema.tables)));
    const key = this.#key(table);
    const text = await caller.sql(`SELECT version, fields, old_data, data FROM sync.history('public.${table.name}', '${key}')`, { loose: true });
    arena.tally.histories++;
    if (!text.startsWith('[{')) return undefined;
    const living = oracle.living.get(`${table.name}/${key}`);
    const { subject } = caller;
    if (living && !usesTheClock(table) && !oracle.saw(subject, living, [], oracle.epoch, oracle.epoch)) arena.leak(`${caller.who}: history of ${table.name} (${table.kind}) ${key}, which is out of sight (epoch ${oracle.epoch})`);
    const { sets } = subject.columns.at(-1);
    for (const { fields, old_data, data } of JSON.parse(text)) {
      for (const name of [...fields, ...Object.keys(old_data ?? {}), ...Object.keys(data ?? {})]) {
        if (!name.startsWith('sync_') && !sets[table.name]?.has(name)) arena.leak(`${caller.who}: history of ${table.name} with ${name}, which may not be read (epoch ${oracle.epoch})`);
      }
    }
    return undefined;
  }

  async resolve() {
    const { arena, random } = this;
    const caller = random.pick(arena.callers);
    const conflicts = JSON.parse(await arena.as(caller.subject.claims, 'SELECT conflict_id, entity_type FROM sync.conflicts(false) LIMIT 20'));
    const list = await caller.sql("SELECT 'sync.conflict' AS source, c.* FROM sync.conflicts(false) c LIMIT 20");
    if (!conflicts.length || !list.startsWith('[')) return undefined;
    const { conflict_id } = random.pick(conflicts);
    const resolution = random.pick(['keep_local', 'keep_server', 'merge', 'keep_both']);
    const answer = await caller.post('resolve_conflict', { conflict_id, resolution, ...(resolution === 'merge' ? { merged_data: { a: arena.newToken({ by: caller.subject.sub }) } } : {}) });
    if (answer.status >= 500) arena.failures.push(`${caller.who}: resolve_conflict answered ${answer.status} ${answer.text}`);
    arena.tally.resolutions++;
    return 'resolve';
  }

  /** With repair of everything: its rows and keys are judged like a pull's, and its counts are what the oracle counts. */
  async digest() {
    const { arena, random } = this;
    const { oracle } = arena;
    const receiver = random.pick([...arena.channels, ...arena.pullers].filter((one) => one.cut === undefined));
    const tables = arena.schema.tables.filter((table) => !usesTheClock(table));
    if (!tables.length || !receiver.sync_token && !receiver.client?.sync_token) return undefined;
    const answer = await receiver.digest({ buckets: BUCKETS, tables: tables.map(({ name }) => name), repair: Object.fromEntries(tables.map(({ name }) => [name, [0, 1, 2, 3]])) }).catch(() => undefined);
    if (!answer?.tables) return undefined; // the table was taken from its role, the channel is on its way back
    arena.tally.digests++;
    for (const { entity_type, stale, count, changes = [], keys = [] } of answer.tables) {
      const expected = oracle.expected(receiver.subject, entity_type);
      receiver.batch({ changes });
      const hidden = keys.filter((key) => !expected.has(key) && !receiver.views.some(({ subject }) => [...subject.now].some((image) => image.table === entity_type && image.id === key)));
      if (hidden.length) arena.leak(`${receiver.who}: the digest of ${entity_type} names ${hidden}, out of sight (epoch ${oracle.epoch})`);
      if (!stale && receiver.views.length === 1 && count !== expected.size) arena.failures.push(`${receiver.who}: the digest of ${entity_type} counts ${count} rows, not ${expected.size} (epoch ${oracle.epoch})`);
    }
    return undefined;
  }

  // ---- topics ----------------------------------------------------------------------------------------------------

  async broadcast() {
    const { arena, random } = this;
    const room = random.pick(this.rooms);
    const { team } = room;
    const token = arena.newToken({ team });
    const how = random.pick(['sql', 'http', 'client']);
    const note = () => this.sent.push({ number: token.slice(1, -1), team, epoch: arena.oracle.epoch + 1 });
    arena.tally.broadcasts++;
    if (how === 'sql') {
      await arena.write(`SELECT sync.broadcast('team:${team}', 'e', '{"t":"${token}"}')`);
      note();
    } else if (how === 'http') {
      const { status, text } = await request(`${arena.streamer.url}/api/broadcast`, { token: room.token(), body: { messages: [{ topic: `team:${team}`, event: 'e', payload: { t: token }, private: true }] } });
      const may = room.heldSince(arena.oracle.epoch);
      if (status === 202) note();
      if (status === 202 && !may) arena.leak(`${room.who}: sent a broadcast without a right (epoch ${arena.oracle.epoch})`);
      if (status !== 202 && (may || status !== 403)) arena.failures.push(`${room.who}: the broadcast was answered ${status} ${text} (epoch ${arena.oracle.epoch})`);
    } else room.say('broadcast', { type: 'broadcast', event: 'e', payload: { t: token } });
    return 'broadcast';
  }

  async presence() {
    const { arena, random } = this;
    const room = random.pick(this.rooms);
    if (room.say('presence', random.chance(0.7) ? { event: 'track', payload: { t: arena.newToken({ team: room.team }) } } : { event: 'untrack' })) arena.tally.presences++;
    return undefined;
  }

  // ---- devices ---------------------------------------------------------------------------------------------------

  /** What is committed after it must not reach the device; see `cut` in judge.js. */
  async revoke() {
    const { arena, random } = this;
    const receiver = random.pick([...arena.channels, ...arena.pullers]);
    if (receiver.cut !== undefined) return undefined;
    const { sub, claims } = receiver.subject;
    await arena.post('push', claims, { device_id: receiver.device, changes: [] }); // a device is known by its first push
    const known = await arena.database.value('SELECT count(*)::int FROM sync.device WHERE user_id = $1 AND device_id = $2', [sub, receiver.device]);
    if (!known) return undefined;
    await arena.write(`SELECT sync.revoke_device('${receiver.device}', '${sub}')`);
    receiver.cut = arena.oracle.epoch + 1; // the look that follows
    arena.tally.revocations++;
    return 'revoke';
  }

  /** Whoever was cut off comes back as another device. */
  async restore() {
    const { arena } = this;
    for (const receiver of [...arena.channels, ...arena.pullers]) {
      if (receiver.cut === undefined) continue;
      if (receiver.client) await this.#restoreChannel(receiver);
      else {
        const { status, text } = await arena.post('pull', receiver.subject.claims, { device_id: receiver.device, sync_token: receiver.sync_token });
        if (status !== 403) arena.leak(`${receiver.who}: the pull of a revoked device was answered ${status} ${text.slice(0, 200)}`);
        receiver.device = randomUUID();
      }
      receiver.cut = undefined;
    }
    for (const receiver of this.expiring) await receiver.renewIfOver();
    await Promise.all(this.rooms.map((room) => room.visit()));
  }

  async #restoreChannel(receiver) {
    const { client } = receiver;
    const isTold = ({ name, payload }) => name === 'phx_error' && payload.reason === 'device_revoked';
    await until(`${receiver.who} is told that its device is revoked`, () => client.events.some(isTold), { limit_ms: 20_000 });
    receiver.judgeNow();
    client.events.length = 0;
    receiver.device = client.device_id = randomUUID();
    receiver.cut = undefined;
    await until(`${receiver.who} is back`, () => client.channel.state === 'joined', { limit_ms: 20_000 });
  }
}

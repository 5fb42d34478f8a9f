// supabase.js - the unmodified @supabase clients against our streamer, and what they were told.
// SPDX-License-Identifier: PostgreSQL
import { RealtimeClient } from '@supabase/realtime-js';
import WebSocket from 'ws';
import { until } from './wait.js';

/** A RealtimeClient of this user. `token`: what it sets as its token (default: one of the user's; null: none); `key`: its API key. */
export async function realtime(world, sub, { key = 'anon-key-of-no-meaning', token, claims, prefix = '/realtime/v1', ...options } = {}) {
  const client = new RealtimeClient(`ws://127.0.0.1:${world.streamer.port}${prefix}`, {
    params: { apikey: key },
    transport: WebSocket,
    reconnectAfterMs: () => 50,
    ...options,
  });
  world.clients.push(client);
  if (token !== null) await client.setAuth(token ?? world.streamer.token(sub, claims));
  return client;
}

/** A channel with what it was told: `statuses`, `events` (postgres_changes), `systems`. `bindings`: filters of postgres_changes. */
export class Channel {
  constructor(client, name, bindings = [], config = {}) {
    this.channel = client.channel(name, { config });
    this.statuses = [];
    this.errors = [];
    this.events = [];
    this.systems = [];
    bindings.forEach((binding, index) => {
      this.channel.on('postgres_changes', binding, (payload) => this.events.push({ index, ...payload }));
    });
    this.channel.on('system', {}, (payload) => this.systems.push(payload));
  }

  start() {
    this.channel.subscribe((status, error) => {
      this.statuses.push(status);
      if (error) this.errors.push(error.message);
    });
    return this;
  }

  async subscribe() {
    this.start();
    await this.status('SUBSCRIBED');
    return this;
  }

  /** Until this status was reported so often. */
  status(name, times = 1, limit_ms = 20_000) {
    return until(`the channel is ${name}`, () => this.statuses.filter((status) => status === name).length >= times, { limit_ms })
      .catch((error) => { throw new Error(`${error.message}; it said ${this.statuses} ${this.errors}`); });
  }

  sees(what, condition) {
    return until(`the channel sees ${what}`, () => this.events.some(condition), { limit_ms: 15_000 })
      .catch((error) => { throw new Error(`${error.message}; it saw ${JSON.stringify(this.events).slice(0, 2000)}`); });
  }

  system(condition) {
    return until('a system message', () => this.systems.find(condition), { limit_ms: 15_000 })
      .catch((error) => { throw new Error(`${error.message}; it saw ${JSON.stringify(this.systems)}`); });
  }
}

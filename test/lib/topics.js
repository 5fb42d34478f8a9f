// topics.js - what tests of broadcast and presence start from: topics of the teams of world.js, and what a channel heard.
// SPDX-License-Identifier: PostgreSQL
import { Channel, realtime } from './supabase.js';
import { until } from './wait.js';
import { NOTES } from './world.js';

/** Members of a team may join, send and be present in team:<id>; news:<id> they may only hear. */
export const TOPICS = `${NOTES}
SELECT sync.allow_topic('team:{team}', $$ EXISTS (SELECT FROM public.member m WHERE m.team_id = {team}::int AND m.user_id = sync.user_id()) $$);
SELECT sync.allow_topic('news:{team}', $$ EXISTS (SELECT FROM public.member m WHERE m.team_id = {team}::int AND m.user_id = sync.user_id()) $$, '{join}');
`;

/** A client of each of these users, gone when the test ends, however it does. `options`: of realtime(). */
export async function people(t, world, names, options) {
  const clients = await Promise.all(names.map((name) => realtime(world, name, options)));
  t.after(() => Promise.all(clients.map((client) => client.disconnect())));
  return clients;
}

/** A channel of Supabase's client that keeps what was broadcast to it and who is present. */
export class Room extends Channel {
  constructor(client, name, config = {}, { presence = false } = {}) {
    super(client, name, [], { private: true, ...config });
    this.heard = []; // {event, payload} as they came
    this.presences = []; // what happened: sync, join and leave
    this.channel.on('broadcast', { event: '*' }, ({ event, payload }) => this.heard.push({ event, payload }));
    if (!presence) return;
    this.channel.on('presence', { event: 'sync' }, () => this.presences.push({ event: 'sync' }));
    for (const event of ['join', 'leave']) {
      this.channel.on('presence', { event }, ({ key, newPresences, leftPresences }) => this.presences.push({ event, key, metas: newPresences ?? leftPresences }));
    }
  }

  send(event, payload) {
    return this.channel.send({ type: 'broadcast', event, payload });
  }

  /** Until this event was heard; its payload. */
  async hears(event) {
    await until(`the room hears ${event}`, () => this.heard.some((message) => message.event === event), { limit_ms: 15_000 })
      .catch((error) => { throw new Error(`${error.message}; it heard ${JSON.stringify(this.heard)}`); });
    return this.heard.find((message) => message.event === event).payload;
  }

  /** Keys present, each with its metas but for their refs. */
  present() {
    const state = Object.entries(this.channel.presenceState());
    return Object.fromEntries(state.map(([key, metas]) => [key, metas.map(({ presence_ref, ...meta }) => meta)]).sort());
  }

  seesPresent(what, condition) {
    return until(`the room sees ${what}`, () => condition(this.present()), { limit_ms: 30_000 })
      .catch((error) => { throw new Error(`${error.message}; it saw ${JSON.stringify(this.present())}`); });
  }
}

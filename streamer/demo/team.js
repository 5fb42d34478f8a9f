// team.js - who of the team is here, and who is typing where: presence and broadcast on the team's private topic, beside the notes.
// SPDX-License-Identifier: PostgreSQL
import { Presence } from './phoenix.js';

const TYPING_MS = 2500; // a sign of typing is good for so long
const TYPING_AGAIN_MS = 1000;

/** One person's place in the topic of a team, over the socket of their SyncClient. */
export class Team {
  /** onChange() is called whenever `here` or `typing` has changed. */
  constructor({ client, person, onChange }) {
    this.client = client;
    this.person = person;
    this.onChange = onChange;
    this.here = new Set(); // users
    this.typing = new Map(); // place → { user, timer }
    this.toldAt = 0;
  }

  /** After the client's socket was made. */
  join() {
    this.leave();
    const { sub, team, token } = this.person;
    const config = { private: true, broadcast: { self: false }, presence: { key: sub, enabled: true }, postgres_changes: [] };
    const channel = this.client.socket.channel(`realtime:team:${team}`, { access_token: token, config });
    const presence = new Presence(channel);
    presence.onSync(() => this.#showHere(presence.list((user) => user)));
    channel.on('broadcast', ({ event, payload }) => event === 'typing' && this.#hear(payload));
    channel.onClose(() => this.#showHere([])); // left, or shown the door
    channel.onError(() => this.#showHere([]));
    channel.join().receive('ok', () => channel.push('presence', { type: 'presence', event: 'track', payload: { since: Date.now() } }));
    this.channel = channel;
  }

  /** The server closes the topic of somebody who is no longer in the team. */
  get isClosed() {
    return this.channel?.state === 'closed';
  }

  leave() {
    this.channel?.leave();
    this.channel = undefined;
    this.#showHere([]);
  }

  #showHere(users) {
    this.here = new Set(users);
    this.onChange();
  }

  /** Tells the others that a field is being typed in, at most once a second. */
  tell(id, field) {
    if (!this.channel?.joinedOnce || Date.now() - this.toldAt < TYPING_AGAIN_MS) return;
    this.toldAt = Date.now();
    this.channel.push('broadcast', { type: 'broadcast', event: 'typing', payload: { user: this.person.sub, id, field } });
  }

  #hear({ user, id, field }) {
    const place = `${id} ${field}`;
    clearTimeout(this.typing.get(place)?.timer);
    const timer = setTimeout(() => {
      this.typing.delete(place);
      this.onChange();
    }, TYPING_MS);
    this.typing.set(place, { user, timer });
    this.onChange();
  }

  typingIn(id, field) {
    return this.typing.get(`${id} ${field}`)?.user;
  }
}

// rooms.js - a private topic as one subject: broadcasts and presence reach whoever may be there, and nobody else once all has settled.
// SPDX-License-Identifier: PostgreSQL
import { RawSocket } from '../../lib/raw.js';
import { Receiver, tokensIn } from './receivers.js';

export class Room extends Receiver {
  heard = new Set(); // numbers
  isJoined = false;
  #texts = [];

  constructor(arena, subject, team) {
    super(arena, subject, `the topic team:${team}`);
    this.team = team;
  }

  /** Did it hold the team at some moment since then? */
  heldSince(epoch) {
    return this.arena.oracle.held(this.subject, 'team', this.team, epoch, this.arena.oracle.epoch);
  }

  get #isHeld() {
    return this.heldSince(this.arena.oracle.epoch);
  }

  async start() {
    this.raw = await RawSocket.open(this.arena.streamer, { path: '/realtime/v1/websocket?apikey=x&vsn=2.0.0' });
    this.raw.ws.on('message', (data) => {
      this.#texts.push(data.toString());
      this.#message(JSON.parse(data.toString()));
    });
    await this.visit();
    return this;
  }

  #message([, , , event, payload]) {
    if (event === 'phx_close' || event === 'phx_error') this.isJoined = false;
    if (event !== 'broadcast') return;
    for (const number of tokensIn(JSON.stringify(payload))) this.heard.add(number);
  }

  /** Whoever is out tries to come in: that goes by the rights of this moment, as nobody writes meanwhile. */
  async visit() {
    if (this.isJoined) return;
    const { status, response } = await this.raw.ask(`realtime:team:${this.team}`, 'phx_join', { access_token: this.token(), config: { private: true, broadcast: { self: true }, presence: { enabled: true, key: this.subject.sub } } });
    this.isJoined = status === 'ok';
    if (this.isJoined) this.from = this.arena.oracle.epoch + 1;
    if (this.isJoined && !this.#isHeld) this.arena.leak(`${this.who}: joined without a right (epoch ${this.arena.oracle.epoch})`);
    if (!this.isJoined && !/Unauthorized/.test(response.reason)) this.arena.failures.push(`${this.who}: ${response.reason}`);
  }

  /** What may be refused is not waited for. */
  say(event, payload) {
    if (this.isJoined) this.raw.send(JSON.stringify(['1', `s${this.arena.next()}`, `realtime:team:${this.team}`, event, payload]));
    return this.isJoined;
  }

  texts() {
    return this.#texts.splice(0).map((text) => ({ text }));
  }

  differences() {
    const { oracle, ways } = this.arena;
    if (this.isJoined !== this.#isHeld) return [this.isJoined ? 'is still joined' : 'cannot be joined'];
    if (!this.isJoined) return [];
    const isSteady = (since) => !this.subject.holdings.some(({ from, held }, i) => (this.subject.holdings[i + 1]?.from ?? Infinity) > since && from <= oracle.epoch && !held.team.map(String).includes(String(this.team)));
    return ways.sent.filter(({ number, team, epoch }) => team === this.team && epoch >= this.from && isSteady(this.from) && !this.heard.has(number)).map(({ number }) => `broadcast ~${number}~ did not come`);
  }

  async stop() {
    this.raw?.close();
  }
}

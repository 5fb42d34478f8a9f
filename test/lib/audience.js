// audience.js - those who must hear of it when the server under them is not what it was: live on two streamers, off line with a token, and Supabase's client.
// SPDX-License-Identifier: PostgreSQL
import { differences, expectedRows } from './expected.js';
import { Streamer } from './streamer.js';
import { Channel, realtime } from './supabase.js';
import { until } from './wait.js';

const LIMIT_MS = 30_000; // only turns a hang into a message: the figures are printed

export class Audience {
  /** All see every note of teams 1 and 2, and hold all that is there now. `two`: also on a second streamer. */
  static async gather(world, { two = true, supabase = true } = {}) {
    const audience = new Audience();
    audience.world = world;
    try {
      await audience.#gather({ two, supabase });
    } catch (error) {
      await audience.leave().catch(() => {});
      throw error;
    }
    return audience;
  }

  async #gather({ two, supabase }) {
    const { world } = this;
    await world.streamer.ready(); // the server may have been started again
    await world.sql("INSERT INTO member SELECT 'all', i FROM generate_series(1, 2) i ON CONFLICT DO NOTHING");
    if (two) {
      this.second = await Streamer.start(world.streamer.database, world.streamer.options, { secret: world.streamer.secret });
      this.other = await this.#join(this.second);
    }
    this.live = await this.#join(world.streamer);
    this.offline = await this.#join(world.streamer);
    await this.offline.disconnect();
    if (supabase) {
      this.supabase = await realtime(world, 'all');
      this.channel = await new Channel(this.supabase, 'changes', [{ event: '*', schema: 'public', table: 'note' }]).subscribe();
    }
  }

  async #join(streamer) {
    const client = this.world.client('all');
    client.url = streamer.socketUrl;
    await client.connect();
    await client.caughtUp();
    client.marks = [];
    return client;
  }

  get online() {
    return [this.live, this.other].filter(Boolean);
  }

  /** A note that everybody on line has seen, and the moment they have. */
  async seesNote(title) {
    const id = await this.world.addNote(1, title);
    await Promise.all(this.online.map((client) => client.sees(`"${title}"`, (copy) => copy.get('note', id))));
    return id;
  }

  /** From here on it counts who is told. */
  mark() {
    for (const client of [...this.online, this.offline]) client.marks = [client.events.length];
    this.said = this.channel?.statuses.length;
    this.since = Date.now();
  }

  /** Whether a client was told to start anew, or to pull, since the mark. */
  wasTold(client) {
    return client.events.slice(client.marks[0]).some(({ name, payload }) => name === 'resync' || (name === 'changes' && payload.reset?.includes('note')));
  }

  async #missing(client) {
    return differences(client.copy.table('note'), await expectedRows(this.world.database, 'note'));
  }

  async #endsEqual(who, client) {
    let missing = ['nothing was compared yet'];
    await until(`${who} equals the table`, async () => (missing = await this.#missing(client)).length === 0, { limit_ms: LIMIT_MS, every_ms: 50 }).catch((error) => {
      throw new Error(`${error.message}:\n${missing.slice(0, 5).join('\n')}`);
    });
    return (Date.now() - this.since) / 1000;
  }

  /**
   * Everybody on line comes to hold the table, the one off line too once it is back, and a new note reaches all. `told`: they must have heard a resync or a
   * reset; without it the change is one that the stream may carry across by itself. Prints how long it took from the mark; the longest, in seconds.
   */
  async endsRight(what, { told = true, prints = true } = {}) {
    const name = (client) => (client === this.live ? 'the live client' : "the second streamer's client");
    if (told) await Promise.all(this.online.map((client) => until(`${name(client)} is told`, () => this.wasTold(client), { limit_ms: LIMIT_MS })));
    const took = await Promise.all(this.online.map((client) => this.#endsEqual(name(client), client)));
    if (told && this.channel) await until("Supabase's client is told", () => this.channel.statuses.length > this.said, { limit_ms: LIMIT_MS });
    await this.offline.connect();
    took.push(await this.#endsEqual('the client that was off line', this.offline));
    await this.offline.disconnect();
    await this.goesOn(what);
    if (prints) console.log(`${what}: right after ${took.map((seconds) => seconds.toFixed(1)).join(', ')} s`);
    return Math.max(...took);
  }

  /** The stream flows again, to everybody. */
  async goesOn(what) {
    await this.seesNote(`live after: ${what}`);
    if (!this.channel) return;
    await until("Supabase's channel is joined", () => this.channel.channel.state === 'joined', { limit_ms: LIMIT_MS });
    const seen = await this.world.addNote(1, `to Supabase's client after: ${what}`);
    await this.channel.sees('it', ({ new: row }) => row.id === seen);
  }

  async leave() {
    await this.supabase?.disconnect();
    for (const client of [...this.online, this.offline].filter(Boolean)) await client.disconnect();
    await this.second?.stop();
  }
}

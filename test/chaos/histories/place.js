// place.js - where histories happen: a database with two streamers, a decoder each, and lines that can be broken; made anew for each, or used by several in turn.
// SPDX-License-Identifier: PostgreSQL
import { Streamer } from '../../lib/streamer.js';
import { until } from '../../lib/wait.js';
import { Proxy } from './proxy.js';
import { AGAIN } from './schema.js';

const SOCKET = '.s.PGSQL.54329';
const OPTIONS = {
  'verify-interval': 1, 'max-requests-per-second': 0, 'max-joins-per-second': 0, 'max-clients-per-user': 0, 'max-clients-per-address': 0, 'max-messages-per-second': 1000,
};

export class Place {
  gates = []; // between clients and streamers
  lines = []; // between streamers and the server
  streamers = [];
  left = new Map(); // user → { copy, token } of one of the last history's clients
  used = 0;

  /** `admin(sql)`: outside the place's own database. */
  static async open(server, admin, name) {
    const place = Object.assign(new Place(), { server, admin, name });
    try {
      await place.#open();
    } catch (error) {
      await place.close().catch(() => {});
      throw error;
    }
    return place;
  }

  async #open() {
    this.database = await this.server.createDatabase(this.name, { template: 'base' });
    for (let i = 0; i < 2; i++) this.lines.push(await Proxy.socket(this.server.socket, SOCKET));
    this.secret = (await this.#streamer(0, 'wal2json')).secret;
    await this.#streamer(1, 'pgoutput');
    await Promise.all(this.streamers.map((streamer) => streamer.ready()));
    for (const streamer of this.streamers) this.gates.push(await Proxy.tcp(streamer.port));
  }

  async #streamer(number, plugin) {
    const conninfo = (user) => `host=${this.lines[number].directory} port=54329 dbname=${this.name} user=${user}`;
    const streamer = await Streamer.start({ conninfo }, { ...OPTIONS, plugin }, { secret: this.secret, ready: false });
    this.streamers.push(streamer);
    return streamer;
  }

  /** For the next history: the tables as they were made, by whatever this takes of deletions and DDL; what was deleted, decided and logged before stays known. */
  async use() {
    if (!this.used++) return;
    // a streamer may be reading the tables, and be the one who goes on
    await until('the tables are as they were made', () => this.database.sql(AGAIN).then(() => true, (error) => {
      if (error.code !== '40P01') throw error;
    }));
  }

  async close() {
    await Promise.all(this.streamers.map((streamer) => streamer.stop()));
    for (const proxy of [...this.gates, ...this.lines]) await proxy.close();
    await this.database?.pool.end().catch(() => {});
    // a walsender outlives its streamer for a moment, and its slot forbids the drop
    await until(`no slot is left in ${this.name}`, async () => (await this.admin(`SELECT FROM pg_replication_slots WHERE database = '${this.name}'`)).length === 0, { every_ms: 50 });
    await this.admin(`DROP DATABASE IF EXISTS ${this.name} WITH (FORCE)`);
  }
}

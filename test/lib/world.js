// world.js - what most end-to-end tests start from: a server, a database of notes shared by teams, a streamer, and its users.
// SPDX-License-Identifier: PostgreSQL
import { Address } from './copies.js';
import { Postgres } from './postgres.js';
import { Streamer } from './streamer.js';
import { SyncClient } from './client.js';
import { request } from './http.js';

/** Two teams: ada and ben in 1, cleo in 2. Policies as an owner would write them; the scope says the same. */
export const NOTES = `
CREATE ROLE app NOLOGIN;
GRANT app TO sync_query;
CREATE TABLE member (user_id text NOT NULL, team_id int NOT NULL, PRIMARY KEY (user_id, team_id));
CREATE TABLE note (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  team_id int NOT NULL,
  title text NOT NULL CHECK (length(title) <= 200),
  body text NOT NULL DEFAULT '',
  done boolean NOT NULL DEFAULT false
);
GRANT SELECT ON member TO app;
GRANT SELECT, INSERT, UPDATE, DELETE ON note TO app;
ALTER TABLE member ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_memberships ON member FOR SELECT TO app USING (user_id = sync.user_id());
ALTER TABLE note ENABLE ROW LEVEL SECURITY;
CREATE POLICY notes_of_my_teams ON note TO app
  USING (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()))
  WITH CHECK (team_id IN (SELECT m.team_id FROM member m WHERE m.user_id = sync.user_id()));
SELECT sync.create_scope('team', 'SELECT m.team_id FROM public.member m WHERE m.user_id = sync.user_id()', watch => '{public.member.user_id}');
SELECT sync.enable('note', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
INSERT INTO member VALUES ('ada', 1), ('ben', 1), ('cleo', 2);
`;

export class World {
  /** `schema`: SQL run by the owner before the streamer starts; `options`: the streamer's; `settings`: PostgreSQL's; `movable`: the streamer knows the server by an address, see moveTo. */
  static async start({ schema = NOTES, options = {}, settings = {}, tcp = false, fsync = false, movable = false } = {}) {
    const world = new World();
    try {
      world.server = await Postgres.start({ settings, tcp, fsync });
      world.database = await world.server.createDatabase('app');
      world.server.psql('app', ['-f', '-'], schema);
      if (movable) world.address = new Address(world.server);
      world.streamer = await Streamer.start(world.address?.of('app') ?? world.database, options);
    } catch (error) {
      await world.stop().catch(() => {});
      throw error;
    }
    return world;
  }

  clients = [];

  /** A client of this user, connected and caught up. */
  async join(sub, options = {}) {
    const client = this.client(sub, options);
    await client.connect();
    await client.caughtUp();
    return client;
  }

  client(sub, { claims, ...options } = {}) {
    const client = new SyncClient(this.streamer.socketUrl, () => this.streamer.token(sub, claims), options);
    client.sub = sub;
    this.clients.push(client);
    return client;
  }

  /** POST /api/v1/sync/<name> as this user. */
  async post(name, sub, body, { claims, ...options } = {}) {
    return request(`${this.streamer.url}/api/v1/sync/${name}`, { token: this.streamer.token(sub, claims), body, ...options });
  }

  /** From now on `server` is the one. The other goes on, or not, with its caller. */
  moveTo(server) {
    this.address.pointTo(server);
    this.server = server;
    this.database = server.database('app');
  }

  sql(text, values) {
    return this.database.sql(text, values);
  }

  value(text, values) {
    return this.database.value(text, values);
  }

  /** An id of a new note, written by plain SQL. */
  addNote(team, title, body = '') {
    return this.value('INSERT INTO note (team_id, title, body) VALUES ($1, $2, $3) RETURNING id', [team, title, body]);
  }

  async stop() {
    for (const client of this.clients) await client.disconnect();
    try {
      if (this.streamer) await this.streamer.stop();
    } finally {
      if (this.server) await this.server.stop();
    }
  }
}

/** All pages of a pull over HTTP, applied to `copy`; the last answer. */
export async function pullAll(world, sub, copy, { sync_token, device_id = 'device-of-the-test', claims, ...more } = {}) {
  const answers = [];
  for (;;) {
    const answer = await world.post('pull', sub, { device_id, ...(sync_token ? { sync_token } : {}), ...more }, { claims });
    if (answer.status !== 200) throw new Error(`pull answered ${answer.status}: ${answer.text}`);
    copy.apply(answer.json);
    answers.push(answer.json);
    sync_token = answer.json.next_sync_token;
    if (!answer.json.has_more) return { answers, sync_token };
  }
}

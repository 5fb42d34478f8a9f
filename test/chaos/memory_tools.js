// memory_tools.js - what the steps of plays/memory_failures.js share: its database, its files, sockets and requests that end when the streamer does.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { RawSocket } from '../lib/raw.js';
import { request } from '../lib/http.js';
import { TOPICS } from '../lib/topics.js';
import { jwkOf, makeKey } from '../lib/token.js';
import { isRunning } from '../lib/process.js';
import { until } from '../lib/wait.js';

export const SCHEMA = `${TOPICS}
INSERT INTO member VALUES ('eve', 1);
CREATE TABLE paper (id int PRIMARY KEY, owner text NOT NULL, title text NOT NULL, n numeric DEFAULT 1.5, at timestamptz DEFAULT now(), yes boolean DEFAULT true);
GRANT SELECT, INSERT, UPDATE, DELETE ON paper TO app;
ALTER TABLE paper ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON paper TO app USING (owner = sync.user_id());
SELECT sync.enable('paper');
CREATE TABLE part (id int PRIMARY KEY, title text) PARTITION BY RANGE (id);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (1000000000);
GRANT SELECT ON part TO app;
SELECT sync.enable('part');
CREATE TABLE secretive (id int PRIMARY KEY, title text, hidden text, owner text);
ALTER TABLE secretive REPLICA IDENTITY FULL;
GRANT SELECT (id, title, owner) ON secretive TO app;
ALTER TABLE secretive ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secretive TO app USING (owner = sync.user_id());
SELECT sync.enable('secretive');
`;

export const keys = ['RS256', 'ES256', 'HS256'].map((alg) => makeKey(alg, `kid-${alg}`));

/** Files beside the streamer's secret: keys, certificate. */
export function makeFiles(directory) {
  const place = (name) => path.join(directory, name);
  writeFileSync(place('jwks.json'), JSON.stringify({ keys: keys.map(jwkOf) }));
  writeFileSync(place('metrics'), 'm'.repeat(40), { mode: 0o600 });
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=test', '-keyout', place('key'), '-out', place('crt')], { stdio: 'pipe' });
  return { jwks: place('jwks.json'), metrics: place('metrics'), cert: place('crt'), key: place('key') };
}

/** An answer that says no; the play judges whether it may. */
export class Refusal extends Error {
  constructor(what, answer) {
    super(`${what}: ${JSON.stringify(answer).slice(0, 300)}`);
    this.answer = answer;
  }
}

export function must(what, is_good, answer) {
  if (!is_good) throw new Refusal(what, answer);
  return answer;
}

/** Until it is so, or the streamer has ended. */
export function wait(s, what, condition, limit_ms = 100_000) {
  const { process } = s.streamer;
  return until(what, () => {
    if (!isRunning(process)) throw new Error('the streamer has ended');
    return condition();
  }, { limit_ms });
}

export const change = (data, more = {}) => ({ queue_id: randomUUID(), operation: 'create', entity_type: 'note', entity_id: randomUUID(), data: { team_id: 1, ...data }, timestamp: new Date().toISOString(), ...more });

export async function post(s, name, body, how = {}) {
  const answer = await request(`${s.streamer.url}/api/v1/sync/${name}`, { token: s.streamer.token('eve'), body, ...how });
  return must(name, answer.status === 200, { status: answer.status, body: answer.text.slice(0, 300), json: answer.json });
}

/** A socket with this channel joined. */
export async function joined(s, topic, payload, sub = 'eve') {
  const raw = await RawSocket.open(s.streamer);
  const reply = await raw.ask(topic, 'phx_join', { access_token: s.streamer.token(sub), ...payload }, '1');
  must(`join of ${topic}`, reply.status === 'ok', reply);
  raw.tell = (event, body) => raw.ask(topic, event, body, '1');
  raw.hears = (what, has) => wait(s, what, () => raw.look((frame) => has(frame[3], frame[4])));
  raw.hearsText = (text) => raw.hears(text, (_, body) => JSON.stringify(body).includes(text));
  return raw;
}

export async function ours(s, payload = {}) {
  const raw = await joined(s, 'sync:main', { device_id: 'eve-device', ...payload });
  await raw.hears('the end of the first round', (event, body) => event === 'changes' && body.has_more === false);
  return raw;
}

/** Where this socket's channel stands, as a client would say it at its next join. */
export function lastToken(raw) {
  let part;
  let token;
  for (const [, , , event, body] of raw.frames) {
    part = (event === 'ready' ? body : body.response)?.session ?? part;
    if (event === 'changes' && body.next_sync_token) token = body.next_sync_token;
    else if (event === 'changes' && body.cursor && part) token = `${part}.${body.cursor}`;
  }
  return token;
}

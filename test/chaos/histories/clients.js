// clients.js - the clients of a history: live ones on the phoenix package, and pullers over HTTP; both come, go, stop, die and come back.
// SPDX-License-Identifier: PostgreSQL
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { Copy, SyncClient } from '../../lib/client.js';
import { sleep } from '../../lib/wait.js';
import { leakOf } from './schema.js';

/** POST over the client's own, breakable line. `undefined`: no answer came, or none that counts. */
export async function post(history, client, name, body, { streamer = client.streamer, limit_ms = history.patience } = {}) {
  try {
    const response = await fetch(`http://127.0.0.1:${history.gates[streamer].port}/api/v1/sync/${name}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${history.token(client.user)}` },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(limit_ms),
    });
    const answer = await response.json();
    if (response.status === 200) {
      history.tally[`${name}s`] = (history.tally[`${name}s`] ?? 0) + 1;
      return answer;
    }
    history.refusal(name, response.status, answer);
  } catch {
    // a broken line; the same again later
  }
  return undefined;
}

export class Client {
  copy = new Copy();
  token;
  trace = process.env.TRACE ? [] : undefined; // TRACE=directory: all answers of those who fail are kept there

  constructor(history, plan) {
    Object.assign(this, { history, plan, user: plan.user, streamer: plan.streamer, device_id: `device-${history.plan.seed}-${plan.number}`, name: `${plan.kind} ${plan.number} (${plan.user})` });
    this.saved = { copy: new Copy() };
  }

  /** What it would find again after it died: rows and token of one moment. */
  save() {
    this.saved = { copy: cloneCopy(this.copy), token: this.token };
  }

  revive({ copy, token } = { copy: new Copy() }) {
    this.copy = cloneCopy(copy);
    this.token = token;
  }

  keepTrace() {
    if (this.trace) writeFileSync(path.join(process.env.TRACE, `seed-${this.history.plan.seed}-client-${this.plan.number}.jsonl`), this.trace.map((one) => `${JSON.stringify(one)}\n`).join(''));
  }

  examine(changes = []) {
    for (const change of changes) {
      const leak = leakOf(this.user, change);
      if (leak) this.history.fail(`leak: ${this.name} was sent ${leak}: ${JSON.stringify(change).slice(0, 300)}`);
    }
    this.history.tally.changes_seen += changes.length;
  }

  async live() {
    await this.history.until(this.plan.start);
    await this.begin();
    for (const turn of this.plan.turns) {
      if (turn.at < this.plan.start) continue;
      await this.history.until(turn.at);
      await this[turn.what](turn.ms);
      this.history.tally.turns++;
    }
  }
}

function cloneCopy(copy) {
  const clone = new Copy();
  // rows are replaced, never changed in place
  for (const [name, rows] of copy.tables) clone.tables.set(name, new Map(rows));
  return clone;
}

/** The lib's client, with a look at everything that comes in, and no place to lose an error. */
class Phone extends SyncClient {
  constructor(owner) {
    const { history, plan } = owner;
    super(`ws://127.0.0.1:${history.gates[owner.streamer].port}/socket`, () => history.token(owner.user), {
      device_id: owner.device_id, join: { ...(plan.fields ? { fields: 'changed' } : {}), ...(plan.compress ? { compress: 'deflate' } : {}) }, heartbeat_ms: 2000,
    });
    this.owner = owner;
    this.frames = { push() {}, slice: () => [] };
    this.events = { push() {} };
    this.copy = owner.copy;
    this.sync_token = owner.token;
  }

  connect() {
    const joined = super.connect();
    this.channel.on('changes_deflate', (bytes) => this.take(JSON.parse(inflateRawSync(Buffer.from(bytes)).toString())));
    return joined;
  }

  take(batch) {
    const { owner } = this;
    if (this.isHungUp) return; // nobody listens, whatever was still on its way
    owner.examine(batch.changes);
    owner.trace?.push({ ms: Date.now() - owner.history.start, token: this.sync_token, answer: batch, streamer: owner.streamer });
    try {
      super.take(batch);
    } catch (error) {
      owner.history.fail(`${owner.name}: ${error.message}`);
      owner.keepTrace();
    }
    owner.token = this.sync_token;
    owner.taken = Date.now();
    if (batch.reset?.length) owner.history.tally.resets++;
  }
}

export class LiveClient extends Client {
  listens = true;

  async begin() {
    this.phone = new Phone(this);
    this.phone.onEvent((name) => name === 'resync' && this.history.tally.resyncs++);
    this.phone.connect().catch(() => {}); // the package goes on trying
  }

  hangUp({ politely = false } = {}) {
    const { socket } = this.phone;
    this.phone.socket = undefined;
    this.phone.isHungUp = true;
    const line = socket?.conn;
    socket?.disconnect();
    if (!politely) line?.terminate();
  }

  async offline(ms) {
    this.hangUp({ politely: ms % 2 === 0 });
    await sleep(ms);
    await this.begin();
  }

  async pause(ms) {
    const line = this.phone.socket.conn;
    line?.pause();
    await sleep(ms);
    line?.resume();
  }

  /** Killed: it finds what it had saved, which may be long ago. */
  async die(ms) {
    const { saved } = this;
    this.hangUp();
    this.save();
    this.revive(saved);
    await sleep(ms);
    await this.begin();
  }

  async anew(ms) {
    this.hangUp();
    this.revive();
    await sleep(ms / 4);
    await this.begin();
  }

  async move(ms) {
    this.save();
    this.streamer = 1 - this.streamer;
    await this.offline(ms / 4);
  }
}

export class Puller extends Client {
  isOver = false;

  async begin() {
    this.looping = this.loop();
  }

  async loop() {
    const { random } = this;
    while (!this.isOver) {
      await sleep(this.plan.every);
      if (!this.isSilent && !this.isOver) await this.pull(random.chance(this.plan.loses));
    }
  }

  async pull(isLost = false, more = {}) {
    const { copy, token } = this;
    const answer = await post(this.history, this, 'pull', { device_id: this.device_id, limit: this.plan.limit, ...(token ? { sync_token: token } : {}) }, more);
    if (!answer) return undefined;
    this.examine(answer.changes);
    // it died, or began anew, meanwhile: the answer belongs to nobody
    if (isLost || copy !== this.copy || token !== this.token) return answer;
    this.copy.apply(answer);
    this.trace?.push({ ms: Date.now() - this.history.start, token, answer });
    this.token = answer.next_sync_token;
    if (answer.reset?.length) this.history.tally.resets++;
    return answer;
  }

  async silent(ms) {
    this.isSilent = true;
    await sleep(ms);
    this.isSilent = false;
  }

  async die() {
    const { saved } = this;
    this.save();
    this.revive(saved);
  }

  async anew() {
    this.revive();
  }

  async move() {
    this.save();
    this.streamer = 1 - this.streamer;
  }

  async stop() {
    this.isOver = true;
    await this.looping;
  }
}

// outbox.js - what a client wants to write: edits made on its copy with its own clock, pushed again and again until each has its verdict.
// SPDX-License-Identifier: PostgreSQL
import { sleep } from '../../lib/wait.js';
import { post } from './clients.js';
import { leakOf, NAMES, PRIVATE_FROM, TEAMS, USERS } from './schema.js';

const TALLY_SHARE = 0.35;
const EDITS = {
  note: { fresh: (r, user) => ({ team_id: aTeam(r, user) }), set: (r, user) => r.pick([{}, { body: `body ${r.word()}` }, { done: r.chance(0.5) }, { team_id: aTeam(r, user) }]) },
  todo: { fresh: (r, user) => ({ team_id: aTeam(r, user), place: r.below(100) }), set: (r) => r.pick([{}, { place: r.below(100) }]) },
  event: { fresh: (r, user) => ({ day: r.below(20), team_id: aTeam(r, user) }), set: (r) => r.pick([{}, { day: r.below(20) }]) },
  comment: { fresh: (r) => ({ note_id: 1 + r.below(24) }), set: (r) => r.pick([{}, { note_id: 1 + r.below(24) }]) },
  doc: { fresh: (r, user) => ({ owner: user, open: r.chance(0.5) }), set: (r) => r.pick([{}, { open: r.chance(0.5) }, { owner: r.pick(NAMES) }]) },
  post: { fresh: (_, user) => ({ author: user }), set: () => ({}) },
  label: { fresh: () => ({}), set: (r, user) => r.pick([{}, USERS[user].role === 'app' ? { price: r.below(100) } : {}]) },
};
const aTeam = (r, user) => r.pick(USERS[user].teams.length && r.chance(0.9) ? USERS[user].teams : TEAMS);

export class Outbox {
  waiting = [];
  made = new Map(); // queue_id → { change, d?, verdict?, answers }
  #numbers = 0;

  constructor(client, random) {
    Object.assign(this, { client, random, history: client.history });
  }

  async live() {
    for (const push of this.client.plan.pushes) {
      await this.history.until(push.at);
      for (let left = push.edits; left > 0; left--) this.edit();
      if (push.flush) await this.flush(push);
    }
  }

  // ---- edits --------------------------------------------------------------------------------------------------

  edit() {
    const queue_id = `${this.client.device_id}-${++this.#numbers}`;
    const edit = this.random.chance(TALLY_SHARE) ? this.#count() : this.#change(`push ${queue_id}`);
    if (!edit) return;
    edit.change = { queue_id, ...edit.change, timestamp: Date.now() + this.client.plan.skew_ms };
    this.made.set(queue_id, { ...edit, answers: [] });
    this.waiting.push(queue_id);
  }

  /** An increment: from what the copy holds, or from this device's own edit before it that is still on its way. */
  #count() {
    const rows = this.client.copy.table('tally');
    const entity_id = this.random.pick([...rows.keys()]);
    if (entity_id === undefined) return undefined;
    const { data, server_version } = rows.get(entity_id);
    const earlier = this.waiting.map((id) => this.made.get(id)).findLast((one) => one.d && one.change.entity_id === entity_id);
    const known = earlier ? earlier.change.data.n : data.n;
    const d = 1 + this.random.below(9);
    return { d, change: { operation: 'update', entity_type: 'tally', entity_id, data: { n: known + d }, base: { n: known }, ...(earlier ? {} : { local_version: server_version }) } };
  }

  #change(title) {
    const { random: r, client } = this;
    const entity_type = r.pick(Object.keys(EDITS));
    const shape = EDITS[entity_type];
    const rows = client.copy.table(entity_type);
    // private documents stay private
    const entity_id = r.pick([...rows.keys()].filter((id) => entity_type !== 'doc' || Number(id) < PRIVATE_FROM));
    if (entity_id === undefined || r.chance(0.3)) return this.#create(entity_type, { ...shape.fresh(r, client.user), title });
    const { data, server_version } = rows.get(entity_id);
    const known = r.pick([{ local_version: server_version }, { base: data }, { base: data, local_version: server_version }, {}]);
    if (r.chance(0.2)) return { change: { operation: 'delete', entity_type, entity_id, ...known } };
    const wanted = { title, ...shape.set(r, client.user) };
    const base = known.base && Object.fromEntries(Object.keys(wanted).filter((name) => name in data).map((name) => [name, data[name]]));
    return { title, change: { operation: 'update', entity_type, entity_id, data: wanted, ...known, ...(base ? { base } : {}) } };
  }

  #create(entity_type, data) {
    const id = this.random.chance(0.4) ? 1 + this.random.below(24) : 1000 + this.random.below(7000);
    const entity_id = entity_type === 'event' ? JSON.stringify([String(id), String(data.day)]) : String(id);
    return { title: data.title, change: { operation: 'create', entity_type, entity_id, data: { ...data, id } } };
  }

  // ---- pushing ------------------------------------------------------------------------------------------------

  /** Sends what waits, `copies` times, in any order; `hurry` gives up on answers. */
  async flush({ copies = 1, atomic = false, reorder = false, hurry = false, limit_ms } = {}) {
    const ids = this.waiting.slice(0, 20);
    if (!ids.length) return;
    if (reorder) ids.sort(() => this.random.next() - 0.5);
    const request = { device_id: this.client.device_id, ...(atomic ? { atomic } : {}), changes: ids.map((id) => this.made.get(id).change) };
    const sent = [];
    for (let i = 0; i < copies; i++) {
      const asked = this.#send(request, hurry ? 5 + this.random.below(60) : limit_ms).then((answer) => this.#take(answer, request));
      sent.push(asked);
      if (this.random.chance(0.5)) await Promise.race([asked, sleep(this.random.below(100))]);
    }
    await Promise.all(sent);
  }

  #send(request, limit_ms) {
    const { client, history, random } = this;
    history.tally.batches++;
    const line = client.phone?.socket && client.phone.channel.state === 'joined' && random.chance(0.4);
    if (!line) return post(history, client, 'push', request, { streamer: random.below(2), limit_ms });
    const { device_id, ...body } = request;
    return Promise.race([client.phone.ask('push', random.chance(0.5) ? body : request).catch(() => undefined), sleep(limit_ms ?? history.patience, undefined, { ref: false })]);
  }

  // Of an atomic batch that failed nothing was kept, neither verdicts nor entries of the log: what was not decided earlier still waits.
  #take(answer, { atomic, changes }) {
    if (!answer?.processed) return;
    for (const verdict of answer.processed) if (!atomic || answer.success || verdict.repeat) this.#settle(verdict, changes[verdict.index]);
  }

  #settle(verdict, change) {
    const { history, client } = this;
    const entry = this.made.get(change.queue_id);
    const leak = verdict.data && leakOf(client.user, { ...change, data: verdict.data });
    if (leak) history.fail(`leak: a push of ${client.name} was answered with ${leak}: ${JSON.stringify(verdict)}`);
    history.tally[verdict.outcome] = (history.tally[verdict.outcome] ?? 0) + 1;
    if (verdict.outcome === 'retry') return;
    entry.answers.push(verdict);
    this.waiting = this.waiting.filter((id) => id !== change.queue_id);
    const [first] = entry.answers;
    if (first.status !== verdict.status || first.outcome !== verdict.outcome) history.fail(`two verdicts of ${change.queue_id}: ${JSON.stringify(first)} and ${JSON.stringify(verdict)}`);
    if (entry.answers.filter((one) => !one.repeat && one.status !== 'error').length > 1) history.fail(`applied twice: ${change.queue_id}: ${JSON.stringify(entry.answers)}`);
    if (verdict.error?.code === 'internal') history.fail(`a push was answered internal: ${JSON.stringify({ change, verdict })}`);
  }
}

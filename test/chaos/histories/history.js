// history.js - one seeded history: everybody acts, then all must agree with Postgres.
// SPDX-License-Identifier: PostgreSQL
import { Copy } from '../../lib/client.js';
import { isRunning } from '../../lib/process.js';
import { mintToken } from '../../lib/token.js';
import { sleep, until } from '../../lib/wait.js';
import { LiveClient, post, Puller } from './clients.js';
import { breakThings, commitsWaitFor } from './faults.js';
import { digestOf, inOrder, whatAllSee, wrongCounts, wrongOf, wrongVerdicts } from './oracle.js';
import { Outbox } from './outbox.js';
import { Listener } from './listener.js';
import { fork, makePlan } from './plan.js';
import { NAMES, TABLES, USERS } from './schema.js';
import { own, write } from './writing.js';

const PATIENCE_MS = 1500; // for an answer while things break
const CALM_PATIENCE_MS = 30_000;
const CONVERGE_MS = 45_000;
const HEIRS = 0.3; // of the clients, where a history came before: they come with what one of that user held at its end

const TALLY = ['statements', 'refused', 'transactions', 'rolled_back', 'prepared', 'given_up', 'owner_steps', 'faults', 'turns', 'resets', 'resyncs', 'changes_seen', 'batches'];

const KINDS = { live: LiveClient, listener: Listener, puller: Puller };

export class History {
  failures = [];
  notes = [];
  clients = [];
  patience = PATIENCE_MS;
  tally = Object.fromEntries(TALLY.map((name) => [name, 0]));

  constructor(place, seed) {
    const { server, admin, database, gates, lines, streamers, secret } = place;
    Object.assign(this, { place, server, admin, database, gates, lines, streamers, secret, name: `h${seed}`, plan: makePlan(seed), began: Date.now() });
  }

  // ---- what the actors use ------------------------------------------------------------------------------------

  fail(text) {
    if (this.failures.length < 30) this.failures.push(text);
  }

  note(text) {
    this.notes.push(`${Date.now() - this.began} ms: ${text}`);
  }

  refusal(name, status, answer) {
    this.tally.refusals = (this.tally.refusals ?? 0) + 1;
    if (status === 500 || answer?.error?.code === 'internal') this.note(`log of the server: ${this.server.log.slice(-1500)}`);
    if (status === 500 || answer?.error?.code === 'internal') this.fail(`${name} was answered ${status}: ${JSON.stringify(answer).slice(0, 500)}`);
  }

  token(user) {
    return mintToken(this.secret, { sub: user, role: USERS[user].role });
  }

  /** Until this moment of the history. */
  async until(at_ms) {
    const left = this.start + at_ms - Date.now();
    if (left > 0) await sleep(left);
  }

  alive() {
    return until('the server accepts connections', () => this.admin('SELECT 1').then(() => true, () => false), { limit_ms: 60_000, every_ms: 30 });
  }

  // ---- its course -----------------------------------------------------------------------------------------------

  async run() {
    try {
      await this.place.use();
      this.start = Date.now();
      await this.act();
      await this.calm();
      await this.judge();
    } catch (error) {
      this.fail(`broke off: ${error.stack}`);
    } finally {
      this.#hangUp();
      this.tally.ms = Date.now() - this.began;
    }
    return this;
  }

  async act() {
    const { plan } = this;
    this.clients = plan.clients.map((one) => {
      const client = new KINDS[one.kind](this, one);
      client.random = fork(plan.seed, `puller ${one.number}`);
      client.outbox = new Outbox(client, fork(plan.seed, `outbox ${one.number}`));
      const left = this.place.left.get(one.user);
      if (left && fork(plan.seed, `heir ${one.number}`).chance(HEIRS)) client.revive(left);
      return client;
    });
    await Promise.all([
      ...plan.writers.map((one) => write(this, one)),
      own(this, plan.owner),
      ...this.clients.flatMap((client) => [client.live(), client.outbox.live()]),
      breakThings(this, plan.faults),
    ]);
  }

  /** Everything heals, all that was begun ends, all that waits is pushed. */
  async calm() {
    this.note('calm');
    await this.alive();
    await commitsWaitFor(this, '');
    for (const line of [...this.lines, ...this.gates]) line.heal();
    for (const { process: child } of this.streamers) if (isRunning(child)) process.kill(child.pid, 'SIGCONT');
    await this.#endPrepared();
    await Promise.all(this.streamers.map((streamer) => this.#revive(streamer)));
    this.patience = CALM_PATIENCE_MS;
    await Promise.all(this.clients.map((client) => client.stop?.()));
    for (const { outbox } of this.clients) await until(`${outbox.client.name} has its verdicts`, async () => {
      await outbox.flush();
      return !outbox.waiting.length;
    }, { limit_ms: 60_000, every_ms: 50 });
  }

  async #revive(streamer) {
    if (!isRunning(streamer.process)) {
      this.fail(`a streamer ended by itself:\n${streamer.lastLog()}`);
      await streamer.restart({ ready: false });
    }
    await streamer.ready();
  }

  async #endPrepared() {
    const rows = await this.database.sql('SELECT gid FROM pg_prepared_xacts WHERE database = current_database()');
    for (const { gid } of rows) await this.database.sql(`COMMIT PREPARED '${gid}'`);
  }

  // ---- judgement -------------------------------------------------------------------------------------------------

  async judge() {
    this.note('judge');
    const { database } = this;
    const outboxes = this.clients.map((client) => client.outbox);
    const seen = await whatAllSee(database);
    await this.#converge(seen);
    await Promise.all(this.clients.map((client) => this.#pullsTheSame(client, seen[client.user])));
    await Promise.all(NAMES.map((user) => this.#freshPull(user, seen[user])));
    for (const text of [...(await wrongVerdicts(database, outboxes)), ...(await wrongCounts(database, outboxes))]) this.fail(text);
    const still = await whatAllSee(database);
    for (const user of NAMES) for (const table of TABLES) {
      if (inOrder(still[user][table]) !== inOrder(seen[user][table])) this.fail(`the tables changed while they were judged: ${table} of ${user}`);
    }
  }

  /** The live copies become equal by themselves; whoever does not was left silently stale. */
  async #converge(seen) {
    const end = Date.now() + CONVERGE_MS;
    let open = this.clients.filter((client) => client.listens);
    while (open.length) {
      open = open.filter((client) => wrongOf(client.copy, seen[client.user]).length);
      if (!open.length) break;
      if (Date.now() > end) {
        for (const client of open) this.#tellStale(client, seen[client.user]);
        for (const streamer of this.streamers) this.note(`log of a streamer: ${streamer.lastLog()}`);
        break;
      }
      await sleep(60);
    }
    this.tally.converged_ms = Date.now() - end + CONVERGE_MS;
  }

  #tellStale(client, seen) {
    const wrong = wrongOf(client.copy, seen);
    const { socket, channel } = client.phone ?? {};
    this.fail(`stale: ${client.name} on streamer ${client.streamer}, socket ${socket?.connectionState()}, channel ${channel?.state}, last batch ${client.taken && Date.now() - client.taken} ms ago, ${wrong.length} wrong, e.g. ${wrong[0]}`);
  }

  async #pullsTheSame(client, seen) {
    const puller = client.listens ? new Puller(this, client.plan) : client;
    if (client.listens) Object.assign(puller, { copy: client.copy, token: client.token, streamer: client.streamer });
    await pullToEnd(puller);
    const wrong = wrongOf(puller.copy, seen);
    if (wrong.length) this.fail(`diverged: ${client.name} after a pull: ${wrong.length} wrong, e.g. ${wrong.slice(0, 3).join('\n')}`);
    for (const text of wrong.slice(0, 3)) await this.#tellRow(text);
    if (wrong.length) client.keepTrace();
    await this.#digest(puller);
  }

  /** What the server knows of a row that a copy has wrong. */
  async #tellRow(text) {
    const [, table, id] = /^(\w+): .*? (\["(?:\d+)|\d+)/.exec(text) ?? [];
    if (!id) return;
    const rows = await this.database.sql(`SELECT to_jsonb(t) - 'sync_clock' AS row, t.sync_xid::text AS xid FROM ${table} t WHERE id = $1`, [id.replace('["', '')]);
    this.note(`${text} | server: ${JSON.stringify(rows)}`);
  }

  async #digest(puller) {
    await until('a digest', async () => {
      const answer = await post(this, puller, 'digest', { device_id: puller.device_id, sync_token: puller.token });
      if (!answer) return false;
      if (answer.stale) {
        await pullToEnd(puller);
        return false;
      }
      const own = digestOf(puller.copy);
      for (const { entity_type, count, hash } of answer.tables) {
        const mine = own[entity_type];
        if (mine && (mine.count !== count || mine.hash !== String(hash))) this.fail(`digest of ${entity_type} differs for ${puller.name}: ${JSON.stringify({ mine, count, hash })}`);
      }
      return true;
    }, { limit_ms: 30_000, every_ms: 50 });
  }

  async #freshPull(user, seen) {
    const puller = new Puller(this, { number: `fresh-${user}`, kind: 'fresh', user, streamer: 0, limit: 1000, pushes: [], turns: [] });
    puller.copy = new Copy();
    await pullToEnd(puller);
    const wrong = wrongOf(puller.copy, seen);
    if (wrong.length) this.fail(`a fresh pull of ${user} is wrong: ${wrong.slice(0, 3).join('\n')}`);
  }

  // ---- its end ---------------------------------------------------------------------------------------------------

  #hangUp() {
    for (const client of this.clients) {
      client.isOver = true;
      client.hangUp?.();
      this.place.left.set(client.user, { copy: client.copy, token: client.token });
    }
  }
}

/** To the end of the round that was under way, and through one that began afterwards. */
async function pullToEnd(puller) {
  for (const round of ['old', 'new']) {
    await until(`${puller.name} ends its ${round} round`, async () => (await puller.pull(false))?.has_more === false, { limit_ms: 60_000, every_ms: 0 });
  }
}

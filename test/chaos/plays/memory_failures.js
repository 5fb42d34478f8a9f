// memory_failures.js - G13: every place of the streamer that allocates fails, each once; it ends with a clean message or goes on, and nobody loses anything.
// SPDX-License-Identifier: PostgreSQL
import { expectedRows } from '../../lib/expected.js';
import { allocatingLines, BINARY, build, Faults } from '../../lib/faults.js';
import { isRunning } from '../../lib/process.js';
import { Streamer } from '../../lib/streamer.js';
import { until, within } from '../../lib/wait.js';
import { World } from '../../lib/world.js';
import { stopWithStream } from '../memory_rare.js';
import { STEPS } from '../memory_steps.js';
import { makeFiles, Refusal, SCHEMA } from '../memory_tools.js';

const ENDED = 70; // the code and the line of streamer/memory.c
const MESSAGE = 'error out_of_memory the process ends';
// for the end of a process that has begun to end, and for a step: under the sanitizers and beside other loads they take as long as the machine likes
const PATIENCE_MS = 120_000;
const LEAST = 8; // places, however long the beginning took
const TRIES = 3;
// the decoder and TLS, else by the seed; only places at lines that match, such as '^(feed|ring)'
const PLUGIN = process.env.PLUGIN;
const TLS = process.env.TLS ? !/^(0|no)$/.test(process.env.TLS) : undefined;
const LINES = process.env.LINES ? new RegExp(process.env.LINES) : /./;
const OF_THE_DATABASE = new Set(['40P01']); // two steps' clean-up may meet there
const RETRIED = /"code":"(unavailable|internal|server_error|overloaded|timeout)"|"status":(500|503)/; // what an honest answer may be

// glibc before 2.42 frees twice where an allocation of its regcomp() fails: the process aborts, which ends it too, but nothing of ours can make that clean
const OF_GLIBC = /attempting double-free[^]*free_workarea_compile[^]*re_compile_internal/;

const isTold = (error) => error instanceof Refusal && RETRIED.test(JSON.stringify(error.answer));

// a start would read the machine's 140 certificates, a quarter of a million allocations at one place
const NO_CERTIFICATES = { SSL_CERT_FILE: '/dev/null', SSL_CERT_DIR: '/dev/null' };

class Stage {
  acknowledged = [];
  failures = [];
  outcomes = { ended: 0, not_started: 0, went_on: 0, not_met: 0, glibc: 0 };

  static async build({ plugin, tls }) {
    const stage = new Stage();
    Object.assign(stage, { plugin, tls });
    stage.world = await World.start({ schema: SCHEMA });
    await stage.world.streamer.stop();
    stage.other = await Streamer.start(stage.world.database, {}, { secret: stage.world.streamer.secret });
    stage.files = makeFiles(stage.world.streamer.directory);
    stage.faults = new Faults(stage.world.streamer.directory);
    Object.assign(stage.world.streamer, { binary: BINARY, env: { SYNC_FAULTS: stage.faults.path, ASAN_OPTIONS: 'detect_leaks=1', ...NO_CERTIFICATES } });
    Object.assign(stage.world.streamer.options, {
      plugin, compress: true, 'jwks-file': stage.files.jwks, 'metrics-token-file': stage.files.metrics, 'allow-origin': 'http://app.example', 'default-role': 'app', 'jwt-audience': 'sync', 'ring-size': '4M', demo: new URL('../../../streamer/demo', import.meta.url).pathname,
      'max-messages-per-second': 1000, 'ping-interval': 1, 'log-level': 'debug', ...(tls ? { 'tls-cert': stage.files.cert, 'tls-key': stage.files.key } : {}),
    });
    const { streamer } = stage;
    streamer.token = (sub, claims, how) => Streamer.prototype.token.call(streamer, sub, { aud: ['elsewhere', 'sync'], ...claims }, how);
    return stage;
  }

  get streamer() {
    return this.world.streamer;
  }

  get steps() {
    return STEPS.filter((step) => this.tls || !step.tls);
  }

  fail(text) {
    if (this.failures.length < 20) this.failures.push(`${this.plugin}${this.tls ? ', TLS' : ''}: ${text}`);
  }

  /** Until it is ready, or it has ended. */
  async launch() {
    this.streamer.log = '';
    await this.streamer.launch({ ready: false });
    await this.streamer.ready({ limit_ms: PATIENCE_MS }).catch((error) => { if (isRunning(this.streamer.process)) throw error; });
  }

  /** One step; what went wrong with it, while the streamer may be ending. */
  async play(step) {
    this.faults.step = STEPS.indexOf(step);
    if (step.name === 'start') return this.launch();
    if (step.name === 'stop') return stopWithStream(this, () => this.stop());
    const ended = this.streamer.process.exited.then(() => undefined);
    return within(2 * PATIENCE_MS, step.name, Promise.race([step.run(this).then(() => undefined, (error) => error), ended]));
  }

  async stop() {
    if (isRunning(this.streamer.process)) process.kill(this.streamer.process.pid, 'SIGTERM');
    await within(PATIENCE_MS, 'the streamer ends', this.streamer.process.exited);
    await this.streamer.process.closed;
  }

  /** All steps once, nothing failing: the places. */
  async rehearse() {
    for (const step of this.steps) {
      let error = await this.play(step);
      // what was lost in the step before may not be there again yet, and is told as it should be
      for (let tries = 0; isTold(error) && tries < 20; tries++) error = await this.play(step);
      if (error) throw new Error(`the rehearsal of ${step.name} failed: ${error.stack}\n${this.streamer.lastLog()}\n${this.world.server.log.slice(-2000)}`);
    }
    await this.judgeEnd('the rehearsal', [0]);
  }

  /** How it ended: by itself, with a word, with nothing that a sanitizer objects to. */
  async judgeEnd(what, codes) {
    const { code, signal } = await this.streamer.process.exited;
    await this.streamer.process.closed;
    const { log } = this.streamer;
    const report = log.match(/ERROR: \w+Sanitizer[\s\S]*|.*runtime error: [\s\S]*/)?.[0];
    if (report && OF_GLIBC.test(report)) {
      this.outcomes.glibc++;
      return undefined;
    }
    if (report) this.fail(`${what}: ${report.slice(0, 2500)}`);
    else if (signal || !codes.includes(code)) this.fail(`${what}: ended with ${signal ?? code}: ${log.slice(-600)}`);
    else if (code === ENDED && !log.includes(MESSAGE)) this.fail(`${what}: ended without a word`);
    else if (code !== 0 && log.trim() === '') this.fail(`${what}: ended with ${code} and said nothing`);
    return code;
  }

  /** One place fails; judged. True if it was met. */
  async inject(place, options) {
    const what = `${place.chain.join(' < ')} fails in ${STEPS[place.step].name}`;
    const step = STEPS[place.step];
    let error;
    if (step.name === 'start' && isRunning(this.streamer.process)) await this.stopWell(what);
    if (step.name !== 'start' && !isRunning(this.streamer.process)) await this.launch();
    this.faults.arm(place.key, options);
    try {
      error = await this.play(step);
      if (step.name === 'stop') error = undefined;
    } catch (thrown) {
      this.fail(`${what}: ${thrown.message}`);
    }
    this.faults.disarm(); // from here on nothing fires that was not counted
    const hasFired = this.faults.fired > 0;
    await this.judge(what, step, hasFired, error);
    return hasFired;
  }

  /**
   * Does it live on after what failed? Nothing but another step tells: the process may be on its way out, which under the sanitizers takes as long as the
   * machine likes.
   */
  async proofOfLife(what, error) {
    if (!isRunning(this.streamer.process)) return;
    if (error && !(error instanceof Refusal)) await within(PATIENCE_MS, 'its end', this.streamer.process.exited).catch(() => {});
    if (!isRunning(this.streamer.process)) return;
    const next = this.steps.find(({ run }) => run);
    const wrong = await this.play(next).catch((thrown) => thrown);
    if (wrong && !OF_THE_DATABASE.has(wrong.code)) await within(PATIENCE_MS, 'its end', this.streamer.process.exited).catch(() => this.fail(`${what}: and afterwards ${next.name}: ${wrong.message}`));
  }

  async judge(what, step, hasFired, error) {
    if (hasFired && step.name !== 'stop') await this.proofOfLife(what, error);
    if (!isRunning(this.streamer.process)) {
      const code = await this.judgeEnd(what, !hasFired || step.name === 'stop' ? [0, ENDED] : step.name === 'start' ? [1, 2, ENDED] : [ENDED]);
      if (code !== undefined) this.outcomes[!hasFired ? 'not_met' : code === ENDED ? 'ended' : code === 0 ? 'went_on' : 'not_started']++;
      return;
    }
    this.outcomes[hasFired ? 'went_on' : 'not_met']++;
    // it goes on: one request may have suffered, and was told so
    if (error && hasFired && !isTold(error) && !OF_THE_DATABASE.has(error.code)) this.fail(`${what}: ${error.message}`);
  }

  /** The end of a life in which something failed and it went on: no leak either. */
  async stopWell(what) {
    await this.stop();
    await this.judgeEnd(`${what}: the life before it`, [0]);
  }

  /** Nobody lost anything. */
  async settle() {
    this.faults.disarm();
    if (!isRunning(this.streamer.process)) await this.launch();
    const reader = await this.world.join('ada');
    const expected = await expectedRows(this.world.database, 'note');
    const ofTeam = new Set((await this.world.sql('SELECT id::text FROM note WHERE team_id = 1')).map(({ id }) => id));
    await until('the copy is complete', () => reader.copy.table('note').size >= ofTeam.size);
    for (const [id] of expected) if (ofTeam.has(id) !== Boolean(reader.copy.get('note', id))) this.fail(`the copy of ada has the wrong rows: ${id}`);
    const lost = this.acknowledged.filter((id) => !expected.has(id));
    if (lost.length) this.fail(`${lost.length} acknowledged pushes are not there: ${lost[0]}`);
    await reader.disconnect();
    await this.stopWell('at the end');
  }

  async close() {
    this.faults.close();
    await this.other?.stop();
    await this.world.stop();
  }
}

/** The program's own places first, each line of code once before any a second time; then the libraries'. */
function inOrder(places, random) {
  const seen = new Map();
  const rank = (place) => {
    const name = `${place.isOwn} ${place.site}`;
    seen.set(name, (seen.get(name) ?? 0) + 1);
    return seen.get(name) + (place.isOwn ? 0 : 1e6);
  };
  return places.map((place) => [random.next(), place]).sort((a, b) => a[0] - b[0])
    .map(([, place]) => [rank(place), STEPS[place.step].name === 'start' ? 0 : place.step, place])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, , place]) => place);
}

/** One after the other; those that were not met. */
async function fail(stage, places, failed, isOver) {
  const left = [];
  for (const place of places) {
    if (isOver()) break;
    if (await stage.inject(place)) failed.add(place.key);
    else left.push(place);
  }
  return left;
}

async function run({ seconds, random, say, most = Infinity }) {
  build();
  const { NODE_TLS_REJECT_UNAUTHORIZED } = process.env;
  const [plugin, tls] = [random.pick(['wal2json', 'pgoutput']), random.chance(0.2)];
  const stage = await Stage.build({ plugin: PLUGIN || plugin, tls: TLS ?? tls });
  if (stage.tls) process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'; // its certificate is its own
  const failed = new Set();
  const sites = new Set();
  let places = [];
  try {
    await stage.rehearse();
    places = stage.faults.name(stage.faults.places());
    const own = places.filter(({ isOwn }) => isOwn);
    const met = new Set(own.flatMap(({ chain }) => chain));
    const unmet = allocatingLines().filter((line) => !met.has(line));
    say(`not met: ${unmet.join(' ')}`);
    say(`${stage.plugin}${stage.tls ? ', TLS' : ''}: ${own.length} places of ours at ${new Set(own.map(({ site }) => site)).size} lines, ${places.length - own.length} of libraries`);
    const until_ms = Date.now() + seconds * 1000;
    const isOver = () => (Date.now() > until_ms && failed.size >= Math.min(LEAST, most)) || failed.size >= most;
    const wanted = inOrder(places.filter(({ site }) => LINES.test(site)), random);
    for (const group of [wanted.filter(({ isOwn }) => isOwn), wanted.filter(({ isOwn }) => !isOwn)]) {
      // what a step did not come by this time it may the next
      for (let left = group, tries = 0; left.length && tries < TRIES && !isOver(); tries++) left = await fail(stage, left, failed, isOver);
    }
    for (const place of wanted) if (place.isOwn && failed.has(place.key)) sites.add(place.site);
    say(`not failed: ${[...new Set(wanted.filter(({ isOwn, site }) => isOwn && !sites.has(site)).map(({ site }) => site))].join(' ')}`);
    await stage.settle();
  } finally {
    if (NODE_TLS_REJECT_UNAUTHORIZED === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = NODE_TLS_REJECT_UNAUTHORIZED;
    await stage.close();
  }
  const { outcomes, failures } = stage;
  const ownSites = new Set(places.filter(({ isOwn, site }) => isOwn && LINES.test(site)).map(({ site }) => site));
  return { figures: { places: places.length, failed: failed.size, own_lines: `${sites.size} of ${ownSites.size}`, ...outcomes }, failures };
}

export const play = { row: 'G13', name: 'memory_failures', title: 'every place of the streamer that allocates fails, and it ends in a clean error', run, short: 10 };

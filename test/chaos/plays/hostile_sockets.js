// hostile_sockets.js - G12: a crowd of sockets that do everything wrong, beside good clients: these miss nothing, every limit answers as documented, nothing is left behind.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { request as httpsRequest } from 'node:https';
import { SyncClient } from '../../lib/client.js';
import { differences, expectedRows } from '../../lib/expected.js';
import { ROOT, freePort } from '../../lib/postgres.js';
import { isRunning } from '../../lib/process.js';
import { Random } from '../../lib/random.js';
import { Streamer } from '../../lib/streamer.js';
import { mintToken } from '../../lib/token.js';
import { sleep, together, until } from '../../lib/wait.js';
import { NOTES, World } from '../../lib/world.js';
import { ATTACKS } from '../sockets/attacks.js';
import { HostileSocket } from '../sockets/hostile_socket.js';
import { descriptors, memory_kb } from '../trend.js';

const CROWD = Number(process.env.CLIENTS || 300);
const FEW = 60; // of a short run
const ADDRESSES = 10; // that they come from; good clients have another
const GROWTH_KB = 16 * 1024; // from after the first wave to after the second: what the allocator may keep in pieces
const DESCRIPTORS = 4; // likewise
const ENOUGH = 8; // tries that were waited for, after which a limit must have answered with its documented code
const SANITIZED = path.join(ROOT, 'streamer/build/address_undefined/sync-streamer');
const LIMITS = { 'auth-timeout': 4, 'max-body': '1M', 'max-clients-per-address': 40, 'max-clients-per-user': 20, 'public-topics': 'on' };

export const play = {
  row: 'G12',
  name: 'hostile_sockets',
  title: `${CROWD} hostile sockets at once beside good clients: their copies end equal, limits answer with their codes, memory and descriptors come back`,
  short: 8,
  run,
};

async function run({ seconds, random, say }) {
  const isFull = seconds >= 40;
  const figures = { attacks: 0, bytes_wrong: 0, good_clients: 0, written: 0, drops: 0, wrong_copies: 0, grew_kb: 0 };
  const failures = [];
  const seen = new Map(); // attack → word → how often
  for (const binary of isFull ? [undefined, sanitized()] : [undefined]) {
    const stage = await Stage.start(random, { binary, crowd: isFull ? (binary ? CROWD / 2 : CROWD) : FEW, failures, figures, seen });
    try {
      await stage.waves((seconds * 1000) / (isFull ? 2 : 1));
    } finally {
      await stage.stop();
    }
    say(`${binary ? 'sanitized' : 'plain'}: ${JSON.stringify(figures)}`);
  }
  for (const [name, words] of [...seen].sort()) say(`${name}: ${Object.entries(words).sort((a, b) => b[1] - a[1]).map(([word, n]) => `${word} ${n}`).join(', ')}`);
  judge(seen, failures);
  return { figures, failures };
}

/** The streamer with its checks on; built where it is not. */
function sanitized() {
  execFileSync('make', ['-s', '-j2', '-C', path.join(ROOT, 'streamer'), 'SANITIZE=address,undefined'], { stdio: 'inherit' });
  if (!existsSync(SANITIZED)) throw new Error(`${SANITIZED} was not built`);
  return SANITIZED;
}

function judge(seen, failures) {
  for (const { name, wants, limit } of ATTACKS) {
    const words = seen.get(name) ?? {};
    const tries = Object.values(words).reduce((sum, n) => sum + n, 0);
    for (const [word, n] of Object.entries(words)) if (!wants.includes(word)) failures.push(`${name}: ${n} of ${tries} were answered ${word}, which is none of ${wants}`);
    if (limit && tries - (words.left ?? 0) >= ENOUGH && !words[limit]) failures.push(`${name}: none of ${tries} was answered ${limit}, but ${JSON.stringify(words)}`);
  }
}

class Stage {
  lanes = 0;
  isOver = false;
  good = [];
  open = new Set(); // hostile ones: a reset waits for what was written before, which nobody may read any more
  notes = [];

  static async start(random, { binary, crowd, failures, figures, seen }) {
    const stage = new Stage();
    Object.assign(stage, { random, crowd, failures, figures, seen, isSanitized: Boolean(binary) });
    try {
      stage.world = await World.start({ schema: `${NOTES} INSERT INTO member VALUES ('ada', 2), ('ben', 2);`, options: LIMITS, settings: { max_connections: 60 } });
      if (binary) await stage.#replace(binary);
      await stage.#openTls(binary);
      for (const sub of ['ada', 'ben', 'ada']) stage.good.push(await stage.world.join(sub));
      stage.good.push(await stage.#joinByTls('ben'));
      figures.good_clients = stage.good.length;
      for (const client of stage.good) client.onEvent((name) => (figures.drops += name === 'close' && !stage.isOver));
    } catch (error) {
      await stage.stop().catch(() => {});
      throw error;
    }
    return stage;
  }

  async #replace(binary) {
    const { streamer } = this.world;
    await streamer.stop();
    Object.assign(streamer, { binary, env: { ASAN_OPTIONS: 'detect_leaks=1', UBSAN_OPTIONS: 'print_stacktrace=1' } });
    await streamer.restart();
  }

  /** A second streamer on the same database, which speaks TLS. */
  async #openTls(binary) {
    this.directory = mkdtempSync(path.join(tmpdir(), 'sync-certificate.'));
    const [cert, key] = ['crt', 'key'].map((suffix) => path.join(this.directory, `server.${suffix}`));
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'pipe' });
    this.ca = readFileSync(cert);
    this.tls = await Streamer.start(this.world.database, { ...LIMITS, 'tls-cert': cert, 'tls-key': key }, { binary, secret: this.world.streamer.secret, port: await freePort(), ready: false });
    await until('the streamer with TLS is ready', () => this.#isTlsReady());
  }

  #isTlsReady() {
    return new Promise((resolve) => {
      httpsRequest({ host: '127.0.0.1', port: this.tls.port, path: '/readyz', ca: this.ca, agent: false }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode === 200));
      }).on('error', () => resolve(false)).end();
    });
  }

  async #joinByTls(sub) {
    const client = new SyncClient(`wss://127.0.0.1:${this.tls.port}/socket`, () => this.world.streamer.token(sub), { tls: { ca: this.ca } });
    this.world.clients.push(client);
    await client.connect();
    await client.caughtUp();
    return client;
  }

  get #streamers() {
    return [this.world.streamer, this.tls];
  }

  /** Twice a crowd, calm after each: what the first leaves behind is what the process needs, what the second adds is a leak. */
  async waves(ms) {
    await this.#wave(ms / 2);
    const before = this.#measure();
    await this.#wave(ms / 2);
    const after = this.#measure();
    for (const [i, one] of after.entries()) {
      const grown = one.memory_kb - before[i].memory_kb;
      this.figures.grew_kb = Math.max(this.figures.grew_kb, this.isSanitized ? 0 : grown);
      if (!this.isSanitized && grown > GROWTH_KB) this.failures.push(`a streamer grew by ${grown} KiB, from ${before[i].memory_kb}`);
      if (one.descriptors > before[i].descriptors + DESCRIPTORS) this.failures.push(`${one.descriptors} descriptors, ${before[i].descriptors} after the first wave`);
    }
  }

  #measure() {
    return this.#streamers.map(({ process: { pid } }) => ({ memory_kb: memory_kb(pid), descriptors: descriptors(pid) }));
  }

  async #wave(ms) {
    this.isCalm = false;
    const end = Date.now() + ms;
    const isOver = () => this.isCalm || Date.now() > end || this.#hasFallen();
    const lanes = Array.from({ length: this.crowd }, (_, i) => this.#lane(i, new Random(this.random.below(2 ** 31)), isOver));
    await together([...lanes, this.#write(isOver)], () => (this.isCalm = true));
    for (const socket of this.open) socket.end();
    await this.#calm();
  }

  #hasFallen() {
    return this.#streamers.some((streamer) => !isRunning(streamer.process));
  }

  async #lane(number, random, isOver) {
    const sockets = [];
    const sub = `eve${number % 15}`;
    const stage = {
      random, sub, isOver, port: this.world.streamer.port,
      token: (who, claims, how) => mintToken(this.world.streamer.secret, { sub: who, role: 'app', ...claims }, how),
      socket: ({ tls = false } = {}) => {
        const socket = new HostileSocket(tls ? this.tls.port : this.world.streamer.port, `127.0.0.${10 + (number % ADDRESSES)}`);
        sockets.push(socket);
        this.open.add(socket);
        socket.closed.then(() => this.open.delete(socket));
        return socket;
      },
    };
    while (!isOver()) {
      const attack = random.pick(ATTACKS);
      const word = await attack.run(stage);
      const words = this.seen.get(attack.name) ?? {};
      this.seen.set(attack.name, words);
      words[word] = (words[word] ?? 0) + 1;
      this.figures.attacks++;
      this.figures.bytes_wrong += sockets.reduce((sum, { socket }) => sum + socket.bytesWritten, 0);
      for (const socket of sockets.splice(0)) if (random.chance(0.5)) socket.end(); else socket.reset();
    }
  }

  /** What the good clients have to follow. */
  async #write(isOver) {
    const { random, world } = this;
    const texts = new Random(random.below(2 ** 31));
    while (!isOver()) {
      const die = texts.below(10);
      const id = this.notes.length ? texts.pick(this.notes) : undefined;
      if (die < 4 || !id) this.notes.push(await world.addNote(1 + texts.below(2), texts.word(), 'x'.repeat(texts.below(500))));
      else if (die < 9) await world.sql('UPDATE note SET title = $2, team_id = $3 WHERE id = $1', [id, texts.word(), 1 + texts.below(2)]);
      else await world.sql('DELETE FROM note WHERE id = $1', [id]);
      this.figures.written++;
      await sleep(20);
    }
  }

  /** The last of them are gone, and the good ones have everything. */
  async #calm() {
    if (this.#hasFallen()) throw new Error(`a streamer fell:\n${this.#streamers.map((streamer) => streamer.lastLog(4000)).join('\n')}`);
    await until('the hostile sockets are gone', () => this.#streamers.every(({ process: { pid } }) => this.#socketsOf(pid) <= this.good.length + 10), { limit_ms: 60_000, every_ms: 100 });
    const expected = await expectedRows(this.world.database, 'note');
    const wrong = () => this.good.map((client) => differences(client.copy.table('note'), expected));
    await until('the good copies are equal', () => wrong().every((found) => !found.length), { limit_ms: 60_000, every_ms: 200 }).catch(() => {});
    for (const [i, found] of wrong().entries()) {
      if (!found.length) continue;
      this.figures.wrong_copies++;
      this.failures.push(`the copy of good client ${i} differs in ${found.length} places: ${found.slice(0, 3).join('; ')}`);
    }
    for (const streamer of this.#streamers) if (streamer.log.match(/Sanitizer|runtime error/)) throw new Error(streamer.lastLog(6000));
  }

  #socketsOf(pid) {
    return descriptors(pid) - 20; // files, the loop's own, connections to the database
  }

  async stop() {
    this.isOver = true;
    for (const socket of this.open) socket.end();
    try {
      for (const client of this.world?.clients ?? []) await client.disconnect();
      if (this.tls) await this.tls.stop();
    } finally {
      await this.world?.stop();
      if (this.directory) rmSync(this.directory, { recursive: true, force: true });
    }
    if (this.figures.drops) this.failures.push(`good clients lost their connections ${this.figures.drops} times`);
  }
}

// streamer.js - one sync-streamer process: start, ready, stop, kill, restart on the same port; its log is kept and watched.
// SPDX-License-Identifier: PostgreSQL
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { randomBytes } from 'node:crypto';
import { freePort, ROOT } from './postgres.js';
import { isRunning, start } from './process.js';
import { request } from './http.js';
import { until, within } from './wait.js';
import { mintToken } from './token.js';

const usualBinary = () => process.env.SYNC_STREAMER || path.join(ROOT, 'streamer/sync-streamer');
const SANITIZER = /ERROR: (Address|Leak|Undefined\w*)Sanitizer|runtime error: /;

export class Streamer {
  /** `database`: of postgres.js; `options`: flags without their dashes, a value of true for a bare flag; `secret`: of another streamer, so that its tokens are good here; `binary`, `env`: another program, more environment; `ready`: wait until it is. */
  static async start(database, options = {}, { port, secret, binary = usualBinary(), env, ready = true } = {}) {
    const streamer = new Streamer();
    Object.assign(streamer, { database, binary, env });
    streamer.port = port ?? (await freePort());
    streamer.secret = secret ?? randomBytes(32).toString('hex');
    streamer.directory = mkdtempSync(path.join(tmpdir(), 'sync-streamer.'));
    streamer.secretFile = path.join(streamer.directory, 'secret');
    writeFileSync(streamer.secretFile, streamer.secret, { mode: 0o600 });
    process.once('exit', () => rmSync(streamer.directory, { recursive: true, force: true }));
    streamer.options = options;
    await streamer.launch({ ready });
    return streamer;
  }

  log = '';

  #scheme(plain) {
    return this.options['tls-cert'] ? `${plain}s` : plain;
  }

  get url() {
    return `${this.#scheme('http')}://127.0.0.1:${this.port}`;
  }

  get socketUrl() {
    return `${this.#scheme('ws')}://127.0.0.1:${this.port}/socket`;
  }

  #arguments() {
    const settings = {
      database: this.database.conninfo('sync_replication'),
      plugin: process.env.SYNC_PLUGIN || 'wal2json',
      listen: `127.0.0.1:${this.port}`,
      'jwt-secret-file': this.secretFile,
      'log-level': process.env.SYNC_LOG_LEVEL || 'info',
      ...this.options,
    };
    return Object.entries(settings).flatMap(([name, value]) => (value === true ? [`--${name}`] : [`--${name}`, String(value)]));
  }

  async launch({ ready = true } = {}) {
    this.process = start(this.binary, this.#arguments(), { env: { ...process.env, ...this.env } });
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream.setEncoding('utf8');
      stream.on('data', (text) => {
        this.log += text;
        if (process.env.SYNC_SHOW_LOG) process.stderr.write(text);
      });
    }
    if (ready) await this.ready();
  }

  ready({ limit_ms } = {}) {
    return until('the streamer is ready', async () => {
      if (!isRunning(this.process)) {
        const { code, signal, error } = await this.process.exited;
        throw new Error(`the streamer ended (${error?.message ?? signal ?? code})`);
      }
      try {
        return (await request(`${this.url}/readyz`)).status === 200;
      } catch {
        return false;
      }
    }, { every_ms: 30, limit_ms }).catch((error) => {
      throw new Error(`${error.message}\n${this.lastLog()}`);
    });
  }

  /** A token of a user; claims are added to or replace { sub, role }. */
  token(sub, claims = {}, how) {
    return mintToken(this.secret, { sub, role: 'app', ...claims }, how);
  }

  /** SIGTERM; what it ended with. Fails if a sanitizer complained. */
  async stop() {
    if (isRunning(this.process)) process.kill(this.process.pid, 'SIGTERM');
    const ended = await within(15_000, 'the streamer ends after SIGTERM', this.process.exited);
    await this.checkLog();
    return ended;
  }

  /** SIGKILL, no chance to say goodbye. */
  async kill() {
    if (isRunning(this.process)) process.kill(this.process.pid, 'SIGKILL');
    await this.process.exited;
    await this.checkLog();
  }

  /** Once more, on the same port with the same secret. */
  async restart(how) {
    await this.launch(how);
  }

  lastLog(characters = 2000) {
    return this.log.slice(-characters);
  }

  async checkLog() {
    await within(5_000, 'the last of the log', this.process.closed);
    if (SANITIZER.test(this.log)) throw new Error(`a sanitizer found something:\n${this.lastLog(8000)}`);
  }
}

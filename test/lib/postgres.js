// postgres.js - a private PostgreSQL server for one test file, bench or demo: start, crash, restart, SQL, databases.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { childrenOf, isAlive, isRunning, start } from './process.js';
import { until } from './wait.js';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const SOCKET_PORT = 54329; // only names the socket file
const NO_ROOM = /^.*PANIC: {2}could not write .*No space left on device/m; // PostgreSQL ends like this when pg_wal cannot grow
const CRASH = /^.*terminated by signal (?!9\b|15\b).*(\n.*DETAIL: .*)?/m; // tests kill with 9; nothing else may end a backend. Anchored: a log has lines of megabytes

/** A TCP port of the loopback that is free now. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// int8 and numeric as text: no digit is lost
pg.types.setTypeParser(20, (text) => text);

export class Postgres {
  /** `tcp`: listen on loopback too (benches); `fsync`: as in production; `settings`: lines for postgresql.conf. */
  static async start({ fsync = false, tcp = false, settings = {} } = {}) {
    const server = new Postgres();
    server.bin = execFileSync(process.env.PG_CONFIG || 'pg_config', ['--bindir'], { encoding: 'utf8' }).trim();
    const base = tmpdir().length > 60 ? '/tmp' : tmpdir();
    server.directory = mkdtempSync(path.join(base, 'sync-test.'));
    server.port = tcp ? await freePort() : SOCKET_PORT;
    server.host = tcp ? '127.0.0.1' : path.join(server.directory, 'socket');
    server.socket = path.join(server.directory, 'socket');
    process.once('exit', () => server.#remove());
    execFileSync('bash', [path.join(ROOT, 'test/lib/cluster.sh'), 'init', server.directory, String(tcp ? server.port : 0), fsync ? 'on' : 'off'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    for (const [name, value] of Object.entries(settings)) {
      appendFileSync(path.join(server.directory, 'data/postgresql.conf'), `${name} = '${value}'\n`);
    }
    await server.#launch();
    return server;
  }

  /** A server on a data directory that somebody made of `like`'s (see copies.js), in a directory of its own. */
  static async open(directory, like) {
    const server = new Postgres();
    Object.assign(server, { bin: like.bin, directory, port: SOCKET_PORT, socket: path.join(directory, 'socket'), host: path.join(directory, 'socket') });
    process.once('exit', () => server.#remove());
    await server.#launch();
    return server;
  }

  log = '';
  #pools = new Set();

  async #launch() {
    this.process = start(path.join(this.bin, 'postgres'), ['-D', path.join(this.directory, 'data')], { user: 'postgres', signal: 'INT' });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (text) => (this.log += text));
    await until('PostgreSQL accepts connections', async () => {
      if (!isRunning(this.process)) throw new Error(`PostgreSQL did not start:\n${this.log.slice(-4000)}`);
      try {
        const client = await this.connect('postgres', 'postgres');
        await client.end();
        return true;
      } catch {
        return false;
      }
    }, { every_ms: 50, limit_ms: 120_000 });
  }

  /** A libpq connection string, for the streamer and for psql. */
  conninfo(database, user = 'postgres') {
    return `host=${this.host} port=${this.port} dbname=${database} user=${user}`;
  }

  options(database, user = 'postgres') {
    return { host: this.host, port: this.port, database, user };
  }

  /** A connection of its own (its caller ends it). */
  async connect(database, user = 'postgres') {
    const client = new pg.Client(this.options(database, user));
    client.on('error', () => {}); // a crash of the server is part of the play; the next query reports it
    await client.connect();
    return client;
  }

  /** A database that is there already. */
  database(name) {
    const database = new Database(this, name);
    this.#pools.add(database.pool);
    return database;
  }

  /** A fresh database with the extension and the streamer's roles, or a copy of another. */
  async createDatabase(name, { extension = true, roles = true, template } = {}) {
    const admin = await this.connect('postgres');
    await admin.query(`CREATE DATABASE ${name}${template ? ` TEMPLATE ${template}` : ''}`);
    await admin.end();
    const database = this.database(name);
    if (extension && !template) {
      await database.sql('CREATE EXTENSION sync');
      if (roles) this.psql(name, ['-o', '/dev/null', '-f', path.join(ROOT, 'streamer/roles.sql')]);
    }
    return database;
  }

  /** Runs psql, which fails on the first error. */
  psql(database, args, input) {
    const result = spawnSync(path.join(this.bin, 'psql'), ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', this.conninfo(database), ...args], {
      encoding: 'utf8',
      input,
      maxBuffer: 1 << 28,
    });
    if (result.status !== 0) throw new Error(`psql: ${result.error?.message ?? result.stderr}`);
    return result.stdout;
  }

  /** Ends the postmaster and all its children at once, as a crash of the machine's memory would. */
  async crash() {
    const pids = [this.process.pid, ...childrenOf(this.process.pid)];
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended by itself meanwhile
      }
    }
    await this.process.exited;
    await until('all server processes are gone', () => !pids.some(isAlive));
  }

  async start() {
    await this.#launch();
  }

  async restart() {
    await this.halt();
    await this.#launch();
  }

  /** Fast shutdown; the directory stays. */
  async halt() {
    if (!this.process || !isRunning(this.process)) return;
    process.kill(this.process.pid, 'SIGINT'); // fast shutdown
    await this.process.exited;
  }

  /** Throws if a backend had crashed: a play that kills servers on purpose would take that for its own doing. */
  async stop() {
    for (const pool of this.#pools) await pool.end().catch(() => {});
    this.#pools.clear();
    await this.halt();
    this.#remove();
    const crash = this.log.match(CRASH);
    if (crash && !NO_ROOM.test(this.log)) throw new Error(`a server process crashed: ${crash[0]}`);
  }

  #remove() {
    if (this.directory && existsSync(this.directory)) rmSync(this.directory, { recursive: true, force: true });
  }
}

/** One database of the server, with a small pool of superuser connections. */
class Database {
  constructor(server, name) {
    this.server = server;
    this.name = name;
    this.pool = new pg.Pool({ ...server.options(name), max: 4 });
    this.pool.on('error', () => {});
    // also while one is in use: a crash of the server is part of the play, the query that suffers reports it
    this.pool.on('connect', (client) => client.on('error', () => {}));
  }

  /** Rows of one statement (or of the last of several without parameters). */
  async sql(text, values) {
    const result = await this.pool.query(text, values);
    return (Array.isArray(result) ? result.at(-1) : result).rows;
  }

  async value(text, values) {
    const [row] = await this.sql(text, values);
    return row && Object.values(row)[0];
  }

  /** Calls a function of the request family as the streamer does: as the role of the token, with its claims. */
  async call(name, request, claims) {
    return this.transaction(async (client) => {
      await client.query("SELECT set_config('role', $1, true), set_config('request.jwt.claims', $2, true)", [claims.role, JSON.stringify(claims)]);
      const { rows } = await client.query(`SELECT sync.${name}($1::jsonb) AS answer`, [JSON.stringify(request)]);
      return rows[0].answer;
    });
  }

  async transaction(work, { rollback = false } = {}) {
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      const result = await work(client);
      await client.query(rollback ? 'ROLLBACK' : 'COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => {});
      throw error;
    } finally {
      client.release();
    }
  }

  connect(user) {
    return this.server.connect(this.name, user);
  }

  conninfo(user) {
    return this.server.conninfo(this.name, user);
  }
}

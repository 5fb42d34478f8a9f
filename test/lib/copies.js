// copies.js - other lives of a server: a standby, an earlier copy of its files put back, and an address that can be pointed elsewhere.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Postgres } from './postgres.js';
import { until } from './wait.js';

const isRoot = process.getuid() === 0;
const AS_SERVER = isRoot ? ['setpriv', '--reuid', 'postgres', '--regid', 'postgres', '--init-groups'] : [];
const SERVER_UID = isRoot ? Number(execFileSync('id', ['-u', 'postgres'], { encoding: 'utf8' })) : process.getuid();

function asServer(program, args) {
  const [first, ...rest] = [...AS_SERVER, program, ...args];
  return execFileSync(first, rest, { cwd: '/', encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A directory as cluster.sh makes them: short enough for a socket's name, the server's own. */
function ownDirectory() {
  const directory = mkdtempSync(path.join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'sync-test.'));
  mkdirSync(path.join(directory, 'socket'), { mode: 0o700 });
  for (const place of [directory, path.join(directory, 'socket')]) if (isRoot) chownSync(place, SERVER_UID, -1);
  return directory;
}

const dataOf = (server) => path.join(server.directory, 'data');

/** A streaming standby of `primary`. `name`: the application_name that synchronous_standby_names may list. */
export async function standbyOf(primary, { name = 'standby' } = {}) {
  const directory = ownDirectory();
  const data = path.join(directory, 'data');
  asServer(path.join(primary.bin, 'pg_basebackup'), ['-D', data, '-d', primary.conninfo('postgres'), '--checkpoint=fast', '--no-sync', '-X', 'stream']);
  const settings = `unix_socket_directories = '${path.join(directory, 'socket')}'\nhot_standby = on\nprimary_conninfo = '${primary.conninfo('postgres')} application_name=${name}'\n`;
  asServer('sh', ['-c', 'printf %s "$1" >> "$2/postgresql.conf"; touch "$2/standby.signal"', 'sh', settings, data]);
  const standby = await Postgres.open(directory, primary);
  await until('the standby streams', async () => (await ask(primary, 'SELECT count(*)::int AS v FROM pg_stat_replication WHERE application_name = $1 AND state = $2', [name, 'streaming'])) === 1);
  return standby;
}

/** One value of the database postgres. */
export async function ask(server, sql, values) {
  const client = await server.connect('postgres');
  try {
    const { rows } = await client.query(sql, values);
    return rows[0] && Object.values(rows[0])[0];
  } finally {
    await client.end().catch(() => {});
  }
}

/** Until the standby has replayed all that the primary has written. */
export async function caughtUp(primary, standby) {
  const lsn = await ask(primary, 'SELECT pg_current_wal_flush_lsn()::text');
  await until('the standby has replayed it', async () => ask(standby, 'SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn', [lsn]));
}

/** Ends the standby's recovery; it is a primary of its own timeline then. */
export async function promote(standby) {
  await ask(standby, 'SELECT pg_promote()');
  await until('the standby is a primary', async () => !(await ask(standby, 'SELECT pg_is_in_recovery()')));
}

/** A file-level copy of a server that is stopped for it, and goes on afterwards. */
export async function copyFiles(server) {
  await server.halt();
  const copy = path.join(server.directory, 'copy');
  asServer('cp', ['-a', dataOf(server), copy]);
  await server.start();
  return copy;
}

/** The server crashes, its files are those of the copy again, and it starts; the copy stays good. */
export async function rollBack(server, copy, { start = true } = {}) {
  await server.crash();
  rmSync(dataOf(server), { recursive: true, force: true });
  asServer('cp', ['-a', copy, dataOf(server)]);
  if (start) await server.start();
}

/** An address that clients keep while what stands behind it changes, as a name or a floating address does. */
export class Address {
  constructor(server) {
    this.directory = mkdtempSync(path.join(tmpdir().length > 60 ? '/tmp' : tmpdir(), 'sync-address.'));
    process.once('exit', () => rmSync(this.directory, { recursive: true, force: true }));
    this.pointTo(server);
  }

  pointTo(server) {
    const link = path.join(this.directory, 'now');
    symlinkSync(server.socket, `${link}.new`);
    renameSync(`${link}.new`, link);
    this.server = server;
  }

  /** Nobody gets there any more. */
  cut() {
    rmSync(path.join(this.directory, 'now'));
  }

  /** What a streamer takes for a database: see Streamer.start. */
  of(database) {
    return { conninfo: (user = 'postgres') => `host=${path.join(this.directory, 'now')} port=${this.server.port} dbname=${database} user=${user}` };
  }
}

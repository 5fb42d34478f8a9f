// copies.js - other lives of a server: a standby, an earlier copy of its files put back, and an address that can be pointed elsewhere.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from './dump.js';
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

/** The database is dropped and comes back from a dump of its own, in `to` (default: where it was). Nobody gets there meanwhile. */
export async function restoreAnew(world, to = world.server) {
  const archive = run(world.server, 'pg_dump', 'app', ['-Fc']);
  const roles = to === world.server ? '' : asServer(path.join(to.bin, 'pg_dumpall'), ['--roles-only', '-d', world.server.conninfo('postgres')]).replace(/^(CREATE|ALTER) ROLE postgres.*$/gm, '');
  world.address.cut();
  if (to === world.server) {
    await ask(to, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'app'");
    await until('nobody is in the database', async () => ask(to, 'DROP DATABASE app').then(() => true, () => false));
  } else {
    await world.server.halt();
    to.psql('postgres', ['-f', '-'], roles);
  }
  await ask(to, 'CREATE DATABASE app');
  run(to, 'pg_restore', 'app', ['--exit-on-error'], archive);
  world.moveTo(to);
}

/** A base copy, and from now on an archive of the log behind it. */
export async function startArchiving(server) {
  const place = path.join(server.directory, 'archive');
  asServer('mkdir', [place]);
  await ask(server, "ALTER SYSTEM SET archive_mode = 'on'");
  await ask(server, `ALTER SYSTEM SET archive_command = 'cp %p ${place}/%f'`);
  await server.restart();
  asServer(path.join(server.bin, 'pg_basebackup'), ['-D', path.join(server.directory, 'base'), '-d', server.conninfo('postgres'), '--checkpoint=fast', '--no-sync', '-X', 'stream']);
  return place;
}

/** A new server, recovered from that copy and archive up to a restore point. */
export async function recoverTo(server, archive, point) {
  const directory = ownDirectory();
  const data = path.join(directory, 'data');
  asServer('cp', ['-a', path.join(server.directory, 'base'), data]);
  const settings = `unix_socket_directories = '${path.join(directory, 'socket')}'\nrestore_command = 'cp ${archive}/%f %p'\nrecovery_target_name = '${point}'\nrecovery_target_action = promote\narchive_mode = off\n`;
  asServer('sh', ['-c', 'printf %s "$1" >> "$2/postgresql.auto.conf"; touch "$2/recovery.signal"', 'sh', settings, data]);
  const recovered = await Postgres.open(directory, server);
  await until('it has been recovered', async () => !(await ask(recovered, 'SELECT pg_is_in_recovery()')));
  return recovered;
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

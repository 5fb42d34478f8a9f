// laboratory.js - a private copy of the tree and of PostgreSQL, in which the code may be built otherwise: what is installed stays as it is.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ROOT } from './postgres.js';

const LIMIT_MS = 600_000;
// of the normal build: what has no reason to be built again is not
const BUILT = ['extension', 'streamer/build/plain', 'streamer/build/live_files.c'];

const pgConfig = () => process.env.PG_CONFIG || 'pg_config';
const place = (what) => execFileSync(pgConfig(), [`--${what}`], { encoding: 'utf8' }).trim();
const copy = (from, to, filter) => cpSync(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true, filter });

/** A copy of PostgreSQL: it finds its files by where its programs lie. The directory of its programs. */
function copyPostgres(root) {
  const directories = ['bindir', 'pkglibdir', 'sharedir', 'includedir-server'].map(place);
  for (const directory of new Set(directories)) {
    mkdirSync(path.dirname(path.join(root, directory)), { recursive: true });
    copy(directory, path.join(root, directory), (file) => !/\/(bitcode|doc|locale)$/.test(file));
  }
  // headers of libpq stay where they are
  const includes = place('pkgincludedir');
  for (const file of ['internal', 'libpq', 'pg_config.h', 'pg_config_ext.h', 'pg_config_os.h', 'pg_config_manual.h', 'postgres_ext.h']) {
    const target = path.join(root, includes, file);
    mkdirSync(path.dirname(target), { recursive: true });
    symlinkSync(path.join(includes, file), target);
  }
  return path.join(root, directories[0]);
}

// What git would commit, as it is in the working tree now; in a tree without git (a release, a copy made here) everything that is not built.
function copySources(to) {
  const listed = spawnSync('git', ['-C', ROOT, 'ls-files', '-z', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (listed.status !== 0) {
    copy(ROOT, to, (file) => !/\/(node_modules|build)$|\.(o|so|bc)$/.test(file));
    return;
  }
  for (const file of listed.stdout.split('\0').filter(Boolean)) if (existsSync(path.join(ROOT, file))) copy(path.join(ROOT, file), path.join(to, file));
}

function copyTree(to, { built }) {
  copySources(to);
  if (built) for (const file of BUILT) if (existsSync(path.join(ROOT, file))) copy(path.join(ROOT, file), path.join(to, file), (name) => !name.endsWith('.bc'));
  symlinkSync(path.join(ROOT, 'test/node_modules'), path.join(to, 'test/node_modules'));
}

export class Laboratory {
  /** `built`: with the objects of the normal build. */
  constructor(name, { built = false } = {}) {
    this.directory = mkdtempSync(path.join(tmpdir(), `${name}.`));
    process.once('exit', () => this.remove());
    this.tree = path.join(this.directory, 'tree');
    mkdirSync(this.tree);
    copyTree(this.tree, { built });
    const bin = copyPostgres(path.join(this.directory, 'pg'));
    this.pgConfig = path.join(bin, 'pg_config');
    this.env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, PG_CONFIG: this.pgConfig, TESTS: '' };
    // the server's own user must be able to reach it
    spawnSync('chmod', ['755', this.directory]);
  }

  run(command, args, env = {}) {
    return spawnSync(command, args, { cwd: this.tree, env: { ...this.env, ...env }, encoding: 'utf8', timeout: LIMIT_MS, maxBuffer: 1 << 28 });
  }

  /** `flags`: for the preprocessor. What went wrong, or undefined. */
  build({ streamer, flags = '' }) {
    const extension = this.run('make', ['-s', 'STREAMER=no', 'with_llvm=no', `COPT=${flags}`, 'install']);
    if (extension.status !== 0) return extension.stderr;
    const other = streamer && this.run('make', ['-s', '-C', 'streamer', `CPPFLAGS=${flags}`, 'all']);
    return other && other.status !== 0 ? other.stderr : undefined;
  }

  remove() {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

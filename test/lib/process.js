// process.js - child processes that never outlive us: stopped by their own pid, and by the kernel if we are killed.
// SPDX-License-Identifier: PostgreSQL
import { spawn, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const isRoot = process.getuid() === 0;
const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find(existsSync);
const running = new Set();

/** Starts a program in a session of its own (a Ctrl-C in the terminal reaches only us, we then stop it in order). */
export function start(program, args, { user, signal = 'KILL', stdio = ['ignore', 'pipe', 'pipe'], env } = {}) {
  let command = [program, ...args];
  if (setpriv) {
    const identity = user && isRoot ? ['--reuid', user, '--regid', user, '--init-groups'] : [];
    command = [setpriv, '--pdeathsig', signal, ...identity, ...command];
  } else if (user && isRoot) {
    throw new Error('as root this needs setpriv (package util-linux)');
  }
  const child = spawn(command[0], command.slice(1), { stdio, cwd: '/', detached: true, env: env ?? process.env });
  running.add(child);
  child.closed = new Promise((resolve) => child.once('close', resolve)); // ended, and all that it wrote has been read
  child.exited = new Promise((resolve) => {
    child.once('exit', (code, signal) => {
      running.delete(child);
      resolve({ code, signal });
    });
    child.once('error', (error) => {
      running.delete(child);
      resolve({ code: null, signal: null, error });
    });
  });
  return child;
}

export const isRunning = (child) => running.has(child);

/** The pids of a process's children, from the kernel. */
export function childrenOf(pid) {
  const file = `/proc/${pid}/task/${pid}/children`;
  const text = existsSync(file) ? readFileSync(file, 'utf8') : execFileSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' });
  return text.trim().split(/\s+/).filter(Boolean).map(Number);
}

export function isAlive(pid) {
  try {
    process.kill(pid, 0);
    // a zombie is dead, only not yet collected
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

// a Ctrl-C ends through the handlers of 'exit' below, unless the program has its own way to stop
for (const [signal, code] of [['SIGINT', 130], ['SIGTERM', 143]]) {
  process.on(signal, () => {
    if (process.listenerCount(signal) === 1) process.exit(code);
  });
}

process.setMaxListeners(100); // each server and streamer cleans up after itself

// the last net: whatever a failed test left running
process.on('exit', () => {
  for (const child of running) {
    try {
      process.kill(child.pid, 'SIGKILL');
    } catch {
      // already gone
    }
  }
});

// faults.js - what breaks in a history: streamers, backends, the server, the lines between them; each fault heals by itself.
// SPDX-License-Identifier: PostgreSQL
import { childrenOf } from '../../lib/process.js';
import { sleep, until } from '../../lib/wait.js';

const signal = (pid, name) => {
  try {
    process.kill(pid, name);
  } catch {
    // it has ended meanwhile
  }
};

async function stopFor(pid, ms) {
  signal(pid, 'SIGSTOP');
  await sleep(ms);
  signal(pid, 'SIGCONT');
}

async function lineFault(proxy, how, ms) {
  proxy[how]();
  await sleep(ms);
  proxy.heal();
}

const walsenders = (history) => history.database.sql('SELECT active_pid AS pid FROM pg_replication_slots WHERE active_pid IS NOT NULL ORDER BY slot_name').catch(() => []);

const FAULTS = {
  async streamer_kill(history, { which, ms }) {
    const streamer = history.streamers[which];
    await streamer.kill();
    await sleep(ms);
    await streamer.restart({ ready: false });
  },
  streamer_stop: (history, { which, ms }) => stopFor(history.streamers[which].process.pid, ms),
  async walsender_stop(history, { which, ms }) {
    const [one] = (await walsenders(history)).slice(which);
    if (one) await stopFor(one.pid, ms);
  },
  // its slot goes with it
  async walsender_end(history, { which }) {
    const [one] = (await walsenders(history)).slice(which);
    if (one) await history.database.sql('SELECT pg_terminate_backend($1)', [one.pid]);
  },
  // one backend killed: PostgreSQL restarts all of them
  async backend_kill(history) {
    const rows = await history.database.sql("SELECT pid FROM pg_stat_activity WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid() ORDER BY pid").catch(() => []);
    if (rows.length) signal(rows[history.plan.seed % rows.length].pid, 'SIGKILL');
    await history.alive();
  },
  async server_kill(history) {
    for (const pid of childrenOf(history.server.process.pid)) signal(pid, 'SIGCONT');
    await history.server.crash();
    await history.server.start();
  },
  clients_cut: async (history, { which }) => history.gates[which].cut(),
  clients_stall: (history, { which, ms }) => lineFault(history.gates[which], 'stall', ms),
  clients_swallow: (history, { which, ms }) => lineFault(history.gates[which], 'swallow', ms),
  database_cut: async (history, { which }) => history.lines[which].cut(),
  database_stall: (history, { which, ms }) => lineFault(history.lines[which], 'stall', ms),
  database_swallow: (history, { which, ms }) => lineFault(history.lines[which], 'swallow', ms),
  // committed and decoded, not yet visible: a standby that never answers is waited for
  async commits_wait(history, { ms }) {
    await commitsWaitFor(history, 'nobody');
    await sleep(ms);
    await commitsWaitFor(history, '');
  },
};

export async function commitsWaitFor(history, standby) {
  await until('the setting is changed', () => history.admin(`ALTER SYSTEM SET synchronous_standby_names = '${standby}'`).then(() => true, () => false), { every_ms: 50 });
  await history.admin('SELECT pg_reload_conf()').catch(() => {});
}

/** All faults of the plan, each at its moment, several at once if they overlap. Those of one server's life wait for each other. */
export async function breakThings(history, faults) {
  let life = Promise.resolve();
  const running = [];
  for (const fault of faults) {
    await history.until(fault.at);
    history.tally.faults++;
    history.note(`${fault.what} ${fault.which} for ${fault.ms} ms`);
    const happen = () => FAULTS[fault.what](history, fault).catch((error) => history.note(`${fault.what}: ${error.message}`));
    const isExclusive = /^(streamer|backend|server|walsender|commits)_/.test(fault.what);
    running.push(isExclusive ? (life = life.then(happen)) : happen());
  }
  await Promise.all(running);
}

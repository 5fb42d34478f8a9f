// soak_faults.js - what goes wrong during the soak: slots and backends lost, connections cut, processes stopped, the second streamer killed.
// SPDX-License-Identifier: PostgreSQL
import { sleep } from '../lib/wait.js';

const end = (stage, where) => stage.database.value(`SELECT count(pg_terminate_backend(pid))::int FROM pg_stat_activity WHERE ${where}`);

const FAULTS = {
  slots_lost: (stage) => end(stage, "backend_type = 'walsender'"),
  slot_lost: (stage) => end(stage, "pid = (SELECT pid FROM pg_stat_activity WHERE backend_type = 'walsender' ORDER BY random() LIMIT 1)"),
  query_backends_ended: (stage) => end(stage, "usename = 'sync_query' AND random() < 0.3"),
  upkeep_backends_ended: (stage) => end(stage, "usename = 'sync_upkeep' AND random() < 0.5"),
  connections_cut: (stage) => stage.clients.forEach((client) => stage.random.chance(0.3) && client.cut()),
  stopped: async (stage) => {
    const { pid } = stage.random.pick(stage.streamers).process;
    process.kill(pid, 'SIGSTOP');
    await sleep(200 + stage.random.below(2500));
    process.kill(pid, 'SIGCONT');
  },
  tables_emptied: (stage) => stage.database.sql('TRUNCATE aside'),
  ddl: (stage) => stage.database.sql('ALTER TABLE aside ADD COLUMN extra text; ALTER TABLE aside DROP COLUMN extra'),
  checkpoints: (stage) => stage.database.sql('CHECKPOINT'),
  slow_clients: async (stage) => {
    const slow = stage.clients.filter((client) => client.pause && stage.random.chance(0.2));
    for (const client of slow) client.pause();
    await sleep(1000 + stage.random.below(3000));
    for (const client of slow) client.resume();
  },
};

/** A fault every few seconds; the second streamer is killed in the first half alone, so that the second shows its memory over time. */
export function faultsOf(stage, count) {
  const pauses = async (least_ms, range_ms) => {
    const until = Date.now() + least_ms + stage.random.below(range_ms);
    while (Date.now() < until && stage.goesOn()) await sleep(50);
  };
  const usual = async () => {
    for (;;) {
      await pauses(2000, 8000);
      if (!stage.goesOn()) return;
      const [name, fault] = stage.random.pick(Object.entries(FAULTS));
      await fault(stage);
      count(stage, `fault_${name}`);
    }
  };
  const kills = async () => {
    for (let i = 1; i <= 3; i++) {
      while (stage.goesOn() && Date.now() - stage.began < (stage.seconds * 1000 * i) / 8) await sleep(50);
      if (!stage.goesOn()) return;
      await stage.streamers[1].kill();
      await sleep(stage.random.below(1000));
      await stage.streamers[1].restart();
      count(stage, 'fault_streamer_killed');
    }
  };
  return [usual(), kills()];
}

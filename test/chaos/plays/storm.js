// storm.js - G14: a crowd dropped at once, by resets and by the death of its streamer, is live again in time, with few connections to the database, and lacks nothing.
// SPDX-License-Identifier: PostgreSQL
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { buildTools, crowdOf, startWorld, TEAMS } from '../../bench/tools.js';
import { request } from '../../lib/http.js';
import { sleep } from '../../lib/wait.js';

const CROWD = Number(process.env.CLIENTS || 5000);
const FEW = 300; // of a short run, which looks at no clock
const LIMIT_S = 30;
const LOOK_S = 20; // all are live again long before; who is not then is asked about, each time
const LOOKS = 6;
const POOL = 4; // connections for clients' requests
const OWN = 3; // of the streamer: upkeep twice, replication
const MARKS = 3; // written while they are away and while they come back

export const play = {
  row: 'G14',
  name: 'storm',
  title: `${CROWD} clients dropped at once are live again within ${LIMIT_S} s, over no more connections than the pool has, and nothing is lost`,
  run,
};

async function run({ seconds, random, say, most = Infinity }) {
  buildTools();
  const isFull = seconds >= 30;
  const clients = isFull ? CROWD : FEW;
  const world = await startWorld('scope', clients, { rows: 1000, options: { 'query-connections': POOL } });
  const stage = { world, random, clients, failures: [], figures: { clients, storms: 0, slowest_after_reset_s: 0, slowest_after_kill_s: 0, most_query_connections: 0, most_connections: 0, lacking: 0 }, marks: 0 };
  const crowd = crowdOf(world, clients, { track: true });
  const sampling = sample(stage);
  try {
    await crowd.open(clients);
    const end = Date.now() + seconds * 1000;
    do {
      await storm(stage, crowd, 'reset', say);
      await storm(stage, crowd, 'kill', say);
    } while (Date.now() < end && stage.figures.storms < most && !stage.failures.length && stage.marks + 2 * (MARKS + 1) < 64);
    if (isFull)
      for (const name of ['slowest_after_reset_s', 'slowest_after_kill_s'])
        if (stage.figures[name] > LIMIT_S) stage.failures.push(`${name.replaceAll('_', ' ')}: ${stage.figures[name]}, over ${LIMIT_S}`);
    return { figures: stage.figures, failures: stage.failures };
  } finally {
    stage.over = true;
    await sampling;
    await crowd.stop();
    await world.stop();
  }
}

/** How many connections the streamer has, again and again. */
async function sample(stage) {
  const { world, figures } = stage;
  while (!stage.over) {
    const [{ pool, all }] = await world.sql("SELECT count(*) FILTER (WHERE usename = 'sync_query')::int AS pool, count(*)::int AS all FROM pg_stat_activity WHERE usename LIKE 'sync%'");
    figures.most_query_connections = Math.max(figures.most_query_connections, pool);
    figures.most_connections = Math.max(figures.most_connections, all);
    if (!stage.isDying && (pool > POOL || all > POOL + OWN)) {
      stage.failures.push(`${pool} connections for requests, ${all} in all, of ${POOL} and ${POOL + OWN}`);
      return;
    }
    await sleep(50);
  }
}

/** One row of each team, written nowhere else: who lacks it in the end has lost it. */
async function mark(stage) {
  const k = stage.marks++;
  await stage.world.sql(`UPDATE note SET title = '@0@ ~${k}~' WHERE id BETWEEN ${k * TEAMS} AND ${k * TEAMS + TEAMS - 1}`);
}

async function marksMeanwhile(stage) {
  for (let i = 0; i < MARKS; i++) {
    await mark(stage);
    await sleep(stage.random.below(1500));
  }
}

/** Why somebody is not live yet: how far they are, what the streamer lacks, what the kernel dropped, what the database does. */
async function explain(stage, came, say) {
  const { world } = stage;
  const ready = await request(`${world.streamer.url}/readyz`).then(({ status, text }) => `${status} ${text}`, (error) => error.code ?? error.message);
  const kernel = Object.entries(kernelCounts()).map(([name, count]) => `${name} ${count - stage.kernel[name]}`);
  const busy = await world.sql("SELECT coalesce(usename, backend_type) || ' ' || coalesce(state, '-') || ' ' || coalesce(wait_event, '-') AS what, count(*)::int AS n FROM pg_stat_activity GROUP BY 1 ORDER BY 2 DESC LIMIT 12");
  say(`not live: ${came.clients - came.live} (away ${came.away}, connecting ${came.connecting}, upgrading ${came.upgrading}, joined ${came.joined}); streamer ${world.streamer.process.exitCode ?? world.streamer.process.signalCode ?? 'runs'}, ready: ${ready.trim()}; ${kernel.join(', ')}; load ${loadavg()[0].toFixed(1)}`);
  say(`the database: ${busy.map(({ what, n }) => `${n} ${what}`).join(', ')}; the log ends\n${world.streamer.lastLog(1000)}`);
}

/** What the kernel dropped of connections, of all programs. */
function kernelCounts() {
  const [names, values] = readFileSync('/proc/net/netstat', 'utf8').split('\n').map((line) => line.split(' ').slice(1));
  return Object.fromEntries(['ListenOverflows', 'TCPSynRetrans', 'TCPTimeouts'].map((name) => [name, Number(values[names.indexOf(name)])]));
}

/** Until all are live; a storm that stalls explains itself. A streamer that ended will not come back by itself. */
async function allLive(stage, crowd, first, say) {
  let came = await crowd.ask(first);
  for (let i = 1; came.live < came.clients && i < LOOKS; i++) {
    await explain(stage, came, say);
    if (stage.world.streamer.process.exitCode !== null) throw new Error(`the streamer ended:\n${stage.world.streamer.lastLog()}`);
    came = await crowd.ask(`live ${LOOK_S * 1000}`);
  }
  return came;
}

async function storm(stage, crowd, how, say) {
  const { world, clients, figures, failures } = stage;
  let came;
  const writing = marksMeanwhile(stage);
  const began = performance.now();
  stage.kernel = kernelCounts();
  if (how === 'reset') came = await allLive(stage, crowd, `cut ${clients} ${LOOK_S * 1000}`, say);
  else {
    stage.isDying = true; // the dead streamer's connections are still being closed while the new one opens its own
    await world.streamer.kill();
    await sleep(stage.random.below(500));
    await world.streamer.launch({ ready: false });
    came = await allLive(stage, crowd, `live ${LOOK_S * 1000}`, say);
    stage.isDying = false;
  }
  const took_s = Math.round((performance.now() - began) / 10) / 100;
  await writing;
  await mark(stage);
  const { marked } = await crowd.ask(`marks ${stage.marks} 60000`);
  figures.storms++;
  figures[`slowest_after_${how}_s`] = Math.max(figures[`slowest_after_${how}_s`], took_s);
  figures.lacking += clients - marked;
  say(`${how}: ${came.live} of ${clients} live again after ${took_s} s, ${marked} of them have all ${stage.marks} marks; connections ${figures.most_query_connections} and ${figures.most_connections} at most`);
  if (came.live < clients) failures.push(`${how}: only ${came.live} of ${clients} came back`);
  if (marked < clients) failures.push(`${how}: ${clients - marked} of ${clients} lack something of ${stage.marks} marks`);
}

// stream_order.js - G4: what clients are sent beside what was committed, while slots are lost, connections cut and streamers killed, with both decoders.
// SPDX-License-Identifier: PostgreSQL
import { Postgres } from '../../lib/postgres.js';
import { Streamer } from '../../lib/streamer.js';
import { sleep, together, until } from '../../lib/wait.js';
import { Commits } from '../commits.js';
import { LightClient } from '../light.js';
import { Watcher } from '../order.js';
import { Bulk, SCHEMA, TABLES } from '../bulk_writers.js';

const USERS = { both: [1, 2], one: [1], two: [2] };
const PLUGINS = ['wal2json', 'pgoutput'];
const ROWS_PER_S = Number(process.env.ROWS_PER_S || 900);
const CLIENTS = 12;
const FENCE = '0'; // a row that no writer touches

export const play = {
  row: 'G4',
  name: 'stream_order',
  title: 'each batch brings whole transactions in the order of their commits, none is left out without a word',
  run,
};

async function run({ seconds, random, say, most = Infinity }) {
  const server = await Postgres.start({ settings: { max_prepared_transactions: '20', lock_timeout: '3s', shared_buffers: '256MB', max_wal_size: '4GB' } });
  const stage = { server, streamers: [], clients: [], watchers: [], random, loose: new Set(), over: false, faults: { gaps: 0, cuts: 0, kills: 0, pauses: 0, stops: 0 }, resyncs: 0 };
  try {
    stage.database = await server.createDatabase('app');
    server.psql('app', ['-o', '/dev/null', '-f', '-'], SCHEMA);
    stage.commits = await Commits.start(server, stage.database, TABLES);
    for (const plugin of PLUGINS) stage.streamers.push(await Streamer.start(stage.database, { plugin, 'max-queue': '4M', 'max-clients-per-user': 0 }, { secret: stage.streamers[0]?.secret }));
    joinAll(stage);
    await until('all clients are live', () => stage.clients.every((client) => client.isLive), { limit_ms: 180_000 });
    await perform(stage, { seconds, say, most });
    await untilEqual(stage);
    return result(stage);
  } finally {
    stage.ended = true;
    await Promise.all(stage.clients.map((client) => client.stop()));
    await stage.marking;
    if (stage.commits) await stage.commits.stop();
    for (const streamer of stage.streamers) await streamer.stop();
    await server.stop();
  }
}

/** Half of them with each decoder, some with changed fields only. */
function joinAll(stage) {
  const users = Object.keys(USERS);
  for (let i = 0; i < CLIENTS; i++) {
    const streamer = stage.streamers[i % 2];
    const sub = users[(i >> 1) % users.length];
    const watcher = new Watcher(`client ${i} (${sub}, ${streamer.options.plugin})`, stage.commits, { teams: USERS[sub], judged: ['judged'] });
    const take = (batch) => {
      watcher.take(batch, { loose: stage.loose.has(streamer) });
      for (const { entity_type, entity_id, server_version } of batch.changes) if (entity_type === 'plain' && entity_id === FENCE) client.fence = server_version;
    };
    const told = (event) => (stage.resyncs += event === 'resync');
    stage.watchers.push(watcher);
    const client = new LightClient(streamer, sub, { take, told, join: i % 3 === 2 ? { fields: 'changed' } : {}, delay: () => 20 + stage.random.below(1500) }).start();
    stage.clients.push(client);
  }
}

const events = (stage) => stage.watchers.reduce((sum, { counts }) => sum + counts.events, 0);
const failed = (stage) => stage.watchers.some(({ failures }) => failures.length);

async function perform(stage, { seconds, say, most }) {
  const end = Date.now() + seconds * 1000;
  const goesOn = () => !stage.over && Date.now() < end && events(stage) < most && !failed(stage);
  const bulk = new Bulk(stage.database, stage.random, { rows_per_s: ROWS_PER_S, goesOn });
  const looking = setInterval(() => {
    for (const watcher of stage.watchers) watcher.go_on();
    stage.commits.forget(Math.min(...stage.watchers.map(({ needs }) => needs)));
  }, 100);
  const marking = (async () => {
    for (; !stage.ended; await sleep(100)) await stage.commits.mark(stage.database);
  })();
  const telling = setInterval(() => say(`${events(stage).toLocaleString('en')} events of ${stage.commits.next} transactions, ${JSON.stringify(stage.faults)}, ${stage.resyncs} resyncs`), 15_000);
  try {
    await together([bulk.write(), disturb(stage, goesOn)], () => (stage.over = true));
  } finally {
    clearInterval(telling);
    clearInterval(looking);
    stage.marking = marking;
    stage.tally = bulk.tally;
  }
}

/** One fault after the other, a few seconds apart. */
async function disturb(stage, goesOn) {
  const { random } = stage;
  while (goesOn()) {
    const end = Date.now() + 500 + random.below(4000);
    while (Date.now() < end && goesOn()) await sleep(50);
    if (!goesOn()) return;
    const fault = random.pick([breakStream, breakStream, cutSome, cutSome, cutSome, pauseOne, pauseOne, stopStreamer, killStreamer]);
    await fault(stage, random.pick(stage.streamers));
  }
}

const gaps = ({ log }) => log.split(/ gap_(?:closed|open) /).length;

/** The decoding connections of all streamers end; until the gaps are bridged a snapshot, not a commit, says what is told. */
async function breakStream(stage) {
  const before = stage.streamers.map(gaps);
  for (const streamer of stage.streamers) stage.loose.add(streamer);
  const broken = await stage.database.value("SELECT count(pg_terminate_backend(active_pid))::int FROM pg_replication_slots WHERE slot_name LIKE 'sync%' AND active_pid IS NOT NULL");
  stage.faults.gaps += broken;
  if (broken === stage.streamers.length) await until('the gaps are closed', () => stage.streamers.every((streamer, i) => gaps(streamer) > before[i]), { limit_ms: 60_000, every_ms: 20 });
  for (const streamer of stage.streamers) await tightenAgain(stage, streamer);
}

/** What the bridge brought comes before what is written now: whoever has seen that is told by commits again, whenever it came back. */
async function tightenAgain(stage, streamer) {
  await streamer.ready();
  const version = await stage.database.value(`UPDATE plain SET tag = tag + 1 WHERE id = ${FENCE} RETURNING sync_version::int`);
  const all = stage.clients.filter((client) => client.streamer === streamer);
  await until('all have seen what was written behind the gap', () => stage.over || all.every((client) => client.fence >= version), { limit_ms: 120_000 });
  stage.loose.delete(streamer);
}

async function cutSome(stage) {
  for (const client of stage.clients) {
    if (!stage.random.chance(0.4)) continue;
    client.cut();
    stage.faults.cuts++;
  }
}

async function pauseOne(stage) {
  const client = stage.random.pick(stage.clients);
  stage.faults.pauses++;
  client.pause();
  await sleep(500 + stage.random.below(4000));
  client.resume();
}

async function stopStreamer(stage, streamer) {
  stage.faults.stops++;
  process.kill(streamer.process.pid, 'SIGSTOP');
  await sleep(200 + stage.random.below(2500));
  process.kill(streamer.process.pid, 'SIGCONT');
}

async function killStreamer(stage, streamer) {
  stage.faults.kills++;
  stage.loose.add(streamer);
  await streamer.kill();
  await sleep(stage.random.below(1000));
  await streamer.restart();
  await tightenAgain(stage, streamer);
}

/** Nothing is written any more: the oracle has read it all, and every client holds what it may see. */
async function untilEqual(stage) {
  if (failed(stage)) return;
  const end = await stage.database.value('SELECT pg_current_wal_flush_lsn()::text');
  const read = () => stage.database.value("SELECT confirmed_flush_lsn >= $1::pg_lsn FROM pg_replication_slots WHERE slot_name = 'oracle'", [end]);
  await until('the oracle has read everything', read, { limit_ms: 120_000, every_ms: 100 });
  const isEqual = () => stage.watchers.every((watcher) => (watcher.go_on(), watcher.behind === 0 && !watcher.differences().length));
  await until('all copies are equal', () => failed(stage) || isEqual(), { limit_ms: 60_000, every_ms: 200 }).catch(() => {});
  for (const watcher of stage.watchers) {
    const different = watcher.differences();
    if (different.length) watcher.failures.push(`${watcher.name}: at the end ${different.length} rows differ, as ${different[0]}; ${watcher.behind} batches were not looked at`);
  }
}

function result(stage) {
  const sum = (name) => stage.watchers.reduce((total, { counts }) => total + counts[name], 0);
  const failures = stage.watchers.flatMap((watcher) => watcher.failures);
  const faults_of_order = failures.length;
  if (failures.length) failures.push(...stage.streamers.map((streamer) => `log of the streamer with ${streamer.options.plugin}:\n${streamer.lastLog(4000)}`));
  const figures = { events: sum('events'), transactions: stage.commits.next, live_batches: sum('batches'), pulled: sum('pulled'), pages: sum('pages'), repeats: sum('repeats'), announced_resyncs: stage.resyncs, ...stage.faults, ...stage.tally, faults_of_order };
  return { figures, failures };
}

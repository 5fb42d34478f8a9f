// slow_clients.js - G8: a crowd that never reads, beside one that does: what the streamer keeps for it, what becomes of it, what the others notice.
// SPDX-License-Identifier: PostgreSQL
import { buildTools, crowdOf, startWorld, steady } from '../../bench/tools.js';
import { metric } from '../../lib/metrics.js';
import { sleep, until } from '../../lib/wait.js';
import { memory_kb } from '../trend.js';

const CROWD = Number(process.env.CLIENTS || 1000);
const FEW = 50; // of each, in a short run
const QUEUE_KB = 1024; // --max-queue
const BESIDE_KB = 64; // what a connection may cost beyond its queue
const BODY = 40_000;
const EACH = 25; // rows of each slow one, written together: one frame of 1,005,000 bytes, just what a queue takes
const AT_ONCE = 15; // clients whose rows are written in one transaction: 14 MB, what the stream keeps of one
const WRITES = 2; // of all rows: a frame under way, and what comes while it is
const RING = 80 * 1024 * 1024; // more than --ring-size
const CATCH_UP_MS = 400_000; // a thousand sockets that take four kilobytes at a time have a gigabyte to read
const CUT = 50; // of them are cut off while somebody looks
const RATE = 10; // updates a second, each for a tenth of the good ones

export const play = {
  row: 'G8',
  name: 'slow_clients',
  title: `each of ${CROWD} clients that never read costs at most its queue and ${BESIDE_KB} KiB, is cut off with 4008, catches up by pull; the others do not wait`,
  run,
};

async function run({ seconds, random, say }) {
  buildTools();
  const isFull = seconds >= 60;
  const count = isFull ? CROWD : FEW;
  const world = await startWorld('scope', 2 * count, { rows: 1000 });
  const stage = { world, random, say, count, rounds: isFull ? Number(process.env.ROUNDS || 5) : 1, round_s: isFull ? 8 : 1, failures: [], figures: { slow: count, good: count } };
  try {
    await world.sql(`CREATE TABLE mine (id int PRIMARY KEY, team_id int NOT NULL, body text NOT NULL);
      GRANT SELECT ON mine TO app;
      SELECT sync.enable('mine', scope => 'team', scope_column => 'team_id', policy_is_scope => true);
      INSERT INTO member SELECT 'u' || i, i FROM generate_series(${10 + count}, ${9 + 2 * count}) i ON CONFLICT DO NOTHING;
      UPDATE member SET user_id = 'u' || (team_id - 10) WHERE team_id >= 10;
      INSERT INTO mine SELECT i * ${EACH} + n, i, '' FROM generate_series(${10 + count}, ${9 + 2 * count}) i, generate_series(0, ${EACH - 1}) n;
      CREATE INDEX ON mine (team_id)`);
    stage.good = crowdOf(world, count, { tables: ['note'] });
    stage.slow = crowdOf(world, count, { tables: ['note', 'mine'], first: count, small: true, track: true });
    await stage.good.open(count);
    await stage.slow.open(count);
    await latency(stage);
    await memory(stage);
    if (isFull) await farewell(stage);
    return { figures: stage.figures, failures: stage.failures };
  } finally {
    await stage.slow?.stop();
    await stage.good?.stop();
    await world.stop();
  }
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

/** What fills the sockets of those who do not read. */
async function burst(world) {
  for (let i = 0; i < 100; i++) await world.sql("UPDATE note SET title = '@0@' || repeat(chr(97 + $1 % 26), 5000) WHERE id BETWEEN 100 AND 109", [i]);
}

async function oneRound(stage, isStalled) {
  const { world, good, slow, count } = stage;
  if (isStalled) await slow.ask(`stall ${count}`);
  await good.ask('reset');
  await burst(world);
  await good.ask(`wait ${(100 * 10 * count) / 10} 30000`); // fewer come where the machine was so busy that they were served by a pull
  await good.ask('reset');
  const total = await steady(world, RATE, stage.round_s, { ids: 100 });
  const { p99, messages } = await good.ask(`wait ${(total * count) / 10} 30000`);
  stage.least_share = Math.min(stage.least_share ?? 1, (messages * 10) / (total * count));
  if (isStalled) await slow.ask('unstall');
  await slow.ask('live 60000');
  return p99 / 1000;
}

/** Rounds with the slow ones stalled and with them reading, in turns; reported, and judged by people: machines differ. */
async function latency(stage) {
  const seen = { stalled: [], reading: [] };
  for (let round = 0; round < stage.rounds; round++) {
    const order = stage.random.chance(0.5) ? ['stalled', 'reading'] : ['reading', 'stalled'];
    for (const how of order) seen[how].push(await oneRound(stage, how === 'stalled'));
  }
  const told = (values) => `${median(values).toFixed(1)} (${Math.min(...values).toFixed(1)} – ${Math.max(...values).toFixed(1)})`;
  stage.figures.p99_ms_beside_stalled = told(seen.stalled);
  stage.figures.p99_ms_beside_reading = told(seen.reading);
  stage.figures.timed_share = stage.least_share.toFixed(3);
  stage.figures.p99_ratio = median(seen.stalled.map((value, i) => value / seen.reading[i])).toFixed(2);
  stage.say(`p99 of the good ones: ${told(seen.stalled)} ms beside stalled ones, ${told(seen.reading)} ms beside the same ones reading, ratio ${stage.figures.p99_ratio}`);
}

/** Rows of the slow ones' own, so that no frame is shared. `mark`: told with the last; `clients`: only so many of them. */
async function writeOwn(stage, times, mark, clients = stage.count) {
  const { world, count } = stage;
  const end = 10 + count + clients;
  for (let n = 0; n < times; n++) {
    const body = `${n === times - 1 ? mark : ''}`;
    for (let from = 10 + count; from < end; from += AT_ONCE) {
      await world.sql(`UPDATE mine SET body = $1 || id || repeat(md5(random()::text), ${BODY / 32}) WHERE team_id >= $2 AND team_id < $3`, [body, from, Math.min(from + AT_ONCE, end)]);
    }
  }
}

/** They read on when the first of them are cut off: these get what waited for them, then the reason. Later they would find a connection that was dropped. */
async function farewell(stage) {
  const { world, slow, figures, failures } = stage;
  const cut = Math.min(CUT, stage.count);
  const closed = () => metric(world, 'sync_connections_closed_total', { reason: 'too_slow' });
  const before = await closed();
  const told = async () => (await slow.ask('stats')).closed_slow - heard;
  const { closed_slow: heard } = await slow.ask('stats');
  await slow.ask(`stall ${cut}`);
  await writeOwn(stage, WRITES, '', cut);
  await slow.ask('beat'); // from the answer on their time runs
  const first = await until('the first are cut off', async () => (await closed()) - before, { limit_ms: 120_000, every_ms: 100 });
  await slow.ask('unstall');
  await until('they have heard why', async () => (await told()) >= first, { limit_ms: 20_000, every_ms: 200 }).catch(() => {});
  figures.cut_off = first;
  figures.saw_4008 = await told();
  if (figures.saw_4008 < first) failures.push(`only ${figures.saw_4008} of ${first} that were cut off were told 4008`);
}

async function memory(stage) {
  const { world, slow, good, count, figures, failures } = stage;
  const { pid } = world.streamer.process;
  // the ring is full before anything is measured
  await writeOwn(stage, Math.ceil(RING / (count * EACH * BODY)), '', Math.min(count, Math.ceil(RING / (EACH * BODY))));
  await until('those who read have it', async () => (await metric(world, 'sync_outbox_bytes')) === 0 && (await slow.ask('live 1000')).live === count, { limit_ms: 120_000, every_ms: 500 });
  const before_kb = memory_kb(pid);
  let most_kb = before_kb;
  let most_outbox = 0;
  let isOver = false;
  const watching = (async () => {
    for (; !isOver; await sleep(50)) {
      most_kb = Math.max(most_kb, memory_kb(pid));
      most_outbox = Math.max(most_outbox, await metric(world, 'sync_outbox_bytes_max').catch(() => 0));
    }
  })();
  await slow.ask('reset');
  await slow.ask(`stall ${count}`);
  await writeOwn(stage, WRITES, '~0~');
  await slow.ask('beat'); // an answer that waits: their time runs, where it did not already
  await until('all slow ones are cut off', async () => (await metric(world, 'sync_connections')) <= count, { limit_ms: 120_000, every_ms: 500 });
  isOver = true;
  await watching;
  figures.kib_each = Math.round((most_kb - before_kb) / count);
  figures.largest_queue_kib = Math.round(most_outbox / 1024);
  figures.told_to_pull = await metric(world, 'sync_resyncs_total', { cause: 'too_slow' });
  await slow.ask('unstall');
  await slow.ask(`live ${CATCH_UP_MS}`);
  const { marked } = await slow.ask(`marks 1 ${CATCH_UP_MS}`);
  await until('those cut off have seen it', async () => (await slow.ask('live 1000')).drops >= count, { limit_ms: 60_000 }).catch(() => {});
  const { drops } = await slow.ask('live 60000');
  figures.caught_up = marked;
  figures.kib_each_afterwards = Math.round((memory_kb(pid) - before_kb) / count);
  const stats = await good.ask('stats');
  if (figures.kib_each > QUEUE_KB + BESIDE_KB) failures.push(`each slow client cost ${figures.kib_each} KiB`);
  if (marked < count) failures.push(`only ${marked} of ${count} slow clients caught up`);
  if (drops < count) failures.push(`only ${drops} of ${count} were cut off`);
  if (stats.drops > 0) failures.push(`${stats.drops} good clients lost their connections`);
}

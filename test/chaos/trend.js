// trend.js - samples of what must not grow, and whether it did: a line through the second half of the time.
// SPDX-License-Identifier: PostgreSQL
import { readdirSync, readFileSync } from 'node:fs';

const RULES = {
  // name: what may be gained from the middle to the end without being called a leak; 10 % of the median is allowed in any case
  memory_kb: 4096,
  backends_kb: 4096,
  descriptors: 10,
  connections: 4,
  lag_kb: 4096,
};
const LEAST_SAMPLES = 30; // in the second half

const status = (pid) => readFileSync(`/proc/${pid}/status`, 'utf8');
const kb = (pid, name) => {
  try {
    return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status(pid))?.[1] ?? 0);
  } catch {
    return 0; // it ended between two looks
  }
};

export const memory_kb = (pid) => kb(pid, 'VmRSS');

export function descriptors(pid) {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}

/** What the streamers' backends hold for themselves, shared memory left out. */
export async function backends(database) {
  const rows = await database.sql("SELECT pid FROM pg_stat_activity WHERE usename LIKE 'sync%'");
  return { connections: rows.length, backends_kb: rows.reduce((sum, { pid }) => sum + kb(pid, 'RssAnon'), 0) };
}

/** WAL that slots of streamers hold back: the one that is farthest behind. */
export async function lag_kb(database) {
  const value = await database.value("SELECT coalesce(max(pg_current_wal_lsn() - confirmed_flush_lsn), 0)::bigint / 1024 FROM pg_replication_slots WHERE slot_name LIKE 'sync%'");
  return Number(value);
}

const median = (values) => [...values].sort((a, b) => a - b)[values.length >> 1];

function slope(samples) {
  const at = samples.reduce((sum, { at_s }) => sum + at_s, 0) / samples.length;
  const mean = samples.reduce((sum, { value }) => sum + value, 0) / samples.length;
  const over = samples.reduce((sum, { at_s, value }) => sum + (at_s - at) * (value - mean), 0);
  const under = samples.reduce((sum, { at_s }) => sum + (at_s - at) ** 2, 0);
  return under ? over / under : 0;
}

/**
 * `samples`: [{ at_s, value }]. Of the second half: the slope a minute, what the line gained from its begin to its end, and `grows`: the line gained more
 * than both its rule's allowance and a tenth of the median, and so did the medians of its last and first thirds (so no single peak decides).
 */
export function trend(name, samples) {
  const kind = name.split('.').at(-1);
  const half = samples.slice(samples.length >> 1);
  if (!half.length) return undefined;
  const per_s = slope(half);
  const middle = median(half.map(({ value }) => value));
  const gained = per_s * (half.at(-1).at_s - half[0].at_s);
  const third = Math.floor(half.length / 3);
  const medians = third ? median(half.slice(-third).map(({ value }) => value)) - median(half.slice(0, third).map(({ value }) => value)) : 0;
  const allowed = Math.max(RULES[kind], middle / 10);
  return { name, median: middle, least: Math.min(...half.map(({ value }) => value)), most: Math.max(...half.map(({ value }) => value)), per_minute: per_s * 60, gained, enough: half.length >= LEAST_SAMPLES, grows: half.length >= LEAST_SAMPLES && gained > allowed && medians > allowed };
}

export const trendLine = ({ name, median: middle, least, most, per_minute, gained, enough, grows }) =>
  `${name}: median ${middle} (${least} – ${most}), ${per_minute >= 0 ? '+' : ''}${per_minute.toPrecision(3)} a minute, ${gained >= 0 ? '+' : ''}${gained.toPrecision(3)} over the second half${grows ? ': GROWS' : enough ? '' : ' (too short to judge)'}`;

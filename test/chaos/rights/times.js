// times.js - how long pushes at hidden and at absent keys take, in turns, and whether the two distributions can be told apart (Kolmogorov and Smirnov).
// SPDX-License-Identifier: PostgreSQL
import pg from 'pg';

const { escapeLiteral: literal } = pg;

/** The figures: samples, medians in microseconds, the greatest distance of the two distributions and how likely chance alone makes one so great. */
export async function compareTimes(world, hidden, random, { seconds, say }) {
  const table = hidden.tables[0];
  const samples = { hidden: [], absent: [] };
  const keys = { hidden: table.keys['in another team'], absent: table.keys.nowhere };
  const client = await world.database.connect();
  const count = Math.min(5000, Math.max(200, seconds * 20));
  await client.query("SET ROLE app; SELECT set_config('request.jwt.claims', '{\"sub\":\"ada\",\"role\":\"app\"}', false)");
  for (let i = 0; i < count * 2 + 200; i++) {
    const kind = random.pick(['hidden', 'absent']);
    const change = { operation: 'update', entity_type: table.name, entity_id: String(keys[kind]), data: { body: 'x' }, local_version: 1 };
    const text = `SELECT sync.push(${literal(JSON.stringify({ device_id: 'd', changes: [change] }))}::jsonb)`;
    const began = process.hrtime.bigint();
    await client.query(text);
    if (i >= 200) samples[kind].push(Number(process.hrtime.bigint() - began) / 1000);
  }
  await client.end();
  const { distance, chance } = kolmogorovSmirnov(samples.hidden, samples.absent);
  const figures = { timed: samples.hidden.length + samples.absent.length, hidden_us: median(samples.hidden), absent_us: median(samples.absent), ks_distance: round(distance), ks_p: round(chance) };
  say(`times: ${JSON.stringify(figures)}`);
  return figures;
}

const round = (x) => Math.round(x * 1000) / 1000;
const median = (list) => Math.round([...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]);

export function kolmogorovSmirnov(a, b) {
  const [x, y] = [a, b].map((list) => [...list].sort((p, q) => p - q));
  let [i, j, distance] = [0, 0, 0];
  while (i < x.length && j < y.length) {
    const at = Math.min(x[i], y[j]);
    while (x[i] <= at) i++;
    while (y[j] <= at) j++;
    distance = Math.max(distance, Math.abs(i / x.length - j / y.length));
  }
  const n = Math.sqrt((x.length * y.length) / (x.length + y.length));
  const lambda = (n + 0.12 + 0.11 / n) * distance;
  let chance = 0;
  for (let k = 1; k <= 100; k++) chance += 2 * (-1) ** (k - 1) * Math.exp(-2 * k * k * lambda * lambda);
  return { distance, chance: lambda < 0.2 ? 1 : Math.min(1, Math.max(0, chance)) };
}

// metrics.js - one number of what a streamer counts, read from its /metrics.
// SPDX-License-Identifier: PostgreSQL
import { request } from './http.js';

/** The sum of all lines of that name whose labels include these; 0 if there are none. */
export async function metric(world, name, labels = {}) {
  const { text } = await request(`${world.streamer.url}/metrics`);
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return text.split('\n').filter((line) => line.replace(/[ {].*/, '') === name && wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

// plan.js - what happens in a history, decided from its seed alone before anything runs: writers, clients, faults, each with its own moments.
// SPDX-License-Identifier: PostgreSQL
//
// Every actor draws from a stream of its own, so what one does depends on the seed and not on who gets the processor first.
import { Random } from '../../lib/random.js';
import { NAMES } from './schema.js';
import { ownerSteps, transaction } from './statements.js';

/** A stream of decisions of its own for each name. */
export function fork(seed, name) {
  let hash = seed ^ 0x9e3779b9;
  for (const letter of name) hash = Math.imul(hash ^ letter.charCodeAt(0), 0x01000193) >>> 0;
  return new Random(hash);
}

const FAULTS = {
  streamer_kill: 5, streamer_stop: 3, walsender_stop: 2, walsender_end: 2, backend_kill: 1, server_kill: 1.5,
  clients_cut: 3, clients_stall: 2, clients_swallow: 2, database_cut: 3, database_stall: 2, database_swallow: 2, commits_wait: 3,
};
const LIVE_TURNS = { offline: 4, pause: 3, die: 3, anew: 1, move: 2 };
const PULL_TURNS = { silent: 3, die: 2, anew: 1, move: 3 };

export function weighted(random, weights) {
  const names = Object.keys(weights);
  let left = random.next() * names.reduce((sum, name) => sum + weights[name], 0);
  return names.find((name) => (left -= weights[name]) < 0) ?? names.at(-1);
}

function turns(random, weights, length) {
  const list = [];
  for (let at = random.below(length); at < length; at += 150 + random.below(1200)) list.push({ at, what: weighted(random, weights), ms: 20 + random.below(500) });
  return list;
}

function client(seed, number, length) {
  const random = fork(seed, `client ${number}`);
  const way = fork(seed, `way ${number}`); // of its own: what came later changes no older decision
  const isLive = random.chance(0.55);
  return {
    number,
    kind: isLive ? 'live' : way.chance(0.35) ? 'listener' : 'puller',
    user: random.pick(NAMES),
    streamer: random.below(2),
    start: random.below(length / 2),
    fields: isLive && random.chance(0.3),
    compress: isLive && way.chance(0.3),
    limit: random.pick([1, 3, 10, 1000, 1000]),
    every: 60 + random.below(400),
    loses: random.pick([0, 0, 0.1, 0.3]),
    skew_ms: random.chance(0.5) ? 0 : Math.round((random.next() * 2 - 1) * 86_400_000),
    turns: turns(random, isLive ? LIVE_TURNS : PULL_TURNS, length),
    pushes: random.chance(0.5) ? pushes(random, length) : [],
  };
}

function pushes(random, length) {
  const list = [];
  for (let at = random.below(length); at < length; at += 50 + random.below(800)) {
    list.push({ at, edits: 1 + random.below(5), flush: random.chance(0.7), copies: random.pick([1, 1, 1, 2, 3, 5]), atomic: random.chance(0.15), reorder: random.chance(0.25), hurry: random.chance(0.25) });
  }
  return list;
}

function writer(random, number) {
  const list = [];
  for (let left = 4 + random.below(14); left > 0; left--) list.push({ wait: random.below(90), ...transaction(random, `${number}_${left}`) });
  return list;
}

function faults(random, length) {
  const list = [];
  const count = random.below(5);
  for (let i = 0; i < count; i++) list.push({ at: random.below(length), what: weighted(random, FAULTS), which: random.below(2), ms: 20 + random.below(700) });
  return list.sort((a, b) => a.at - b.at);
}

/** {seed, length (ms), clients, writers, owner, faults}; `size` changes how many clients there are. */
export function makePlan(seed) {
  const shape = fork(seed, 'shape');
  const length = 700 + shape.below(1300);
  const clients = 10 + (shape.chance(0.1) ? shape.below(41) : shape.below(9));
  return {
    seed,
    length,
    clients: Array.from({ length: clients }, (_, i) => client(seed, i, length)),
    writers: Array.from({ length: 2 + shape.below(3) }, (_, i) => writer(fork(seed, `writer ${i}`), i)),
    owner: ownerSteps(fork(seed, 'owner'), length),
    faults: faults(fork(seed, 'faults'), length),
  };
}

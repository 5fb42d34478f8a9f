// random.js - a small seeded generator, so that a run that failed can be asked for again.
// SPDX-License-Identifier: PostgreSQL

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1): mulberry32. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(n) {
    return Math.floor(this.next() * n);
  }

  chance(p) {
    return this.next() < p;
  }

  pick(list) {
    return list[this.below(list.length)];
  }

  word() {
    const parts = ['vinyl', 'Ärzte', 'sølv', '音楽', "o'clock", 'say "hi"', 'back\\slash', 'tab\there', '💿', 'plain', 'zero', 'blue'];
    return `${this.pick(parts)} ${this.pick(parts)} ${this.below(1000)}`;
  }
}

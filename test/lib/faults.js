// faults.js - the test's side of faults/failing_malloc.c: which places of a streamer allocate, and which of them is to fail.
// SPDX-License-Identifier: PostgreSQL
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readdirSync, readFileSync, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './postgres.js';

export const BINARY = path.join(ROOT, 'streamer/build/address_undefined/sync-streamer-faults');

// the layout of struct control and struct place
const PLACES = 32768;
const KEPT = 12;
const AT = { armed: 0, skip: 8, lasts: 12, fired: 16, step: 20, count: 24, last: 32, places: 40 };
const PLACE_SIZE = 24 + KEPT * 8;
const WRAPPERS = /^(memory|buffer|json_string|library_memory)\.c:/; // the caller says more

export function build() {
  execFileSync('make', ['-s', '-j2', '-C', path.join(ROOT, 'streamer'), 'SANITIZE=address,undefined', 'faults'], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** Every line of the streamer that calls an allocator by name. */
export function allocatingLines() {
  const directory = path.join(ROOT, 'streamer');
  const call = /\b(malloc|calloc|realloc|reallocarray|strdup|strndup|memory_new|memory_grow|memory_text|memory_string|json_strdup|value_strdup)\(/;
  return readdirSync(directory).filter((file) => file.endsWith('.c') && !WRAPPERS.test(`${file}:`)).flatMap((file) => {
    const lines = readFileSync(path.join(directory, file), 'utf8').split('\n');
    return lines.flatMap((line, i) => (call.test(line) && !/^\w/.test(line) && !/^\s*(\/\*|\*)/.test(line) ? [`${file}:${i + 1}`] : []));
  });
}

export class Faults {
  #file;
  #names = new Map(); // address within the program → ['file.c:line', …], innermost first

  constructor(directory) {
    this.path = path.join(directory, 'faults');
    this.#file = openSync(this.path, 'w+', 0o666);
    ftruncateSync(this.#file, AT.places + PLACES * PLACE_SIZE);
  }

  close() {
    closeSync(this.#file);
  }

  #read(offset, size) {
    const bytes = Buffer.alloc(size);
    readSync(this.#file, bytes, 0, size, offset);
    return bytes;
  }

  #number(offset) {
    return this.#read(offset, 4).readUInt32LE();
  }

  #write(offset, value) {
    const bytes = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
    if (typeof value === 'bigint') bytes.writeBigUInt64LE(value);
    else bytes.writeUInt32LE(value);
    writeSync(this.#file, bytes, 0, bytes.length, offset);
  }

  /** What the test is doing: places are noted with the step in which they were first seen. */
  set step(number) {
    this.#write(AT.step, number);
  }

  get fired() {
    return this.#number(AT.fired);
  }

  get count() {
    return this.#number(AT.count);
  }

  get last() {
    return this.#read(AT.last, 8).readBigUInt64LE();
  }

  /** The place `key` (or the next of all: 'any') fails once, after `skip` more hits; `lasts`: and from then on everything does. */
  arm(key, { skip = 0, lasts = false } = {}) {
    this.#write(AT.armed, 0n);
    this.#write(AT.fired, 0);
    this.#write(AT.skip, skip);
    this.#write(AT.lasts, lasts ? 1 : 0);
    this.#write(AT.armed, key === 'any' ? 2n ** 64n - 1n : key);
  }

  disarm() {
    this.#write(AT.armed, 0n);
    this.#write(AT.lasts, 0);
  }

  /** Every place seen so far: { key, step, hits, isOwn, frames }. */
  places() {
    const bytes = this.#read(AT.places, PLACES * PLACE_SIZE);
    const found = [];
    for (let at = 0; at < bytes.length; at += PLACE_SIZE) {
      const key = bytes.readBigUInt64LE(at);
      if (key === 0n) continue;
      const [step, hits, isOwn, depth] = [8, 12, 16, 20].map((offset) => bytes.readUInt32LE(at + offset));
      const frames = Array.from({ length: depth }, (_, i) => Number(bytes.readBigUInt64LE(at + 24 + i * 8)));
      found.push({ key, step, hits, isOwn: isOwn === 1, frames });
    }
    return found;
  }

  #learn(addresses) {
    const unknown = [...new Set(addresses)].filter((address) => !this.#names.has(address));
    for (let i = 0; i < unknown.length; i += 2000) {
      const some = unknown.slice(i, i + 2000);
      // a frame's address is where the call returns to
      const text = execFileSync('addr2line', ['-a', '-i', '-e', BINARY, ...some.map((address) => `0x${(address - 1).toString(16)}`)], { encoding: 'utf8', maxBuffer: 1 << 26 });
      let name;
      for (const line of text.trim().split('\n')) {
        if (/^0x/.test(line)) this.#names.set(Number(line) + 1, (name = []));
        else name.push(path.basename(line.replace(/ \(discriminator \d+\)/, '')));
      }
    }
  }

  /** 'file.c:line' of each: of ours where it allocates, of a library where we call it. */
  name(places) {
    this.#learn(places.flatMap(({ frames }) => frames));
    return places.map((place) => {
      const lines = place.frames.flatMap((address) => this.#names.get(address));
      const own = lines.findIndex((line) => !WRAPPERS.test(line));
      const isOwn = place.isOwn && !lines.slice(0, 3).some((line) => line.startsWith('library_memory.c'));
      return { ...place, isOwn, site: lines[own] ?? 'before main', chain: lines.slice(Math.max(own, 0), own + 4) };
    });
  }
}

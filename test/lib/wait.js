// wait.js - waiting in tests: for a condition, never for a length of time.
// SPDX-License-Identifier: PostgreSQL
import { setTimeout as sleep } from 'node:timers/promises';

export { sleep };

/** Until `condition` returns something true; its value. The limit only turns a hang into a message. */
export async function until(what, condition, { limit_ms = 30_000, every_ms = 10 } = {}) {
  const end = Date.now() + limit_ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`waited ${limit_ms} ms in vain: ${what}`);
    await sleep(every_ms);
  }
}

/** The promise, or an error that says what was waited for. */
export function within(limit_ms, what, promise) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limit_ms} ms in vain: ${what}`)), limit_ms);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** All of them, to their ends; the first error is told at once to `failed`, which should end the others, and thrown when they have ended. */
export async function together(promises, failed = () => {}) {
  const results = await Promise.allSettled(promises.map((promise) => promise.catch((error) => {
    failed(error);
    throw error;
  })));
  const bad = results.find(({ status }) => status === 'rejected');
  if (bad) throw bad.reason;
  return results.map(({ value }) => value);
}

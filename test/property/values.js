// values.js - what each column rule makes of the three values of a colliding column, as the contract words it.
// SPDX-License-Identifier: PostgreSQL
//
// undefined: not given (no base) or not there (member of an object); null: SQL NULL.

/** Equal as JSON, whatever the order of an object's members. */
export const same = (a, b) => canonical(a) === canonical(b);

export function canonical(value) {
  if (value === undefined) return 'undefined';
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join()}}`;
}

const has = (list, item) => list.some((other) => same(other, item));
const once = (list) => list.filter((item, i) => !list.slice(0, i).some((other) => same(other, item)));
const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);

const mixed = (value) => ({ value, took: 'mixed' });
const list = (value) => (value === null ? [] : Array.isArray(value) ? value : undefined);

/** {value, took: local|server|mixed}. `newer`: the change's edit time is later than that of the column's last write. */
export function decide(column, { base, server, local, newer }) {
  const byTime = newer ? { value: local, took: 'local' } : { value: server, took: 'server' };
  const lists = list(server) && list(local);
  switch (column.rule) {
    case 'lww': return byTime;
    case 'server': return { value: server, took: 'server' };
    case 'client': return { value: local, took: 'local' };
    case 'max': return extreme(server, local, (a, b) => a > b);
    case 'min': return extreme(server, local, (a, b) => a < b);
    case 'counter': return [base, server, local].every((v) => typeof v === 'number') ? mixed(server + (local - base)) : byTime;
    case 'union': return lists ? mixed(union(base, list(server), list(local))) : byTime;
    case 'append': return lists ? mixed(append(base, list(server), list(local))) : byTime;
    case 'text': {
      const { text } = mergeText(base, server, local);
      return text === undefined ? byTime : mixed(text);
    }
    case 'object': return isObject(server) && isObject(local) ? mixed(mergeObject(column, base, server, local, newer)) : byTime;
    case 'resolver': return mixed(column.resolver(local, server, base ?? null));
    default: throw new Error(`no such rule: ${column.rule}`);
  }
}

function extreme(server, local, better) {
  if (server === null || (local !== null && better(local, server))) return { value: local, took: 'local' };
  return { value: server, took: 'server' };
}

function union(base, server, local) {
  const known = Array.isArray(base) ? base : [];
  const removed = known.filter((item) => !has(local, item));
  // what the server took away and the client left alone stays away
  const gone = known.filter((item) => !has(server, item));
  return once([...server, ...local.filter((item) => !has(gone, item))]).filter((item) => !has(removed, item));
}

function append(base, server, local) {
  if (base === undefined) return [...server, ...local.filter((item) => !has(server, item))];
  const known = list(base) ?? [];
  let common = 0;
  while (common < known.length && common < local.length && same(known[common], local[common])) common++;
  return [...server, ...local.slice(common)];
}

function mergeObject(column, base, server, local, newer) {
  const known = isObject(base) ? base : undefined;
  const merged = {};
  for (const name of new Set([...Object.keys(server), ...Object.keys(local)])) {
    const value = mergeMember(column.members?.[name], known, { name, server: server[name], local: local[name], newer });
    if (value !== undefined) merged[name] = value;
  }
  return merged;
}

function mergeMember(rule, known, { name, server, local, newer }) {
  // a counter that both raised by as much is raised twice, an equal entry of both stands twice
  if (same(server, local) && !(['counter', 'append'].includes(rule) && known && !same(server, known[name]))) return server;
  if (!known) {
    if (server === undefined || local === undefined) return server ?? local;
  } else {
    if (same(local, known[name])) return server;
    if (same(server, known[name])) return local;
  }
  // a member that one side took away is to its rule what NULL is to that of a column: an empty list, less than any number
  const { value, took } = decide({ rule: rule ?? 'lww' }, { base: known?.[name], server: server ?? null, local: local ?? null, newer });
  return took === 'mixed' ? value : took === 'local' ? local : server;
}

const words = (text) => (text === '' ? [] : text.split(' '));

/** Where `after` differs from `before`: [{from, to, words}] over the words of `before`. */
function hunks(before, after) {
  const length = Array.from({ length: before.length + 1 }, () => new Array(after.length + 1).fill(0));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      length[i][j] = before[i] === after[j] ? 1 + length[i + 1][j + 1] : Math.max(length[i + 1][j], length[i][j + 1]);
    }
  }
  const found = [];
  let open;
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    if (i < before.length && j < after.length && before[i] === after[j]) {
      open = undefined;
      i++;
      j++;
      continue;
    }
    if (!open) found.push((open = { from: i, to: i, words: [] }));
    if (j >= after.length || (i < before.length && length[i + 1][j] >= length[i][j + 1])) open.to = ++i;
    else open.words.push(after[j++]);
  }
  return found;
}

/**
 * {text} of both edits together, {} where they touch (or cannot be merged). `gap`: the fewest untouched words between two
 * edits, so that a generator can stay away from what the contract leaves open (edits of neighbouring words).
 */
export function mergeText(base, server, local) {
  if (![base, server, local].every((value) => typeof value === 'string')) return {};
  const before = words(base);
  const mine = hunks(before, words(local));
  const theirs = hunks(before, words(server)).filter((one) => !mine.some((other) => same(one, other)));
  let gap = Infinity;
  for (const a of mine) {
    for (const b of theirs) gap = Math.min(gap, Math.max(a.from, b.from) - Math.min(a.to, b.to));
  }
  if (gap < 1) return { gap };
  const merged = [...before];
  for (const { from, to, words: instead } of [...mine, ...theirs].sort((a, b) => b.from - a.from)) merged.splice(from, to - from, ...instead);
  return { text: merged.join(' '), gap };
}

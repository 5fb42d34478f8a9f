// judge.js - was it right that this arrived? Each row, deletion and text that came to a receiver, against what the oracle saw between its commit and now.
// SPDX-License-Identifier: PostgreSQL
import { sameValue, tokensIn } from './receivers.js';

const EDGE_MS = 3000;

/** Judges all that has arrived; called after a look, so that everything committed before an arrival is known. */
export function judge(arena, receiver) {
  for (const item of receiver.inbox.splice(0)) {
    const why = RULES[item.kind](arena, receiver, item);
    arena.tally.judged++;
    if (why) arena.leak(`${receiver.who}: ${why} (epoch ${item.epoch}, ${arena.oracle.kinds.slice(Math.max(0, item.epoch - 3), item.epoch + 2).join(' → ')})`);
  }
  for (const text of receiver.texts()) judgeText(arena, receiver, text);
}

const RULES = { row, gone, keep, record, deleted };

/** As one of those it is served as: `test(subject, from, to)` for the time that both hold. */
function asSomebody(receiver, epoch, born, test) {
  return receiver.views.some(({ subject, from, to }) => {
    const last = Math.min(to, epoch + 1);
    return Math.max(from, born) <= last && test(subject, Math.max(from, born), last);
  });
}

function row(arena, receiver, { table, id, version, data, scope, epoch, at }) {
  const { oracle } = arena;
  if (table.startsWith('sync.')) return undefined; // their texts are looked at
  const image = oracle.images.get(`${table}/${id}/${version}`);
  if (image && receiver.cut < image.born) return `row ${table} ${id} version ${version} of ${image.born}, after its device was revoked in ${receiver.cut}`;
  if (!image || image.ended === image.born) return `row ${table} ${id} version ${version}, which never was to be seen: ${JSON.stringify(data)}`;
  const wrong = Object.keys(data).find((name) => !(name in image.data) || !sameValue(data[name], image.data[name]));
  if (wrong) return `row ${table} ${id} version ${version} with ${wrong} = ${JSON.stringify(data[wrong])}, which is ${JSON.stringify(image.data[wrong])}`;
  if (scope !== undefined && scope !== image.scope) return `row ${table} ${id} version ${version} with scope ${scope}, which is ${image.scope}`;
  const names = Object.keys(data);
  if (!asSomebody(receiver, epoch, image.born, (subject, from, to) => oracle.saw(subject, image, names, from, to)) && !isAtTheEdge(oracle, image, at)) {
    return `row ${table} (${oracle.byName.get(table).kind}) ${id} version ${version} of ${oracle.kinds[image.born]} at ${image.born} is out of sight: ${JSON.stringify(data)}`;
  }
  lag(arena, receiver, image, epoch, at);
  return undefined;
}

/** A row that the clock opened while the oracle was looking, however long that took: it looks as of its beginning, the streamer at its own moment. */
function isAtTheEdge(oracle, image, at) {
  const opened = Date.parse(image.data.open_at);
  return oracle.byName.get(image.table).verify && opened > oracle.looked - EDGE_MS && opened < at + EDGE_MS;
}

/** How long after it was lost a row still came. */
function lag(arena, receiver, image, epoch, at) {
  const { oracle } = arena;
  const living = oracle.living.get(`${image.table}/${image.id}`);
  if (living && receiver.subject.now.has(living)) return; // only an older version of what is in sight
  const lost = oracle.lost(receiver.subject, image);
  if (lost !== undefined && lost <= epoch && receiver.views.length === 1) arena.lags.push({ kind: oracle.kinds[lost], ms: Math.max(0, at - oracle.times[lost]) });
}

function gone(arena, receiver, { table, id, version, epoch }) {
  const { oracle } = arena;
  if (table.startsWith('sync.')) return undefined;
  const key = `${table}/${id}/${version}`;
  if (receiver.told.has(key)) return undefined;
  const image = oracle.before(table, id, version);
  if (image && receiver.cut < (image.ended ?? 0)) return `deletion of ${table} ${id} version ${version}, after its device was revoked in ${receiver.cut}`;
  if (image && asSomebody(receiver, epoch, (image.ended ?? epoch) - 1, (subject, from, to) => oracle.saw(subject, image, [], from, to, true))) {
    receiver.told.add(key);
    return undefined;
  }
  return `deletion of ${table} (${oracle.byName.get(table).kind}) ${id} version ${version}, out of sight as ${JSON.stringify(image?.data)} scope ${image?.scope}, versions ${(oracle.versions.get(`${table}/${id}`) ?? []).map((one) => `${one.version}@${one.born}-${one.ended}`)}`;
}

function keep(arena, receiver, { table, keep: kept, epoch }) {
  if (table.startsWith('sync.')) return undefined;
  const scope = arena.oracle.byName.get(table)?.scope;
  const extra = kept.filter((value) => !asSomebody(receiver, epoch, epoch - 1, (subject, from, to) => arena.oracle.held(subject, scope, value, from, to)));
  return extra.length ? `withdrawal of ${table} that keeps ${extra}, which is not held` : undefined;
}

/** An INSERT or UPDATE of postgres_changes: no version tells which image it is, so one that fits must have been in sight. */
function record(arena, receiver, { table, id, data, old, epoch, at }) {
  const { oracle } = arena;
  const names = Object.keys(data);
  const fits = (oracle.versions.get(`${table}/${id}`) ?? []).filter((image) => names.every((name) => sameValue(data[name], image.data[name])));
  const seen = fits.filter((image) => asSomebody(receiver, epoch, image.born, (subject, from, to) => oracle.saw(subject, image, names, from, to)));
  if (!seen.length) return `record of ${table} (${oracle.byName.get(table)?.kind}) ${id} out of sight: ${JSON.stringify(data)}, versions that fit ${fits.map(({ version }) => version)}`;
  lag(arena, receiver, seen.at(-1), epoch, at);
  return old && oldRecord(arena, receiver, { table, id, old, epoch });
}

function oldRecord(arena, receiver, { table, id, old, epoch }) {
  const { oracle } = arena;
  const names = Object.keys(old);
  if (names.every((name) => ['id', 'k'].includes(name))) return undefined;
  const key = oracle.byName.get(table).key === 'pair' ? JSON.stringify([String(old.id), old.k]) : String(old.id);
  const fits = (oracle.versions.get(`${table}/${key}`) ?? []).filter((image) => names.every((name) => sameValue(old[name], image.data[name])));
  const ok = fits.some((image) => asSomebody(receiver, epoch, (image.ended ?? epoch) - 1, (subject, from, to) => oracle.saw(subject, image, names, from, to, true)));
  return ok ? undefined : `old record of ${table} ${id} out of sight: ${JSON.stringify(old)}`;
}

/** A DELETE of postgres_changes: some image of the row was in sight not long ago. */
function deleted(arena, receiver, { table, id, epoch }) {
  const { oracle } = arena;
  const fits = oracle.versions.get(`${table}/${id}`) ?? [];
  const ok = fits.some((image) => asSomebody(receiver, epoch, (image.ended ?? epoch) - 1, (subject, from, to) => oracle.saw(subject, image, [], from, to, true)));
  return ok ? undefined : `deletion of ${table} (${oracle.byName.get(table)?.kind}) ${id} out of sight`;
}

/** Every value in every byte that came must have been in the receiver's sight, or be its own. */
function judgeText(arena, receiver, { text, loose }) {
  const { oracle } = arena;
  for (const number of new Set(tokensIn(text))) {
    arena.tally.texts++;
    if (receiver.fine.has(number)) continue;
    if (arena.tokens.get(number)?.team !== undefined) {
      judgeTopic(arena, receiver, number, text);
      continue;
    }
    const { by, table, id } = arena.tokens.get(number) ?? {};
    if (by && receiver.views.some(({ subject }) => subject.sub === by)) continue;
    const images = oracle.holders.get(number) ?? [];
    const one = (image) => asSomebody(receiver, oracle.epoch, image.born, (subject, from, to) => oracle.saw(subject, image, [columnOf(image, number)], from, to, true)) || isAtTheEdge(oracle, image, Date.now());
    const lost = () => (loose || !images.length) && (oracle.versions.get(`${table}/${id}`) ?? []).some((image) => asSomebody(receiver, oracle.epoch, image.born, (subject, from, to) => oracle.saw(subject, image, [], from, to)));
    // an entry of the conflict log is its author's, whatever role they come with today: what any of these may see is theirs
    const known = () => text.includes('"sync.conflict"') && oracle.subjects.some((subject) => subject.sub === receiver.subject.sub && images.some((image) => oracle.saw(subject, image, [columnOf(image, number)], 0, oracle.epoch, true)));
    if (images.some(one) || lost() || known()) receiver.fine.add(number);
    else arena.leak(`${receiver.who}: the value ~${number}~ of ${table} ${id} is out of sight, in ${text.slice(Math.max(0, text.indexOf(`~${number}~`) - 300), text.indexOf(`~${number}~`) + 200)}`);
  }
}

/** What was said in a topic: only there, and only to whoever held the team since all was last settled. Rights are asked again when memberships change, not with each message. */
function judgeTopic(arena, receiver, number, text) {
  if (receiver.team !== arena.tokens.get(number).team) arena.leak(`${receiver.who}: ~${number}~ was said in team:${arena.tokens.get(number).team}, and came in ${text.slice(0, 300)}`);
  else if (!receiver.heldSince(arena.settledEpoch)) arena.leak(`${receiver.who}: ~${number}~ came without a right to the topic since epoch ${arena.settledEpoch}`);
}

const columnOf = (image, number) => Object.keys(image.data).find((name) => image.data[name] === `~${number}~`);

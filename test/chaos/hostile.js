// hostile.js - makes bad requests of good ones, from a seed: values of other types, huge, deep, odd; members twice, gone, renamed; texts cut and spliced.
// SPDX-License-Identifier: PostgreSQL

/** A piece of JSON text as it is, for what JavaScript cannot write: numbers of any size, lone surrogates, members twice. */
export class Raw {
  constructor(text) {
    this.text = text;
  }
}

/** An object as a list of members, so that a name can stand there twice. */
class Members {
  constructor(list) {
    this.list = list;
  }
}

const open = (value) => {
  if (Array.isArray(value)) return value.map(open);
  if (value instanceof Raw || value === null || typeof value !== 'object') return value;
  return new Members(Object.entries(value).map(([name, member]) => [name, open(member)]));
};

export function write(value) {
  if (value instanceof Raw) return value.text;
  if (value instanceof Members) return `{${value.list.map(([name, member]) => `${name instanceof Raw ? name.text : JSON.stringify(name)}:${write(member)}`).join(',')}}`;
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
  return JSON.stringify(value) ?? 'null';
}

const nest = (opening, closing, depth) => new Raw(opening.repeat(depth) + closing.repeat(depth));

// Each with how often it comes: long ones seldom, they take time.
const VALUES = [
  null, true, false, 0, -1, 1, 2147483647, 2147483648, -2147483649, '', ' ', 'null', '*', [], {}, [[]], [null], [[], {}], 0.5, -0.0000001,
  new Raw('-0'), new Raw('1e400'), new Raw('1e-400'), new Raw('9223372036854775807'), new Raw('9223372036854775808'), new Raw('-9223372036854775809'), new Raw('18446744073709551616'),
  new Raw(`1${'0'.repeat(400)}`), new Raw(`0.${'0'.repeat(400)}1`), new Raw('1e131072'), new Raw('99999999999999999999999999999999999999999e10'),
  new Raw('"\\u0000"'), new Raw('"a\\u0000b"'), new Raw('"\\ud800"'), new Raw('"\\udc00\\ud800"'), new Raw('"\\ud83d\\ude00"'), new Raw('"\\uFFFF\\uFEFF"'),
  '\u0001\u001f\u007f\u0085\u2028', 'é\u0301', '﷽', '\u202eabc', 'x'.repeat(63), 'é'.repeat(32), 'x'.repeat(64), 'x'.repeat(256), 'x'.repeat(2049),
  "'", '"', '\\', "'; DROP TABLE note; --", '$1', '$$', '%s%n%d', '../../etc', '{}', '[]', '[1', '{"a":', '(1,2)', '{1,2}', 'ROW(1)', 'public.note', 'sync.device', 'pg_catalog.pg_class', 'note"', 'NOTE', ' note',
  'NaN', 'Infinity', '-Infinity', '1e5', '0x10', '１', '1_000', '00', '+1', 'infinity', '-infinity', '294277-01-01', '4714-11-24 00:00:00 BC', '0001-01-01', '2026-02-30', '24:00:00', 'now', 'today', 'epoch',
  '2026-11-21T07:00:00Z', '2026-11-21T07:00:00+99', 'allballs', '1 year', '9999999 years', '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-fffffffffff', '\\x00', '\\xzz', '1.2.3.4',
  '0', '-1', '99999999999999999999', '1:2:', '1:1:1', '5:9:6,7', '18446744073709551615:18446744073709551615:', 't.p', '.', 'a.b.c', 'AAAA.MS8xLzA6MC8xOjE6',
];
const LONG = [
  () => 'x'.repeat(1_000_000), () => '\u0001'.repeat(200_000), () => Array(5000).fill('x'), () => Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`k${i}`, i])),
  () => nest('[', ']', 5000), () => nest('{"a":[', ']}', 3000), () => nest('[', ']', 100_000), () => new Raw(`1${'0'.repeat(100_000)}`), () => Array(20_000).fill(null),
  () => Array(1500).fill({ id: 1 }), () => new Raw(`"${'\\u00e9'.repeat(20_000)}"`),
];

const value = (random) => (random.chance(0.01) ? open(random.pick(LONG)()) : open(random.pick(VALUES)));

/** Every place of a tree: what it holds, and a function that puts something else there. */
function places(value, put, list = []) {
  list.push({ value, put });
  if (Array.isArray(value)) value.forEach((element, i) => places(element, (other) => (value[i] = other), list));
  if (value instanceof Members) value.list.forEach((member) => places(member[1], (other) => (member[1] = other), list));
  return list;
}

const MUTATIONS = [
  { often: 6, change: (place, random) => place.put(value(random)) },
  {
    often: 2,
    change: ({ value: object }, random) => {
      if (object instanceof Members && object.list.length) object.list.splice(random.below(object.list.length), 1);
    },
  },
  {
    often: 2, // a member twice, the second with another value
    change: ({ value: object }, random) => {
      if (object instanceof Members && object.list.length) object.list.push([random.pick(object.list)[0], value(random)]);
    },
  },
  {
    often: 1, // another name
    change: ({ value: object }, random) => {
      if (!(object instanceof Members) || !object.list.length) return;
      const name = open(random.pick(VALUES));
      random.pick(object.list)[0] = typeof name === 'string' || (name instanceof Raw && name.text.startsWith('"')) ? name : 'x';
    },
  },
  {
    often: 1,
    change: ({ value: object }, random) => {
      if (object instanceof Members) object.list.push([random.word(), value(random)]);
      if (Array.isArray(object)) object.push(value(random));
    },
  },
  {
    often: 1, // many of the same
    change: ({ value: list }, random) => {
      if (Array.isArray(list) && list.length) list.push(...Array(random.below(40)).fill(random.pick(list)));
    },
  },
  { often: 1, change: (place) => place.put([place.value]) },
  { often: 1, change: (place, random) => typeof place.value === 'string' && place.put(spoil(place.value, random)) },
].flatMap(({ often, change }) => Array(often).fill(change));

/** A text with a few characters cut, doubled, changed. */
export function spoil(text, random) {
  let result = text;
  for (let i = 1 + random.below(3); i > 0; i--) {
    const at = random.below(result.length + 1);
    const to = at + random.below(8);
    switch (random.below(5)) {
      case 0:
        result = result.slice(0, at) + result.slice(to);
        break;
      case 1:
        result = result.slice(0, at) + String.fromCharCode(1 + random.below(126)) + result.slice(at + 1);
        break;
      case 2:
        result = result.slice(0, to) + result.slice(at);
        break;
      case 3:
        result = result.slice(0, at);
        break;
      default:
        result = result.slice(0, at) + random.pick(['"', '\\', '{', ']', ',', ':', '\\u0000', 'é', "'", '0', 'e', '-']) + result.slice(at);
    }
  }
  return result;
}

/** The text of a request made of this one; now and then it is not even JSON. */
export function mutate(request, random) {
  const root = { value: open(request) };
  for (let i = 1 + random.below(3); i > 0; i--) {
    const list = places(root.value, (other) => (root.value = other));
    random.pick(MUTATIONS)(random.pick(list), random);
  }
  const text = write(root.value);
  return random.chance(0.05) && text.length < 10_000 ? spoil(text, random) : text;
}

/** Any text an application might pass on. */
export function text(random, good = []) {
  if (good.length && random.chance(0.5)) return random.chance(0.5) ? random.pick(good) : spoil(String(random.pick(good)), random);
  for (;;) {
    const any = random.pick(VALUES);
    if (typeof any === 'string') return any;
    if (random.chance(0.02)) return 'x'.repeat(300_000);
  }
}

/** A sync token with its inside changed: both halves are base64url, of bytes and of a text. */
export function spoilToken(token, random) {
  const [part, position] = token.split('.');
  if (random.chance(0.2)) return spoil(token, random);
  if (random.chance(0.5)) {
    const bytes = Buffer.from(part, 'base64url');
    for (let i = 1 + random.below(4); i > 0 && bytes.length; i--) bytes[random.below(bytes.length)] = random.pick([0, 1, 127, 128, 255, random.below(256)]);
    return `${(random.chance(0.3) ? bytes.subarray(0, random.below(bytes.length + 1)) : bytes).toString('base64url')}.${position}`;
  }
  let inside = Buffer.from(position, 'base64url').toString('latin1');
  if (random.chance(0.4)) inside = inside.replace(/\d+/g, (digits) => (random.chance(0.3) ? random.pick(['0', '1', '4294967296', '18446744073709551615', '99999999999999999999', '-1', '00', String(Number(digits) + 1)]) : digits));
  else inside = spoil(inside, random);
  return `${part}.${Buffer.from(inside, 'latin1').toString('base64url')}`;
}

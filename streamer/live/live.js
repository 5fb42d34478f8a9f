// live.js - draws the last hour from the streamer's samples, and asks for one user's sessions.
// SPDX-License-Identifier: PostgreSQL

const WIDTH = 600; // of a chart, in its own units
const HEIGHT = 130;
const LEFT = 44;
const BOTTOM = 16;
const KEPT_MS = 3600_000;
const SPAN_LEAST_MS = 120_000;

const short = (v, digits = 3) => (v === 0 ? '0' : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString('en') : String(Number(v.toPrecision(digits))));
const scaled = (v, base, units) => {
  let i = 0;
  while (Math.abs(v) >= base && i < units.length - 1) {
    v /= base;
    i++;
  }
  return [short(v), units[i]];
};
const UNITS = {
  count: (v) => [short(v), ''],
  rate: (v) => [short(v), '/s'],
  ms: (v) => (v >= 1000 ? [short(v / 1000), 's'] : [short(v), 'ms']),
  bytes: (v) => scaled(v, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']),
  byterate: (v) => scaled(v, 1024, ['B/s', 'KiB/s', 'MiB/s', 'GiB/s']),
  share: (v) => [short(v * 100), '%'],
};
const words = (unit, v) => (v === null || v === undefined ? '–' : UNITS[unit](v).join(' ').trim());

const CHARTS = [
  { title: 'Clients', unit: 'count', lines: [['connections', 'connections'], ['live', 'sessions live'], ['catching_up', 'catching up']] },
  { title: 'From commit to socket', unit: 'ms', lines: [['send_p99', '99th percentile'], ['send_median', 'median']] },
  { title: 'Changes', unit: 'rate', lines: [['changes_sent', 'sent'], ['changes_decoded', 'decoded']] },
  { title: 'Messages', unit: 'rate', lines: [['messages_out', 'sent'], ['messages_in', 'received']] },
  { title: 'Traffic', unit: 'byterate', lines: [['bytes_out', 'sent'], ['bytes_in', 'received']] },
  { title: 'Behind the server’s WAL', unit: 'bytes', lines: [['lag_bytes', 'not read yet']] },
  { title: 'Requests', unit: 'rate', lines: [['requests', 'answered'], ['pushed', 'changes pushed']] },
  { title: 'Time of a request', unit: 'ms', lines: [['request_p99', '99th percentile'], ['request_median', 'median']] },
  { title: 'Waiting for the database', unit: 'count', lines: [['queries_waiting', 'requests'], ['queries_busy', 'connections busy'], ['works_waiting', 'in clients’ queues']] },
  { title: 'Pushed and not written as sent', unit: 'rate', lines: [['conflicts', 'conflicts'], ['rejects', 'rejected']] },
  { title: 'Trouble', unit: 'rate', lines: [['errors', 'errors told'], ['resyncs', 'resyncs'], ['limited', 'over a limit']] },
  { title: 'Policies asked', unit: 'rate', lines: [['policy_questions', 'questions']] },
  { title: 'Broadcast and presence', unit: 'count', lines: [['broadcasts', 'broadcasts a second'], ['presences', 'present']] },
  { title: 'Memory', unit: 'bytes', lines: [['memory', 'process'], ['ring_bytes', 'recent changes'], ['outbox_bytes', 'unsent']] },
  { title: 'Processor', unit: 'share', lines: [['cpu', 'of one core']] },
];

const TILES = [
  ['Connections', 'count', 'connections'],
  ['Commit to socket', 'ms', 'send_median', 'last'],
  ['99 of 100 within', 'ms', 'send_p99', 'last'],
  ['Changes sent', 'rate', 'changes_sent'],
  ['Behind the server', 'bytes', 'lag_bytes'],
  ['Conflicts open', 'count', 'open_conflicts'],
  ['Errors told', 'rate', 'errors'],
  ['Memory', 'bytes', 'memory'],
];

const COUNTS = [
  ['Joins', 'sync_joins_total'],
  ['Connections closed', 'sync_connections_closed_total'],
  ['Resyncs by cause', 'sync_resyncs_total'],
  ['Errors by code', 'sync_errors_total'],
  ['Verdicts', 'sync_push_verdicts_total'],
  ['Outcomes', 'sync_push_outcomes_total'],
  ['Conflicts by kind', 'sync_push_conflicts_total'],
  ['Rejected by reason', 'sync_push_rejects_total'],
  ['Limits met', 'sync_limited_total'],
  ['Connections to the database', 'sync_database_connects_total'],
  ['HTTP answers', 'sync_http_requests_total'],
  ['Removed by upkeep', 'sync_upkeep_removed_total'],
];

const $ = (id) => document.getElementById(id);
let token = sessionStorage.getItem('sync-token') ?? '';
let names = [];
let samples = []; // [time, ...values], oldest first
let hover = null; // a time

function element(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function svg(name, attributes = {}, text) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  if (text !== undefined) e.textContent = text;
  return e;
}

class Refused extends Error {}

async function get(path) {
  const response = await fetch(path, { headers: token ? { authorization: `Bearer ${token}` } : {}, cache: 'no-store' });
  if (response.status === 401) throw new Refused();
  return response;
}

// Samples

const value = (sample, name) => sample?.[names.indexOf(name) + 1] ?? null;
const newest = (name) => value(samples.at(-1), name);
const lastKnown = (name) => samples.slice(-12).reverse().map((s) => value(s, name)).find((v) => v !== null) ?? null;

async function readSamples() {
  const answer = await (await get(`live/samples?since=${samples.at(-1)?.[0] ?? 0}`)).json();
  names = answer.names;
  samples = [...samples, ...answer.samples].filter((s) => s[0] > answer.now - KEPT_MS);
  return answer.now;
}

// Charts

function niceTop(most, unit) {
  if (most <= 0) return unit === 'share' ? 0.1 : 1;
  const base = unit === 'bytes' || unit === 'byterate' ? 1024 ** Math.floor(Math.log(most) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(most / base));
  const step = [1, 2, 4, 5, 10].find((s) => s * power * base >= most);
  return step * power * base;
}

function makeChart(chart) {
  chart.legend = element('ul', { class: 'legend' });
  chart.items = chart.lines.map(([, label]) => {
    const b = element('b');
    chart.legend.append(element('li', {}, `${label} `, b));
    return b;
  });
  chart.svg = svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': chart.title });
  chart.svg.addEventListener('pointermove', (event) => {
    const box = chart.svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    hover = chart.timeAt?.(x) ?? null;
    draw();
  });
  chart.svg.addEventListener('pointerleave', () => {
    hover = null;
    draw();
  });
  return element('section', { class: 'chart' }, element('header', {}, element('h2', {}, chart.title), chart.legend), chart.svg);
}

function linePath(points, x, y) {
  let d = '';
  let isOpen = false;
  let before = 0;
  for (const [time, v] of points) {
    // a hole in the samples is a hole in the line
    if (v === null || time - before > 20_000) isOpen = false;
    before = time;
    if (v === null) continue;
    d += `${isOpen ? 'L' : 'M'}${x(time).toFixed(1)} ${y(v).toFixed(1)}`;
    if (!isOpen) d += `h.01`;
    isOpen = true;
  }
  return d;
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });

function drawChart(chart, from, to) {
  const width = Math.max(chart.svg.clientWidth, 200);
  const height = Math.max(chart.svg.clientHeight, 80);
  const shown = samples.filter((s) => s[0] >= from);
  const series = chart.lines.map(([name]) => shown.map((s) => [s[0], value(s, name)]));
  const top = niceTop(Math.max(0, ...series.flat().map(([, v]) => v ?? 0)), chart.unit);
  const x = (time) => LEFT + ((time - from) / (to - from)) * (width - LEFT - 2);
  const y = (v) => height - BOTTOM - (v / top) * (height - BOTTOM - 8);
  chart.timeAt = (at) => from + ((at * (width / WIDTH) - LEFT) / (width - LEFT - 2)) * (to - from);
  chart.svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
  chart.svg.replaceChildren();
  for (const part of [0, 0.5, 1]) {
    chart.svg.append(svg('line', { class: 'rule', x1: LEFT, x2: width, y1: y(top * part), y2: y(top * part) }));
    chart.svg.append(svg('text', { x: LEFT - 5, y: y(top * part) + 3, 'text-anchor': 'end' }, words(chart.unit, top * part).replace('/s', '')));
  }
  for (const part of [0, 0.5, 1]) {
    const time = from + (to - from) * part;
    chart.svg.append(svg('text', { x: x(time), y: height - 2, 'text-anchor': part === 0 ? 'start' : part === 1 ? 'end' : 'middle' }, clock(time)));
  }
  const known = series[0].filter(([, v]) => v !== null);
  if (chart.lines.length === 1 && known.length > 1) {
    chart.svg.append(svg('path', { class: 'area', d: `M${x(known[0][0])} ${y(0)}${known.map(([t, v]) => `L${x(t).toFixed(1)} ${y(v).toFixed(1)}`).join('')}L${x(known.at(-1)[0])} ${y(0)}Z` }));
  }
  series.forEach((points, i) => chart.svg.append(svg('path', { class: `line${i}`, d: linePath(points, x, y) })));
  const at = hover === null ? shown.at(-1) : shown.reduce((best, s) => (Math.abs(s[0] - hover) < Math.abs(best[0] - hover) ? s : best), shown[0]);
  if (hover !== null && at) chart.svg.append(svg('line', { class: 'hair', x1: x(at[0]), x2: x(at[0]), y1: 8, y2: height - BOTTOM }));
  chart.lines.forEach(([name], i) => (chart.items[i].textContent = words(chart.unit, value(at, name))));
}

function draw() {
  const seconds = Number($('range').value);
  const to = samples.at(-1)?.[0] ?? Date.now();
  // a young streamer's charts begin with its first sample
  const from = Math.max(to - seconds * 1000, Math.min(samples[0]?.[0] ?? to, to - SPAN_LEAST_MS));
  for (const chart of CHARTS) drawChart(chart, from, to);
}

function drawTiles() {
  $('tiles').replaceChildren(
    ...TILES.map(([label, unit, name, how]) => {
      const v = how === 'last' ? lastKnown(name) : newest(name);
      const [number, suffix] = v === null ? ['–', ''] : UNITS[unit](v);
      const tone = name === 'errors' && v > 0 ? 'bad' : '';
      return element('li', { class: 'tile', 'data-tone': tone }, element('span', {}, label), element('b', {}, number), element('small', {}, suffix));
    }),
  );
}

// Readiness and counts

async function readState() {
  const { status, missing = [] } = await (await fetch('readyz', { cache: 'no-store' })).json();
  $('state').dataset.state = status === 'ok' ? 'good' : 'bad';
  $('state').lastChild.textContent = status === 'ok' ? 'changes flow' : `not ready: ${missing.join(', ')}`;
}

const duration = (s) => {
  const parts = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];
  const [size, name] = parts.find(([n]) => s >= n) ?? [1, 's'];
  return `${Math.floor(s / size)} ${name}`;
};

async function readCounts(now) {
  const text = await (await get('metrics')).text();
  const start = Number(/^process_start_time_seconds (\S+)$/m.exec(text)?.[1] ?? 0);
  if (start) $('since').textContent = `up for ${duration(now / 1000 - start)}${/^sync_upkeep_leader 1$/m.test(text) ? ', does the upkeep' : ''}`;
  $('counts').replaceChildren(
    ...COUNTS.map(([title, name]) => {
      const rows = [...text.matchAll(new RegExp(`^${name}\\{[a-z]+="([^"]*)"\\} (\\S+)$`, 'gm'))].map(([, label, v]) => [label, Number(v)]).filter(([, v]) => v > 0);
      rows.sort((a, b) => b[1] - a[1]);
      const table = element('table', {}, ...rows.slice(0, 12).map(([label, v]) => element('tr', {}, element('td', {}, label.replaceAll('_', ' ')), element('td', { class: 'number' }, v.toLocaleString('en')))));
      return element('div', {}, element('h3', {}, title), rows.length ? table : element('p', { class: 'note' }, 'none'));
    }),
  );
}

// One user

const chips = (texts) => {
  const cell = element('td');
  cell.append(...texts.map((text) => element('span', { class: 'chip' }, text)));
  return cell;
};

function sessionRow(s) {
  const behind = s.behind ? `${words('bytes', s.behind.bytes)}, ${s.behind.transactions} transactions` : '–';
  const ago = (seconds) => (seconds === null || seconds === undefined ? '–' : `${duration(seconds)} ago`);
  return element(
    'tr', {},
    element('td', {}, s.topic, element('br'), element('small', { class: 'note' }, s.device_id ?? '')),
    element('td', {}, element('span', { class: 'badge', 'data-state': s.state }, s.state), s.next_pull_in ? ` pulls in ${duration(s.next_pull_in)}` : ''),
    chips([...s.tables, ...(s.partial ?? []).map((t) => `${t} (in part)`)]),
    chips([...s.scopes.map(({ scope, value: v }) => `${scope} ${v}`), ...(s.more_scopes ? [`and ${s.more_scopes} more`] : [])]),
    element('td', {}, behind),
    element('td', {}, ago(s.cursor_age)),
    element('td', {}, ago(s.change_age)),
  );
}

async function showUser() {
  const user = $('user').value.trim();
  if (!user) return;
  const { sessions, count } = await (await get(`live/sessions?user=${encodeURIComponent(user)}`)).json();
  if (count === 0) {
    $('sessions').replaceChildren(element('p', { class: 'note' }, `${user} has no session on this streamer.`));
    return;
  }
  const titles = ['Topic, device', 'State', 'Tables', 'Scopes', 'Behind the newest', 'Newest cursor', 'Last change'];
  const table = element('table', {}, element('thead', {}, element('tr', {}, ...titles.map((t) => element('th', {}, t)))), element('tbody', {}, ...sessions.map(sessionRow)));
  $('sessions').replaceChildren(element('div', { class: 'scroll' }, table));
  if (count > sessions.length) $('sessions').append(element('p', { class: 'note' }, `and ${count - sessions.length} more`));
}

// The page

function openDoor(text) {
  $('main').hidden = true;
  $('door').hidden = false;
  $('door-text').textContent = text;
  $('token').focus();
}

async function turn() {
  try {
    const now = await readSamples();
    $('door').hidden = true;
    $('main').hidden = false;
    drawTiles();
    draw();
    await Promise.all([readState(), readCounts(now), showUser()]);
  } catch (error) {
    if (error instanceof Refused) {
      openDoor(token ? 'This is not the token.' : '');
      return;
    }
    $('state').dataset.state = 'bad';
    $('state').lastChild.textContent = 'the streamer does not answer';
  }
  setTimeout(turn, 5000);
}

$('charts').append(...CHARTS.map(makeChart));
$('range').addEventListener('change', draw);
addEventListener('resize', draw);
$('user-form').addEventListener('submit', (event) => {
  event.preventDefault();
  showUser();
});
$('door').addEventListener('submit', (event) => {
  event.preventDefault();
  token = $('token').value;
  sessionStorage.setItem('sync-token', token);
  turn();
});
turn();

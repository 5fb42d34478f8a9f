// http_rfc.test.js - what HTTP requests must not be: smuggled, chunked, cut, huge, odd; each with its verdict, and others are served meanwhile.
// SPDX-License-Identifier: PostgreSQL
// runs once: requests that are refused, nothing is decoded
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { readdirSync, readFileSync } from 'node:fs';
import { after, afterEach, before, test } from 'node:test';
import { request } from '../lib/http.js';
import { World } from '../lib/world.js';

let world;
let ada;
before(async () => {
  world = await World.start({ options: { 'max-requests-per-second': 100_000 } });
  ada = await world.join('ada');
});
after(() => world?.stop());
afterEach(async () => {
  const id = await world.addNote(1, 'still here?');
  await ada.sees('a live change', (copy) => copy.get('note', id));
});

/**
 * Sends the pieces one after the other, a moment between them; the statuses of all answers up to the end of the connection, or until it is idle.
 * The last request is always the probe, GET /healthz on the same connection, sent once all is answered: its 200 at the end means that the connection goes on.
 */
function statuses(pieces, { probe = true, idle_ms = 300 } = {}) {
  const sent = [pieces].flat();
  return new Promise((resolve) => {
    let text = '';
    let idle;
    let isProbed = !probe;
    const socket = connect(world.streamer.port, '127.0.0.1');
    const finish = () => {
      clearTimeout(idle);
      socket.destroy();
      resolve({ list: [...text.matchAll(/HTTP\/1\.[01] (\d{3})/g)].map(([, status]) => Number(status)), text });
    };
    const rest = () => {
      if (isProbed) return finish();
      isProbed = true;
      socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
      return wait(3 * idle_ms);
    };
    const wait = (ms) => {
      clearTimeout(idle);
      idle = setTimeout(rest, ms);
    };
    socket.on('connect', async () => {
      for (const piece of sent) {
        if (socket.destroyed) return;
        socket.write(piece);
        await new Promise((next) => setTimeout(next, 2));
      }
    });
    socket.on('data', (data) => {
      text += data.toString('latin1');
      wait(idle_ms);
    });
    socket.on('error', () => {});
    socket.on('close', finish);
    wait(14_000);
  });
}

const PULL = '/api/v1/sync/pull';
const host = 'Host: x\r\n';
const token = () => `Authorization: Bearer ${world.streamer.token('ada')}\r\n`;
const body = '{"device_id":"d","tables":[]}';
const post = (headers, sent = '') => `POST ${PULL} HTTP/1.1\r\n${host}${token()}${headers}\r\n${sent}`;
const SMUGGLED = `GET /smuggled HTTP/1.1\r\n${host}\r\n`; // would be answered 404, were it read as a request

/**
 * name: [bytes, verdict]. The verdict is the statuses that may come, in order: `200 200` is an answer and the probe's; `400` alone means that the
 * connection ends behind it; '' that it ends without an answer. Several are several ways to be right.
 */
const CASES = {
  'a good request': [() => post(`Content-Length: ${body.length}\r\n`, body), ['200 200']],
  'a good request, a byte at a time': [() => [...post(`Content-Length: ${body.length}\r\n`, body)], ['200 200']],
  'two POSTs at once': [() => post(`Content-Length: ${body.length}\r\n`, body).repeat(2), ['']], // 9.3.2 of RFC 9112: nobody does; the library cannot
  'a byte behind a POST': [() => `${post(`Content-Length: ${body.length}\r\n`, body)}x`, ['']],
  'a byte behind the POST of a stream': [() => `${post(`Content-Length: ${body.length}\r\n`, body).replace('pull', 'stream')}x`, ['', '400']],
  'a byte behind the GET of a stream': [() => `GET /api/v1/sync/stream?device_id=d HTTP/1.1\r\n${host}${token()}\r\nx`, ['400']],
  'a request behind the GET of a stream': [() => `GET /api/v1/sync/stream?device_id=d HTTP/1.1\r\n${host}${token()}\r\n${SMUGGLED}`, ['400']],
  'twenty GETs at once': [() => `GET /healthz HTTP/1.1\r\n${host}\r\n`.repeat(20), [Array(21).fill(200).join(' ')]],

  // smuggling: nobody may differ with a proxy in front about where a request ends
  'Content-Length and Transfer-Encoding': [() => post(`Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n`, body), ['400']],
  'Transfer-Encoding and Content-Length': [() => post(`Transfer-Encoding: chunked\r\nContent-Length: 6\r\n`, `0\r\n\r\n${SMUGGLED}`), ['400', '']],
  chunked: [() => post('Transfer-Encoding: chunked\r\n', `1d\r\n${body}\r\n0\r\n\r\n`), ['400']],
  'chunked, in capitals': [() => post('TRANSFER-ENCODING: CHUNKED\r\n', `1d\r\n${body}\r\n0\r\n\r\n${SMUGGLED}`), ['400']],
  'Transfer-Encoding: identity': [() => post(`Transfer-Encoding: identity\r\nContent-Length: ${body.length}\r\n`, body), ['400']],
  'Transfer-Encoding with a blank before the colon': [() => post(`Transfer-Encoding : chunked\r\nContent-Length: ${body.length}\r\n`, body), ['']],
  'two lengths that differ': [() => post(`Content-Length: ${body.length}\r\nContent-Length: 0\r\n`, body), ['400', '']],
  'two lengths that differ, the other way': [() => post(`Content-Length: 0\r\nContent-Length: ${SMUGGLED.length}\r\n`, SMUGGLED), ['400', '']],
  'two equal lengths': [() => post(`Content-Length: ${body.length}\r\nContent-Length: ${body.length}\r\n`, body), ['400', '', '200 200']],
  'two lengths in one': [() => post(`Content-Length: ${body.length}, ${body.length}\r\n`, body), ['400', '']],
  'a length with a sign': [() => post(`Content-Length: +${body.length}\r\n`, body), ['400', '']],
  'a length below nothing': [() => post('Content-Length: -1\r\n', body), ['400', '']],
  'a length in hex': [() => post('Content-Length: 0x1d\r\n', body), ['400', '']],
  'a length with words': [() => post('Content-Length: 29 bytes\r\n', body), ['400', '']],
  'an empty length': [() => post('Content-Length: \r\n', body), ['400', '']],
  'a length with leading zeros': [() => post(`Content-Length: 000${body.length}\r\n`, body), ['200 200']],
  'a folded length': [() => post(`Content-Length:\r\n ${body.length}\r\n`, body), ['']],
  'no length': [() => post('', ''), ['400']],
  'no length, yet a body': [() => post('', SMUGGLED), ['400']],
  'GET with a body': [() => `GET /healthz HTTP/1.1\r\n${host}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`, ['400']],
  'GET with chunks': [() => `GET /healthz HTTP/1.1\r\n${host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n${SMUGGLED}`, ['400']],
  'a longer body than announced': [() => post(`Content-Length: ${body.length - 1}\r\n`, body), ['400', '400 400', '']],
  'a request behind a refused body': [() => `POST ${PULL} HTTP/1.1\r\n${host}Content-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`, ['401', '401 200']],
  'a bare LF at the ends of lines': [() => 'GET /healthz HTTP/1.1\nHost: x\n\n', ['']],
  'a bare CR in a header': [() => `GET /healthz HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`, ['']],
  'a header without a colon': [() => `GET /healthz HTTP/1.1\r\n${host}nonsense\r\n\r\n`, ['']],

  // targets and methods
  'a method nobody knows': [() => `BREW /healthz HTTP/1.1\r\n${host}\r\n`, ['405', '403', '400', '404', '']],
  'a method of 5,000 letters': [() => `${'A'.repeat(5000)} /healthz HTTP/1.1\r\n${host}\r\n`, ['400', '403', '']],
  'no method': [() => ` /healthz HTTP/1.1\r\n${host}\r\n`, ['400', '403', '']],
  TRACE: [() => `TRACE /healthz HTTP/1.1\r\n${host}\r\n`, ['405', '403', '404', '400', '']],
  CONNECT: [() => `CONNECT db:5432 HTTP/1.1\r\n${host}\r\n`, ['405', '403', '404', '400', '']],
  'an absolute target': [() => `GET http://x/healthz HTTP/1.1\r\n${host}\r\n`, ['404 200', '200 200', '400', '403', '']],
  'the target *': [() => `OPTIONS * HTTP/1.1\r\n${host}\r\n`, ['404 200', '405 200', '400', '403', '']],
  'no target': [() => `GET  HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '']],
  'a target without a slash': [() => `GET healthz HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '']],
  'a target that climbs': [() => `GET /demo/../../../etc/passwd HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '404', '']],
  'a target that climbs, in percent': [() => `GET /demo/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '404', '']],
  'a NUL in percent': [() => `GET /healthz%00.html HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '404', '']],
  'half a percent': [() => `GET /healthz% HTTP/1.1\r\n${host}\r\n`, ['400', '403', '404 200', '404', '200 200', '']],
  'a NUL in the target': [() => `GET /health\0z HTTP/1.1\r\n${host}\r\n`, ['']],
  'a NUL in a header': [() => `GET /healthz HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`, ['']],
  'control bytes in a header': [() => `GET /healthz HTTP/1.1\r\n${host}X: \x01\x7f\x1b\r\n\r\n`, ['']],
  'bytes above ASCII in the target': [() => Buffer.from(`GET /h\xe9althz\xff HTTP/1.1\r\n${host}\r\n`, 'latin1'), ['400', '403', '404 200', '']],
  'a target of 20,000 bytes': [() => `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${host}\r\n`, ['414', '431', '400', '403', '']],
  'ten thousand arguments': [() => `GET /healthz?${'a=b&'.repeat(10_000)} HTTP/1.1\r\n${host}\r\n`, ['414', '431', '400', '403', '']],
  'HTTP/1.0': [() => 'GET /healthz HTTP/1.0\r\n\r\n', ['200', '200 200']],
  'HTTP/9.9': [() => `GET /healthz HTTP/9.9\r\n${host}\r\n`, ['505', '400', '403', '200', '200 200', '']],
  'no version': [() => 'GET /healthz\r\n\r\n', ['200', '']],
  'the preface of HTTP/2': [() => 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', ['400', '403', '404', '405', '505', '']],

  // sizes
  'a header of 20,000 bytes': [() => `GET /healthz HTTP/1.1\r\n${host}X: ${'x'.repeat(20_000)}\r\n\r\n`, ['431', '400', '403', '']],
  'a thousand headers': [() => `GET /healthz HTTP/1.1\r\n${host}${'X: y\r\n'.repeat(5000)}\r\n`, ['431', '400', '403', '', '200 200']],
  'a name of 20,000 bytes': [() => `GET /healthz HTTP/1.1\r\n${host}${'X'.repeat(20_000)}: y\r\n\r\n`, ['431', '400', '403', '']],
  'two Hosts': [() => `GET /healthz HTTP/1.1\r\n${host}${host}\r\n`, ['400', '200 200', '']],
  'garbage': [() => Buffer.from([0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3, 0xff, 0xfe, 10, 10, 13, 10, 13, 10]), ['400', '403', '']],
  'blank lines first': [() => `\r\n\r\nGET /healthz HTTP/1.1\r\n${host}\r\n`, ['400', '403', '200 200', '']],
};

for (const [name, [bytes, verdicts]] of Object.entries(CASES)) {
  test(`HTTP: ${name}`, async () => {
    const { list, text } = await statuses(bytes());
    assert.ok(verdicts.includes(list.join(' ')), `answered ${list.join(' ') || 'nothing'}, wanted ${verdicts.map((v) => v || 'nothing').join(' or ')}\n${text.slice(0, 500)}`);
    assert.doesNotMatch(text, /there is nothing here[^]*there is nothing here/, 'nothing smuggled was answered');
  });
}

test('HTTP: a body that is cut off leaves nothing behind', async () => {
  for (let i = 0; i < 20; i++) {
    const socket = connect(world.streamer.port, '127.0.0.1');
    socket.on('error', () => {});
    await new Promise((resolve) => socket.write(post('Content-Length: 1000\r\n', body), resolve));
    socket.destroy();
  }
});

const hundred = () => Array.from({ length: 100 }, (_, i) => (i % 2 ? '{ no JSON' : body)).map((sent) => post(`Content-Length: ${sent.length}\r\n`, sent));
const wanted = (status, i) => status === (i % 2 ? 400 : 200);

test('HTTP: a hundred requests on one connection, good and bad ones in turn', async () => {
  const requests = hundred();
  const answered = [];
  const socket = connect(world.streamer.port, '127.0.0.1');
  let text = '';
  const isWhole = () => {
    const [, head, rest] = /^([^]*?)\r\n\r\n([^]*)$/.exec(text) ?? [];
    return head !== undefined && rest.length >= Number(/content-length: (\d+)/i.exec(head)[1]);
  };
  await new Promise((resolve, reject) => {
    const next = () => (requests.length ? socket.write(requests.shift()) : resolve());
    socket.on('data', (data) => {
      text += data.toString('latin1');
      if (!isWhole()) return;
      answered.push(Number(/^HTTP\/1\.1 (\d{3})/.exec(text)[1]));
      text = '';
      next();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed behind ${answered.length} answers`)));
    next();
  });
  socket.removeAllListeners('close');
  socket.destroy();
  assert.equal(answered.length, 100);
  assert.ok(answered.every(wanted), answered.join(' '));
});

// the connection ends where a request comes before its turn, and what was on its way to the client may be lost with it
test('HTTP: a hundred requests that do not wait for their turn get the answers in order, or none', async () => {
  const { list } = await statuses(hundred(), { probe: false, idle_ms: 3000 });
  assert.ok(list.every(wanted), list.join(' '));
});

test('HTTP: thousands of bad requests leave neither memory nor descriptors behind', async () => {
  const descriptors = () => readdirSync(`/proc/${world.streamer.process.pid}/fd`).length;
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${world.streamer.process.pid}/status`, 'utf8'))[1]);
  const insults = Object.values(CASES).map(([bytes]) => Buffer.concat([bytes()].flat().map((piece) => Buffer.from(piece))));
  const volley = () => Promise.all(insults.map((bytes) => new Promise((resolve) => {
    const socket = connect(world.streamer.port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', () => socket.destroy());
    socket.on('error', () => {});
    socket.on('close', resolve);
    setTimeout(() => socket.destroy(), 300);
  })));
  for (let i = 0; i < 5; i++) await volley();
  const before = { fds: descriptors(), kb: resident() };
  for (let i = 0; i < 30; i++) await volley();
  const settled = async () => (await request(`${world.streamer.url}/healthz`), descriptors() <= before.fds + 5);
  for (let i = 0; i < 200 && !(await settled()); i++) await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(descriptors() <= before.fds + 5, `${descriptors()} descriptors, ${before.fds} before`);
  assert.ok(resident() <= before.kb + 8192, `${resident()} kB, ${before.kb} before`);
});

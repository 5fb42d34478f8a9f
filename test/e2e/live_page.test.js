// live_page.test.js - the live page in a real browser: numbers and graphs of what happens, one user's sessions, a token at the door.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { openBrowser } from '../lib/browser.js';
import { Streamer } from '../lib/streamer.js';
import { World } from '../lib/world.js';

let world;
let browser;
let problems;

before(async () => {
  world = await World.start();
  browser = await openBrowser();
});
after(async () => {
  await browser?.close();
  await world?.stop();
});

async function open(url) {
  const page = await browser.context.newPage();
  problems = [];
  page.on('pageerror', (error) => problems.push(error.message));
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  await page.goto(url);
  return page;
}

test('it shows clients, graphs and one user, in light and dark, wide and narrow', async () => {
  const ada = await world.join('ada', { device_id: 'ada-phone' });
  const cleo = await world.join('cleo');
  const page = await open(`${world.streamer.url}/`);
  await page.getByText('changes flow').waitFor();
  await page.locator('.tile', { hasText: 'Connections' }).getByText('2', { exact: true }).waitFor();
  const id = await world.addNote(1, 'drawn');
  await ada.sees('the note', (copy) => copy.get('note', id));
  // two samples make a line
  await page.waitForFunction(() => /L/.test(document.querySelector('.chart .line0')?.getAttribute('d') ?? ''));
  assert.equal(await page.locator('.chart').count(), await page.locator('.chart svg[role=img]').count());
  await page.fill('#user', 'ada');
  await page.click('#user-form button');
  const row = page.locator('#sessions tbody tr');
  await row.getByText('sync:main').waitFor();
  assert.equal(await row.count(), 1);
  for (const text of ['ada-phone', 'live', 'note', 'team 1']) assert.ok((await row.innerText()).includes(text), text);
  await page.fill('#user', 'nobody <b>');
  await page.click('#user-form button');
  await page.getByText('nobody <b> has no session on this streamer.').waitFor();
  const ink = () => page.evaluate(() => getComputedStyle(document.body).color);
  await page.emulateMedia({ colorScheme: 'light' });
  const light = await ink();
  await page.emulateMedia({ colorScheme: 'dark' });
  assert.notEqual(await ink(), light);
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  await page.setViewportSize({ width: 390, height: 800 });
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth)) <= 390, 'it fits a telephone');
  assert.deepEqual(problems, []);
  await page.close();
  for (const client of [ada, cleo]) await client.disconnect();
});

test('with a token set it asks for it, and shows nothing before', async () => {
  const file = path.join(world.streamer.directory, 'metrics-token');
  writeFileSync(file, 'a-token-of-some-length', { mode: 0o600 });
  const guarded = await Streamer.start(world.database, { 'metrics-token-file': file });
  try {
    const page = await open(`${guarded.url}/`);
    await page.getByText('This streamer asks for a token').waitFor();
    assert.equal(await page.locator('#main').isVisible(), false);
    await page.fill('#token', 'not this one at all');
    await page.click('#door button');
    await page.getByText('This is not the token.').waitFor();
    await page.fill('#token', 'a-token-of-some-length');
    await page.click('#door button');
    await page.locator('.tile', { hasText: 'Connections' }).waitFor();
    await page.close();
  } finally {
    await guarded.stop();
  }
});

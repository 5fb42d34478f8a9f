// demo.test.js - the demo page in a real browser: team mates see each other at once, the other team sees nothing, offline edits come home.
// SPDX-License-Identifier: PostgreSQL
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openBrowser } from '../lib/browser.js';
import { Demo } from '../lib/demo.js';
import { until } from '../lib/wait.js';

let demo;
let browser;
let page;
const complaints = [];
const panes = {};

before(async () => {
  demo = await Demo.start();
  browser = await openBrowser();
  page = await browser.context.newPage();
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('requestfailed', (request) => complaints.push(`${request.url()} ${request.failure()?.errorText}`));
  await page.goto(demo.url);
  for (const name of ['ada', 'ben', 'cleo']) panes[name] = new PaneDriver(page.locator(`[data-person="${name}"]`));
  for (const pane of Object.values(panes)) await pane.is('live');
});
after(async () => {
  await browser?.close();
  await demo?.stop();
});

/** What a person would do in a pane. */
class PaneDriver {
  constructor(element) {
    this.element = element;
  }

  is(state) {
    return this.element.and(page.locator(`[data-state="${state}"]`)).waitFor();
  }

  async titles() {
    return this.element.locator('.title').evaluateAll((fields) => fields.map((field) => field.value));
  }

  shows(...wanted) {
    return until(`the pane shows ${wanted}`, async () => {
      const titles = await this.titles();
      return wanted.every((title) => titles.includes(title));
    });
  }

  lacks(...unwanted) {
    return until(`the pane no longer shows ${unwanted}`, async () => {
      const titles = await this.titles();
      return unwanted.every((title) => !titles.includes(title));
    });
  }

  async add(title) {
    await this.element.locator('.add input').fill(title);
    await this.element.locator('.add input').press('Enter');
  }

  async note(title) {
    const id = await this.element.locator('.note').evaluateAll((notes, wanted) => notes.find((note) => note.querySelector('.title').value === wanted)?.dataset.id, title);
    assert.ok(id, `no note ${title}`);
    return this.element.locator(`[data-id="${id}"]`);
  }

  async edit(title, column, value) {
    const field = (await this.note(title)).locator(`.${column}`);
    await field.fill(value);
    await field.press('Enter');
  }

  async toggle() {
    await this.element.getByRole('switch').click();
  }
}

test('what is typed in Ada’s pane appears in Ben’s and not in Cleo’s', async () => {
  await panes.ada.shows('Book the boat');
  await panes.cleo.shows('Water the garden');
  await panes.ada.add('Typed by Ada');
  await panes.ben.shows('Typed by Ada');
  await panes.cleo.add('Typed by Cleo');
  await panes.cleo.shows('Typed by Cleo');
  assert.ok(!(await panes.cleo.titles()).includes('Typed by Ada'));
  assert.ok(!(await panes.ada.titles()).includes('Typed by Cleo'));
});

test('edit in place, tick, delete: Ben sees each', async () => {
  await panes.ada.edit('Typed by Ada', 'title', 'Edited by Ada');
  await panes.ben.shows('Edited by Ada');
  const theirs = await panes.ben.note('Edited by Ada');
  await (await panes.ada.note('Edited by Ada')).locator('.done').check();
  await until('the tick', () => theirs.locator('.done').isChecked());
  await panes.ben.edit('Edited by Ada', 'body', 'and a word by Ben');
  const hers = await panes.ada.note('Edited by Ada');
  await until('the details', async () => (await hers.locator('.body').inputValue()) === 'and a word by Ben');
  await hers.locator('.delete').click();
  await panes.ben.lacks('Edited by Ada');
});

test('each sees who of the team is here, across two streamers', async () => {
  const here = (pane, user) => panes[pane].element.locator(`.member.is-here[data-user="${user}"]`);
  for (const pane of ['ada', 'ben']) for (const user of ['ada', 'ben']) await here(pane, user).waitFor();
  assert.equal(await panes.cleo.element.locator('.member').count(), 1);
  await panes.ben.toggle();
  await panes.ben.is('offline');
  await here('ada', 'ben').waitFor({ state: 'detached' });
  await panes.ben.toggle();
  await here('ada', 'ben').waitFor();
});

test('who edits a field is seen, and nobody gets in between', async () => {
  const hers = (await panes.ada.note('Book the boat')).locator('.title');
  const theirs = await panes.ben.note('Book the boat');
  await hers.focus();
  await theirs.getByText('Ada is editing the title').waitFor();
  await until('Ben’s field is closed', () => theirs.locator('.title').evaluate((field) => field.readOnly));
  await hers.press('End');
  // the sign goes a moment after the last letter, so she goes on until it was seen
  await until('Ben sees her type', async () => {
    await hers.press('!');
    return (await theirs.locator('.editing').textContent()).includes('Ada is typing');
  });
  await hers.press('Escape');
  await until('Ben’s field is open again', () => theirs.locator('.title').evaluate((field) => !field.readOnly));
  await until('the sign of typing is gone', async () => (await theirs.locator('.editing').textContent()) === '');
});

test('who is removed from the team loses its notes at once, and gets them back', async () => {
  await panes.ada.element.getByRole('button', { name: 'Remove Ben from the team' }).click();
  await panes.ben.lacks('Book the boat', 'Ask about the weather');
  assert.deepEqual(await panes.ben.titles(), []);
  await panes.ada.element.locator('.member.is-here[data-user="ben"]').waitFor({ state: 'detached' });
  await panes.ada.add('While Ben was out');
  await panes.ada.element.getByRole('button', { name: 'Take Ben back into the team' }).click();
  await panes.ben.shows('Book the boat', 'While Ben was out');
  await panes.ada.element.locator('.member.is-here[data-user="ben"]').waitFor();
  await (await panes.ada.note('While Ben was out')).locator('.delete').click();
});

test('a click that ends an edit is not lost', async () => {
  const hers = (await panes.ada.note('Ask about the weather')).locator('.body');
  await hers.focus();
  await hers.press('End');
  await hers.press('?');
  await panes.ada.element.getByRole('button', { name: 'Remove Ben from the team' }).click(); // leaves the field first
  await panes.ben.lacks('Ask about the weather');
  await panes.ada.element.getByRole('button', { name: 'Take Ben back into the team' }).click();
  await panes.ben.shows('Ask about the weather');
  await panes.ada.element.locator('.member.is-here[data-user="ben"]').waitFor();
});

test('both streamers have a live page', async () => {
  const links = page.locator('#streamers a');
  assert.equal(await links.count(), 2);
  for (const address of await links.evaluateAll((all) => all.map(({ href }) => href))) {
    const live = await browser.context.newPage();
    await live.goto(address);
    await live.locator('svg, canvas').first().waitFor();
    await live.close();
  }
});

test('offline edits wait with a count, go out on return, and what was missed comes in', async () => {
  await panes.ada.toggle();
  await panes.ada.is('offline');
  await panes.ada.add('Written on the train');
  await panes.ada.edit('Book the boat', 'title', 'Book two boats');
  await panes.ada.shows('Written on the train', 'Book two boats');
  assert.match(await panes.ada.element.locator('.waiting').textContent(), /^2 edits wait/);
  await panes.ben.add('Meanwhile at home');
  await (await panes.ben.note('Ask about the weather')).locator('.delete').click();
  await panes.ben.shows('Meanwhile at home');
  assert.ok(!(await panes.ben.titles()).includes('Book two boats'));
  await panes.ada.toggle();
  await panes.ada.is('live');
  for (const pane of [panes.ada, panes.ben]) {
    await pane.shows('Written on the train', 'Book two boats', 'Meanwhile at home');
    await pane.lacks('Ask about the weather', 'Book the boat');
  }
  await panes.ada.element.locator('.waiting').waitFor({ state: 'hidden' });
});

test('an edit that comes too late is explained', async () => {
  await panes.ada.toggle();
  await panes.ada.is('offline');
  await panes.ada.edit('Bring the good rope', 'title', 'Bring any rope');
  await panes.ben.edit('Bring the good rope', 'title', 'Buy a new rope');
  await until('Ben’s edit is in the table', async () => (await demo.database.value("SELECT count(*)::int FROM note WHERE title = 'Buy a new rope'")) === 1);
  await panes.ada.toggle();
  await panes.ada.shows('Buy a new rope');
  const notice = panes.ada.element.locator('.notice');
  await notice.waitFor();
  assert.match(await notice.textContent(), /not taken: Ben/);
  await panes.ada.lacks('Bring any rope');
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  await notice.getByRole('button').click();
  await notice.waitFor({ state: 'detached' });
});

test('a title is text, never markup', async () => {
  await panes.ben.add('<img src=x onerror="document.title=1"> & <b>bold</b>');
  await panes.ada.shows('<img src=x onerror="document.title=1"> & <b>bold</b>');
  assert.equal(await page.locator('main img').count(), 0);
});

test('a change by plain SQL shows at once', async () => {
  await demo.database.sql("UPDATE note SET title = 'Water everything' WHERE title = 'Water the garden'");
  await panes.cleo.shows('Water everything');
});

test('it fits a narrow screen', async () => {
  await page.setViewportSize({ width: 340, height: 800 });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT.replace('.png', '-narrow.png'), fullPage: true });
});

test('each control has a name, nothing complained in the console', async () => {
  const nameless = await page.locator('button, input').evaluateAll((controls) => controls.filter((one) => !one.getAttribute('aria-label') && !one.labels?.length && !one.textContent.trim()).map((one) => one.outerHTML));
  assert.deepEqual(nameless, []);
  assert.deepEqual(complaints, []);
});

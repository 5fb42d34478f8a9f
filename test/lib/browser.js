// browser.js - a headless Chromium for the demo's test, with nothing of its own going on.
// SPDX-License-Identifier: PostgreSQL
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const PLACES = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** A browser context on an empty profile; `close` removes the profile too. */
export async function openBrowser(options = {}) {
  const executablePath = PLACES.find((place) => place && existsSync(place));
  if (!executablePath) throw new Error('no Chromium found: install the package chromium, or set CHROMIUM');
  const profile = mkdtempSync(path.join(tmpdir(), 'sync-browser.'));
  const context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, viewport: { width: 1280, height: 900 }, ...options });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  };
  process.once('exit', () => rmSync(profile, { recursive: true, force: true }));
  return { context, close };
}

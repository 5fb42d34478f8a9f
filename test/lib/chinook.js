// chinook.js - the Chinook sample database as a stand-in for a database that nobody here designed.
// SPDX-License-Identifier: PostgreSQL
import { existsSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from './postgres.js';

export const CHINOOK_TABLES = ['album', 'artist', 'customer', 'employee', 'genre', 'invoice', 'invoice_line', 'media_type', 'playlist', 'playlist_track', 'track'];

export function chinookFile() {
  const file = process.env.CHINOOK || path.join(ROOT, '../shared/data/chinook.sql');
  if (!existsSync(file)) throw new Error(`the Chinook database is not at ${file}: set CHINOOK=/path/to/chinook.sql (without it this test proves nothing, so it fails)`);
  return file;
}

/** Loads it as it is, grants everything to one role, switches sync on for every table. */
export function loadChinook(server, database) {
  server.psql(database.name, ['-f', chinookFile()]);
  const enable = CHINOOK_TABLES.map((table) => `SELECT sync.enable('${table}');`).join('\n');
  server.psql(database.name, ['-o', '/dev/null', '-f', '-'], `
    CREATE ROLE app NOLOGIN;
    GRANT app TO sync_query;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app;
    ${enable}`);
}

// app.js - puts the panes together: one client and one pane for each person that tokens.js signs in.
// SPDX-License-Identifier: PostgreSQL
import { people } from './tokens.js';
import { Pane } from './pane.js';
import { SyncClient } from './sync.js';

const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/socket`;

for (const person of people) {
  let pane;
  const client = new SyncClient({ url, token: person.token, label: person.sub, onEvent: (name, detail) => pane.on(name, detail) });
  pane = new Pane(person, people, client);
  document.getElementById('panes').append(pane.element);
  client.goOnline();
}

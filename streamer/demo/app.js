// app.js - puts the panes together: one client and one pane for each person that tokens.js signs in.
// SPDX-License-Identifier: PostgreSQL
import { people, streamers } from './tokens.js';
import { Pane } from './pane.js';
import { SyncClient } from './sync.js';

const links = document.getElementById('streamers');
streamers.forEach((address, index) => {
  const link = Object.assign(document.createElement('a'), { href: `http://${address}/`, textContent: `streamer ${index + 1}` });
  links.append(index ? ', ' : '', link);
});

for (const person of people) {
  let pane;
  const url = `ws://${streamers[person.streamer - 1]}/socket`;
  const client = new SyncClient({ url, token: person.token, label: person.sub, onEvent: (name, detail) => pane.on(name, detail) });
  pane = new Pane(person, people, client);
  document.getElementById('panes').append(pane.element);
  client.goOnline();
}

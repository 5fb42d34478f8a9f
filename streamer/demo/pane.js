// pane.js - one person's pane: shows the client's rows, hands edits to it, and says in words what happened to them.
// SPDX-License-Identifier: PostgreSQL
import { Team } from './team.js';

const LOG_LINES = 40;
const STATE_TEXT = { live: 'live', connecting: 'connecting…', offline: 'offline' };
const DONE = { create: 'added', update: 'changed', delete: 'deleted' };
const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;
const quoted = (text) => `“${text ?? '…'}”`;

export class Pane {
  constructor(person, people, client) {
    this.person = person;
    this.names = new Map(people.map(({ sub, name }) => [sub, name]));
    this.candidates = people.filter(({ team }) => team === person.team).map(({ sub }) => sub);
    this.client = client;
    this.shown = new Map(); // id → element
    this.team = new Team({ client, person, onChange: () => this.#showSigns() });
    this.element = document.getElementById('pane').content.firstElementChild.cloneNode(true);
    this.#prepare();
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #prepare() {
    const { name, team, sub } = this.person;
    this.element.dataset.team = team;
    this.element.dataset.person = sub;
    this.element.setAttribute('aria-label', `${name}, team ${team}`);
    this.#find('.avatar').textContent = name[0];
    this.#find('h2').textContent = name;
    this.#find('.team').textContent = `team ${team}, streamer ${this.person.streamer}`;
    this.#find('.switch').setAttribute('aria-label', `${name} works offline`);
    this.#find('.switch').addEventListener('click', () => this.#toggle());
    const [form, field, label] = [this.#find('.add'), this.#find('.add input'), this.#find('.add label')];
    field.id = `add-${sub}`;
    label.htmlFor = field.id;
    label.textContent = `New note by ${name}`;
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      const title = field.value.trim();
      if (!title) return;
      this.client.create({ team_id: team, title, body: '', done: false, created_at: new Date().toISOString() });
      field.value = '';
    });
    this.#find('.log ol').setAttribute('aria-label', `What happened in ${name}’s pane`);
  }

  #toggle() {
    if (this.client.state === 'offline') this.client.goOnline();
    else {
      this.team.leave();
      this.client.goOffline();
    }
  }

  // --- events of the client -----------------------------------------------------------------------

  on(name, detail) {
    if (name === 'state') this.#showState(detail);
    if (name === 'rows') {
      this.#showRows();
      this.#showMembers();
    }
    if (name === 'news') this.#news(detail);
    if (name === 'verdict') this.#verdict(detail);
  }

  #showState(state) {
    this.element.dataset.state = state;
    this.#find('.state-text').textContent = STATE_TEXT[state];
    this.#find('.switch').setAttribute('aria-checked', String(state === 'offline'));
    if (state === 'live') this.team.join();
    if (state !== 'connecting') this.#log(state === 'live' ? 'Connected.' : 'Offline: edits are kept in a queue.');
    this.#showWaiting();
  }

  #showWaiting() {
    const count = this.client.queue.length;
    const note = this.#find('.waiting');
    note.hidden = count === 0;
    note.textContent = count ? `${plural(count, 'edit waits', 'edits wait')} ${this.client.state === 'live' ? 'for the answer' : 'to be sent'}` : '';
  }

  #news({ text, change, before, bad }) {
    if (text) return this.#log(text, bad ? 'bad' : undefined);
    if (change.changed_by === this.person.sub) return; // said already when the verdict came
    const who = this.names.get(change.changed_by) ?? change.changed_by ?? 'SQL';
    const what = change.reason === 'moved' ? 'moved away' : DONE[change.operation];
    this.#log(`${who} ${what} ${quoted((change.data ?? before)?.title)}`, 'other');
    this.#flash(change.entity_id);
  }

  #flash(id) {
    requestAnimationFrame(() => {
      const element = this.shown.get(id);
      element?.classList.remove('fresh');
      void element?.offsetWidth; // restarts the animation
      element?.classList.add('fresh');
    });
  }

  #verdict({ edit, verdict, before }) {
    if (edit.type === 'member') return this.#memberVerdict(edit, verdict);
    const title = quoted(edit.data?.title ?? verdict.data?.title ?? before?.title ?? edit.title);
    if (verdict.status === 'success') return this.#log(`You ${DONE[edit.operation]} ${title}`);
    let text;
    if (verdict.status === 'conflict') {
      const winner = this.names.get(verdict.conflict_data?.changed_by) ?? 'Somebody';
      text = verdict.data
        ? `Your edit of ${title} was not taken: ${winner} changed it later. It now reads ${quoted(verdict.data.title)}.`
        : `Your edit of ${title} was not taken: the note was deleted meanwhile.`;
    } else {
      const why = verdict.error?.code === 'not_found' ? 'the note is gone' : (verdict.error?.message ?? 'no reason given');
      text = `Your edit of ${title} was refused: ${why}.${verdict.error?.hint ? ` ${verdict.error.hint}` : ''}`;
    }
    this.#notice(text);
    this.#log(text, 'bad');
  }

  #memberVerdict(edit, verdict) {
    const name = this.names.get(JSON.parse(edit.entity_id)[0]);
    if (verdict.status === 'success') this.#log(`You ${edit.operation === 'delete' ? `removed ${name} from` : `took ${name} into`} the team`);
    else this.#notice(`${name}: ${verdict.error?.message ?? 'not done'}`);
  }

  #notice(text) {
    const notice = document.createElement('p');
    const close = document.createElement('button');
    notice.className = 'notice';
    notice.append(Object.assign(document.createElement('span'), { textContent: text }));
    close.type = 'button';
    close.textContent = 'OK';
    close.setAttribute('aria-label', 'Dismiss this message');
    close.addEventListener('click', () => notice.remove());
    notice.append(close);
    this.#find('.notices').append(notice);
  }

  #log(text, kind) {
    const list = this.#find('.log ol');
    const line = document.createElement('li');
    if (kind) line.className = kind;
    const time = document.createElement('time');
    time.textContent = new Date().toLocaleTimeString([], { hour12: false });
    line.append(time, ` ${text}`);
    list.prepend(line);
    while (list.children.length > LOG_LINES) list.lastChild.remove();
  }

  // --- the team -----------------------------------------------------------------------------------

  // Elements stay: one replaced between the press and the release of the mouse would never be clicked, and leaving a field draws anew.
  #showMembers() {
    const { sub, team } = this.person;
    const members = this.client.members().filter(({ team_id }) => team_id === team);
    const isLead = members.some(({ user_id, is_lead }) => user_id === sub && is_lead);
    const gone = isLead ? this.candidates.filter((user) => !members.some(({ user_id }) => user_id === user)) : [];
    const entries = [...members.map((member) => [member.user_id, member]), ...gone.map((user) => [user, undefined])];
    const list = this.#find('.members');
    for (const element of [...list.children]) if (!entries.some(([user]) => user === element.dataset.user)) element.remove();
    entries.forEach(([user, member], index) => {
      const element = [...list.children].find(({ dataset }) => dataset.user === user) ?? this.#newMember(user);
      this.#fillMember(element, user, member, isLead && user !== sub);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    if (this.team.isClosed && members.some(({ user_id }) => user_id === sub)) this.team.join(); // taken back
    this.#showSigns();
  }

  #newMember(user) {
    const element = document.getElementById('member').content.firstElementChild.cloneNode(true);
    element.dataset.user = user;
    element.querySelector('.member-name').textContent = this.names.get(user) ?? user;
    element.querySelector('.member-change').addEventListener('click', () => this.#changeMember(user));
    return element;
  }

  #changeMember(user) {
    const { team } = this.person;
    const member = this.client.members().find(({ user_id, team_id }) => user_id === user && team_id === team);
    if (member) this.client.removeMember(member);
    else this.client.addMember({ user_id: user, team_id: team, is_lead: false });
  }

  #fillMember(element, user, member, mayChange) {
    const button = element.querySelector('.member-change');
    const name = this.names.get(user) ?? user;
    element.classList.toggle('is-gone', !member);
    button.hidden = !mayChange;
    button.textContent = member ? 'remove' : 'take back';
    button.setAttribute('aria-label', member ? `Remove ${name} from the team` : `Take ${name} back into the team`);
  }

  // Who is here, who is editing, who is typing: nothing of it is stored in a note.
  #showSigns() {
    for (const element of this.element.querySelectorAll('.member')) {
      const isHere = this.team.here.has(element.dataset.user);
      element.classList.toggle('is-here', isHere);
      element.title = isHere ? 'here now' : 'not here';
    }
    for (const [id, element] of this.shown) this.#showEditing(id, element);
  }

  #showEditing(id, element) {
    const signs = [];
    for (const column of ['title', 'body']) {
      const field = element.querySelector(`.${column}`);
      const lock = this.client.lockOf(id, column);
      const typist = this.team.typingIn(id, column);
      field.readOnly = Boolean(lock) && document.activeElement !== field;
      field.classList.toggle('is-locked', Boolean(lock));
      if (typist) signs.push(`${this.names.get(typist) ?? typist} is typing…`);
      else if (lock) signs.push(`${this.names.get(lock.holder) ?? 'Somebody'} is editing the ${column === 'body' ? 'details' : column}`);
    }
    element.querySelector('.editing').textContent = signs.join(', ');
  }

  // --- the notes ----------------------------------------------------------------------------------

  #showRows() {
    const rows = this.client.view();
    const list = this.#find('.notes');
    const present = new Set(rows.map(({ id }) => id));
    for (const [id, element] of this.shown) {
      if (!present.has(id)) {
        if (element.contains(document.activeElement)) this.#find('.add input').focus();
        element.remove();
        this.shown.delete(id);
      }
    }
    rows.forEach((row, index) => {
      const element = this.shown.get(row.id) ?? this.#newNote(row.id);
      this.#fill(element, row);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    this.#find('.empty').hidden = rows.length > 0;
    this.#showWaiting();
  }

  #newNote(id) {
    const element = document.getElementById('note').content.firstElementChild.cloneNode(true);
    element.dataset.id = id;
    element.querySelector('.done').addEventListener('change', (event) => this.client.update(id, { done: event.target.checked }));
    element.querySelector('.delete').addEventListener('click', () => this.client.remove(id));
    for (const column of ['title', 'body']) this.#prepareField(element.querySelector(`.${column}`), id, column);
    this.shown.set(id, element);
    return element;
  }

  // Enter and leaving the field keep the edit, Escape drops it.
  #prepareField(field, id, column) {
    field.addEventListener('focus', () => {
      if (!field.readOnly) this.client.lock(id, column, (lock) => this.#log(`${this.names.get(lock.holder) ?? 'Somebody'} is editing this already: the newer edit will win.`, 'other'));
    });
    field.addEventListener('input', () => this.team.tell(id, column));
    field.addEventListener('blur', () => this.client.unlock(id, column));
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter') field.blur();
      if (event.key === 'Escape') {
        field.value = field.dataset.saved;
        field.blur();
      }
    });
    field.addEventListener('change', () => {
      const value = field.value.trim();
      if (column === 'title' && !value) field.value = field.dataset.saved;
      else if (value !== field.dataset.saved) this.client.update(id, { [column]: value });
    });
  }

  #fill(element, row) {
    element.classList.toggle('is-done', row.done);
    element.classList.toggle('is-waiting', Boolean(row.waiting));
    const done = element.querySelector('.done');
    done.checked = row.done;
    done.setAttribute('aria-label', `${row.title}: done`);
    element.querySelector('.delete').setAttribute('aria-label', `Delete ${row.title}`);
    for (const column of ['title', 'body']) {
      const field = element.querySelector(`.${column}`);
      const untouched = document.activeElement !== field || field.value === field.dataset.saved;
      field.dataset.saved = row[column];
      field.setAttribute('aria-label', column === 'title' ? 'Title' : `Details of ${row.title}`);
      // what somebody is typing is not taken away
      if (untouched && field.value !== row[column]) field.value = row[column];
    }
    this.#showEditing(row.id, element);
    const by = row.waiting ? 'not sent yet' : row.by ? `by ${this.names.get(row.by) ?? row.by}` : '';
    element.querySelector('.by').textContent = by;
  }
}

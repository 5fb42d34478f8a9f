// oracle.js - what each subject may see, asked of PostgreSQL after every step: SELECT under the subject's role and claims, and the scope's own query.
// SPDX-License-Identifier: PostgreSQL
//
// An image is one version of one row: {table, id, version, data, born, …}. For each subject it keeps from which step to which the image was in sight,
// `live` while the row was so, `gone` while that image lay among the ghosts (see schema.js). One writer: every state between two commits is looked at.

const FUNCTIONS = `
CREATE FUNCTION ghost.key_of(id int, k text, is_pair boolean) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN is_pair THEN '["' || id || '","' || k || '"]' ELSE id::text END $$;
CREATE FUNCTION ghost.look(subjects jsonb, tables jsonb, horizon bigint, grants boolean) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
  s jsonb; t jsonb; seen jsonb; one jsonb := '[]'; found jsonb; held jsonb; columns jsonb;
BEGIN
  FOR s IN SELECT * FROM jsonb_array_elements(subjects) LOOP
    PERFORM set_config('role', s ->> 'role', true), set_config('request.jwt.claims', s::text, true);
    SELECT jsonb_build_object('team', (SELECT coalesce(jsonb_agg(m.team), '[]') FROM public.member m WHERE m.usr = s ->> 'sub'),
                              'club', (SELECT coalesce(jsonb_agg(c::int), '[]') FROM unnest(string_to_array(coalesce(s ->> 'clubs', ''), ',')) c)) INTO held;
    seen := '{}'; columns := '{}';
    FOR t IN SELECT * FROM jsonb_array_elements(tables) LOOP
      IF grants THEN
        SELECT jsonb_agg(a.attname) INTO found FROM pg_attribute a
        WHERE a.attrelid = (t ->> 'name')::regclass AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT');
        columns := columns || jsonb_build_object(t ->> 'name', found);
      END IF;
      IF has_column_privilege(t ->> 'name', 'id', 'SELECT') AND has_column_privilege(t ->> 'name', 'k', 'SELECT') THEN
        EXECUTE format('SELECT jsonb_build_array((SELECT coalesce(jsonb_agg(ghost.key_of(id, k, %L)), ''[]'') FROM public.%I), (SELECT coalesce(jsonb_agg(gid::text), ''[]'') FROM ghost.%I WHERE gid > %s))',
                       t ->> 'pair', t ->> 'name', t ->> 'name', horizon) INTO found;
        seen := seen || jsonb_build_object(t ->> 'name', found);
      END IF;
    END LOOP;
    PERFORM set_config('role', 'none', true);
    one := one || jsonb_build_array(jsonb_build_object('held', held, 'columns', columns, 'seen', seen));
  END LOOP;
  RETURN one;
END
$$;
GRANT EXECUTE ON FUNCTION ghost.key_of(int, text, boolean) TO PUBLIC;
`;

const BOOKKEEPING = /^sync_/;

export class Oracle {
  epoch = 0;
  images = new Map(); // 't/id/version' → image
  versions = new Map(); // 't/id' → its images, oldest first
  ghosts = new Map(); // 't/gid' → image
  living = new Map(); // 't/id' → the image that is there now
  holders = new Map(); // number in a text → the images that have it
  times = [0]; // when each epoch's commit was back
  kinds = ['begin'];

  constructor(database, schema) {
    this.database = database;
    this.schema = schema;
    this.tables = schema.tables;
    this.byName = new Map(schema.tables.map((table) => [table.name, table]));
    this.subjects = [];
    this.xid = '0';
    this.gid = '0';
    this.horizon = '0'; // of the ghosts that are still asked about
  }

  async prepare() {
    await this.database.sql(FUNCTIONS);
    this.connection = await this.database.connect();
  }

  async end() {
    await this.connection?.end();
  }

  /** Somebody to be asked about from the next look on. */
  subject(claims) {
    const known = this.subjects.find((one) => JSON.stringify(one.claims) === JSON.stringify(claims));
    if (known) return known;
    const subject = { claims, sub: claims.sub, role: claims.role, live: new Map(), gone: new Map(), now: new Set(), nowGone: new Set(), columns: [], holdings: [], from: this.epoch + 1 };
    this.subjects.push(subject);
    return subject;
  }

  /** After a step's commit: what changed, and who sees what now. How many events the step was. */
  async look(kind, time) {
    this.looked = Date.now();
    const { connection } = this;
    const grants = kind === 'grant' || this.subjects.some(({ columns }) => !columns.length);
    const answer = await connection.query(`BEGIN ISOLATION LEVEL REPEATABLE READ; ${this.#truthSql()};
      SELECT ghost.look('${JSON.stringify(this.subjects.map(({ claims }) => claims)).replaceAll("'", "''")}',
        '${JSON.stringify(this.tables.map(({ name, key }) => ({ name, pair: key === 'pair' })))}', ${this.horizon}, ${grants}) AS seen; COMMIT`);
    this.epoch++;
    this.times.push(time);
    this.kinds.push(kind);
    const events = this.#truth(answer.slice(1, 1 + this.tables.length));
    answer.at(-2).rows[0].seen.forEach((seen, i) => this.#sights(this.subjects[i], seen, grants));
    return events;
  }

  #truthSql() {
    return this.tables.map(({ name, key, soft, scope, via }) => {
      const of = (alias) => `ghost.key_of(${alias}.id, ${alias}.k, ${key === 'pair'})`;
      const scoped = (alias) => (via ? `${alias}.sync_scope::text` : scope ? `${alias}.${scope}::text` : 'NULL');
      return `SELECT (SELECT coalesce(jsonb_agg(jsonb_build_array(${of('t')}, t.sync_version::text, ${soft ? 't.deleted_at IS NOT NULL' : 'false'}, ${scoped('t')},
          CASE WHEN t.sync_xid >= '${this.xid}'::xid8 THEN to_jsonb(t) END)), '[]') FROM ${name} t) AS rows,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(g.gid::text, ${of('g')}, g.sync_version::text, ${soft ? 'g.deleted_at IS NOT NULL' : 'false'}, ${scoped('g')}, to_jsonb(g))), '[]')
          FROM ghost.${name} g WHERE g.gid > ${this.gid}) AS ghosts,
        pg_snapshot_xmin(pg_current_snapshot())::text AS xid`;
    }).join('; ');
  }

  #truth(results) {
    let events = 0;
    const before = this.living;
    this.living = new Map();
    let gid = BigInt(this.gid);
    for (const [i, { rows: [{ rows, ghosts, xid }] }] of results.entries()) {
      const table = this.tables[i];
      for (const [id, version, marked, scope, data] of rows) {
        const image = this.#image(table, id, version, scope, data, marked);
        if (!marked) this.living.set(`${table.name}/${id}`, image);
      }
      for (const [number, id, version, marked, scope, data] of ghosts) {
        const image = this.#image(table, id, version, scope, data, marked);
        if (!marked) this.ghosts.set(`${table.name}/${number}`, image);
        if (BigInt(number) > gid) gid = BigInt(number);
      }
      this.xid = xid;
    }
    this.gid = String(gid);
    for (const [key, image] of this.living) if (before.get(key) !== image) events++;
    for (const [key, image] of before) {
      if (this.living.get(key) === image) continue;
      image.ended = this.epoch;
      if (!this.living.has(key)) events++;
    }
    return events;
  }

  #image(table, id, version, scope, data, marked) {
    const key = `${table.name}/${id}/${version}`;
    let image = this.images.get(key);
    if (image || !data) return image;
    const own = Object.fromEntries(Object.entries(data).filter(([name]) => !BOOKKEEPING.test(name) && name !== 'gid'));
    // a ghost that was never seen alive came and went within one transaction
    image = { key, table: table.name, id, version: Number(version), scope, data: own, marked, born: this.epoch, ended: 'gid' in data ? this.epoch : undefined };
    this.images.set(key, image);
    for (const name of ['a', 'b', 'c']) {
      const number = /^~(\d+)~$/.exec(own[name])?.[1];
      if (number) this.holders.set(number, [...(this.holders.get(number) ?? []), image]);
    }
    const list = this.versions.get(`${table.name}/${id}`) ?? [];
    this.versions.set(`${table.name}/${id}`, list);
    list.push(image);
    return image;
  }

  #sights(subject, { held, columns, seen }, grants) {
    if (JSON.stringify(subject.holdings.at(-1)?.held) !== JSON.stringify(held)) subject.holdings.push({ from: this.epoch, held });
    if (grants) this.#grants(subject, Object.fromEntries(this.tables.map((table) => [table.name, this.#readable(table, columns[table.name])])));
    const { sets } = subject.columns.at(-1);
    const [live, gone] = [new Set(), new Set()];
    for (const table of this.tables) {
      if (!sets[table.name] || !seen[table.name]) continue;
      const mine = (image) => image && (!table.scope || (image.scope !== null && held[table.scope].map(String).includes(image.scope)));
      for (const id of seen[table.name][0]) {
        const image = this.living.get(`${table.name}/${id}`);
        if (mine(image)) live.add(image);
      }
      for (const gid of seen[table.name][1]) {
        const image = this.ghosts.get(`${table.name}/${gid}`);
        if (mine(image)) gone.add(image);
      }
    }
    this.#note(subject.live, live);
    this.#note(subject.gone, gone);
    subject.lostNow = [...subject.now].filter((image) => !live.has(image) && !live.has(this.living.get(`${image.table}/${image.id}`)));
    subject.now = live;
    subject.nowGone = gone;
  }

  #grants(subject, readable) {
    const text = JSON.stringify(readable);
    if (subject.columns.at(-1)?.text === text) return;
    subject.columns.push({ from: this.epoch, text, sets: Object.fromEntries(Object.entries(readable).map(([name, list]) => [name, list && new Set(list)])) });
  }

  // Sync shows a table to those who may read its key, its scope, its mark and the bookkeeping
  #readable(table, columns) {
    const needed = ['id', ...(table.key === 'pair' ? ['k'] : []), ...(table.via ? ['sync_scope'] : table.scope ? [table.scope] : []), ...(table.soft ? ['deleted_at'] : []), 'sync_version', 'sync_xid', 'sync_at', 'sync_by', 'sync_clock'];
    return columns && needed.every((name) => columns.includes(name)) ? columns : null;
  }

  #note(spans, images) {
    for (const image of images) {
      const list = spans.get(image);
      if (list?.at(-1).to === this.epoch - 1) list.at(-1).to = this.epoch;
      else if (list) list.push({ from: this.epoch, to: this.epoch });
      else spans.set(image, [{ from: this.epoch, to: this.epoch }]);
    }
  }

  // ---- questions -------------------------------------------------------------------------------------------------

  /** When the subject could see this image, live or also as one that went, within [from, to]. */
  #spans(subject, image, from, to, also) {
    const all = [...(subject.live.get(image) ?? []), ...(also ? (subject.gone.get(image) ?? []) : [])];
    return all.map((span) => ({ from: Math.max(span.from, from), to: Math.min(span.to, to) })).filter((span) => span.from <= span.to);
  }

  #readsAll(subject, image, names, span) {
    const runs = subject.columns.filter((run, i) => run.from <= span.to && (subject.columns[i + 1]?.from ?? Infinity) > span.from);
    return runs.some(({ sets }) => sets[image.table] && names.every((name) => sets[image.table].has(name)));
  }

  /** Could this subject see these columns of this image at some moment of [from, to]? */
  saw(subject, image, names, from, to, also = false) {
    return this.#spans(subject, image, from, to, also).some((span) => this.#readsAll(subject, image, names, span));
  }

  /** Did this subject hold the scope's value at some moment of [from, to]? */
  held(subject, scope, value, from, to) {
    return subject.holdings.some(({ from: since, held }, i) => since <= to && (subject.holdings[i + 1]?.from ?? Infinity) > from && held[scope]?.map(String).includes(String(value)));
  }

  /** The epoch after which the image was out of the subject's sight for good; undefined while it is in it. */
  lost(subject, image) {
    if (subject.now.has(image)) return undefined;
    const last = subject.live.get(image)?.at(-1);
    return last && last.to + 1;
  }

  /** The row's image just before this version. */
  before(table, id, version) {
    return (this.versions.get(`${table}/${id}`) ?? []).filter((image) => image.version < version).sort((a, b) => b.version - a.version)[0];
  }

  /** All copies are complete: ghosts that were there at the last such moment are no longer asked about. */
  settle() {
    this.horizon = this.settled ?? '0';
    this.settled = this.gid;
  }

  /** What a complete copy of this subject holds: 'entity_id' → {version, data}, for one table. */
  expected(subject, table) {
    const rows = new Map();
    const columns = subject.columns.at(-1)?.sets[table];
    for (const image of subject.now) {
      if (image.table !== table) continue;
      rows.set(image.id, { version: image.version, data: Object.fromEntries(Object.entries(image.data).filter(([name]) => columns.has(name))) });
    }
    return rows;
  }
}

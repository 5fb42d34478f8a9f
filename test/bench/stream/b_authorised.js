// b_authorised.js - changes authorised, routed and delivered to 1,000 and 5,000 subscribers of 10 teams, by scope and by policy, beside a check of each by SQL.
// SPDX-License-Identifier: PostgreSQL
import { TEAMS, churn, clock_us, crowdOf, pause, resume, startWorld } from '../tools.js';

export const name = 'b: authorised and routed to subscribers of 10 teams';
const WALRUS = 44; // changes/s for the same work at 1,000 subscriptions, measured before on this kind of machine

/** What Supabase does in principle: for each change and subscriber one keyed query under the subscriber's role and claims. */
const FLOOR = `
CREATE TABLE subscriber AS SELECT i AS id, json_build_object('sub', 'u' || i, 'role', 'app')::text AS claims FROM generate_series(0, 4999) i;
CREATE FUNCTION judge(change_id int, subscribers int) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE s record; seen int[] := '{}'; found_id int;
BEGIN
  FOR s IN SELECT * FROM subscriber WHERE id < subscribers LOOP
    PERFORM set_config('role', 'app', true), set_config('request.jwt.claims', s.claims, true);
    EXECUTE 'SELECT id FROM note WHERE id = $1' INTO found_id USING change_id;
    IF found_id IS NOT NULL THEN seen := seen || s.id; END IF;
    PERFORM set_config('role', 'none', true);
  END LOOP;
  RETURN seen;
END $$;`;

async function byQueries(world, subscribers) {
  const count = subscribers > 1000 ? 4 : 20;
  const begin = clock_us();
  for (let i = 0; i < count; i++) await world.sql('SELECT judge($1, $2)', [i, subscribers]);
  return (count * 1e6) / (clock_us() - begin);
}

async function byStreamer(world, crowd, subscribers, changes) {
  const { process } = world.streamer;
  await crowd.ask('reset');
  pause(process);
  await churn(world, changes); // where rows are judged, versions that follow each other before the verdict are sent as the last of them: each row once
  resume(process);
  const begin = clock_us();
  const { last_us } = await crowd.wait((changes * subscribers) / TEAMS);
  return (changes * 1e6) / (last_us - begin);
}

async function measure({ line, rounds }, how, { small, large, ratio, floors }) {
  const world = await startWorld(how, 5000);
  try {
    if (how === 'policy') await world.sql(FLOOR);
    const few = crowdOf(world, 1000, { tables: ['note'] });
    await few.open(1000);
    const at1000 = await rounds(async () => ({
      seen: await byStreamer(world, few, 1000, small),
      ...(how === 'policy' ? { floor: await byQueries(world, 1000) } : {}),
    }));
    floors[1000] ??= at1000.floor;
    line({ what: `${how}, 1,000 subscribers`, unit: 'changes/s', seen: at1000.seen, floor: floors[1000], floor_is: 'a query each', at_least: ratio * WALRUS });
    await few.stop();
    const many = crowdOf(world, 5000, { tables: ['note'] });
    await many.open(5000);
    const at5000 = await rounds(async () => ({ seen: await byStreamer(world, many, 5000, large), ...(how === 'policy' ? { floor: await byQueries(world, 5000) } : {}) }));
    floors[5000] ??= at5000.floor;
    line({ what: `${how}, 5,000 subscribers`, unit: 'changes/s', seen: at5000.seen, floor: floors[5000], floor_is: 'a query each', at_least: (ratio * WALRUS) / 2 });
    await many.stop();
  } finally {
    await world.stop();
  }
}

export async function run(ctx) {
  const floors = {};
  if (process.env.HOW !== 'scope') await measure(ctx, 'policy', { small: 4000, large: 1000, ratio: 20, floors });
  await measure(ctx, 'scope', { small: 20_000, large: 4000, ratio: 100, floors });
}

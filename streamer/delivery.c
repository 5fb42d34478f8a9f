/* delivery.c - what each session gets of a turn's changes: routed, judged, chosen, gathered while its client is slow. */
/* SPDX-License-Identifier: PostgreSQL */
#include "hub_parts.h"

#include <stdlib.h>
#include <string.h>

#include "chance.h"
#include "memory.h"
#include "metrics.h"
#include "projection.h"

#define VERIFY_SOON_MS 1000			/* until tables whose policies look elsewhere are compared, when something may have gone out of sight */
#define FAILED_MS 1000				/* until a session pulls whose rows could not be judged; */
#define FAILURES_MAX 5				/* it ends when that happens so often in a row */

/* The last one moves into the place that becomes free. */
static void
stop_waiting(struct hub *h, struct session *s)
{
	size_t	place = s->subscription.waiting;

	if (place == 0)
		return;
	h->waiting[place - 1] = h->waiting[--h->waiting_count];
	h->waiting[place - 1]->subscription.waiting = place;
	s->subscription.waiting = 0;
}

static void
start_waiting(struct hub *h, struct session *s)
{
	if (s->subscription.waiting != 0)
		return;
	if (h->waiting_count == h->waiting_room)
	{
		h->waiting_room = h->waiting_room > 0 ? h->waiting_room * 2 : 16;
		h->waiting = memory_grow(h->waiting, h->waiting_room, sizeof(*h->waiting));
	}
	h->waiting[h->waiting_count++] = s;
	s->subscription.waiting = h->waiting_count;
}

void
hub_discard(void *hub, struct session *s)
{
	struct hub *h = hub;

	queue_clear(&s->subscription, h->judge);
	stop_waiting(h, s);
	s->subscription.is_flooded = false;
	s->is_held = false;
	s->ceiling = NULL;
}

static void
touch(struct hub *h, struct session *s)
{
	if (s->subscription.is_touched)
		return;
	s->subscription.is_touched = true;
	s->subscription.next_touched = h->touched;
	h->touched = s;
}

static void
verify_soon(struct session *s)
{
	int64_t at_ms = s->now_ms + VERIFY_SOON_MS / 2 + chance_below(VERIFY_SOON_MS);

	if (at_ms < s->subscription.verify_at_ms)
		s->subscription.verify_at_ms = at_ms;
}

/* What nobody would read is not built: a pull is shorter. */
static void
put(struct hub *h, struct session *s, struct release *r, struct stream_change *c, const struct right *right)
{
	struct subscription *sub = &s->subscription;

	if (sub->queue_count >= QUEUE_CHANGES_MAX || sub->queue_bytes + c->json_len > h->max_queue)
	{
		queue_clear(sub, h->judge);
		sub->is_flooded = true;
	}
	else
		queue_put(sub, h->judge, r, c, right);
	if (sub->waiting == 0 || sub->is_flooded)
		touch(h, s);
}

/* The session is in the change's route; the table, and the row's new place, decide. */
static void
offer(struct hub *h, struct session *s, struct release *r, struct stream_change *c, const struct route *sibling)
{
	const struct right *right;

	if (s->state != SESSION_LIVE || s->subscription.is_flooded || transaction_change_is_seen(r->transaction, c, &s->snapshot))
		return;
	right = routes_right(s, c->table_id);
	if (right == NULL || (!right->is_judged && sibling != NULL && route_has(sibling, s)))
		return;
	s->now_ms = h->now_ms;
	if (right->is_verified && c->kind == CHANGE_TOMBSTONE)
		verify_soon(s);		/* nothing tells whose row it was */
	else
		put(h, s, r, c, right);
}

static const struct route *
sibling_route(const struct hub *h, const struct transaction *t, const struct stream_change *c)
{
	return c->sibling >= 0 ? routes_find(&h->routes, &t->changes[c->sibling]) : NULL;
}

static void
route_transaction(struct hub *h, struct release *r)
{
	const struct transaction *t = r->transaction;

	for (size_t i = 0; i < t->count; i++)
	{
		struct stream_change *c = &t->changes[i];
		const struct route *route = routes_find(&h->routes, c);
		const struct route *sibling = sibling_route(h, t, c);

		for (size_t j = 0; route != NULL && j < route->count; j++)
			offer(h, route->sessions[j], r, c, sibling);
	}
}

/* items are one transaction's for this session. */
static bool
is_sent(struct session *s, const struct held *items, size_t count, size_t at)
{
	enum verdict verdict = judge_verdict(items[at].ticket);

	if (items[at].ticket.docket != NULL)
		s->subscription.failures = 0;
	if (verdict == VERDICT_HIDDEN && items[at].right->is_verified)
		verify_soon(s);		/* it may have been in sight before */
	if (verdict != VERDICT_SEEN)
		return false;
	return items[at].change->kind != CHANGE_TOMBSTONE || items[at].ticket.docket == NULL || !queue_lives_on(items, count, at);
}

static size_t
choose(struct hub *h, struct session *s, const struct held *items, size_t count)
{
	size_t	chosen = 0;
	size_t	end;

	for (size_t start = 0; start < count; start = end)
	{
		for (end = start + 1; end < count && items[end].release == items[start].release;)
			end++;
		for (size_t i = start; i < end; i++)
			if (is_sent(s, items + start, end - start, i - start))
				h->outgoing[chosen++] = projection_of(items[i].change, items[i].right->projection,
													  s->wants_fields && items[i].change->xid >= s->whole_below && !items[i].right->is_judged,
													  feed_tables(h->feed));
	}
	return chosen;
}

static uint64_t
hash_of(const struct stream_change *const *changes, size_t count)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ (uint64_t) (uintptr_t) changes[i]) * 0x9e3779b97f4a7c15u;
	return hash;
}

/* A cursor may not claim what still waits. */
static void
hold_cursor(struct session *s)
{
	const struct release *first = queue_first(&s->subscription);

	s->is_held = first != NULL;
	s->ceiling = first != NULL ? first->cursor : NULL;
	s->ceiling_xmax = first != NULL ? first->cursor_xmax : 0;
}

static void
send_ready(struct hub *h, struct session *s, size_t ready)
{
	struct held *items;
	size_t	count;

	if (h->taken_count + ready > h->taken_room)
	{
		h->taken_room = (h->taken_count + ready) * 2;
		h->taken = memory_grow(h->taken, h->taken_room, sizeof(*h->taken));
	}
	if (ready > h->outgoing_room)
	{
		h->outgoing_room = ready * 2;
		h->outgoing = memory_grow(h->outgoing, h->outgoing_room, sizeof(*h->outgoing));
	}
	items = h->taken + h->taken_count;
	queue_take(&s->subscription, ready, items);
	h->taken_count += ready;
	hold_cursor(s);
	count = choose(h, s, items, ready);
	if (count == 0)
		return;
	metric_add(METRIC_BATCHES, 1);
	metric_add(METRIC_CHANGES, count);
	session_deliver(s, &h->batches, h->outgoing, count, hash_of(h->outgoing, count));
}

static void
fail(struct session *s)
{
	if (++s->subscription.failures >= FAILURES_MAX)
		session_fail(s, "policy_failed", "rows could not be judged by the policies that hold for this user");
	else
		session_resync(s, "rows could not be judged", s->now_ms, FAILED_MS / 2 + chance_below(FAILED_MS));
}

static void
nudge(struct hub *h, struct session *s)
{
	s->subscription.is_flooded = false;
	metric_add(METRIC_NUDGES, 1);
	if (s->calls->is_blocked(s->connection))
		session_too_slow(s, s->now_ms, hub_spread(h, SPREAD_MS));
	else
		session_resync(s, "too much has changed", s->now_ms, hub_spread(h, SPREAD_MS));
}

/* A session that must pull gets no batch before: its cursor might claim what only the pull will bring. */
static void
deliver(struct hub *h, struct session *s)
{
	struct subscription *sub = &s->subscription;
	bool	has_failed = false;
	size_t	ready;

	s->now_ms = h->now_ms;
	if (sub->is_flooded)
	{
		nudge(h, s);
		return;
	}
	ready = queue_ready(sub, &has_failed);
	if (has_failed)
	{
		fail(s);
		return;
	}
	if (ready > 0 && !s->calls->is_blocked(s->connection))
		send_ready(h, s, ready);
	if (sub->queue_count == 0)
		stop_waiting(h, s);
	else
		start_waiting(h, s);
	hold_cursor(s);
}

/* What the frames were made of goes only when none of them can be found again. */
static void
forget_delivered(struct hub *h)
{
	batches_clear(&h->batches);
	queue_drop(h->judge, h->taken, h->taken_count);
	h->taken_count = 0;
}

static void
deliver_touched(struct hub *h)
{
	while (h->touched != NULL)
	{
		struct session *s = h->touched;

		h->touched = s->subscription.next_touched;
		s->subscription.is_touched = false;
		deliver(h, s);
	}
	forget_delivered(h);
}

/* Backwards: who has nothing left to wait for gives its place to one that was looked at already. */
static void
deliver_waiting(struct hub *h)
{
	for (size_t i = h->waiting_count; i > 0; i--)
		if (i <= h->waiting_count)
			deliver(h, h->waiting[i - 1]);
	forget_delivered(h);
}

/* Whoever waits for that much memory pulls instead. */
static void
limit_memory(struct hub *h)
{
	if (release_bytes() <= HUB_HELD_BYTES_MAX)
		return;
	for (size_t i = 0; i < h->waiting_count; i++)
	{
		h->waiting[i]->subscription.is_flooded = true;
		touch(h, h->waiting[i]);
	}
	deliver_touched(h);
}

void
hub_flush(void *hub)
{
	struct hub *h = hub;

	if (h->pending_count == 0)
		return;
	for (size_t i = 0; i < h->pending_count; i++)
	{
		route_transaction(h, h->pending[i]);
		h->routed = h->pending[i]->transaction->serial;
	}
	judge_go_on(h->judge, h->now_ms);
	deliver_touched(h);
	for (size_t i = 0; i < h->pending_count; i++)
		release_free(h->pending[i]);
	h->pending_count = 0;
	limit_memory(h);
}

void
hub_ask(struct hub *h, int64_t now_ms)
{
	h->now_ms = now_ms;
	judge_go_on(h->judge, now_ms);
}

/* First what was released: else a session with nothing left to wait for would be given a cursor that covers it. */
void
hub_verdicts(struct hub *h, uint64_t id, const struct answer *a, int64_t now_ms)
{
	h->now_ms = now_ms;
	hub_flush(h);
	judge_answer(h->judge, id, a, now_ms);
	deliver_waiting(h);
}

void
hub_drained(struct hub *h, struct session *s)
{
	if (s->subscription.waiting == 0)
		return;
	hub_flush(h);
	if (s->subscription.waiting != 0)
		deliver(h, s);
	forget_delivered(h);
}

uint64_t
hub_given(void *hub, const struct session *s)
{
	const struct hub *h = hub;
	const struct release *first = queue_first(&s->subscription);

	if (first != NULL)
		return first->transaction->serial - 1;
	return s->resume > h->routed ? s->resume : h->routed;
}

struct replay
{
	struct hub *hub;
	struct session *session;
};

static void
replay_transaction(void *owner, struct transaction *t)
{
	struct replay *r = owner;
	struct release *release;

	if (t->serial != 0 && t->serial <= r->session->resume)		/* without one it came while a gap was open, and nobody got it */
		return;
	release = release_new(t, NULL, 0);

	for (size_t i = 0; i < t->count; i++)
	{
		struct stream_change *c = &t->changes[i];
		const struct route *route = routes_find(&r->hub->routes, c);

		if (route != NULL && route_has(route, r->session))
			offer(r->hub, r->session, release, c, sibling_route(r->hub, t, c));
	}
	release_free(release);
}

void
hub_replay(void *hub, struct session *s)
{
	struct replay r = {hub, s};

	feed_replay(r.hub->feed, &s->snapshot, replay_transaction, &r);
	judge_go_on(r.hub->judge, r.hub->now_ms);
	if (s->kind == SESSION_REALTIME)
		s->resume = r.hub->last_serial;
	r.hub->batches.is_replay = true;
	deliver_touched(r.hub);
	r.hub->batches.is_replay = false;
}

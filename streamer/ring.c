/* ring.c - the newest transactions, bounded in bytes, and what is known of those that had to go. */
/* SPDX-License-Identifier: PostgreSQL */
#include "ring.h"

#include <stdlib.h>

#include "memory.h"

void
ring_init(struct ring *r, size_t bytes_max)
{
	*r = (struct ring){.bytes_max = bytes_max};
}

void
snapshot_replace(struct snapshot *place, const struct snapshot *s)
{
	struct snapshot copy;

	snapshot_copy(&copy, s);
	snapshot_free(place);
	*place = copy;
}

static void
remove_first(struct ring *r)
{
	struct transaction *t = r->first;

	r->first = t->next;
	if (r->first == NULL)
		r->last = NULL;
	if (r->unseen == t)
		r->unseen = t->next;
	r->bytes -= t->bytes;
	t->next = NULL;
	transaction_release(t);
}

void
ring_clear(struct ring *r)
{
	while (r->first != NULL)
		remove_first(r);
	snapshot_free(&r->checkpoint);
	snapshot_free(&r->forgotten);
	free(r->evicted);
	ring_init(r, r->bytes_max);
}

void
ring_forget(struct ring *r)
{
	snapshot_replace(&r->forgotten, &r->checkpoint);
}

static void
remember(struct ring *r, uint64_t xid)
{
	if (r->evicted == NULL)
		r->evicted = memory_grow(NULL, RING_EVICTED_MAX, sizeof(*r->evicted));
	if (r->evicted_count < RING_EVICTED_MAX)
		r->evicted[r->evicted_count++] = xid;
	else if (xid > r->overflow_xid)
		r->overflow_xid = xid;
}

/* A session that pulled before the checkpoint was taken may lack even a transaction that the checkpoint sees: hence forgotten. */
static void
evict(struct ring *r)
{
	if (r->unseen == r->first && r->first->bridged == NULL)		/* a unit is put in when a checkpoint sees it all */
		remember(r, r->first->xid);
	else if (!snapshot_equal(&r->forgotten, &r->checkpoint))
		ring_forget(r);
	remove_first(r);
}

static void
put_last(struct ring *r, struct transaction *t)
{
	t->next = NULL;
	if (r->last != NULL)
		r->last->next = t;
	else
		r->first = t;
	r->last = t;
	r->bytes += t->bytes;
}

void
ring_append(struct ring *r, struct transaction *t)
{
	put_last(r, transaction_retain(t));
	if (r->unseen == NULL && !transaction_is_seen(t, &r->checkpoint))
		r->unseen = t;
	while (r->bytes > r->bytes_max && r->first != r->last)
		evict(r);
}

void
ring_checkpoint(struct ring *r, const struct snapshot *s)
{
	size_t	kept = 0;

	snapshot_replace(&r->checkpoint, s);
	while (r->unseen != NULL && transaction_is_seen(r->unseen, s))
		r->unseen = r->unseen->next;
	for (size_t i = 0; i < r->evicted_count; i++)
		if (!snapshot_sees(s, r->evicted[i]))
			r->evicted[kept++] = r->evicted[i];
	if (kept != r->evicted_count || (r->overflow_xid != 0 && s->xmin > r->overflow_xid))
		ring_forget(r);
	r->evicted_count = kept;
	if (s->xmin > r->overflow_xid)
		r->overflow_xid = 0;
}

/* Before the unit what came before the gap, as those need it who stand before it; behind it what the unit does not show yet. The rest is in the unit, but for
 * a change of the tables, which nobody may go past. */
void
ring_bridge(struct ring *r, struct transaction *unit, const struct snapshot *from)
{
	struct transaction *all = r->first;
	struct transaction *later = NULL;
	struct transaction **end = &later;
	struct transaction *next;

	r->first = r->last = r->unseen = NULL;
	r->bytes = 0;
	for (struct transaction *t = all; t != NULL; t = next)
	{
		next = t->next;
		t->next = NULL;
		if (transaction_is_seen(t, from))
			put_last(r, t);
		else if (!transaction_is_seen(t, unit->bridged) || t->barrier == BARRIER_RELOAD)
		{
			*end = t;
			end = &t->next;
		}
		else
			transaction_release(t);
	}
	put_last(r, transaction_retain(unit));
	for (; later != NULL; later = next)
	{
		next = later->next;
		put_last(r, later);
	}
	for (r->unseen = r->first; r->unseen != NULL && transaction_is_seen(r->unseen, &r->checkpoint); r->unseen = r->unseen->next)
		;
	while (r->bytes > r->bytes_max && r->first != r->last)
		evict(r);
}

bool
ring_reaches(const struct ring *r, const struct snapshot *s)
{
	if (r->overflow_xid != 0 || !snapshot_covers(s, &r->forgotten))
		return false;
	for (size_t i = 0; i < r->evicted_count; i++)
		if (!snapshot_sees(s, r->evicted[i]))
			return false;
	return true;
}

struct transaction *
ring_first_unseen(const struct ring *r, const struct snapshot *s)
{
	return snapshot_covers(s, &r->checkpoint) ? r->unseen : r->first;
}

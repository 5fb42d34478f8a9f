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

static void
replace_snapshot(struct snapshot *place, const struct snapshot *s)
{
	struct snapshot copy;

	if (!snapshot_copy(&copy, s))
		memory_require(NULL);
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
	replace_snapshot(&r->forgotten, &r->checkpoint);
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
	if (r->unseen == r->first)
		remember(r, r->first->xid);
	else if (!snapshot_equal(&r->forgotten, &r->checkpoint))
		ring_forget(r);
	remove_first(r);
}

void
ring_append(struct ring *r, struct transaction *t)
{
	transaction_retain(t);
	t->next = NULL;
	if (r->last != NULL)
		r->last->next = t;
	else
		r->first = t;
	r->last = t;
	r->bytes += t->bytes;
	if (r->unseen == NULL && !snapshot_sees(&r->checkpoint, t->xid))
		r->unseen = t;
	while (r->bytes > r->bytes_max && r->first != r->last)
		evict(r);
}

void
ring_checkpoint(struct ring *r, const struct snapshot *s)
{
	size_t	kept = 0;

	replace_snapshot(&r->checkpoint, s);
	while (r->unseen != NULL && snapshot_sees(s, r->unseen->xid))
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

/* queue.c - the changes on their way to one session, in commit order: those at the front go out once all verdicts of their transaction are there. */
/* SPDX-License-Identifier: PostgreSQL */
#include "queue.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define KEPT_ROOM 16			/* of an empty queue: there may be many */

static size_t held_bytes;

struct release *
release_new(struct transaction *t, struct cursor *cursor, uint64_t cursor_xmax)
{
	struct release *r = memory_new(sizeof(*r));

	r->refs = 1;
	r->transaction = transaction_retain(t);
	r->cursor = cursor_retain(cursor);
	r->cursor_xmax = cursor_xmax;
	if (t->releases++ == 0)
		held_bytes += t->bytes;
	return r;
}

void
release_free(struct release *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	if (--r->transaction->releases == 0)
		held_bytes -= r->transaction->bytes;
	transaction_release(r->transaction);
	cursor_release(r->cursor);
	free(r);
}

size_t
release_bytes(void)
{
	return held_bytes;
}

static void
make_room(struct subscription *sub)
{
	if (sub->queue_head > 0)
	{
		memmove(sub->queue, sub->queue + sub->queue_head, sub->queue_count * sizeof(*sub->queue));
		sub->queue_head = 0;
	}
	if (sub->queue_count < sub->queue_room)
		return;
	sub->queue_room = sub->queue_room > 0 ? sub->queue_room * 2 : 4;
	sub->queue = memory_grow(sub->queue, sub->queue_room, sizeof(*sub->queue));
}

void
queue_put(struct subscription *sub, struct judge *j, struct release *r, struct stream_change *c, const struct right *right)
{
	struct ticket ticket = {0};

	if (sub->queue_head + sub->queue_count >= sub->queue_room)
		make_room(sub);
	if (right->is_judged)
		ticket = judge_enter(j, sub->identity, r->transaction, c);
	r->refs++;
	sub->queue[sub->queue_head + sub->queue_count++] = (struct held){.change = c, .release = r, .right = right, .ticket = ticket};
	sub->queue_bytes += c->json_len;
}

size_t
queue_ready(const struct subscription *sub, bool *has_failed)
{
	const struct held *items = sub->queue + sub->queue_head;
	size_t	ready = 0;

	*has_failed = false;
	for (size_t i = 0; i < sub->queue_count; i++)
	{
		enum verdict verdict = judge_verdict(items[i].ticket);

		if (verdict == VERDICT_OPEN)
			return ready;
		if (verdict == VERDICT_FAILED)
		{
			*has_failed = true;
			return ready;
		}
		if (i + 1 == sub->queue_count || items[i + 1].release != items[i].release)
			ready = i + 1;
	}
	return ready;
}

void
queue_take(struct subscription *sub, size_t count, struct held *taken)
{
	const struct held *items = sub->queue + sub->queue_head;

	if (count > 0)
		memcpy(taken, items, count * sizeof(*items));
	for (size_t i = 0; i < count; i++)
		sub->queue_bytes -= items[i].change->json_len;
	sub->queue_head += count;
	sub->queue_count -= count;
	if (sub->queue_count > 0)
		return;
	sub->queue_head = 0;
	if (sub->queue_room > KEPT_ROOM)
	{
		free(sub->queue);
		sub->queue = NULL;
		sub->queue_room = 0;
	}
}

void
queue_drop(struct judge *j, struct held *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		judge_drop(j, items[i].ticket);
		release_free(items[i].release);
	}
}

void
queue_clear(struct subscription *sub, struct judge *j)
{
	if (sub->queue_count > 0)
		queue_drop(j, sub->queue + sub->queue_head, sub->queue_count);
	free(sub->queue);
	sub->queue = NULL;
	sub->queue_head = sub->queue_count = sub->queue_room = sub->queue_bytes = 0;
}

struct release *
queue_first(const struct subscription *sub)
{
	return sub->queue_count > 0 ? sub->queue[sub->queue_head].release : NULL;
}

/* The changes of a transaction lie in one array, and stand here in its order: hence a search by address. */
bool
queue_lives_on(const struct held *items, size_t count, size_t at)
{
	const struct stream_change *row;
	enum verdict verdict;
	size_t	low = 0;
	size_t	high = count;

	if (items[at].change->sibling < 0)
		return false;
	row = &items[at].release->transaction->changes[items[at].change->sibling];
	while (low < high)
	{
		size_t	middle = low + (high - low) / 2;

		if (items[middle].change < row)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == count || items[low].change != row)
		return false;
	verdict = judge_verdict(items[low].ticket);
	return verdict == VERDICT_SEEN || verdict == VERDICT_NEWER;
}

/* checkpoints.c - the checkpoints under way: asked for, answered with a snapshot, then seen coming back through the slot. */
/* SPDX-License-Identifier: PostgreSQL */
#include "checkpoints.h"

#include <string.h>

#include "chance.h"

#define BUSY_MS 250			/* between two while transactions come */
#define IDLE_MS 10000		/* and while none do: keeps the slot moving, and shows that the stream is alive */

void
checkpoints_init(struct checkpoints *c)
{
	*c = (struct checkpoints){0};
}

static void
drop(struct checkpoints *c, int i)
{
	snapshot_free(&c->list[i].snapshot);
	c->count--;
	memmove(&c->list[i], &c->list[i + 1], (size_t) (c->count - i) * sizeof(c->list[0]));
}

void
checkpoints_clear(struct checkpoints *c)
{
	while (c->count > 0)
		drop(c, 0);
	checkpoints_init(c);
}

bool
checkpoints_are_due(const struct checkpoints *c, int64_t now_ms)
{
	int64_t since_ms = now_ms - c->asked_ms;
	bool	is_asking = c->count > 0 && !c->list[c->count - 1].is_answered;

	if (is_asking || c->count == CHECKPOINTS_MAX)
		return false;
	return since_ms >= IDLE_MS || (c->is_dirty && since_ms >= BUSY_MS);
}

int64_t
checkpoints_ask(struct checkpoints *c, int64_t now_ms)
{
	struct checkpoint *new = &c->list[c->count++];

	*new = (struct checkpoint){.nonce = (int64_t) (chance_bits() >> 1 | 1), .asked_ms = now_ms};
	c->asked_ms = now_ms;
	c->is_dirty = false;
	if (c->wanted_ms == 0)
		c->wanted_ms = now_ms;
	return new->nonce;
}

static int
find(const struct checkpoints *c, int64_t nonce)
{
	for (int i = 0; i < c->count; i++)
		if (c->list[i].nonce == nonce)
			return i;
	return -1;
}

const struct snapshot *
checkpoints_answer(struct checkpoints *c, int64_t nonce, const char *text)
{
	int		i = find(c, nonce);

	if (i < 0)
		return NULL;
	if (text == NULL || !snapshot_parse(&c->list[i].snapshot, text, strlen(text)))
	{
		drop(c, i);
		c->is_dirty = true;
		return NULL;
	}
	c->list[i].is_answered = true;
	return &c->list[i].snapshot;
}

bool
checkpoints_return(struct checkpoints *c, int64_t nonce, uint64_t lsn, struct snapshot *s)
{
	int		i = find(c, nonce);

	if (i < 0)
		return false;
	if (!c->list[i].is_answered)
	{
		c->list[i].is_back = true;
		c->list[i].back_lsn = lsn;
		return false;
	}
	for (; i > 0; i--)
		drop(c, 0);
	*s = c->list[0].snapshot;
	c->list[0].snapshot = (struct snapshot){0};
	drop(c, 0);
	c->wanted_ms = c->count > 0 ? c->list[0].asked_ms : 0;
	return true;
}

bool
checkpoints_is_back(const struct checkpoints *c, int64_t nonce, uint64_t *lsn)
{
	int		i = find(c, nonce);

	if (i < 0 || !c->list[i].is_back)
		return false;
	*lsn = c->list[i].back_lsn;
	return true;
}

bool
checkpoints_are_late(const struct checkpoints *c, int64_t now_ms, int64_t limit_ms)
{
	return c->wanted_ms != 0 && now_ms - c->wanted_ms > limit_ms;
}

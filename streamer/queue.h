/* queue.h - the changes on their way to one session, in commit order: those at the front go out once all verdicts of their transaction are there. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_QUEUE_H
#define SYNC_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "judge.h"
#include "session.h"
#include "transaction.h"

#define QUEUE_CHANGES_MAX 10000		/* of one session; a pull is cheaper than so many frames */

/* A transaction as it came out of the feed. */
struct release
{
	size_t	refs;
	struct transaction *transaction;	/* owned reference */
	struct cursor *cursor;		/* owned reference: the newest that does not cover it; NULL: it was replayed, only its session knows */
	uint64_t cursor_xmax;
};

struct release *release_new(struct transaction *t, struct cursor *cursor, uint64_t cursor_xmax);	/* one reference */
void	release_free(struct release *r);		/* gives a reference back */
size_t	release_bytes(void);		/* of all transactions that releases hold, about */

void	queue_put(struct subscription *sub, struct judge *j, struct release *r, struct stream_change *c, const struct right *right);
/* How many changes at the front may go: whole transactions, all judged. */
size_t	queue_ready(const struct subscription *sub, bool *has_failed);
/* Moves them to the end of *taken; queue_drop them when they are done with. */
void	queue_take(struct subscription *sub, size_t count, struct held *taken);
void	queue_drop(struct judge *j, struct held *items, size_t count);
void	queue_clear(struct subscription *sub, struct judge *j);
struct release *queue_first(const struct subscription *sub);	/* NULL: empty */

/* items are one transaction's, items[at] is a tombstone: is its row among them, and seen? */
bool	queue_lives_on(const struct held *items, size_t count, size_t at);

#endif

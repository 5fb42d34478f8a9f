/* ring.h - the newest transactions, bounded in bytes, and what is known of those that had to go. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RING_H
#define SYNC_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"
#include "transaction.h"

#define RING_EVICTED_MAX 65536		/* ids remembered of evicted transactions that were not visible yet */

struct ring
{
	struct transaction *first;		/* owned references, in commit order */
	struct transaction *last;
	struct transaction *unseen;		/* the first that the newest checkpoint does not see, or NULL */
	size_t	bytes;
	size_t	bytes_max;
	struct snapshot checkpoint;		/* the newest returned: all that it sees has been decoded. Owned */
	struct snapshot forgotten;		/* whoever does not see all that this sees may miss something evicted. Owned */
	uint64_t *evicted;				/* ids of evicted transactions that no checkpoint saw so far */
	size_t	evicted_count;
	uint64_t overflow_xid;			/* ids up to this one may be missing in evicted; 0: none */
};

void	ring_init(struct ring *r, size_t bytes_max);
void	ring_clear(struct ring *r);		/* as new */
void	ring_append(struct ring *r, struct transaction *t);		/* takes its own reference */
void	ring_checkpoint(struct ring *r, const struct snapshot *s);
/* A gap between the snapshot `from` and the unit's is closed: the unit stands for all that came between them. Takes its own reference. */
void	ring_bridge(struct ring *r, struct transaction *unit, const struct snapshot *from);
void	ring_forget(struct ring *r);	/* what the newest checkpoint sees may be missing here */

/* All that s does not see, of what was decoded, is still here. */
bool	ring_reaches(const struct ring *r, const struct snapshot *s);
/* The first transaction that s may not see; those behind it have to be looked at one by one. */
struct transaction *ring_first_unseen(const struct ring *r, const struct snapshot *s);

void	snapshot_replace(struct snapshot *place, const struct snapshot *s);		/* frees what was there; s stays the caller's */

#endif

/* gap.h - what sync.feed_changes answers about a gap in the stream, as one unit for all sessions. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_GAP_H
#define SYNC_GAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"
#include "tables.h"
#include "transaction.h"

/* All owned; all zero: none. */
struct gap
{
	struct snapshot now;		/* everything up to it is in the unit */
	struct transaction *unit;	/* sealed; NULL: it cannot be bridged */
	char   *obstacle;			/* then why */
	uint64_t *committed;		/* ids that ran before the gap and have committed since, ascending */
	size_t	committed_count;
};

bool	gap_read(struct gap *g, const char *json, const struct sync_tables *tables) __attribute__((warn_unused_result));	/* false: unreadable; nothing to free then */
void	gap_free(struct gap *g);		/* leaves it all zero */
bool	gap_has_committed(const struct gap *g, uint64_t xid);

#endif

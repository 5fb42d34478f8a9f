/* checkpoints.h - the checkpoints under way: asked for, answered with a snapshot, then seen coming back through the slot. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHECKPOINTS_H
#define SYNC_CHECKPOINTS_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot.h"

#define CHECKPOINTS_MAX 8		/* under way */

struct checkpoint
{
	int64_t nonce;
	int64_t asked_ms;
	bool	is_answered;
	bool	is_back;			/* its message was decoded before its answer was read */
	uint64_t back_lsn;
	struct snapshot snapshot;	/* owned */
};

struct checkpoints
{
	struct checkpoint list[CHECKPOINTS_MAX];	/* oldest first */
	int		count;
	int64_t asked_ms;			/* the last one */
	int64_t wanted_ms;			/* since when one has been wanted that has not come back; 0: none is */
	bool	is_dirty;			/* transactions came since the last was asked for */
};

void	checkpoints_init(struct checkpoints *c);
void	checkpoints_clear(struct checkpoints *c);

bool	checkpoints_are_due(const struct checkpoints *c, int64_t now_ms);
int64_t checkpoints_ask(struct checkpoints *c, int64_t now_ms);		/* the new one's nonce: random, never 0 */
/* The snapshot, borrowed, NULL if the nonce is unknown or text is NULL or unreadable: then it counts as never asked. */
const struct snapshot *checkpoints_answer(struct checkpoints *c, int64_t nonce, const char *text);
/* It came back: its snapshot is the caller's, older ones are given up. false: another streamer's, one that was given up, or one whose
 * answer is still on its way: the two travel by different sockets, and on a busy machine the message can be first. */
bool	checkpoints_return(struct checkpoints *c, int64_t nonce, uint64_t lsn, struct snapshot *s) __attribute__((warn_unused_result));
/* Just answered, and back already: to be returned again, with this lsn. */
bool	checkpoints_is_back(const struct checkpoints *c, int64_t nonce, uint64_t *lsn);
bool	checkpoints_are_late(const struct checkpoints *c, int64_t now_ms, int64_t limit_ms);

#endif

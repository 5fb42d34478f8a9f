/* batch.h - frames of live changes: what several sessions get alike in one turn is built once. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_BATCH_H
#define SYNC_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "map.h"
#include "message.h"
#include "transaction.h"

struct batches
{
	struct map kept;		/* → struct kept */
	struct map built;		/* format, topic, cursor and hash → struct built */
	bool	is_replay;		/* what is built now is old: how long it took means nothing */
};

/* Whatever else is made once for a turn. Found by its key, freed with the rest. */
void   *batches_find(struct batches *b, const void *key, size_t len);		/* NULL: not there */
void	batches_keep(struct batches *b, const void *key, size_t len, void *value, void (*free_value)(void *value));		/* nothing is there yet */

void	batches_init(struct batches *b);
void	batches_free(struct batches *b);
void	batches_clear(struct batches *b);		/* before any of the changes goes */

/* A batch of this payload: a `changes` frame or, where the format and the size say so, a `changes_deflate` one. The caller owns the reference. */
struct frame *batch_frame(enum message_format format, const char *topic, const char *payload, size_t len);

/* A `changes` frame; the caller owns the reference. hash: of the list of changes, to find an equal one. */
struct frame *batches_frame(struct batches *b, enum message_format format, const char *topic, const struct cursor *cursor, const struct stream_change *const *changes, size_t count,
							uint64_t hash);

#endif

/* decoder.h - records of the WAL become transactions. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_DECODER_H
#define SYNC_DECODER_H

#include <stddef.h>

#include "change.h"
#include "record.h"
#include "snapshot.h"
#include "tables.h"
#include "transaction.h"

struct decoder
{
	struct transaction *building;	/* between begin and commit; NULL: none */
	size_t	bytes_max;				/* a larger transaction is not kept: its sessions pull */
};

void	decoder_clear(struct decoder *d);
/* Takes begin, commit and row records. At a commit the transaction is the caller's, even if nothing in it concerns clients; else NULL.
 * newest: a snapshot not much older than the record, to widen its transaction id. */
struct transaction *decoder_take(struct decoder *d, const struct record *r, const struct sync_tables *tables, const struct snapshot *newest);

void	decoder_take_message(struct decoder *d, const char *json);		/* one of our own, of the transaction under way */

#endif

/* arrivals.h - decoded transactions in commit order, held back until the rows that the WAL shows incompletely have been read again. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ARRIVALS_H
#define SYNC_ARRIVALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"
#include "transaction.h"

struct arrivals;

/* Questions may be answered at once, from within the call. */
struct arrivals_calls
{
	void	(*released)(void *owner, struct transaction *t);	/* sealed; borrowed */
	void	(*returned)(void *owner, int64_t nonce, uint64_t lsn);	/* all that was decoded before the checkpoint has been released */
	void	(*reload)(void *owner);		/* the next transaction changed the list of tables: read it, then arrivals_reloaded */
	void	(*ask_rows)(void *owner, int32_t table_id, const char *const *keys, size_t count);
	void	(*hold)(void *owner, bool is_full);		/* more may not be added for now; and now it may */
	void	(*wake)(void *owner, int64_t delay_ms);	/* arrivals_go_on then */
};

struct arrivals *arrivals_new(size_t bytes_max, const struct arrivals_calls *calls, void *owner);
void	arrivals_free(struct arrivals *a);
void	arrivals_clear(struct arrivals *a);			/* forgets everything, questions under way too */

void	arrivals_add(struct arrivals *a, struct transaction *t);		/* takes the reference over */
void	arrivals_add_checkpoint(struct arrivals *a, int64_t nonce, uint64_t lsn);
void	arrivals_go_on(struct arrivals *a);

bool	arrivals_may_reload(const struct arrivals *a, const struct snapshot *s);	/* a list read after s was taken holds what is waited for */
void	arrivals_reloaded(struct arrivals *a, bool is_done);		/* not done: it is asked for again */
/* json: what sync.feed_rows answered, at snapshot or later; NULL: failed */
void	arrivals_rows_answer(struct arrivals *a, const char *json, const char *snapshot);

#endif

/* feed.h - the stream of committed transactions: decoded, completed, kept in a bounded ring, and how far it is certain to be complete. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FEED_H
#define SYNC_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "plugin.h"
#include "snapshot.h"
#include "tables.h"
#include "transaction.h"

struct feed;

/* Questions may be answered at once, from within the call. */
struct feed_calls
{
	void	(*ask_tables)(void *owner);
	void	(*ask_checkpoint)(void *owner, int64_t nonce);
	void	(*ask_rows)(void *owner, int32_t table_id, const char *const *keys, size_t count);
	void	(*ask_changes)(void *owner, const char *from_snapshot);	/* sync.feed_changes */
	void	(*start)(void *owner);						/* now lines may come */
	void	(*pause)(void *owner, bool is_paused);		/* no lines for a while */
	void	(*restart)(void *owner, const char *reason);	/* the slot is of no use any more */
	void	(*wake)(void *owner, int64_t delay_ms);		/* calls feed_wake then */
	void	(*released)(void *owner, struct transaction *t);	/* sessions may have it; in commit order */
	void	(*hold)(void *owner);						/* a gap: nobody gets anything, until ready or down */
	void	(*ready)(void *owner);						/* sessions may go live */
	void	(*down)(void *owner, const char *reason);	/* and now they may not */
	void	(*renewed)(void *owner);					/* the database is another one, or says that nobody's copy counts */
	void	(*rolled_back)(void *owner);				/* the server counts fewer transactions than it did: answered by feed_forget and a new slot */
	void	(*message)(void *owner, struct json_value message);	/* one of our own WAL messages: a transaction's after its release, others at once */
};

struct feed *feed_new(size_t ring_size, enum plugin plugin, const struct feed_calls *calls, void *owner);
void	feed_free(struct feed *f);

/* From the replication connection: a new slot begins a new ring. */
void	feed_begin(struct feed *f, const char *system_id, uint32_t timeline, int64_t now_ms);
void	feed_end(struct feed *f);
void	feed_forget(struct feed *f, const char *reason);	/* no gap is bridged, and nothing of what was kept is replayed: the server is not what it was */
void	feed_data(struct feed *f, const char *message, size_t len, uint64_t lsn, int64_t now_ms);	/* lsn: that it travelled under */
void	feed_sent(struct feed *f, int64_t unix_us);		/* of the next message, by the server's clock: wal2json does not tell when a transaction was committed */

/* Answers; NULL: failed, asked again later. */
void	feed_counted(struct feed *f, uint64_t xid);		/* an id that the server has just given out */
void	feed_tables_answer(struct feed *f, const char *json, const char *snapshot);
void	feed_checkpoint_answer(struct feed *f, int64_t nonce, const char *snapshot);
void	feed_rows_answer(struct feed *f, const char *json, const char *snapshot);

void	feed_changes_answer(struct feed *f, const char *json);

void	feed_wake(struct feed *f);
void	feed_tick(struct feed *f, int64_t now_ms);		/* some 20 times a second */

bool	feed_is_ready(const struct feed *f);
void	feed_gauges(const struct feed *f, int64_t now_ms);
const char *feed_missing(const struct feed *f);			/* NULL: ready */
struct cursor *feed_cursor(const struct feed *f);		/* the newest returned checkpoint's position, borrowed; NULL before the first */
uint64_t feed_reached(const struct feed *f);			/* where the last commit decoded ends in the WAL; 0: none yet */
uint32_t feed_timeline(const struct feed *f);
uint64_t feed_cursor_xmax(const struct feed *f);
const struct sync_tables *feed_tables(const struct feed *f);		/* NULL before the first; replaced by a reload */

enum handoff
{
	HANDOFF_OK,			/* what s does not see is in the ring, or still to come */
	HANDOFF_AGAIN,		/* pull again, a little later */
	HANDOFF_WAIT,		/* pull again when the feed is ready */
};

enum handoff feed_handoff(const struct feed *f, const struct snapshot *s, const char *user);		/* a session of this user; NULL: what concerns users is not looked at */
/* Whoever has all up to p can be given the rest from the ring, as far as handoff agrees: p is of this server and not ahead of what is known here, and no
 * more than so many bytes of the ring have to be looked through. */
bool	feed_can_resume(const struct feed *f, const struct position *p, size_t bytes_max);
/* Calls take for each transaction of the ring that s does not see. Only after HANDOFF_OK, in the same turn. */
void	feed_replay(const struct feed *f, const struct snapshot *s, void (*take)(void *owner, struct transaction *t), void *owner);

#endif

/* feed_parts.h - the inside of a feed, shared by feed.c (slot, tables, checkpoints, records) and bridging.c (gaps and suspects). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FEED_PARTS_H
#define SYNC_FEED_PARTS_H

#include "arrivals.h"
#include "checkpoints.h"
#include "decoder.h"
#include "feed.h"
#include "gap.h"
#include "ring.h"

#define FEED_RETRY_MS 200

enum feed_state
{
	FEED_DOWN,				/* no slot */
	FEED_ASKING_TABLES,
	FEED_ASKING_CHECKPOINT,	/* the one that suspects come from */
	FEED_FILLING,			/* decoding; that checkpoint has not come back yet */
	FEED_BRIDGING,			/* it has; what the gap hid is asked for, or waits for a checkpoint that covers it */
	FEED_READY,
};

struct feed
{
	struct feed_calls calls;
	void   *owner;
	enum feed_state state;
	bool	is_stalled;
	char   *system_id;			/* owned; of the server that the slot is on */
	uint32_t timeline;
	struct sync_tables *tables;
	char   *tables_text;		/* owned: the answer they were read from */
	int		tables_asked;		/* answers to come */
	int		tables_stale;		/* of these, answers to an earlier slot's questions */
	int64_t now_ms;

	struct checkpoints checkpoints;
	uint64_t *suspects;			/* ids that may commit without ever being decoded */
	size_t	suspect_count;

	bool	is_bridging;		/* sessions are on hold for a gap to be closed; until then nothing is released */
	int64_t bridge_until_ms;
	int		changes_asked;		/* answers to come */
	int		changes_stale;		/* of these, answers to questions that were given up */
	struct gap gap;				/* answered; waits for a checkpoint that covers it */
	struct snapshot escaped;	/* the newest returned checkpoint that does not count, because what it shows may be missing; the cursor waits before it */

	struct snapshot newest;		/* for widening ids: the newest snapshot answered */
	enum plugin plugin;
	bool	is_unpublished;		/* the decoder would not show all tables: no slot goes into use until that is cured */
	struct reader *reader;
	struct decoder decoder;
	struct arrivals *arrivals;
	struct ring ring;
	struct cursor *cursor;
	uint64_t cursor_xmax;
	uint64_t seen_xmax;			/* of the newest snapshot that this server ever answered */
	uint64_t decoded_xid;		/* the highest that was ever decoded of it */
	uint64_t commit_lsn;		/* end of the last commit decoded */
	int64_t sent_us;			/* when the server sent the message being read, see feed_sent */
};

/* feed.c */
void	feed_set_state(struct feed *f, enum feed_state state);
void	feed_become_ready(struct feed *f);
void	feed_ask_checkpoint(struct feed *f);

/* bridging.c */
void	bridging_start(struct feed *f);		/* sessions go on hold */
void	bridging_clear(struct feed *f);		/* what was asked and answered for a slot that is gone */
void	bridging_give_up(struct feed *f, const char *reason);		/* while a gap is open: everybody has to pull */
bool	bridging_go_on(struct feed *f, const struct snapshot *s);	/* while a gap is open a checkpoint has returned. true: it is closed, and the checkpoint counts */
void	bridging_ask(struct feed *f);
bool	bridging_wants_changes(const struct feed *f);		/* a question that failed is to be asked again */

void	bridging_forget_suspect(struct feed *f, uint64_t xid);		/* it was decoded */
bool	bridging_has_escaped(const struct feed *f, const struct snapshot *s);	/* s shows a suspect that was not */
void	bridging_note_escape(struct feed *f, const struct snapshot *s);

#endif

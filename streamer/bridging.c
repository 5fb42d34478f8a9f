/* bridging.c - what was committed and never decoded, in a gap between two slots or by a suspect: asked for once, and put into the ring as one unit. */
/* SPDX-License-Identifier: PostgreSQL */
#include "feed_parts.h"

#include <string.h>

#include "log.h"
#include "memory.h"
#include "metrics.h"

#define BRIDGE_LIMIT_MS 3000		/* a gap that is not closed by then: sessions are told, and pull */

/* A suspect that became visible without having been decoded: it may have changed rows that nobody was told of. */
bool
bridging_has_escaped(const struct feed *f, const struct snapshot *s)
{
	for (size_t i = 0; i < f->suspect_count; i++)
		if (snapshot_sees(s, f->suspects[i]))
			return true;
	return false;
}

static void
forget_suspects_seen(struct feed *f, const struct snapshot *s)
{
	size_t	kept = 0;

	for (size_t i = 0; i < f->suspect_count; i++)
		if (!snapshot_sees(s, f->suspects[i]))
			f->suspects[kept++] = f->suspects[i];
	f->suspect_count = kept;
}

void
bridging_forget_suspect(struct feed *f, uint64_t xid)
{
	for (size_t i = 0; i < f->suspect_count; i++)
		if (f->suspects[i] == xid)
		{
			f->suspects[i] = f->suspects[--f->suspect_count];
			return;
		}
}

/* From the newest place up to which nothing is missing. */
void
bridging_ask(struct feed *f)
{
	struct buffer from;

	buffer_init(&from);
	snapshot_put(&from, &f->ring.checkpoint);
	memory_require(from.failed ? NULL : from.data);
	f->changes_asked++;
	f->calls.ask_changes(f->owner, from.data);
	buffer_free(&from);
}

static bool
is_asking_changes(const struct feed *f)
{
	return f->changes_asked > f->changes_stale;
}

void
bridging_start(struct feed *f)
{
	f->is_bridging = true;
	f->bridge_until_ms = f->now_ms + BRIDGE_LIMIT_MS;
	f->calls.hold(f->owner);
}

void
bridging_clear(struct feed *f)
{
	gap_free(&f->gap);
	snapshot_free(&f->escaped);
	f->changes_stale = f->changes_asked;
}

/* The gap stays: everybody has to pull, in a snapshot that sees all that may be missing here. */
void
bridging_give_up(struct feed *f, const char *reason)
{
	if (!f->is_bridging)
		return;
	log_event(LOG_LEVEL_WARNING, "gap_open", "reason=\"%s\"", reason);
	metric_add_for(METRIC_GAPS, "resync", 1);
	f->is_bridging = false;
	f->calls.down(f->owner, reason);
	if (f->escaped.xmax != 0)
	{
		forget_suspects_seen(f, &f->escaped);
		ring_checkpoint(&f->ring, &f->escaped);
	}
	bridging_clear(f);
	if (f->state != FEED_BRIDGING)
		return;
	ring_forget(&f->ring);
	feed_become_ready(f);
}

/* All that the gap's snapshot sees has been decoded, or is in the unit. */
static void
close_gap(struct feed *f, const struct snapshot *s)
{
	struct snapshot from;

	snapshot_copy(&from, &f->ring.checkpoint);
	ring_checkpoint(&f->ring, s);
	ring_bridge(&f->ring, f->gap.unit, &from);
	snapshot_free(&from);
	forget_suspects_seen(f, &f->gap.now);
	log_event(LOG_LEVEL_INFO, "gap_closed", "changes=%zu", f->gap.unit->count);
	metric_add_for(METRIC_GAPS, "bridged", 1);
	f->is_bridging = false;
	bridging_clear(f);
}

/* While a gap is open. true: it is closed, and the checkpoint counts. */
bool
bridging_go_on(struct feed *f, const struct snapshot *s)
{
	snapshot_replace(&f->escaped, s);
	if (f->state == FEED_FILLING)
	{
		feed_set_state(f, FEED_BRIDGING);
		bridging_ask(f);
		return false;
	}
	if (f->gap.unit == NULL || !snapshot_covers(s, &f->gap.now))
		return false;
	for (size_t i = 0; i < f->suspect_count; i++)
		if (snapshot_sees(s, f->suspects[i]) && !snapshot_sees(&f->gap.now, f->suspects[i]))
		{
			gap_free(&f->gap);		/* once more, up to a snapshot that shows it */
			bridging_ask(f);
			return false;
		}
	close_gap(f, s);
	return true;
}

/* The stream goes on, but the cursor does not: it would claim what those who are live now never got. */
void
bridging_note_escape(struct feed *f, const struct snapshot *s)
{
	snapshot_replace(&f->escaped, s);
	if (!is_asking_changes(f))
		bridging_ask(f);
}

/* A transaction that ran when the slot was made has ended, and was not decoded: only if it had committed something may be missing. */
static void
take_escape(struct feed *f, struct gap *g)
{
	bool	is_missing = false;

	for (size_t i = 0; i < f->suspect_count; i++)
		if (snapshot_sees(&f->escaped, f->suspects[i]))
			is_missing = is_missing || f->suspects[i] >= f->ring.checkpoint.xmax || gap_has_committed(g, f->suspects[i]);
	if (!is_missing)
	{
		forget_suspects_seen(f, &f->escaped);
		snapshot_free(&f->escaped);
		f->checkpoints.is_dirty = true;
		return;
	}
	bridging_start(f);
	f->state = FEED_BRIDGING;
}

/* The unit counts once a checkpoint that covers it has come back: then all that it shows has been decoded, too. */
static void
take_gap(struct feed *f, struct gap *g)
{
	if (!f->is_bridging)
		take_escape(f, g);
	if (!f->is_bridging)
		return;
	if (g->obstacle != NULL)
	{
		bridging_give_up(f, g->obstacle);
		return;
	}
	f->gap = *g;
	*g = (struct gap){0};
	if (f->checkpoints.count < CHECKPOINTS_MAX)
		feed_ask_checkpoint(f);
	else
		f->checkpoints.is_dirty = true;
}

void
feed_changes_answer(struct feed *f, const char *json)
{
	struct gap g;

	f->changes_asked--;
	if (f->changes_stale > 0)
	{
		f->changes_stale--;
		return;
	}
	if (json == NULL)
		f->calls.wake(f->owner, FEED_RETRY_MS);
	else if (!gap_read(&g, json, f->tables))
	{
		log_event(LOG_LEVEL_ERROR, "feed_changes_unreadable", "bytes=%zu", strlen(json));
		f->calls.restart(f->owner, "an answer could not be read");
	}
	else
	{
		take_gap(f, &g);
		gap_free(&g);
	}
}

/* A question that failed is asked again. */
bool
bridging_wants_changes(const struct feed *f)
{
	return !is_asking_changes(f) && ((f->state == FEED_BRIDGING && f->gap.unit == NULL) || (f->state == FEED_READY && f->escaped.xmax != 0));
}

/* feed.c - the stream of committed transactions: decoded, completed, kept in a bounded ring, and how far it is certain to be complete. */
/* SPDX-License-Identifier: PostgreSQL */
#include "feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arrivals.h"
#include "checkpoints.h"
#include "concern.h"
#include "decoder.h"
#include "gap.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "ring.h"

#define STALLED_MS 5000				/* a checkpoint that takes longer: clients are served by pull meanwhile */
#define RETRY_MS 200
#define MESSAGE_VALUES_MAX 100000
#define BRIDGE_LIMIT_MS 3000		/* a gap that is not closed by then: sessions are told, and pull */

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
	uint64_t commit_lsn;		/* end of the last commit decoded */
	int64_t sent_us;			/* when the server sent the message being read, see feed_sent */
};

static void
set_state(struct feed *f, enum feed_state state)
{
	f->state = state;
	f->is_stalled = false;
}

static void
ask_checkpoint(struct feed *f)
{
	f->calls.ask_checkpoint(f->owner, checkpoints_ask(&f->checkpoints, f->now_ms));
}

static void
ask_tables(struct feed *f)
{
	f->tables_asked++;
	f->calls.ask_tables(f->owner);
}

static void
tell_message(struct feed *f, const char *text)
{
	struct json *doc = json_parse(text, strlen(text), MESSAGE_VALUES_MAX);

	if (doc != NULL && json_type(json_root(doc)) == JSON_OBJECT)
		f->calls.message(f->owner, json_root(doc));
	json_free(doc);
}

static void
arrivals_done(void *owner, struct transaction *t)
{
	struct feed *f = owner;

	concern_devices(t);
	ring_append(&f->ring, t);
	if (!f->is_bridging)
		f->calls.released(f->owner, t);
	for (size_t i = 0; i < t->message_count; i++)
		tell_message(f, t->messages[i]);
}

static void
reload(void *owner)
{
	ask_tables(owner);
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	struct feed *f = owner;

	f->calls.ask_rows(f->owner, table_id, keys, count);
}

static void
hold(void *owner, bool is_full)
{
	struct feed *f = owner;

	f->calls.pause(f->owner, is_full);
}

static void
wake(void *owner, int64_t delay_ms)
{
	struct feed *f = owner;

	f->calls.wake(f->owner, delay_ms);
}

/* A suspect that became visible without having been decoded: it may have changed rows that nobody was told of. */
static bool
has_escaped(const struct feed *f, const struct snapshot *s)
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

static void
forget_suspect(struct feed *f, uint64_t xid)
{
	for (size_t i = 0; i < f->suspect_count; i++)
		if (f->suspects[i] == xid)
		{
			f->suspects[i] = f->suspects[--f->suspect_count];
			return;
		}
}

static void
set_cursor(struct feed *f, const struct snapshot *s, uint64_t lsn)
{
	struct position p = {.timeline = f->timeline, .lsn = lsn, .snapshot = *s};
	struct buffer text;

	buffer_init(&text);
	position_put(&text, &p);
	memory_require(text.failed ? NULL : text.data);
	cursor_release(f->cursor);
	f->cursor = cursor_new(text.data, text.len);
	f->cursor_xmax = s->xmax;
	buffer_free(&text);
}

static void
replace_snapshot(struct snapshot *place, const struct snapshot *s)
{
	struct snapshot copy;

	if (!snapshot_copy(&copy, s))
		memory_require(NULL);
	snapshot_free(place);
	*place = copy;
}

/* From the newest place up to which nothing is missing. */
static void
ask_changes(struct feed *f)
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

static void
start_bridging(struct feed *f)
{
	f->is_bridging = true;
	f->bridge_until_ms = f->now_ms + BRIDGE_LIMIT_MS;
	f->calls.hold(f->owner);
}

static void
clear_gap(struct feed *f)
{
	gap_free(&f->gap);
	snapshot_free(&f->escaped);
	f->changes_stale = f->changes_asked;
}

static void
become_ready(struct feed *f)
{
	set_state(f, FEED_READY);
	f->calls.ready(f->owner);
}

/* The gap stays: everybody has to pull, in a snapshot that sees all that may be missing here. */
static void
give_up(struct feed *f, const char *reason)
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
	clear_gap(f);
	if (f->state != FEED_BRIDGING)
		return;
	ring_forget(&f->ring);
	become_ready(f);
}

/* All that the gap's snapshot sees has been decoded, or is in the unit. */
static void
close_gap(struct feed *f, const struct snapshot *s)
{
	struct snapshot from;

	if (!snapshot_copy(&from, &f->ring.checkpoint))
		memory_require(NULL);
	ring_checkpoint(&f->ring, s);
	ring_bridge(&f->ring, f->gap.unit, &from);
	snapshot_free(&from);
	forget_suspects_seen(f, &f->gap.now);
	log_event(LOG_LEVEL_INFO, "gap_closed", "changes=%zu", f->gap.unit->count);
	metric_add_for(METRIC_GAPS, "bridged", 1);
	f->is_bridging = false;
	clear_gap(f);
}

/* While a gap is open. true: it is closed, and the checkpoint counts. */
static bool
bridge_on(struct feed *f, const struct snapshot *s)
{
	replace_snapshot(&f->escaped, s);
	if (f->state == FEED_FILLING)
	{
		set_state(f, FEED_BRIDGING);
		ask_changes(f);
		return false;
	}
	if (f->gap.unit == NULL || !snapshot_covers(s, &f->gap.now))
		return false;
	for (size_t i = 0; i < f->suspect_count; i++)
		if (snapshot_sees(s, f->suspects[i]) && !snapshot_sees(&f->gap.now, f->suspects[i]))
		{
			gap_free(&f->gap);		/* once more, up to a snapshot that shows it */
			ask_changes(f);
			return false;
		}
	close_gap(f, s);
	return true;
}

/* The stream goes on, but the cursor does not: it would claim what those who are live now never got. */
static void
note_escape(struct feed *f, const struct snapshot *s)
{
	replace_snapshot(&f->escaped, s);
	if (!is_asking_changes(f))
		ask_changes(f);
}

/* Everything its snapshot sees has been decoded and released. The position's LSN is the message's: all ids the snapshot counts as finished
 * were finished before it was written, which a smaller LSN would not say after a failover. */
static void
take_checkpoint(struct feed *f, const struct snapshot *s, uint64_t lsn)
{
	if (f->is_bridging && !bridge_on(f, s))
		return;
	if (f->state == FEED_READY && has_escaped(f, s))
	{
		note_escape(f, s);
		return;
	}
	ring_checkpoint(&f->ring, s);
	set_cursor(f, s, lsn > f->commit_lsn ? lsn : f->commit_lsn);
	if (f->state == FEED_FILLING)
		ring_forget(&f->ring);
	if (f->state != FEED_READY || (f->is_stalled && !checkpoints_are_late(&f->checkpoints, f->now_ms, STALLED_MS / 2)))
		become_ready(f);
}

static void
checkpoint_returned(void *owner, int64_t nonce, uint64_t lsn)
{
	struct feed *f = owner;
	struct snapshot s;

	if (!checkpoints_return(&f->checkpoints, nonce, lsn, &s))
		return;
	take_checkpoint(f, &s, lsn);
	snapshot_free(&s);
}

struct feed *
feed_new(size_t ring_size, enum plugin plugin, const struct feed_calls *calls, void *owner)
{
	static const struct arrivals_calls arrivals_calls = {
		.released = arrivals_done, .returned = checkpoint_returned, .reload = reload, .ask_rows = ask_rows, .hold = hold, .wake = wake};
	struct feed *f = memory_new(sizeof(*f));

	f->calls = *calls;
	f->owner = owner;
	f->plugin = plugin;
	f->reader = reader_new(plugin);
	memory_require(f->reader);
	ring_init(&f->ring, ring_size);
	f->decoder.bytes_max = ring_size / 4;
	f->arrivals = arrivals_new(ring_size / 4, &arrivals_calls, f);
	return f;
}

/* What belongs to a slot. */
static void
clear_slot(struct feed *f)
{
	checkpoints_clear(&f->checkpoints);
	free(f->suspects);
	f->suspects = NULL;
	f->suspect_count = 0;
	clear_gap(f);
	reader_reset(f->reader);
	decoder_clear(&f->decoder);
	arrivals_clear(f->arrivals);
}

static void
clear(struct feed *f)
{
	clear_slot(f);
	snapshot_free(&f->newest);
	ring_clear(&f->ring);
	cursor_release(f->cursor);
	f->cursor = NULL;
	f->cursor_xmax = 0;
	f->commit_lsn = 0;
}

void
feed_free(struct feed *f)
{
	if (f == NULL)
		return;
	clear(f);
	arrivals_free(f->arrivals);
	reader_free(f->reader);
	tables_free(f->tables);
	free(f->tables_text);
	free(f->system_id);
	free(f);
}

void
feed_begin(struct feed *f, const char *system_id, uint32_t timeline, int64_t now_ms)
{
	f->now_ms = now_ms;
	feed_end(f);
	if (f->is_bridging && (strcmp(f->system_id, system_id) != 0 || f->timeline != timeline))
		give_up(f, "the stream goes on from another server or timeline");
	if (!f->is_bridging)
		clear(f);
	free(f->system_id);
	f->system_id = memory_string(system_id);
	f->timeline = timeline;
	set_state(f, FEED_ASKING_TABLES);
	f->tables_stale = f->tables_asked;
	ask_tables(f);
}

/* Of the ring what came up to the last checkpoint is whole: sessions that have that can go on once the rest is known. */
void
feed_end(struct feed *f)
{
	bool	was_ready = f->state == FEED_READY && !f->is_stalled;

	set_state(f, FEED_DOWN);
	clear_slot(f);
	if (was_ready && !f->is_bridging)
		start_bridging(f);
	if (!f->is_bridging)
		clear(f);
}

/* All three connections must be on one server and one timeline. */
static bool
is_elsewhere(struct feed *f, const struct sync_tables *t)
{
	if (strcmp(t->system_id, f->system_id) == 0 && t->timeline == f->timeline)
		return false;
	log_event(LOG_LEVEL_ERROR, "other_server", "replication=%s/%" PRIu32 " upkeep=%s/%" PRIu32, f->system_id, f->timeline, t->system_id, t->timeline);
	f->calls.restart(f->owner, "the upkeep connection is on another server or timeline");
	return true;
}

/* A table that is missing in the publications would change without a word. */
static bool
is_unpublished(struct feed *f, const struct sync_tables *t)
{
	bool	was_unpublished = f->is_unpublished;

	f->is_unpublished = f->plugin == PLUGIN_PGOUTPUT && t->unpublished != NULL;
	if (f->is_unpublished && !was_unpublished)
		log_event(LOG_LEVEL_ERROR, "plugin_refused", "plugin=pgoutput reason=\"%s\" cure=\"a superuser must run SELECT sync.publish() in this database\"",
				  t->unpublished);
	return f->is_unpublished;
}

static void
use_tables(struct feed *f, struct sync_tables *t, const char *text)
{
	tables_free(f->tables);
	f->tables = t;
	free(f->tables_text);
	f->tables_text = memory_string(text);
	log_event(LOG_LEVEL_INFO, "tables_read", "count=%d", t->count);
}

static void
accept_tables(struct feed *f, struct sync_tables *t, const char *text, const struct snapshot *s)
{
	bool	is_new = t != NULL && arrivals_may_reload(f->arrivals, s);

	if (f->state == FEED_ASKING_TABLES && t != NULL)
	{
		if (f->is_bridging && strcmp(text, f->tables_text) != 0)
		{
			give_up(f, "the tables have changed");
			clear(f);
		}
		use_tables(f, t, text);
		set_state(f, FEED_ASKING_CHECKPOINT);
		ask_checkpoint(f);
		return;
	}
	if (is_new)
		use_tables(f, t, text);
	else
		tables_free(t);
	if (f->state == FEED_ASKING_TABLES)
		f->calls.wake(f->owner, RETRY_MS);
	else
		arrivals_reloaded(f->arrivals, is_new);
}

void
feed_tables_answer(struct feed *f, const char *json, const char *snapshot)
{
	struct sync_tables *t;
	struct snapshot s = {0};

	f->tables_asked--;
	if (f->tables_stale > 0)
	{
		f->tables_stale--;
		return;
	}
	if (f->state == FEED_DOWN)
		return;
	t = json != NULL ? tables_parse(json, strlen(json)) : NULL;
	if (json != NULL && t == NULL)
		log_event(LOG_LEVEL_ERROR, "feed_tables_unreadable", "bytes=%zu", strlen(json));
	if (t != NULL && (is_elsewhere(f, t) || is_unpublished(f, t) || snapshot == NULL || !snapshot_parse(&s, snapshot, strlen(snapshot))))
	{
		tables_free(t);
		t = NULL;
	}
	accept_tables(f, t, json, &s);
	snapshot_free(&s);
}

static void
first_checkpoint(struct feed *f, const struct snapshot *s)
{
	f->suspects = memory_grow(NULL, s->xip_count, sizeof(*f->suspects));
	if (s->xip_count > 0)
		memcpy(f->suspects, s->xip, s->xip_count * sizeof(*s->xip));
	f->suspect_count = s->xip_count;
	set_state(f, FEED_FILLING);
	f->calls.start(f->owner);
}

void
feed_checkpoint_answer(struct feed *f, int64_t nonce, const char *snapshot)
{
	const struct snapshot *s = checkpoints_answer(&f->checkpoints, nonce, snapshot);
	uint64_t lsn;

	if (s == NULL)
		return;
	snapshot_free(&f->newest);
	if (!snapshot_copy(&f->newest, s))
		memory_require(NULL);
	if (f->state == FEED_ASKING_CHECKPOINT)
		first_checkpoint(f, s);
	else if (checkpoints_is_back(&f->checkpoints, nonce, &lsn))
		checkpoint_returned(f, nonce, lsn);
}

void
feed_rows_answer(struct feed *f, const char *json, const char *snapshot)
{
	arrivals_rows_answer(f->arrivals, json, snapshot);
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
	start_bridging(f);
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
		give_up(f, g->obstacle);
		return;
	}
	f->gap = *g;
	*g = (struct gap){0};
	if (f->checkpoints.count < CHECKPOINTS_MAX)
		ask_checkpoint(f);
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
		f->calls.wake(f->owner, RETRY_MS);
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
static bool
wants_changes(const struct feed *f)
{
	return !is_asking_changes(f) && ((f->state == FEED_BRIDGING && f->gap.unit == NULL) || (f->state == FEED_READY && f->escaped.xmax != 0));
}

static void
commit(struct feed *f, const struct record *r, struct transaction *t)
{
	metric_add(METRIC_TRANSACTIONS, 1);
	metric_add(METRIC_CHANGES_DECODED, transaction_size(t));
	t->committed_us = r->committed_us != 0 ? r->committed_us : f->sent_us;
	f->commit_lsn = r->end_lsn;
	f->checkpoints.is_dirty = true;
	forget_suspect(f, t->xid);
	if (t->barrier == BARRIER_NONE && transaction_size(t) == 0 && t->message_count == 0)
		transaction_release(t);
	else
		arrivals_add(f->arrivals, t);
}

/* Anybody may write WAL messages: ours begin with a key that only the extension and its streamers know. */
static const char *
message_of(const struct feed *f, const struct record *r)
{
	const char *key = f->tables->message_key;
	size_t	len = strlen(key);

	if (r->content == NULL || len == 0 || strncmp(r->content, key, len) != 0 || r->content[len] != ':')
		return NULL;
	return r->content + len + 1;
}

static void
take_message(struct feed *f, const struct record *r)
{
	const char *message = message_of(f, r);

	if (r->is_ours)
		arrivals_add_checkpoint(f->arrivals, r->nonce, r->lsn);
	else if (message != NULL && r->xid != 0)
		decoder_take_message(&f->decoder, message);
	else if (message != NULL)
		tell_message(f, message);
}

static void
take_record(void *owner, const struct record *r)
{
	struct feed *f = owner;
	struct transaction *t;

	if (r->action == RECORD_MESSAGE)
	{
		take_message(f, r);
		return;
	}
	t = decoder_take(&f->decoder, r, f->tables, &f->newest);
	if (t != NULL)
		commit(f, r, t);
}

void
feed_data(struct feed *f, const char *message, size_t len, uint64_t lsn, int64_t now_ms)
{
	f->now_ms = now_ms;
	if (f->state < FEED_FILLING || f->tables == NULL)
		return;
	if (reader_read(f->reader, message, len, lsn, take_record, f))
		return;
	log_event(LOG_LEVEL_ERROR, "record_unreadable", "bytes=%zu", len);
	f->calls.restart(f->owner, "a record could not be read");
}

void
feed_sent(struct feed *f, int64_t unix_us)
{
	f->sent_us = unix_us;
}

void
feed_wake(struct feed *f)
{
	if (f->state == FEED_ASKING_TABLES)
	{
		if (f->tables_asked == f->tables_stale)
			ask_tables(f);
	}
	else
		arrivals_go_on(f->arrivals);
	if (wants_changes(f))
		ask_changes(f);
}

/* Late once a checkpoint that was asked for is overdue: the server is stuck, or its commits wait, or we are behind. */
static void
note_stall(struct feed *f)
{
	if (f->state != FEED_READY || f->is_stalled || !checkpoints_are_late(&f->checkpoints, f->now_ms, STALLED_MS))
		return;
	f->is_stalled = true;
	log_event(LOG_LEVEL_WARNING, "stream_stalled", "after_ms=%d", STALLED_MS);
	f->calls.down(f->owner, "the stream is late");
}

void
feed_tick(struct feed *f, int64_t now_ms)
{
	f->now_ms = now_ms;
	note_stall(f);
	if (f->is_bridging && now_ms >= f->bridge_until_ms)
		give_up(f, "the stream was interrupted");
	if (f->state >= FEED_ASKING_CHECKPOINT && checkpoints_are_due(&f->checkpoints, now_ms))
		ask_checkpoint(f);
}

bool
feed_is_ready(const struct feed *f)
{
	return f->state == FEED_READY && !f->is_stalled;
}

void
feed_gauges(const struct feed *f, int64_t now_ms)
{
	size_t	count = 0;

	for (const struct transaction *t = f->ring.first; t != NULL; t = t->next)
		count++;
	metric_set(METRIC_RING_BYTES, (double) f->ring.bytes);
	metric_set(METRIC_RING_TRANSACTIONS, (double) count);
	metric_set(METRIC_SLOT_LAG_SECONDS, f->checkpoints.wanted_ms != 0 ? (double) (now_ms - f->checkpoints.wanted_ms) / 1000 : 0);
}

const char *
feed_missing(const struct feed *f)
{
	switch (f->state)
	{
		case FEED_DOWN:
			return "replication slot";
		case FEED_ASKING_TABLES:
			return f->is_unpublished ? "tables in the publications: run sync.publish()" : "answer of sync.feed_tables";
		case FEED_ASKING_CHECKPOINT:
			return "answer of sync.checkpoint";
		case FEED_FILLING:
			return "first checkpoint through the slot";
		case FEED_BRIDGING:
			return "answer of sync.feed_changes";
		case FEED_READY:
			return f->is_stalled ? "checkpoint overdue" : NULL;
	}
	return "feed";
}

struct cursor *
feed_cursor(const struct feed *f)
{
	return f->cursor;
}

uint64_t
feed_cursor_xmax(const struct feed *f)
{
	return f->cursor_xmax;
}

uint32_t
feed_timeline(const struct feed *f)
{
	return f->timeline;
}

const struct sync_tables *
feed_tables(const struct feed *f)
{
	return f->tables;
}

static bool
has_unseen_barrier(const struct feed *f, const struct snapshot *s, const char *user)
{
	for (const struct transaction *t = ring_first_unseen(&f->ring, s); t != NULL; t = t->next)
		if ((t->barrier > BARRIER_WATCH || (user != NULL && concern_has(t, user))) && !transaction_is_seen(t, s))
			return true;
	return false;
}

enum handoff
feed_handoff(const struct feed *f, const struct snapshot *s, const char *user)
{
	if (!feed_is_ready(f))
		return HANDOFF_WAIT;
	return ring_reaches(&f->ring, s) && !has_unseen_barrier(f, s, user) ? HANDOFF_OK : HANDOFF_AGAIN;
}

bool
feed_can_resume(const struct feed *f, const struct position *p, size_t bytes_max)
{
	size_t	bytes = 0;

	if (!feed_is_ready(f) || p->timeline != f->timeline || p->snapshot.xmax > f->newest.xmax)
		return false;
	for (const struct transaction *t = ring_first_unseen(&f->ring, &p->snapshot); t != NULL && bytes <= bytes_max; t = t->next)
		if (!transaction_is_seen(t, &p->snapshot))
			bytes += t->bytes;
	return bytes <= bytes_max;
}

void
feed_replay(const struct feed *f, const struct snapshot *s, void (*take)(void *owner, struct transaction *t), void *owner)
{
	for (struct transaction *t = ring_first_unseen(&f->ring, s); t != NULL; t = t->next)
		if (!transaction_is_seen(t, s))
			take(owner, t);
}

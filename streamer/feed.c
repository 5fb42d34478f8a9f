/* feed.c - the stream of committed transactions: decoded, completed, kept in a bounded ring, and how far it is certain to be complete. */
/* SPDX-License-Identifier: PostgreSQL */
#include "feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arrivals.h"
#include "checkpoints.h"
#include "decoder.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "ring.h"

#define STALLED_MS 5000				/* a checkpoint that takes longer: clients are served by pull meanwhile */
#define RETRY_MS 200
#define MESSAGE_VALUES_MAX 100000

enum feed_state
{
	FEED_DOWN,				/* no slot */
	FEED_ASKING_TABLES,
	FEED_ASKING_CHECKPOINT,	/* the one that suspects come from */
	FEED_FILLING,			/* decoding; that checkpoint has not come back yet */
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
	int		tables_asked;		/* answers to come */
	int		tables_stale;		/* of these, answers to an earlier slot's questions */
	int64_t now_ms;

	struct checkpoints checkpoints;
	uint64_t *suspects;			/* ids that may commit without ever being decoded */
	size_t	suspect_count;

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

	ring_append(&f->ring, t);
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

/* A suspect that became visible without having been decoded may have changed rows that nobody was told of. */
static bool
suspects_escaped(struct feed *f, const struct snapshot *s)
{
	size_t	kept = 0;
	bool	escaped = false;

	for (size_t i = 0; i < f->suspect_count; i++)
	{
		if (snapshot_sees(s, f->suspects[i]))
			escaped = true;
		else
			f->suspects[kept++] = f->suspects[i];
	}
	f->suspect_count = kept;
	return escaped;
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

/* Everything its snapshot sees has been decoded and released. The position's LSN is the message's: all ids the snapshot counts as finished
 * were finished before it was written, which a smaller LSN would not say after a failover. */
static void
checkpoint_returned(void *owner, int64_t nonce, uint64_t lsn)
{
	struct feed *f = owner;
	struct snapshot s;

	if (!checkpoints_return(&f->checkpoints, nonce, lsn, &s))
		return;
	ring_checkpoint(&f->ring, &s);
	if (suspects_escaped(f, &s))
	{
		/* before the cursor moves: it will claim what those who are live now never got */
		ring_forget(&f->ring);
		f->calls.resync(f->owner, "a transaction older than the slot has ended");
	}
	set_cursor(f, &s, lsn > f->commit_lsn ? lsn : f->commit_lsn);
	snapshot_free(&s);
	if (f->state == FEED_FILLING)
		ring_forget(&f->ring);
	if (f->state == FEED_FILLING || (f->is_stalled && !checkpoints_are_late(&f->checkpoints, f->now_ms, STALLED_MS / 2)))
	{
		set_state(f, FEED_READY);
		f->calls.ready(f->owner);
	}
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

static void
clear(struct feed *f)
{
	checkpoints_clear(&f->checkpoints);
	free(f->suspects);
	f->suspects = NULL;
	f->suspect_count = 0;
	snapshot_free(&f->newest);
	reader_reset(f->reader);
	decoder_clear(&f->decoder);
	arrivals_clear(f->arrivals);
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
	free(f->system_id);
	free(f);
}

void
feed_begin(struct feed *f, const char *system_id, uint32_t timeline, int64_t now_ms)
{
	feed_end(f);
	free(f->system_id);
	f->system_id = memory_string(system_id);
	f->timeline = timeline;
	f->now_ms = now_ms;
	set_state(f, FEED_ASKING_TABLES);
	f->tables_stale = f->tables_asked;
	ask_tables(f);
}

void
feed_end(struct feed *f)
{
	bool	was_ready = f->state == FEED_READY && !f->is_stalled;

	clear(f);
	set_state(f, FEED_DOWN);
	if (was_ready)
		f->calls.down(f->owner, "the stream was interrupted");
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
use_tables(struct feed *f, struct sync_tables *t)
{
	tables_free(f->tables);
	f->tables = t;
	log_event(LOG_LEVEL_INFO, "tables_read", "count=%d", t->count);
}

static void
accept_tables(struct feed *f, struct sync_tables *t, const struct snapshot *s)
{
	bool	is_new = t != NULL && arrivals_may_reload(f->arrivals, s);

	if (f->state == FEED_ASKING_TABLES && t != NULL)
	{
		use_tables(f, t);
		set_state(f, FEED_ASKING_CHECKPOINT);
		ask_checkpoint(f);
		return;
	}
	if (is_new)
		use_tables(f, t);
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
	accept_tables(f, t, &s);
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

const struct sync_tables *
feed_tables(const struct feed *f)
{
	return f->tables;
}

static bool
has_unseen_barrier(const struct feed *f, const struct snapshot *s)
{
	for (const struct transaction *t = ring_first_unseen(&f->ring, s); t != NULL; t = t->next)
		if (t->barrier != BARRIER_NONE && !snapshot_sees(s, t->xid))
			return true;
	return false;
}

enum handoff
feed_handoff(const struct feed *f, const struct snapshot *s)
{
	if (!feed_is_ready(f))
		return HANDOFF_WAIT;
	return ring_reaches(&f->ring, s) && !has_unseen_barrier(f, s) ? HANDOFF_OK : HANDOFF_AGAIN;
}

void
feed_replay(const struct feed *f, const struct snapshot *s, void (*take)(void *owner, struct transaction *t), void *owner)
{
	for (struct transaction *t = ring_first_unseen(&f->ring, s); t != NULL; t = t->next)
		if (!snapshot_sees(s, t->xid))
			take(owner, t);
}

bool
feed_reaches(const struct feed *f, uint64_t serial)
{
	return f->ring.first == NULL || f->ring.first->serial <= serial + 1;
}

void
feed_replay_since(const struct feed *f, uint64_t serial, void (*take)(void *owner, struct transaction *t), void *owner)
{
	for (struct transaction *t = f->ring.first; t != NULL; t = t->next)
		if (t->serial > serial)
			take(owner, t);
}

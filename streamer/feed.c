/* feed.c - the stream of committed transactions: decoded, completed, kept in a bounded ring, and how far it is certain to be complete. */
/* SPDX-License-Identifier: PostgreSQL */
#include "feed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "concern.h"
#include "feed_parts.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"

#define STALLED_MS 3000				/* a checkpoint that takes longer: clients are served by pull meanwhile */
#define MESSAGE_VALUES_MAX 100000

void
feed_set_state(struct feed *f, enum feed_state state)
{
	f->state = state;
	f->is_stalled = false;
}

void
feed_ask_checkpoint(struct feed *f)
{
	f->calls.ask_checkpoint(f->owner, checkpoints_ask(&f->checkpoints, f->now_ms));
}

void
feed_become_ready(struct feed *f)
{
	feed_set_state(f, FEED_READY);
	f->calls.ready(f->owner);
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

static void
set_cursor(struct feed *f, const struct snapshot *s, uint64_t lsn)
{
	struct position p = {.timeline = f->timeline, .lsn = lsn - 1, .snapshot = *s};
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
take_checkpoint(struct feed *f, const struct snapshot *s, uint64_t lsn)
{
	if (f->is_bridging && !bridging_go_on(f, s))
		return;
	if (f->state == FEED_READY && bridging_has_escaped(f, s))
	{
		bridging_note_escape(f, s);
		return;
	}
	ring_checkpoint(&f->ring, s);
	set_cursor(f, s, lsn > f->commit_lsn ? lsn : f->commit_lsn);
	if (f->state == FEED_FILLING)
		ring_forget(&f->ring);
	if (f->state != FEED_READY || (f->is_stalled && !checkpoints_are_late(&f->checkpoints, f->now_ms, STALLED_MS / 2)))
		feed_become_ready(f);
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
	bridging_clear(f);
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
		bridging_give_up(f, "the stream goes on from another server or timeline");
	if (!f->is_bridging)
		clear(f);
	free(f->system_id);
	f->system_id = memory_string(system_id);
	f->timeline = timeline;
	feed_set_state(f, FEED_ASKING_TABLES);
	f->tables_stale = f->tables_asked;
	ask_tables(f);
}

/* Of the ring what came up to the last checkpoint is whole: sessions that have that can go on once the rest is known. */
void
feed_end(struct feed *f)
{
	bool	was_ready = f->state == FEED_READY && !f->is_stalled;

	feed_set_state(f, FEED_DOWN);
	clear_slot(f);
	if (was_ready && !f->is_bridging)
		bridging_start(f);
	if (!f->is_bridging)
		clear(f);
}

void
feed_forget(struct feed *f, const char *reason)
{
	feed_set_state(f, FEED_DOWN);		/* the slot's end is no gap: there is nothing that one could begin from */
	bridging_give_up(f, reason);
	clear(f);
	f->seen_xmax = f->decoded_xid = 0;
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
	bool	is_renewed = f->tables != NULL && strcmp(f->tables->incarnation, t->incarnation) != 0;

	tables_free(f->tables);
	f->tables = t;
	free(f->tables_text);
	f->tables_text = memory_string(text);
	log_event(LOG_LEVEL_INFO, "tables_read", "count=%d", t->count);
	if (is_renewed)
		f->calls.renewed(f->owner);
}

static void
accept_tables(struct feed *f, struct sync_tables *t, const char *text, const struct snapshot *s)
{
	bool	is_new = t != NULL && arrivals_may_reload(f->arrivals, s);

	if (f->state == FEED_ASKING_TABLES && t != NULL)
	{
		if (f->is_bridging && strcmp(text, f->tables_text) != 0)
		{
			bridging_give_up(f, "the tables have changed");
			clear(f);
		}
		use_tables(f, t, text);
		feed_set_state(f, FEED_ASKING_CHECKPOINT);
		feed_ask_checkpoint(f);
		return;
	}
	if (is_new)
		use_tables(f, t, text);
	else
		tables_free(t);
	if (f->state == FEED_ASKING_TABLES)
		f->calls.wake(f->owner, FEED_RETRY_MS);
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

void
feed_counted(struct feed *f, uint64_t xid)
{
	if (xid <= f->decoded_xid)
		f->calls.rolled_back(f->owner);
}

static void
first_checkpoint(struct feed *f, const struct snapshot *s)
{
	f->suspects = memory_grow(NULL, s->xip_count, sizeof(*f->suspects));
	if (s->xip_count > 0)
		memcpy(f->suspects, s->xip, s->xip_count * sizeof(*s->xip));
	f->suspect_count = s->xip_count;
	feed_set_state(f, FEED_FILLING);
	f->calls.start(f->owner);
}

void
feed_checkpoint_answer(struct feed *f, int64_t nonce, const char *snapshot)
{
	const struct snapshot *s = checkpoints_answer(&f->checkpoints, nonce, snapshot);
	uint64_t lsn;

	if (s == NULL)
		return;
	if (s->xmax < f->seen_xmax)
	{
		f->calls.rolled_back(f->owner);
		return;
	}
	f->seen_xmax = s->xmax;
	snapshot_replace(&f->newest, s);
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
	if (t->xid > f->decoded_xid)
		f->decoded_xid = t->xid;
	f->checkpoints.is_dirty = true;
	bridging_forget_suspect(f, t->xid);
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
	if (bridging_wants_changes(f))
		bridging_ask(f);
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
		bridging_give_up(f, "the stream was interrupted");
	if (f->state >= FEED_ASKING_CHECKPOINT && checkpoints_are_due(&f->checkpoints, now_ms))
		feed_ask_checkpoint(f);
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

uint64_t
feed_reached(const struct feed *f)
{
	return f->commit_lsn;
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

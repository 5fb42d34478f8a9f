/* feed_test.c - the feed stays sure of itself whatever order its two connections answer in. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "feed.h"

#include <inttypes.h>

/* What the feed asked of the world. */
struct world
{
	struct feed *feed;
	int64_t nonce;
	int		checkpoints;
	int		readies;
	int		holds;
};

static void
ask_tables(void *owner)
{
	(void) owner;
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	struct world *w = owner;

	w->nonce = nonce;
	w->checkpoints++;
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	(void) owner;
	(void) table_id;
	(void) keys;
	(void) count;
}

static void
ready(void *owner)
{
	((struct world *) owner)->readies++;
}

static void
nothing(void *owner)
{
	(void) owner;
}

static void
held(void *owner)
{
	((struct world *) owner)->holds++;
}

static void
hold(void *owner, bool is_paused)
{
	(void) owner;
	(void) is_paused;
}

static void
wake(void *owner, int64_t delay_ms)
{
	(void) owner;
	(void) delay_ms;
}

static void
released(void *owner, struct transaction *t)
{
	(void) owner;
	(void) t;
}

static void
reason_given(void *owner, const char *reason)
{
	(void) owner;
	(void) reason;
}

static void
return_nonce(struct world *w, int64_t nonce, int64_t now_ms)
{
	char	line[256];
	int		len = snprintf(line, sizeof(line), "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":false,\"prefix\":\"sync\",\"content\":\"%" PRId64 "\"}", nonce);

	feed_data(w->feed, line, (size_t) len, 0x1539DE0, now_ms);
}

static void
commit_something(struct world *w, int64_t now_ms)
{
	static const char begin[] = "{\"action\":\"B\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}";
	static const char commit[] = "{\"action\":\"C\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}";

	feed_data(w->feed, begin, sizeof(begin) - 1, 0x1539CB0, now_ms);
	feed_data(w->feed, commit, sizeof(commit) - 1, 0x1539CE0, now_ms);
}

static void
start(struct world *w)
{
	static const struct feed_calls calls = {
		.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .start = nothing, .pause = hold, .restart = reason_given,
		.wake = wake, .released = released, .ready = ready, .down = reason_given, .hold = held,
	};
	static const char tables[] = "{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"1\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},"
		"\"registry\":[],\"tables\":[]}";

	w->feed = feed_new(1 << 20, PLUGIN_WAL2JSON, &calls, w);
	feed_begin(w->feed, "7", 1, 0);
	feed_tables_answer(w->feed, tables, "724:724:");
	feed_checkpoint_answer(w->feed, w->nonce, "724:724:");
	return_nonce(w, w->nonce, 1);
}

static void
a_checkpoint_that_returns_before_its_answer_does_not_stall_the_stream(void)
{
	struct world w = {0};
	int64_t now_ms = 1000;

	start(&w);
	CHECK(feed_is_ready(w.feed) && feed_cursor_xmax(w.feed) == 724);
	commit_something(&w, now_ms);
	feed_tick(w.feed, now_ms);
	CHECK(w.checkpoints == 2);
	return_nonce(&w, w.nonce, now_ms + 1);
	CHECK(feed_cursor_xmax(w.feed) == 724);
	feed_checkpoint_answer(w.feed, w.nonce, "726:726:");
	CHECK(feed_cursor_xmax(w.feed) == 726);
	feed_tick(w.feed, now_ms + 6000);
	CHECK(feed_is_ready(w.feed) && feed_missing(w.feed) == NULL);
	feed_free(w.feed);
}

static void
a_nonce_of_somebody_else_moves_nothing(void)
{
	struct world w = {0};

	start(&w);
	return_nonce(&w, w.nonce + 1, 2);
	CHECK(feed_is_ready(w.feed) && feed_cursor_xmax(w.feed) == 724 && w.readies == 1);
	feed_free(w.feed);
}

/* Storage that was rolled back, seen while the stream was live: the ring is empty, and sync.feed_changes cannot say what came after nothing. */
static void
a_slot_that_ends_after_all_was_forgotten_leaves_no_gap_behind(void)
{
	struct world w = {0};

	start(&w);
	feed_forget(w.feed, "the server's storage was rolled back");
	CHECK(!feed_is_ready(w.feed));
	feed_end(w.feed);
	CHECK(w.holds == 0);
	feed_free(w.feed);
}

int
main(void)
{
	a_checkpoint_that_returns_before_its_answer_does_not_stall_the_stream();
	a_nonce_of_somebody_else_moves_nothing();
	a_slot_that_ends_after_all_was_forgotten_leaves_no_gap_behind();
	return CHECK_END();
}

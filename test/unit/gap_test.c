/* gap_test.c - a gap in the stream is bridged once and whole, or everybody pulls: in whatever state the connection breaks, whatever the suspects do. */
/* SPDX-License-Identifier: PostgreSQL */
#include <inttypes.h>

#include "check.h"
#include "feed.h"
#include "gap.h"
#include "ring.h"

#define NOTE "{\"id\":9,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"note\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null," \
	"\"priority\":2,\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"}]}"
#define TABLES(list) "{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"1\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"}," \
	"\"registry\":[],\"tables\":[" list "]}"
#define UPDATE(id, version) "\"change\":{\"operation\":\"update\",\"entity_type\":\"note\",\"entity_id\":\"" id "\",\"data\":{\"id\":" id "},\"server_version\":" version "}}"
#define DELETE(id, version) "\"change\":{\"operation\":\"delete\",\"entity_type\":\"note\",\"entity_id\":\"" id "\",\"server_version\":" version ",\"reason\":\"deleted\"}}"
#define ROW(xid, id, version) "{\"table\":9,\"xid\":\"" xid "\"," UPDATE(id, version)
#define GRAVE(xid, id, version) "{\"table\":9,\"xid\":\"" xid "\"," DELETE(id, version)

/* What the feed asked of the world, and what it told. */
struct world
{
	struct feed *feed;
	int64_t now_ms;
	int64_t nonce;
	int		checkpoints;
	int		questions;
	char	from[64];
	int		holds;
	int		downs;
	int		readies;
	int		released;
	char	replayed[512];		/* entity ids in the order a session gets them */
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
ask_changes(void *owner, const char *from)
{
	struct world *w = owner;

	w->questions++;
	snprintf(w->from, sizeof(w->from), "%s", from);
}

static void
hold_all(void *owner)
{
	((struct world *) owner)->holds++;
}

static void
ready(void *owner)
{
	((struct world *) owner)->readies++;
}

static void
down(void *owner, const char *reason)
{
	(void) reason;
	((struct world *) owner)->downs++;
}

static void
start(void *owner)
{
	(void) owner;
}

static void
pause_lines(void *owner, bool is_paused)
{
	(void) owner;
	(void) is_paused;
}

static void
restart(void *owner, const char *reason)
{
	(void) owner;
	(void) reason;
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
	(void) t;
	((struct world *) owner)->released++;
}

static void
message(void *owner, struct json_value m)
{
	(void) owner;
	(void) m;
}

static void
line(struct world *w, const char *text)
{
	feed_data(w->feed, text, strlen(text), 0x1539CE0, w->now_ms);
}

static void
checkpoint_returns(struct world *w, int64_t nonce)
{
	char	text[256];

	snprintf(text, sizeof(text), "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":false,\"prefix\":\"sync\",\"content\":\"%" PRId64 "\"}", nonce);
	line(w, text);
}

/* The one asked for last. */
static void
checkpoint(struct world *w, const char *snapshot)
{
	int64_t nonce = w->nonce;

	feed_checkpoint_answer(w->feed, nonce, snapshot);
	checkpoint_returns(w, nonce);
}

/* A transaction of this id writes the row of this id. */
static void
commits(struct world *w, int xid, int id)
{
	char	text[512];

	snprintf(text, sizeof(text), "{\"action\":\"B\",\"xid\":%d,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}", xid);
	line(w, text);
	snprintf(text, sizeof(text), "{\"action\":\"U\",\"xid\":%d,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"schema\":\"public\",\"table\":\"note\",\"columns\":["
			 "{\"name\":\"id\",\"value\":%d},{\"name\":\"sync_version\",\"value\":3},{\"name\":\"sync_xid\",\"value\":\"%d\"},"
			 "{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42.65+00\"},{\"name\":\"sync_by\",\"value\":null}],\"identity\":[{\"name\":\"id\",\"value\":%d}]}", xid, id, xid, id);
	line(w, text);
	snprintf(text, sizeof(text), "{\"action\":\"C\",\"xid\":%d,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}", xid);
	line(w, text);
}

static void
tick(struct world *w, int64_t ms)
{
	w->now_ms += ms;
	feed_tick(w->feed, w->now_ms);
}

static void
slot_made(struct world *w, const char *snapshot)
{
	feed_begin(w->feed, "7", 1, w->now_ms);
	feed_tables_answer(w->feed, TABLES(NOTE), "700:700:");
	feed_checkpoint_answer(w->feed, w->nonce, snapshot);
}

/* A stream that has been ready up to this snapshot. */
static void
begin(struct world *w, const char *snapshot)
{
	static const struct feed_calls calls = {
		.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .ask_changes = ask_changes, .start = start, .pause = pause_lines, .restart = restart,
		.wake = wake, .released = released, .ready = ready, .down = down, .hold = hold_all, .message = message,
	};

	*w = (struct world){.now_ms = 1000};
	w->feed = feed_new(1 << 20, PLUGIN_WAL2JSON, &calls, w);
	slot_made(w, snapshot);
	checkpoint_returns(w, w->nonce);
	CHECK(feed_is_ready(w->feed) && w->readies == 1 && w->holds == 0);
}

static void
take(void *owner, struct transaction *t)
{
	struct world *w = owner;

	for (size_t i = 0; i < t->count; i++)
	{
		size_t	len = strlen(w->replayed);

		snprintf(w->replayed + len, sizeof(w->replayed) - len, "%s%s%s", len > 0 ? " " : "", t->changes[i].kind == CHANGE_TOMBSTONE ? "-" : "", t->changes[i].entity_id);
	}
}

/* What a session that has everything up to this snapshot would get; "pull" if it cannot. */
static const char *
replay(struct world *w, const char *snapshot)
{
	struct snapshot s;

	w->replayed[0] = '\0';
	if (!CHECK(snapshot_parse(&s, snapshot, strlen(snapshot))))
		return "";
	if (feed_handoff(w->feed, &s, NULL) == HANDOFF_OK)
		feed_replay(w->feed, &s, take, w);
	else
		snprintf(w->replayed, sizeof(w->replayed), "pull");
	snapshot_free(&s);
	return w->replayed;
}

static void
answer(struct world *w, const char *snapshot, const char *changes)
{
	char	json[2048];

	snprintf(json, sizeof(json), "{\"snapshot\":\"%s\",\"committed\":[],\"changes\":[%s]}", snapshot, changes);
	feed_changes_answer(w->feed, json);
}

static void
a_gap_is_bridged_from_the_last_checkpoint(void)
{
	struct world w;

	begin(&w, "700:700:");
	commits(&w, 700, 1);
	tick(&w, 300);
	checkpoint(&w, "701:701:");
	commits(&w, 701, 2);
	feed_end(w.feed);
	CHECK(w.holds == 1 && w.downs == 0 && !feed_is_ready(w.feed) && feed_cursor(w.feed) != NULL);
	CHECK_TEXT(replay(&w, "701:701:"), "pull");
	slot_made(&w, "705:705:");
	CHECK(w.questions == 0);
	checkpoint_returns(&w, w.nonce);
	CHECK(w.questions == 1 && w.readies == 1);
	CHECK_TEXT(w.from, "701:701:");
	answer(&w, "706:706:", GRAVE("703", "4", "2") "," ROW("702", "2", "5") "," ROW("704", "3", "1"));
	CHECK(w.readies == 1);
	checkpoint(&w, "706:706:");
	CHECK(w.readies == 2 && w.downs == 0 && w.released == 2 && feed_is_ready(w.feed) && feed_cursor_xmax(w.feed) == 706);
	CHECK_TEXT(replay(&w, "701:701:"), "-4 2 3");
	CHECK_TEXT(replay(&w, "700:700:"), "1 -4 2 3");
	CHECK_TEXT(replay(&w, "706:706:"), "");
	feed_free(w.feed);
}

/* What the unit shows already is not sent again behind it; what it does not show yet comes behind it, though it was decoded before. */
static void
the_unit_stands_where_it_belongs(void)
{
	struct world w;

	begin(&w, "700:700:");
	commits(&w, 701, 2);		/* decoded, and not visible for a long time: its commit waits for a standby */
	commits(&w, 700, 1);
	feed_end(w.feed);
	slot_made(&w, "701:703:701");
	commits(&w, 703, 5);
	commits(&w, 704, 6);
	checkpoint_returns(&w, w.nonce);
	answer(&w, "701:704:701", ROW("700", "1", "4") "," ROW("702", "3", "1") "," ROW("703", "5", "3"));
	CHECK(w.released == 2);
	checkpoint(&w, "701:705:701");
	CHECK_TEXT(replay(&w, "700:700:"), "1 3 5 2 6");
	CHECK(w.released == 2);
	feed_free(w.feed);
}

static void
it_breaks_again_in_every_state(void)
{
	struct world w;

	for (int broken = 0; broken < 5; broken++)
	{
		begin(&w, "700:700:");
		feed_end(w.feed);
		if (broken > 0)
			feed_begin(w.feed, "7", 1, w.now_ms);
		if (broken > 1)
			feed_tables_answer(w.feed, TABLES(NOTE), "700:700:");
		if (broken > 2)
			feed_checkpoint_answer(w.feed, w.nonce, "701:701:");
		if (broken > 3)
		{
			checkpoint_returns(&w, w.nonce);
			commits(&w, 702, 7);
		}
		feed_end(w.feed);
		if (broken == 1)
			feed_tables_answer(w.feed, TABLES(NOTE), "700:700:");		/* too late: of the slot before */
		if (broken > 3)
			answer(&w, "702:702:", ROW("701", "8", "1"));
		slot_made(&w, "704:704:");
		checkpoint_returns(&w, w.nonce);
		answer(&w, "704:704:", ROW("702", "7", "3") "," ROW("703", "9", "1"));
		checkpoint(&w, "704:704:");
		CHECK(w.holds == 1 && w.downs == 0 && w.readies == 2 && feed_is_ready(w.feed));
		CHECK_TEXT(w.from, "700:700:");
		CHECK_TEXT(replay(&w, "700:700:"), "7 9");
		feed_free(w.feed);
	}
}

static void
what_cannot_be_bridged_is_told(void)
{
	struct world w;

	begin(&w, "700:700:");
	feed_end(w.feed);
	slot_made(&w, "702:702:");
	checkpoint_returns(&w, w.nonce);
	feed_changes_answer(w.feed, "{\"snapshot\":\"703:703:\",\"committed\":[],\"obstacle\":\"too much has changed\"}");
	CHECK(w.holds == 1 && w.downs == 1 && w.readies == 2 && feed_is_ready(w.feed));
	CHECK_TEXT(replay(&w, "700:700:"), "pull");
	CHECK_TEXT(replay(&w, "702:702:"), "");
	feed_free(w.feed);

	begin(&w, "700:700:");
	feed_end(w.feed);
	feed_begin(w.feed, "7", 1, w.now_ms);
	feed_tables_answer(w.feed, TABLES(""), "700:700:");
	CHECK(w.downs == 1);
	checkpoint(&w, "702:702:");
	CHECK(w.questions == 0 && w.readies == 2);
	CHECK_TEXT(replay(&w, "700:700:"), "pull");
	feed_free(w.feed);

	begin(&w, "700:700:");
	feed_end(w.feed);
	feed_begin(w.feed, "7", 2, w.now_ms);
	CHECK(w.downs == 1);
	feed_end(w.feed);
	feed_tables_answer(w.feed, TABLES(NOTE), "700:700:");
	slot_made(&w, "702:702:");
	checkpoint_returns(&w, w.nonce);
	CHECK(w.questions == 0 && w.readies == 2);
	feed_free(w.feed);
}

static void
a_gap_that_stays_open_too_long_is_told(void)
{
	struct world w;

	for (int state = 0; state < 3; state++)
	{
		begin(&w, "700:700:");
		feed_end(w.feed);
		if (state > 0)
			slot_made(&w, "702:702:");
		if (state > 1)
			checkpoint_returns(&w, w.nonce);
		tick(&w, 2900);
		CHECK(w.downs == 0);
		tick(&w, 200);
		CHECK(w.downs == 1 && w.readies == (state > 1 ? 2 : 1));
		if (state == 0)
			slot_made(&w, "702:702:");
		if (state < 2)
			checkpoint_returns(&w, w.nonce);
		else
			answer(&w, "703:703:", ROW("701", "1", "1"));		/* too late */
		CHECK(w.readies == 2 && feed_is_ready(w.feed));
		CHECK_TEXT(replay(&w, "700:700:"), "pull");
		CHECK_TEXT(replay(&w, "702:702:"), "");
		feed_free(w.feed);
	}
}

static void
a_question_that_failed_is_asked_again(void)
{
	struct world w;

	begin(&w, "700:700:");
	feed_end(w.feed);
	slot_made(&w, "701:701:");
	checkpoint_returns(&w, w.nonce);
	feed_changes_answer(w.feed, NULL);
	CHECK(w.questions == 1);
	feed_wake(w.feed);
	CHECK(w.questions == 2);
	feed_wake(w.feed);
	CHECK(w.questions == 2);
	answer(&w, "701:701:", "");
	checkpoint(&w, "701:701:");
	CHECK(feed_is_ready(w.feed) && w.downs == 0);
	feed_free(w.feed);
}

/* 701 ran when the new slot was made. Without the suspects the loss would go unnoticed: it is never decoded. */
static void
a_suspect_that_ends_while_the_gap_is_bridged_is_waited_for(void)
{
	struct world w;

	begin(&w, "700:700:");
	feed_end(w.feed);
	slot_made(&w, "701:703:701");
	checkpoint_returns(&w, w.nonce);
	answer(&w, "701:703:701", ROW("702", "2", "1"));
	checkpoint(&w, "703:703:");
	CHECK(w.questions == 2 && w.readies == 1);
	CHECK_TEXT(w.from, "700:700:");
	answer(&w, "703:703:", ROW("701", "1", "1") "," ROW("702", "2", "1"));
	checkpoint(&w, "703:703:");
	CHECK(w.readies == 2 && w.downs == 0);
	CHECK_TEXT(replay(&w, "700:700:"), "1 2");
	feed_free(w.feed);
}

static void
a_late_suspect_that_aborted_disturbs_nobody(void)
{
	struct world w;

	begin(&w, "701:703:701");
	tick(&w, 10000);
	checkpoint(&w, "703:703:");
	CHECK(w.questions == 1 && w.holds == 0 && feed_cursor_xmax(w.feed) == 703 && feed_is_ready(w.feed));
	CHECK_TEXT(w.from, "701:703:701");
	feed_changes_answer(w.feed, "{\"snapshot\":\"703:703:\",\"committed\":[],\"changes\":[]}");
	CHECK(w.holds == 0 && w.downs == 0 && feed_is_ready(w.feed));
	tick(&w, 300);
	checkpoint(&w, "704:704:");
	CHECK(feed_cursor_xmax(w.feed) == 704 && w.questions == 1);
	feed_free(w.feed);
}

static void
a_late_suspect_that_committed_undecoded_is_bridged(void)
{
	struct world w;
	const char *before;

	begin(&w, "701:703:701");
	commits(&w, 703, 3);
	tick(&w, 10000);
	before = feed_cursor(w.feed)->text;
	checkpoint(&w, "704:704:");
	CHECK(w.questions == 1 && strcmp(feed_cursor(w.feed)->text, before) == 0);
	feed_changes_answer(w.feed, "{\"snapshot\":\"704:704:\",\"committed\":[\"701\"],\"changes\":[" ROW("701", "1", "1") "," ROW("703", "3", "3") "]}");
	CHECK(w.holds == 1 && w.downs == 0);
	checkpoint(&w, "704:704:");
	CHECK(feed_is_ready(w.feed) && w.readies == 2 && feed_cursor_xmax(w.feed) == 704);
	CHECK_TEXT(replay(&w, "701:703:701"), "1 3");
	feed_free(w.feed);
}

static void
a_suspect_that_is_decoded_after_all_is_none(void)
{
	struct world w;

	begin(&w, "701:703:701");
	commits(&w, 701, 1);
	tick(&w, 10000);
	checkpoint(&w, "703:703:");
	CHECK(w.questions == 0 && w.holds == 0 && feed_cursor_xmax(w.feed) == 703);
	feed_free(w.feed);
}

static void
the_same_row_twice_is_one(void)
{
	static const char json[] = "{\"snapshot\":\"710:710:\",\"committed\":[\"3\",\"5\"],\"changes\":[" GRAVE("701", "1", "2") "," GRAVE("703", "2", "3") "," ROW("702", "1", "3") "]}";
	struct sync_tables *tables = tables_parse(TABLES(NOTE), strlen(TABLES(NOTE)));
	struct gap g;

	if (!CHECK(tables != NULL && gap_read(&g, json, tables)))
		return;
	CHECK(g.unit->count == 2 && g.unit->changes[0].xid == 703 && g.unit->changes[1].xid == 702 && g.unit->xid == 0);
	CHECK(gap_has_committed(&g, 5) && !gap_has_committed(&g, 4) && g.obstacle == NULL);
	gap_free(&g);
	for (size_t len = 0; len + 1 < sizeof(json); len++)
	{
		char	cut[sizeof(json)];

		memcpy(cut, json, len);
		cut[len] = '\0';
		CHECK(!gap_read(&g, cut, tables));
	}
	CHECK(!gap_read(&g, "{\"snapshot\":\"710:710:\",\"committed\":[],\"changes\":[{\"table\":8,\"xid\":\"701\"," UPDATE("1", "1") "]}", tables));
	tables_free(tables);
}

int
main(void)
{
	a_gap_is_bridged_from_the_last_checkpoint();
	the_unit_stands_where_it_belongs();
	it_breaks_again_in_every_state();
	what_cannot_be_bridged_is_told();
	a_gap_that_stays_open_too_long_is_told();
	a_question_that_failed_is_asked_again();
	a_suspect_that_ends_while_the_gap_is_bridged_is_waited_for();
	a_late_suspect_that_aborted_disturbs_nobody();
	a_late_suspect_that_committed_undecoded_is_bridged();
	a_suspect_that_is_decoded_after_all_is_none();
	the_same_row_twice_is_one();
	return CHECK_END();
}

/* feed_fuzz.c - any records and answers in any order, with slots lost on the way: what is released is whole, sealed and told once in each slot's life; nothing waits without somebody who was asked. */
/* SPDX-License-Identifier: PostgreSQL */
#include <inttypes.h>

#include "feed.h"
#include "fuzz.h"
#include "quiet.h"

#define RING_SIZE (64 << 10)
#define ASKED_MAX 64

static const char feed_tables_text[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[[\"sync\",\"instance\"]],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"},{\"name\":\"s\",\"kind\":\"s\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"}]}]}";

#define STAMP ",{\"name\":\"sync_version\",\"value\":1},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42+00\"}," \
	"{\"name\":\"sync_by\",\"value\":null},{\"name\":\"sync_clock\",\"value\":null}]"
#define HEAD(action, schema, table) "{\"action\":\"" action "\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539B58\",\"schema\":\"" schema "\",\"table\":\"" table "\""

static const char *const lines[] = {
	"{\"action\":\"B\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}",
	HEAD("I", "public", "t") ",\"columns\":[{\"name\":\"n\",\"value\":1},{\"name\":\"s\",\"value\":\"4\"}" STAMP "}",
	HEAD("U", "public", "t") ",\"columns\":[{\"name\":\"n\",\"value\":1}" STAMP ",\"identity\":[{\"name\":\"n\",\"value\":1}]}",		/* s is not told: it is read again */
	HEAD("D", "public", "u") ",\"identity\":[{\"name\":\"n\",\"value\":2}]}",
	HEAD("I", "sync", "tombstone") ",\"columns\":[{\"name\":\"table_id\",\"value\":1},{\"name\":\"entity_id\",\"value\":\"1\"},{\"name\":\"scope_value\",\"value\":\"4\"},{\"name\":\"old_values\",\"value\":null},"
		"{\"name\":\"version\",\"value\":4},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"reason\",\"value\":\"deleted\"},{\"name\":\"at\",\"value\":\"2026-11-21 07:51:42+00\"},{\"name\":\"changed_by\",\"value\":null}]}",
	HEAD("I", "sync", "instance") ",\"columns\":[{\"name\":\"n\",\"value\":1}]}",
	"{\"action\":\"M\",\"xid\":725,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":true,\"prefix\":\"sync\",\"content\":\"k:{\\\"watch\\\":[\\\"ada\\\"]}\"}",
	"{\"action\":\"C\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}",
};
#define LINES (sizeof(lines) / sizeof(lines[0]))

struct world
{
	struct feed *feed;
	bool	reads_lines;
	bool	is_running;			/* start was called, and the slot is there */
	bool	is_paused;
	int		tables;				/* questions without an answer yet */
	int		rows;
	int		changes;
	int64_t nonces[ASKED_MAX];
	size_t	nonce_count;
	bool	must_restart;
	bool	must_forget;
	uint64_t xmax;				/* of the next canned snapshot */
	int64_t now_ms;
	bool	is_held;
};

static void
ask_tables(void *owner)
{
	((struct world *) owner)->tables++;
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	struct world *w = owner;

	if (w->nonce_count == ASKED_MAX)
		memmove(w->nonces, w->nonces + 1, --w->nonce_count * sizeof(*w->nonces));
	w->nonces[w->nonce_count++] = nonce;
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	struct world *w = owner;

	REQUIRE(count > 0 && tables_by_id(feed_tables(w->feed), table_id) != NULL);
	for (size_t i = 0; i < count; i++)
		REQUIRE(text_is_utf8(keys[i], strlen(keys[i])));
	w->rows++;
}

static void
ask_changes(void *owner, const char *from_snapshot)
{
	struct world *w = owner;
	struct snapshot s;

	REQUIRE(snapshot_parse(&s, from_snapshot, strlen(from_snapshot)));
	snapshot_free(&s);
	w->changes++;
}

static void
start(void *owner)
{
	((struct world *) owner)->is_running = true;
}

static void
pause_slot(void *owner, bool is_paused)
{
	((struct world *) owner)->is_paused = is_paused;
}

static void
restart(void *owner, const char *reason)
{
	REQUIRE(reason[0] != '\0');
	((struct world *) owner)->must_restart = true;
}

static void
wake(void *owner, int64_t delay_ms)
{
	(void) owner;
	REQUIRE(delay_ms >= 0);
}

static void
released(void *owner, struct transaction *t)
{
	struct world *w = owner;

	REQUIRE(t->draft == NULL && !w->is_held);
	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];

		REQUIRE(c->entity_id != NULL && c->route != NULL && c->json != NULL && strlen(c->json) == c->json_len);
		REQUIRE(c->sibling == -1 || (c->sibling >= 0 && (size_t) c->sibling < t->count));
		json_free(require_json(c->json, c->json_len));
	}
}

static void
hold(void *owner)
{
	((struct world *) owner)->is_held = true;
}

static void
ready(void *owner)
{
	struct world *w = owner;

	w->is_held = false;
	REQUIRE(feed_is_ready(w->feed) && feed_cursor(w->feed) != NULL && feed_missing(w->feed) == NULL);
}

static void
down(void *owner, const char *reason)
{
	struct world *w = owner;

	w->is_held = false;
	REQUIRE(!feed_is_ready(w->feed) && reason[0] != '\0');
}

static void
nothing(void *owner)
{
	(void) owner;
}

static void
rolled_back(void *owner)
{
	((struct world *) owner)->must_forget = true;
}

static void
message(void *owner, struct json_value m)
{
	(void) owner;
	REQUIRE(json_type(m) == JSON_OBJECT);
}

static void
take_data(struct world *w, const char *text, size_t len)
{
	if (w->is_running && !w->is_paused && !w->must_restart)
		feed_data(w->feed, text, len, UINT64_C(0x1539CE0), w->now_ms);
}

/* A message in the encoding of the slot's decoder. */
static void
take_record(struct world *w, struct input *in)
{
	char   *text;
	size_t	len;

	if (w->reads_lines)
	{
		text = input_text(in);
		len = strlen(text);
	}
	else
	{
		struct input part = *in;

		len = input_byte(in);
		part.at = in->at;
		part.end = input_left(in) < len ? in->end : in->at + len;
		in->at = part.end;
		text = input_rest(&part, &len);
	}
	take_data(w, text, len);
	free(text);
}

static void
take_line(struct world *w, unsigned which)
{
	char	line[256];
	int		len;

	if (which < LINES)
		take_data(w, lines[which], strlen(lines[which]));
	else if (w->nonce_count > 0)
	{
		len = snprintf(line, sizeof(line), "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":false,\"prefix\":\"sync\",\"content\":\"%" PRId64 "\"}",
					   w->nonces[which % w->nonce_count]);
		take_data(w, line, (size_t) len);
	}
}

/* The canned answer, none, or one from the input; NULL terminated and the caller's. */
static char *
answer(struct input *in, unsigned how, const char *canned)
{
	if (how % 4 == 0)
		return NULL;
	return how % 4 == 1 ? input_text(in) : memory_string(canned);
}

static void
take_answer(struct world *w, struct input *in, unsigned what, unsigned how)
{
	static const char rows[] = "[{\"entity_id\":\"1\",\"xid\":\"725\",\"change\":{\"operation\":\"update\",\"entity_type\":\"t\",\"entity_id\":\"1\",\"data\":{\"n\":1,\"s\":\"4\"},\"server_version\":1}}]";
	static const char changes[] = "{\"snapshot\":\"730:730:\",\"committed\":[],\"changes\":[{\"table\":1,\"xid\":\"725\",\"change\":{\"operation\":\"update\",\"entity_type\":\"t\",\"entity_id\":\"1\",\"data\":{\"n\":1,\"s\":\"4\"},\"scope\":\"4\"}}]}";
	char	snapshot[64];
	char   *json;
	char   *given;

	w->xmax += how / 4;
	snprintf(snapshot, sizeof(snapshot), "%" PRIu64 ":%" PRIu64 ":", w->xmax, w->xmax);
	if (what == 0 && w->tables > 0)
	{
		w->tables--;
		json = answer(in, how, feed_tables_text);
		feed_tables_answer(w->feed, json, json != NULL ? snapshot : NULL);
		free(json);
	}
	else if (what == 1 && w->nonce_count > 0)
	{
		given = answer(in, how, snapshot);
		feed_checkpoint_answer(w->feed, w->nonces[how / 4 % w->nonce_count], given);
		free(given);
	}
	else if (what == 2 && w->rows > 0)
	{
		w->rows--;
		json = answer(in, how, rows);
		feed_rows_answer(w->feed, json, json != NULL ? snapshot : NULL);
		free(json);
	}
	else if (what == 3 && w->changes > 0)
	{
		w->changes--;
		json = answer(in, how, changes);
		feed_changes_answer(w->feed, json);
		free(json);
	}
}

static void
slot(struct world *w, unsigned how)
{
	if (how % 4 == 0)
		feed_begin(w->feed, "7", 1, w->now_ms);
	else if (how % 4 == 1)
		feed_begin(w->feed, "7", 2, w->now_ms);
	else if (how % 4 == 2)
		feed_forget(w->feed, "the test says so");
	if (how % 4 >= 2)
		feed_end(w->feed);
	w->is_running = w->is_paused = false;
}

/* As the streamer does once the call is over: another slot, or nothing of what was kept. */
static void
after(struct world *w)
{
	if (w->must_forget)
		feed_forget(w->feed, "the server's storage was rolled back");
	if (w->must_forget || w->must_restart)
	{
		w->is_running = w->is_paused = false;
		feed_end(w->feed);
	}
	w->must_forget = w->must_restart = false;
}

static void
see(void *owner, struct transaction *t)
{
	REQUIRE(!transaction_is_seen(t, owner));
}

static void
replay(struct world *w)
{
	struct snapshot s = {0};
	char	text[64];

	snprintf(text, sizeof(text), "700:%" PRIu64 ":", w->xmax > 700 ? w->xmax : 700);
	if (!snapshot_parse(&s, text, strlen(text)))
		return;
	if (feed_handoff(w->feed, &s, "ada") == HANDOFF_OK)
		feed_replay(w->feed, &s, see, &s);
	snapshot_free(&s);
}

/* The first byte chooses the decoder. Then commands: what in the low three bits, how in the others. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct feed_calls calls = {.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .ask_changes = ask_changes, .start = start, .pause = pause_slot,
		.restart = restart, .wake = wake, .released = released, .hold = hold, .ready = ready, .down = down, .renewed = nothing, .rolled_back = rolled_back, .message = message};
	struct input in = input_of(data, size);
	struct world w = {.now_ms = 1, .xmax = 720};

	chances = 0;
	w.reads_lines = (input_byte(&in) & 1) == 0;
	w.feed = feed_new(RING_SIZE, w.reads_lines ? PLUGIN_WAL2JSON : PLUGIN_PGOUTPUT, &calls, &w);
	feed_begin(w.feed, "7", 1, w.now_ms);
	while (input_left(&in) > 0)
	{
		unsigned what = input_byte(&in);
		unsigned how = what >> 3;

		switch (what & 7)
		{
			case 0:
				take_record(&w, &in);
				break;
			case 1:
				take_line(&w, how);
				break;
			case 2: case 3: case 4: case 5:
				take_answer(&w, &in, (what & 7) - 2, how);
				break;
			case 6:
				w.now_ms += (int64_t) how * 100;
				feed_tick(w.feed, w.now_ms);
				feed_wake(w.feed);
				replay(&w);
				break;
			default:
				slot(&w, how);
		}
		after(&w);
		feed_gauges(w.feed, w.now_ms);
		REQUIRE(feed_is_ready(w.feed) == (feed_missing(w.feed) == NULL));
	}
	feed_free(w.feed);
	return 0;
}

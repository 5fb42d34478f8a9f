/* channel_world.h - what surrounds the clients of channel_fuzz.c: time, the stream, the database's questions that wait for an answer, and what is looked at in what goes out. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FUZZ_CHANNEL_WORLD_H
#define SYNC_FUZZ_CHANNEL_WORLD_H

#include "auth.h"
#include "connection.h"
#include "departed.h"
#include "fuzz.h"
#include "hub.h"
#include "quiet.h"
#include "rooms.h"
#include "stream.h"

#define CLIENTS 2
#define QUESTIONS_MAX 64
#define UNIX_BEGIN 1000
#define BEHIND "7"				/* the server's system_id */

/* Rows of ada's team and of ben's. */
#define STAMP(version) "{\"name\":\"sync_version\",\"value\":" version "},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42+00\"}," \
	"{\"name\":\"sync_by\",\"value\":null},{\"name\":\"sync_clock\",\"value\":null}]"
#define HEAD(action, schema, table) "{\"action\":\"" action "\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539B58\",\"schema\":\"" schema "\",\"table\":\"" table "\""
#define NOTE(id, team, body) "[{\"name\":\"n\",\"value\":" id "},{\"name\":\"s\",\"value\":\"" team "\"},{\"name\":\"b\",\"value\":\"" body "\"},"
#define GRAVE(table, id, team, old) HEAD("I", "sync", "tombstone") ",\"columns\":[{\"name\":\"table_id\",\"value\":" table "},{\"name\":\"entity_id\",\"value\":\"" id "\"},{\"name\":\"scope_value\",\"value\":" team "}," \
	"{\"name\":\"old_values\",\"value\":" old "},{\"name\":\"version\",\"value\":4},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"reason\",\"value\":\"deleted\"},{\"name\":\"at\",\"value\":\"2026-11-21 07:51:42+00\"},{\"name\":\"changed_by\",\"value\":null}]}"
#define SAYS(json) "{\"action\":\"M\",\"xid\":725,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":true,\"prefix\":\"sync\",\"content\":\"k:" json "\"}"

static const char feed_tables_text[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[[\"sync\",\"instance\"]],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\",\"type\":\"int4\",\"base\":\"int4\"},{\"name\":\"s\",\"kind\":\"s\",\"type\":\"text\",\"base\":\"text\"},{\"name\":\"b\",\"kind\":\"s\",\"type\":\"text\",\"base\":\"text\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\",\"type\":\"int8\",\"base\":\"int8\"}]}]}";

static const char *const wal_lines[] = {
	"{\"action\":\"B\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}",
	"{\"action\":\"C\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42+00\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}",
	HEAD("I", "public", "t") ",\"columns\":" NOTE("1", "4", "only-ada") STAMP("1") "}",
	HEAD("I", "public", "t") ",\"columns\":" NOTE("2", "5", "only-ben") STAMP("1") "}",
	HEAD("U", "public", "t") ",\"columns\":" NOTE("1", "4", "only-ada2") STAMP("2") ",\"identity\":" NOTE("1", "4", "only-ada") STAMP("1") "}",
	HEAD("U", "public", "t") ",\"columns\":" NOTE("2", "5", "only-ben2") STAMP("2") ",\"identity\":[{\"name\":\"n\",\"value\":2}]}",
	HEAD("U", "public", "t") ",\"columns\":" NOTE("1", "5", "only-ben3") STAMP("3") ",\"identity\":" NOTE("1", "4", "only-ada2") STAMP("2") "}",
	GRAVE("1", "1", "\"4\"", "null"),
	HEAD("D", "public", "t") ",\"identity\":" NOTE("1", "5", "only-ben3") STAMP("3") "}",
	HEAD("I", "public", "u") ",\"columns\":[{\"name\":\"n\",\"value\":1}," STAMP("1") "}",
	HEAD("U", "public", "u") ",\"columns\":[{\"name\":\"n\",\"value\":1}," STAMP("2") ",\"identity\":[{\"name\":\"n\",\"value\":1}]}",
	GRAVE("2", "1", "null", "\"{\\\"n\\\":\\\"1\\\"}\""),
	HEAD("I", "sync", "instance") ",\"columns\":[{\"name\":\"n\",\"value\":1}]}",
	SAYS("{\\\"t\\\":\\\"watch\\\",\\\"users\\\":[\\\"ada\\\"]}"),
	SAYS("{\\\"t\\\":\\\"broadcast\\\",\\\"topic\\\":\\\"r\\\",\\\"event\\\":\\\"e\\\",\\\"payload\\\":{\\\"a\\\":1},\\\"private\\\":true}"),
	SAYS("{\\\"t\\\":\\\"watch\\\"}"),
};

struct client
{
	struct connection *connection;	/* NULL: away */
	enum message_format format;
	int		subjects;			/* whose tokens it has shown: 1 ada's, 2 ben's */
	bool	is_closing;
};

/* Asked of the database, by a client or, with no `done`, by the judge. */
struct question
{
	enum request_kind kind;
	char   *json;				/* owned */
	bool	is_ben;				/* asked as ben */
	request_done done;
	void   *owner;
	uint64_t id;
};

struct world
{
	struct options options;
	struct auth auth;
	struct feed *feed;
	struct hub *hub;
	struct rooms *rooms;
	struct connections *connections;
	struct admission *admission;
	struct departed departed;
	struct client clients[CLIENTS];
	struct stream *stream;
	int		stream_subjects;
	bool	is_stream_closing;
	struct question questions[QUESTIONS_MAX];
	size_t	question_count;
	int		tables;				/* the feed's questions without an answer */
	int		rows;
	int		changes;
	int64_t nonce;
	bool	is_running;			/* the slot */
	bool	is_paused;
	bool	must_restart;
	bool	must_forget;
	bool	is_judged;			/* no canned answer was replaced: rows of ada's are hers alone */
	uint64_t xmax;
	int64_t now_ms;
};

static int subjects_shown;		/* by the call that is under way */

/* In place of the real one: letters, then digits: good for so many tens of seconds. */
const char *
auth_verify(const struct auth *a, struct token *identity, const char *text, size_t len, int64_t unix_now)
{
	size_t	letters = strspn(text, "abcdefghijklmnopqrstuvwxyz");
	size_t	digits = strspn(text + letters, "0123456789");
	int64_t until = digits > 0 ? UNIX_BEGIN + 10 * (text[letters] - '0') : UNIX_BEGIN + 100000;
	struct buffer claims;

	(void) a;
	if (letters == 0 || letters + digits != len || until <= unix_now)
		return letters == 0 ? "malformed token" : "token has expired";
	buffer_init(&claims);
	buffer_printf(&claims, "{\"sub\":\"%.*s\",\"role\":\"app\",\"exp\":%" PRId64 "}", (int) letters, text, until);
	*identity = (struct token) {.claims = memory_text(claims.data, claims.len), .subject = memory_text(text, letters), .role = memory_string("app"), .expires_at = until};
	buffer_free(&claims);
	subjects_shown |= strcmp(identity->subject, "ada") == 0 ? 1 : strcmp(identity->subject, "ben") == 0 ? 2 : 0;
	return NULL;
}

/* ---- what is asked -------------------------------------------------------------------------------------------------- */

static void
ask(struct world *w, struct question q)
{
	if (w->question_count == QUESTIONS_MAX)
	{
		free(q.json);
		return;					/* never answered */
	}
	w->questions[w->question_count++] = q;
}

static void
submit(void *owner, const struct request *r, request_done done, void *done_owner, uint64_t id)
{
	if (r->kind != REQUEST_TOPIC)
		json_free(require_json(r->json, strlen(r->json)));
	ask(owner, (struct question) {.kind = r->kind, .json = memory_string(r->json), .is_ben = strstr(r->claims, "\"ben\"") != NULL, .done = done, .owner = done_owner, .id = id});
}

static void
ask_visible(void *owner, uint64_t id, const char *json)
{
	json_free(require_json(json, strlen(json)));
	ask(owner, (struct question) {.kind = REQUEST_VISIBLE, .json = memory_string(json), .id = id});
}

static void
ask_tables(void *owner)
{
	((struct world *) owner)->tables++;
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	((struct world *) owner)->nonce = nonce;
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	(void) table_id;
	(void) keys;
	(void) count;
	((struct world *) owner)->rows++;
}

static void
ask_changes(void *owner, const char *from_snapshot)
{
	(void) from_snapshot;
	((struct world *) owner)->changes++;
}

static void
start_slot(void *owner)
{
	((struct world *) owner)->is_running = true;
}

static void
pause_slot(void *owner, bool is_paused)
{
	((struct world *) owner)->is_paused = is_paused;
}

static void
restart_slot(void *owner, const char *reason)
{
	(void) reason;
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

	hub_released(w->hub, t, w->now_ms);
}

static void
hold_all(void *owner)
{
	struct world *w = owner;

	hub_hold(w->hub, w->now_ms);
}

static void
feed_ready(void *owner)
{
	struct world *w = owner;

	hub_ready(w->hub, w->now_ms);
	rooms_hear(w->rooms, true, w->now_ms);
}

static void
feed_down(void *owner, const char *reason)
{
	struct world *w = owner;

	(void) reason;
	hub_down(w->hub, w->now_ms);
}

static void
renewed(void *owner)
{
	struct world *w = owner;

	hub_renewed(w->hub, w->now_ms);
}

static void
rolled_back(void *owner)
{
	((struct world *) owner)->must_forget = true;
}

static void
take_message(void *owner, struct json_value message)
{
	struct world *w = owner;

	rooms_message(w->rooms, message, w->now_ms);
}

static void
relay(void *owner, const char *json)
{
	(void) owner;
	json_free(require_json(json, strlen(json)));
}

/* ---- what goes out -------------------------------------------------------------------------------------------------- */

/* Nobody gets the rows of a team that none of their tokens is in. */
static void
look_at_rows(const struct world *w, int subjects, const char *text, size_t len)
{
	REQUIRE(!w->is_judged || (subjects & 1) != 0 || memmem(text, len, "only-ada", 8) == NULL);
	REQUIRE(!w->is_judged || (subjects & 2) != 0 || memmem(text, len, "only-ben", 8) == NULL);
}

static void
look_at_frame(const struct world *w, const struct client *c, const struct frame *f)
{
	size_t	len;
	const char *text = frame_payload(f, &len);
	struct json *doc;

	if (frame_is_ping(f))
		return;
	look_at_rows(w, c->subjects, text, len);
	if ((f->bytes[0] & 15) != 1)
		return;
	doc = require_json(text, len);
	if (doc != NULL && c->format == MESSAGE_OBJECTS)
		REQUIRE(json_type(json_member(json_root(doc), "topic")) == JSON_STRING && json_type(json_member(json_root(doc), "payload")) == JSON_OBJECT);
	else if (doc != NULL)
		REQUIRE(json_type(json_root(doc)) == JSON_ARRAY && json_size(json_root(doc)) == 5);
	json_free(doc);
}

static void
world_drain(struct world *w, struct client *c)
{
	struct outgoing out;
	bool	has_more = c->connection != NULL && !c->is_closing;

	for (int i = 0; has_more && i < 100; i++)
	{
		has_more = connection_take(c->connection, &out, w->now_ms);
		for (size_t k = 0; k < out.count; k++)
			look_at_frame(w, c, out.frames[k]);
		outgoing_release(&out);
	}
}

static void
close_socket(void *socket, int code, const char *reason)
{
	REQUIRE(code >= 1000 && code < 5000 && strlen(reason) <= 123);
	((struct client *) socket)->is_closing = true;
}

static void
writable(void *socket)
{
	(void) socket;
}

static void
stream_close(void *socket, int code, const char *reason)
{
	(void) code;
	(void) reason;
	((struct world *) socket)->is_stream_closing = true;
}

static void
device(void *owner, const char *user, const char *name, bool is_here)
{
	struct world *w = owner;

	if (is_here)
		departed_join(&w->departed, user, name);
	else
		departed_leave(&w->departed, user, name, w->now_ms);
}

static void
take_departed(struct world *w)
{
	struct buffer json;

	buffer_init(&json);
	if (departed_are_due(&w->departed, w->now_ms) && departed_take(&w->departed, w->now_ms, 3, &json) > 0)
		require_json_text(&json);
	buffer_free(&json);
}

/* ---- what clients do ------------------------------------------------------------------------------------------------ */

static void
world_close(struct client *c)
{
	if (c->connection != NULL)
		connection_free(c->connection);
	*c = (struct client) {0};
}

static void
world_open(struct world *w, struct client *c, enum message_format format, const char *token)
{
	struct handshake h = {.bearer = token, .format = format == MESSAGE_EVENTS ? MESSAGE_ARRAYS : format};

	world_close(c);
	subjects_shown = 0;
	c->format = h.format;
	c->connection = connection_new(w->connections, c, &h, w->now_ms, UNIX_BEGIN + w->now_ms / 1000);
	c->subjects = subjects_shown;
}

static void
world_say(struct world *w, struct client *c, const char *text, size_t len, bool is_binary)
{
	if (c->connection == NULL || c->is_closing || (!is_binary && !text_is_utf8(text, len)))
		return;
	subjects_shown = 0;
	(void) connection_frame_limit(c->connection, text, len, is_binary);
	(void) connection_message(c->connection, text, len, is_binary, w->now_ms, UNIX_BEGIN + w->now_ms / 1000);
	c->subjects |= subjects_shown;
}

static void
drain_stream(struct world *w)
{
	struct buffer out;
	enum stream_state state;

	if (w->stream == NULL)
		return;
	if (w->is_stream_closing)
		stream_end(w->stream);
	buffer_init(&out);
	state = stream_take(w->stream, &out, 4096, w->now_ms);
	if (out.len > 0)
		look_at_rows(w, w->stream_subjects, out.data, out.len);
	buffer_free(&out);
	if (state == STREAM_REFUSED)
		json_free(require_json(stream_refusal(w->stream), strlen(stream_refusal(w->stream))));
	if (state == STREAM_OVER || state == STREAM_REFUSED)
	{
		stream_free(w->stream);
		w->stream = NULL;
	}
}

/* A stream that joins with any object, read from, or gone. */
static void
world_stream(struct world *w, struct input *in, unsigned how)
{
	char   *text;
	struct json *doc;

	drain_stream(w);
	if (how >= 8)
	{
		stream_free(w->stream);
		w->stream = NULL;
	}
	if (how % 2 == 0 || w->stream != NULL)
		return;
	text = input_text(in);
	doc = text_is_utf8(text, strlen(text)) ? json_parse(text, strlen(text), 1000) : NULL;
	w->is_stream_closing = false;
	subjects_shown = 0;
	if (json_type(json_root(doc)) == JSON_OBJECT || text[0] == '\0')
		w->stream = stream_new(w->connections, w, how == 3 ? "ben" : "ada", text[0] == '\0' ? "{\"device_id\":\"s\"}" : text, w->now_ms, UNIX_BEGIN + w->now_ms / 1000);
	w->stream_subjects = subjects_shown;
	json_free(doc);
	free(text);
}

/* ---- what the database answers -------------------------------------------------------------------------------------- */

/* What the judge asked about is seen, each row by whoever it asked for. */
static void
put_all_seen(const struct world *w, const char *question, struct buffer *out)
{
	struct json *doc = json_parse(question, strlen(question), 100000);
	const char *separator = "";

	buffer_printf(out, "{\"snapshot\":\"%" PRIu64 ":%" PRIu64 ":\",\"identities\":[", w->xmax, w->xmax);
	for (int i = json_size(json_member(json_root(doc), "identities")); i > 0; i--)
	{
		buffer_printf(out, "%s{\"us\":5,\"tables\":[", separator);
		separator = "";
		for (struct json_value t = json_first(json_member(json_root(doc), "tables")); json_type(t) != JSON_ABSENT; t = json_next(t))
		{
			struct json_value id = json_member(t, "id");

			buffer_printf(out, "%s{\"id\":%.*s,\"seen\":\"", separator, (int) id.len, id.raw);
			for (int k = json_size(json_member(t, "keys")); k > 0; k--)
				buffer_putc(out, '1');
			buffer_puts(out, "\",\"gone\":\"");
			for (int k = json_size(json_member(t, "gone")); k > 0; k--)
				buffer_putc(out, '1');
			buffer_puts(out, "\"}");
			separator = ",";
		}
		buffer_puts(out, "]}");
		separator = ",";
	}
	buffer_puts(out, "]}");
	json_free(doc);
}

static void
put_page(const struct world *w, const struct question *q, struct buffer *out)
{
	struct position p = {.timeline = 1, .lsn = UINT64_C(0x1539CDF), .snapshot = {.xmin = w->xmax, .xmax = w->xmax}};

	buffer_printf(out, "{\"changes\":[{\"operation\":\"update\",\"entity_type\":\"t\",\"entity_id\":\"9\",\"data\":{\"b\":\"%s\"}}],\"has_more\":false,\"next_sync_token\":\"part.", q->is_ben ? "only-ben" : "only-ada");
	position_put(out, &p);
	buffer_puts(out, "\"}");
}

static void
put_answer(const struct world *w, const struct question *q, struct buffer *out)
{
	if (q->kind == REQUEST_VISIBLE)
		put_all_seen(w, q->json, out);
	else if (q->kind == REQUEST_TOPIC)
		buffer_puts(out, "{\"pattern\":\"r\",\"actions\":[\"join\",\"broadcast\",\"presence\"]}");
	else if (q->kind == REQUEST_STATE)
		buffer_printf(out, "{\"tables\":[{\"id\":1},{\"id\":2,\"policies\":true}],\"scopes\":{\"team\":[\"%s\"]}}", q->is_ben ? "5" : "4");
	else if (q->kind == REQUEST_PULL || q->kind == REQUEST_CATCH_UP)
		put_page(w, q, out);
	else
		buffer_puts(out, "{\"processed\":[{\"queue_id\":\"1\",\"status\":\"success\"}]}");
}

/* The question at this place, with the canned answer or the one given. Names of rows in an answer of the fuzzer's would prove nothing. */
static void
world_answer(struct world *w, size_t place, struct answer a, const char *given)
{
	struct question q;
	struct buffer text;
	struct buffer snapshot;
	struct buffer state;

	if (w->question_count == 0)
		return;
	place %= w->question_count;
	q = w->questions[place];
	memmove(&w->questions[place], &w->questions[place + 1], (--w->question_count - place) * sizeof(q));
	buffer_init(&text);
	buffer_init(&snapshot);
	buffer_init(&state);
	put_answer(w, &q, &text);
	buffer_printf(&snapshot, "%" PRIu64 ":%" PRIu64 ":", w->xmax, w->xmax);
	buffer_printf(&state, "{\"tables\":[{\"id\":1},{\"id\":2%s}],\"scopes\":{\"team\":[\"%s\"]}}", w->xmax % 2 == 0 ? ",\"policies\":true" : "", q.is_ben ? "5" : "4");
	if (given != NULL && q.kind != REQUEST_TOPIC)
		w->is_judged = false;
	if (a.status == ANSWER_OK)
	{
		a.json = given != NULL ? given : text.data;
		a.len = strlen(a.json);
		a.state = q.kind == REQUEST_CATCH_UP ? state.data : NULL;
		a.snapshot = q.kind == REQUEST_STATE ? snapshot.data : NULL;
	}
	if (q.done != NULL)
		q.done(q.owner, q.id, &a);
	else
		hub_verdicts(w->hub, q.id, &a, w->now_ms);
	free(q.json);
	buffer_free(&text);
	buffer_free(&snapshot);
	buffer_free(&state);
}

/* Of the streamer's own questions: what in the low two bits; canned, failed or given. */
static void
world_upkeep(struct world *w, struct input *in, unsigned how)
{
	static const char rows[] = "[{\"entity_id\":\"1\",\"xid\":\"725\",\"change\":{\"operation\":\"update\",\"entity_type\":\"t\",\"entity_id\":\"1\",\"data\":{\"n\":1,\"s\":\"4\"},\"server_version\":1}}]";
	static const char changes[] = "{\"snapshot\":\"730:730:\",\"committed\":[],\"changes\":[{\"table\":2,\"xid\":\"725\",\"change\":{\"operation\":\"update\",\"entity_type\":\"u\",\"entity_id\":\"1\",\"data\":{\"n\":1}}}]}";
	static const char *const canned[] = {feed_tables_text, NULL, rows, changes};
	char	snapshot[64];
	char   *given = how >= 12 ? input_text(in) : NULL;
	const char *json = given != NULL ? given : how >= 8 ? NULL : canned[how % 4];

	if (given != NULL)
		w->is_judged = false;
	w->xmax += how / 4;
	snprintf(snapshot, sizeof(snapshot), "%" PRIu64 ":%" PRIu64 ":", w->xmax, w->xmax);
	if (how % 4 == 0 && w->tables > 0)
	{
		w->tables--;
		feed_tables_answer(w->feed, json, json != NULL ? snapshot : NULL);
	}
	else if (how % 4 == 1 && w->nonce != 0)
		feed_checkpoint_answer(w->feed, w->nonce, given != NULL ? given : how >= 8 ? NULL : snapshot);
	else if (how % 4 == 2 && w->rows > 0)
	{
		w->rows--;
		feed_rows_answer(w->feed, json, json != NULL ? snapshot : NULL);
	}
	else if (how % 4 == 3 && w->changes > 0)
	{
		w->changes--;
		feed_changes_answer(w->feed, json);
	}
	free(given);
}

static void
data(struct world *w, const char *text, size_t len)
{
	if (w->is_running && !w->is_paused && !w->must_restart)
		feed_data(w->feed, text, len, UINT64_C(0x1539CE0), w->now_ms);
}

/* A canned record; beyond them, the checkpoint comes back. */
static void
world_line(struct world *w, unsigned which)
{
	char	line[256];
	int		len = snprintf(line, sizeof(line), "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":false,\"prefix\":\"sync\",\"content\":\"%" PRId64 "\"}", w->nonce);

	if (which < sizeof(wal_lines) / sizeof(wal_lines[0]))
		data(w, wal_lines[which], strlen(wal_lines[which]));
	if (which == 1 && w->xmax <= 725)
		w->xmax = 726;			/* committed: what is asked from now on shows it */
	if (which >= sizeof(wal_lines) / sizeof(wal_lines[0]))
		data(w, line, (size_t) len);
}

static void
world_wal(struct world *w, struct input *in)
{
	char   *text = input_text(in);

	w->is_judged = false;
	data(w, text, strlen(text));
	free(text);
}

static void
world_slot(struct world *w, unsigned how)
{
	feed_end(w->feed);
	rooms_hear(w->rooms, false, w->now_ms);
	w->is_running = w->is_paused = false;
	if (how % 4 == 1)
	{
		feed_forget(w->feed, "the test says so");
		hub_start_anew(w->hub, how >= 8, w->now_ms);
	}
	if (how % 4 != 2)
		feed_begin(w->feed, BEHIND, how == 15 ? 2 : 1, w->now_ms);
}

/* ---- time ----------------------------------------------------------------------------------------------------------- */

static void
world_turn_end(struct world *w)
{
	if (w->must_forget)
	{
		feed_forget(w->feed, "the server's storage was rolled back");
		hub_start_anew(w->hub, true, w->now_ms);
	}
	if (w->must_forget || w->must_restart)
	{
		w->is_running = w->is_paused = false;
		feed_end(w->feed);
	}
	w->must_forget = w->must_restart = false;
	hub_flush(w->hub);
	connections_clock(w->connections, w->now_ms);
	connections_turn_end(w->connections);
	for (size_t i = 0; i < CLIENTS; i++)
		if (w->clients[i].is_closing)
			world_close(&w->clients[i]);
}

static void
world_pass(struct world *w, int64_t ms)
{
	int64_t unix_now;

	w->now_ms += ms;
	unix_now = UNIX_BEGIN + w->now_ms / 1000;
	feed_tick(w->feed, w->now_ms);
	feed_wake(w->feed);
	hub_tick(w->hub, w->now_ms, unix_now);
	hub_ask(w->hub, w->now_ms);
	rooms_tick(w->rooms, w->now_ms);
	rooms_flush(w->rooms);
	rooms_relayed(w->rooms, true);
	admission_tick(w->admission, w->now_ms);
	connections_tick(w->connections, w->now_ms, unix_now);
	take_departed(w);
}

/* Until nothing is asked any more, everybody with the canned answer; then all is read. */
static void
world_settle(struct world *w)
{
	for (int i = 0; i < 4; i++)
	{
		world_pass(w, 100);
		for (int k = 0; w->question_count > 0 && k < 10; k++)
			world_answer(w, 0, (struct answer) {.status = ANSWER_OK}, NULL);
		for (size_t k = 0; k < CLIENTS; k++)
			world_drain(w, &w->clients[k]);
		drain_stream(w);
		world_turn_end(w);
	}
}

/* The stream is ready, and two clients are there. */
static struct world *
world_new(bool is_judged)
{
	static const struct feed_calls feed_calls = {.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .ask_changes = ask_changes, .start = start_slot, .pause = pause_slot,
		.restart = restart_slot, .wake = wake, .released = released, .hold = hold_all, .ready = feed_ready, .down = feed_down, .renewed = renewed, .rolled_back = rolled_back, .message = take_message};
	static const struct judge_calls judge_calls = {.ask = ask_visible, .wake = wake};
	static const struct rooms_calls rooms_calls = {.relay = relay, .wake = wake};
	static const struct connections_calls connections_calls = {.submit = submit, .writable = writable, .close = close_socket, .stream_writable = writable, .stream_close = stream_close, .device = device};
	struct world *w = memory_new(sizeof(*w));

	chances = 0;
	w->is_judged = is_judged;
	w->now_ms = 1;
	w->xmax = 720;
	w->options = (struct options) {.max_joins = 3, .max_frame = 65536, .max_push = 65536, .max_broadcast = 100, .max_queue = 8192, .query_connections = 2, .verify_interval_s = 2, .auth_timeout_s = 10, .ping_interval_s = 30,
		.max_messages_per_second = 20, .max_joins_per_second = 10, .max_clients_per_user = 2, .trusted_proxies = (char *) "", .proxy_header = (char *) "x-forwarded-for"};
	w->admission = admission_new(&w->options);
	w->feed = feed_new(64 << 10, PLUGIN_WAL2JSON, &feed_calls, w);
	w->hub = hub_new(w->feed, &w->options, &judge_calls, w);
	w->rooms = rooms_new(1, true, &rooms_calls, w);
	w->connections = connections_new(&w->options, &w->auth, w->feed, w->hub, w->rooms, &connections_calls, w);
	connections_limit(w->connections, w->admission);
	departed_init(&w->departed);
	feed_begin(w->feed, BEHIND, 1, w->now_ms);
	world_upkeep(w, NULL, 0);
	world_upkeep(w, NULL, 1);
	world_line(w, 99);
	REQUIRE(feed_is_ready(w->feed));
	world_open(w, &w->clients[0], MESSAGE_ARRAYS, NULL);
	world_open(w, &w->clients[1], MESSAGE_OBJECTS, NULL);
	return w;
}

static void
world_free(struct world *w)
{
	for (size_t i = 0; i < CLIENTS; i++)
		world_close(&w->clients[i]);
	stream_free(w->stream);
	connections_turn_end(w->connections);
	REQUIRE(hub_count(w->hub) == 0 && connections_count(w->connections) == 0);
	for (size_t i = 0; i < w->question_count; i++)
		free(w->questions[i].json);
	connections_free(w->connections);
	rooms_free(w->rooms);
	hub_free(w->hub);
	feed_free(w->feed);
	departed_free(&w->departed);
	admission_free(w->admission);
	free(w);
}

#endif

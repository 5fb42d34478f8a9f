/* streamer_clients.c - what clients, and those who look on, ask for: passed on to the database, the rooms and the pages. */
/* SPDX-License-Identifier: PostgreSQL */
#include "streamer_parts.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "describe.h"
#include "metrics.h"
#include "process.h"

static void
submit(void *owner, const struct request *r, request_done done, void *done_owner, uint64_t id)
{
	struct streamer *s = owner;

	query_submit(s->queries, r, done, done_owner, id);
}

static void
relay(void *owner, const char *json)
{
	struct streamer *s = owner;

	upkeep_relay(s->upkeep, json);
}

static void
wake_relay(void *owner, int64_t delay_ms)
{
	struct streamer *s = owner;

	loop_timer_set(s->relay, delay_ms);
}

void
streamer_wake_relay(void *owner)
{
	struct streamer *s = owner;

	rooms_flush(s->rooms);
}

static void
broadcast(void *owner, const struct relayed *b)
{
	struct streamer *s = owner;

	rooms_broadcast(s->rooms, NULL, b, "http");
}

static void
device_moved(void *owner, const char *user, const char *device, bool is_here)
{
	struct streamer *s = owner;

	if (s->maintain == NULL)
		return;
	if (is_here)
		maintain_joined(s->maintain, user, device);
	else
		maintain_left(s->maintain, user, device, loop_now_ms());
}

static void
verdicts(void *owner, uint64_t id, const struct answer *a)
{
	struct streamer *s = owner;

	hub_verdicts(s->hub, id, a, loop_now_ms());
}

/* As the pool's own user, who takes on each role that the question names. */
static void
ask_visible(void *owner, uint64_t id, const char *json)
{
	struct streamer *s = owner;
	struct request r = {.kind = REQUEST_VISIBLE, .role = "none", .claims = "", .json = json};

	query_submit(s->queries, &r, verdicts, s, id);
}

void
streamer_wake_judge(void *owner)
{
	struct streamer *s = owner;

	hub_ask(s->hub, loop_now_ms());
}

static void
wake_judge(void *owner, int64_t delay_ms)
{
	struct streamer *s = owner;

	loop_timer_set(s->judge, delay_ms);
}

static void
put_missing(struct buffer *json, const char *what)
{
	if (what == NULL)
		return;
	if (json->len > 0)
		buffer_putc(json, ',');
	buffer_json_string(json, what, strlen(what));
}

static void
missing(void *owner, struct buffer *json)
{
	struct streamer *s = owner;
	const char *stream = wal_missing(s->wal);

	put_missing(json, query_pool_up(s->queries) == 0 ? "query connection" : NULL);
	put_missing(json, !upkeep_is_up(s->upkeep) ? "upkeep connection" : NULL);
	put_missing(json, stream != NULL ? stream : feed_missing(s->feed));
}

static void
collect(void *owner)
{
	struct streamer *s = owner;
	struct buffer json;

	buffer_init(&json);
	missing(s, &json);
	metric_set(METRIC_READY, json.len == 0);
	buffer_free(&json);
	connections_gauges(s->connections);
	hub_gauges(s->hub);
	query_pool_gauges(s->queries);
	feed_gauges(s->feed, loop_now_ms());
	process_gauges();
}

static void
sessions_of(void *owner, const char *user, struct buffer *json)
{
	struct streamer *s = owner;

	describe_sessions(s->hub, s->feed, user, loop_now_ms(), json);
}

static void
status(void *owner, const struct token *who, struct buffer *json)
{
	struct streamer *s = owner;
	struct buffer lacks;
	struct timespec now;
	struct tm utc;
	char	text[32];

	buffer_init(&lacks);
	missing(s, &lacks);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	buffer_printf(json, "{\"server_time\":\"%s.%03ldZ\",\"version\":\"%s\",\"ready\":%s,\"missing\":[%s],\"schema_version\":%s,\"user\":", text, now.tv_nsec / 1000000,
				  SYNC_VERSION, lacks.len == 0 ? "true" : "false", lacks.data != NULL ? lacks.data : "", maintain_schema_version(s->maintain));
	buffer_json_string(json, who->subject, strlen(who->subject));
	buffer_printf(json, ",\"token_expires_at\":%" PRId64 ",\"own\":", who->expires_at);
	describe_sessions(s->hub, s->feed, who->subject, loop_now_ms(), json);
	buffer_putc(json, '}');
	buffer_free(&lacks);
}

const struct judge_calls streamer_judge_calls = {.ask = ask_visible, .wake = wake_judge};

const struct connections_calls streamer_connections_calls = {
	.submit = submit, .writable = server_writable, .close = server_close, .stream_writable = http_stream_writable, .stream_close = http_stream_close, .device = device_moved};

const struct pages_calls streamer_pages_calls = {.collect = collect, .sessions = sessions_of};
const struct rooms_calls streamer_rooms_calls = {.relay = relay, .wake = wake_relay};
const struct http_calls streamer_http_calls = {.submit = submit, .broadcast = broadcast, .missing = missing, .status = status};

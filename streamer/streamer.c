/* streamer.c - the parts of the streamer wired together: from the WAL to the clients, and from the clients to the database. */
/* SPDX-License-Identifier: PostgreSQL */
#include "streamer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "auth.h"
#include "chance.h"
#include "connection.h"
#include "describe.h"
#include "feed.h"
#include "http.h"
#include "hub.h"
#include "keyfiles.h"
#include "log.h"
#include "loop.h"
#include "maintain.h"
#include "memory.h"
#include "metrics.h"
#include "pages.h"
#include "process.h"
#include "query.h"
#include "rooms.h"
#include "server.h"
#include "text.h"
#include "upkeep.h"
#include "wal.h"

#define TICK_MS 50
#define DEVICE_VALUES_MAX 4096	/* of a row of sync.device: what its client says of itself has at most 4096 bytes */
#define SECOND_MS 1000
#define STOP_LIMIT_MS 1500

struct streamer
{
	const struct options *options;
	struct keyfiles *keyfiles;
	struct admission *admission;
	struct auth auth;
	struct loop *loop;
	struct feed *feed;
	struct hub *hub;
	struct rooms *rooms;
	struct connections *connections;
	struct pages *pages;
	struct http *http;
	struct server *server;
	struct query_pool *queries;
	struct upkeep *upkeep;
	struct maintain *maintain;
	struct wal *wal;
	struct loop_timer *tick;
	struct loop_timer *wake;
	struct loop_timer *relay;
	struct loop_timer *judge;
	int64_t wake_at_ms;			/* 0: not set */
	int64_t second_ms;
	char	system_id[32];		/* of the replication connection's server; "" before */
	char	place[100];			/* the same with its database, as connections are admitted to */
	char	admitted[100];		/* where connections were let in before that was known; "" nowhere */
	bool	is_elsewhere;		/* in more than one place */
	uint32_t timeline;
};

/* The replication connection says what the right server is; the others must be on it. */

/* What a session was sent may not be there any more. Where the tokens cannot tell, because the timeline is the same, they are not trusted. */
static void
start_anew(struct streamer *s, const char *reason, bool is_rolled_back)
{
	feed_forget(s->feed, reason);
	hub_start_anew(s->hub, is_rolled_back, loop_now_ms());
}

static void
identified(void *owner, const struct wal_server *now)
{
	struct streamer *s = owner;
	bool	is_first = s->system_id[0] == '\0';
	bool	is_other = !is_first && (strcmp(s->system_id, now->system_id) != 0 || s->timeline != now->timeline);

	if (is_other)
		log_event(LOG_LEVEL_WARNING, "server_changed", "from=%s/%" PRIu32 " to=%s/%" PRIu32, s->system_id, s->timeline, now->system_id, now->timeline);
	snprintf(s->system_id, sizeof(s->system_id), "%s", now->system_id);
	snprintf(s->place, sizeof(s->place), "%s/%s", now->system_id, now->database);
	s->timeline = now->timeline;
	if (is_other)
		start_anew(s, "the stream goes on from another server or timeline", false);
	if (is_other || s->is_elsewhere || (s->admitted[0] != '\0' && strcmp(s->admitted, s->place) != 0))
	{
		s->is_elsewhere = false;
		s->admitted[0] = '\0';
		query_pool_reconnect(s->queries, "the replication connection reached another server, timeline or database");
		upkeep_reconnect(s->upkeep, "the replication connection reached another server, timeline or database");
	}
	if (!is_other && !is_first && now->lsn < now->reached)
	{
		log_event(LOG_LEVEL_ERROR, "storage_rolled_back", "from=%" PRIX64 " to=%" PRIX64 " text=\"run SELECT sync.new_incarnation(): clients that were away may be stale\"", now->reached,
				  now->lsn);
		start_anew(s, "the server's storage was rolled back", true);
	}
}

static void
renewed(void *owner)
{
	struct streamer *s = owner;

	hub_renewed(s->hub, loop_now_ms());
}

/* The counter of transactions ran backwards: another slot, and nothing of what was kept. */
static void
rolled_back(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_ERROR, "storage_rolled_back", "text=\"the server counts fewer transactions than before; run SELECT sync.new_incarnation(): clients that were away may be stale\"");
	start_anew(s, "the server's storage was rolled back", true);
	wal_restart(s->wal, "the server's storage was rolled back");
}

static const char *
admit(void *owner, const char *place, bool is_in_recovery)
{
	struct streamer *s = owner;
	size_t	len = strlen(s->system_id);

	if (is_in_recovery)
		return "the server is in recovery";
	if (s->place[0] != '\0' && strcmp(s->place, place) != 0)
		return strncmp(place, s->system_id, len) == 0 && place[len] == '/' ? "this is another database than the replication connection's"
			: "this is another server than the replication connection's";
	if (s->place[0] == '\0')
	{
		s->is_elsewhere |= s->admitted[0] != '\0' && strcmp(s->admitted, place) != 0;
		snprintf(s->admitted, sizeof(s->admitted), "%s", place);
	}
	return NULL;
}

static void
slot_created(void *owner)
{
	struct streamer *s = owner;

	feed_begin(s->feed, s->system_id, s->timeline, loop_now_ms());
}

static void
slot_waits(void *owner, int pid)
{
	struct streamer *s = owner;

	upkeep_ask_blockers(s->upkeep, pid);
}

static void
wal_data(void *owner, const char *message, size_t len, uint64_t lsn, int64_t sent_us)
{
	struct streamer *s = owner;

	feed_sent(s->feed, sent_us);
	feed_data(s->feed, message, len, lsn, loop_now_ms());
}

static void
slot_lost(void *owner)
{
	struct streamer *s = owner;

	rooms_hear(s->rooms, false, loop_now_ms());
	feed_end(s->feed);
}

static void
upkeep_up(void *owner)
{
	(void) owner;
	metric_add_for(METRIC_DATABASE_CONNECTS, "upkeep", 1);
}

static void
upkeep_down(void *owner)
{
	(void) owner;
}

static void
tables_read(void *owner, const char *json, const char *snapshot, const char *xid)
{
	struct streamer *s = owner;
	uint64_t next;

	if (xid != NULL && text_uint64(xid, strlen(xid), &next))
		feed_counted(s->feed, next);
	feed_tables_answer(s->feed, json, snapshot);
}

static void
checkpoint_taken(void *owner, int64_t nonce, const char *snapshot)
{
	struct streamer *s = owner;

	feed_checkpoint_answer(s->feed, nonce, snapshot);
}

static void
rows_read(void *owner, const char *json, const char *snapshot)
{
	struct streamer *s = owner;

	feed_rows_answer(s->feed, json, snapshot);
}

static void
ask_tables(void *owner)
{
	struct streamer *s = owner;

	upkeep_ask_tables(s->upkeep);
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	struct streamer *s = owner;

	upkeep_ask_checkpoint(s->upkeep, nonce);
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	struct streamer *s = owner;

	metric_add(METRIC_ROWS_REREAD, count);
	upkeep_ask_rows(s->upkeep, table_id, keys, count);
}

static void
changes_read(void *owner, const char *json)
{
	struct streamer *s = owner;

	feed_changes_answer(s->feed, json);
}

static void
ask_changes(void *owner, const char *from_snapshot)
{
	struct streamer *s = owner;

	upkeep_ask_changes(s->upkeep, from_snapshot);
}

static void
hold_all(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_WARNING, "gap", "sessions=%zu", hub_count(s->hub));
	hub_hold(s->hub, loop_now_ms());
}

static void
start_wal(void *owner)
{
	struct streamer *s = owner;

	wal_start(s->wal);
}

static void
pause_wal(void *owner, bool is_paused)
{
	struct streamer *s = owner;

	wal_pause(s->wal, is_paused);
}

static void
restart_wal(void *owner, const char *reason)
{
	struct streamer *s = owner;

	wal_restart(s->wal, reason);
}

static void
wake_feed(void *owner, int64_t delay_ms)
{
	struct streamer *s = owner;
	int64_t at_ms = loop_now_ms() + delay_ms;

	if (s->wake_at_ms != 0 && s->wake_at_ms <= at_ms)
		return;
	s->wake_at_ms = at_ms;
	loop_timer_set(s->wake, delay_ms);
}

static void
woken(void *owner)
{
	struct streamer *s = owner;

	s->wake_at_ms = 0;
	feed_wake(s->feed);
}

/* A device that was revoked loses its channels before anything of this transaction goes out. Where the stream has a gap the pull that bridges it refuses them. */
static void
cut_revoked(struct streamer *s, const struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];
		const struct sync_table *table = c->kind == CHANGE_ROW ? tables_by_id(feed_tables(s->feed), c->table_id) : NULL;
		struct json *doc;
		struct json_value row;
		char   *user;
		char   *device;

		if (table == NULL || strcmp(table->entity_type, "sync.device") != 0)
			continue;
		doc = json_parse(c->json, c->json_len, DEVICE_VALUES_MAX);
		row = json_member(json_root(doc), "data");
		user = json_strdup(json_member(row, "user_id"));
		device = json_strdup(json_member(row, "device_id"));
		if (user != NULL && device != NULL && json_type(json_member(row, "revoked_at")) == JSON_STRING)
			connections_revoke(s->connections, user, device);
		free(user);
		free(device);
		json_free(doc);
	}
}

static void
released(void *owner, struct transaction *t)
{
	struct streamer *s = owner;

	cut_revoked(s, t);
	hub_released(s->hub, t, loop_now_ms());
}

static void
feed_ready(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_INFO, "ready", "sessions=%zu", hub_count(s->hub));
	hub_ready(s->hub, loop_now_ms());
	rooms_hear(s->rooms, true, loop_now_ms());
}

static void
feed_down(void *owner, const char *reason)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_WARNING, "not_ready", "reason=\"%s\"", reason);
	hub_down(s->hub, loop_now_ms());
}

static void
take_message(void *owner, struct json_value message)
{
	struct streamer *s = owner;

	rooms_message(s->rooms, message, loop_now_ms());
}

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
relayed(void *owner, bool is_ok)
{
	struct streamer *s = owner;

	rooms_relayed(s->rooms, is_ok);
}

static void
wake_relay(void *owner, int64_t delay_ms)
{
	struct streamer *s = owner;

	loop_timer_set(s->relay, delay_ms);
}

static void
relay_woken(void *owner)
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

static uint64_t
wal_position(void *owner)
{
	struct streamer *s = owner;

	return wal_received(s->wal);
}

static void
pulled(void *owner, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms)
{
	struct streamer *s = owner;

	if (s->options->log_pulls)
		maintain_log_pull(s->maintain, user, device, changes, bytes, status, ms);
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

static void
judge_woken(void *owner)
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

static int64_t
unix_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
tick(void *owner)
{
	struct streamer *s = owner;
	int64_t now_ms = loop_now_ms();
	int64_t unix_now = time(NULL);

	loop_timer_set(s->tick, TICK_MS);
	feed_tick(s->feed, now_ms);
	hub_tick(s->hub, now_ms, unix_now);
	rooms_tick(s->rooms, now_ms);
	maintain_tick(s->maintain, now_ms);
	if (now_ms - s->second_ms < SECOND_MS)
		return;
	s->second_ms = now_ms;
	keyfiles_look(s->keyfiles);
	server_look(s->server);
	http_look(s->http);
	admission_tick(s->admission, now_ms);
	connections_tick(s->connections, now_ms, unix_now);
	pages_tick(s->pages, now_ms, unix_now_ms());
}

static bool
set_up_keys(struct streamer *s)
{
	const struct options *o = s->options;

	s->keyfiles = keyfiles_new(o);
	if (s->keyfiles == NULL)
		return false;
	s->auth = (struct auth) {
		.rules = {.keys = keyfiles_keys(s->keyfiles), .issuer = o->jwt_issuer, .audience = o->jwt_audience}, .default_role = o->default_role};
	return true;
}

static bool
set_up_clients(struct streamer *s)
{
	static const struct feed_calls feed_calls = {
		.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .ask_changes = ask_changes, .hold = hold_all, .start = start_wal, .pause = pause_wal, .restart = restart_wal,
		.wake = wake_feed, .released = released, .ready = feed_ready, .down = feed_down, .renewed = renewed, .rolled_back = rolled_back, .message = take_message};
	static const struct judge_calls judge_calls = {.ask = ask_visible, .wake = wake_judge};
	static const struct connections_calls connections_calls = {.submit = submit, .writable = server_writable, .close = server_close, .stream_writable = http_stream_writable, .stream_close = http_stream_close, .device = device_moved};
	static const struct pages_calls pages_calls = {.collect = collect, .sessions = sessions_of};
	static const struct rooms_calls rooms_calls = {.relay = relay, .wake = wake_relay};
	static const struct http_calls http_calls = {.submit = submit, .broadcast = broadcast, .missing = missing, .status = status};

	s->feed = feed_new(s->options->ring_size, (enum plugin) s->options->plugin, &feed_calls, s);
	s->hub = hub_new(s->feed, s->options, &judge_calls, s);
	s->relay = loop_timer_new(s->loop, relay_woken, s);
	s->rooms = rooms_new(chance_bits(), s->options->public_topics, &rooms_calls, s);
	s->connections = connections_new(s->options, &s->auth, s->feed, s->hub, s->rooms, &connections_calls, s);
	connections_limit(s->connections, s->admission);
	s->pages = pages_new(s->options, &pages_calls, s);
	if (s->pages == NULL)
		return false;
	s->http = http_new(s->options, &s->auth, s->admission, s->pages, &http_calls, s);
	s->server = server_new(s->loop, s->options, s->http, s->admission);
	if (s->server == NULL)
		return false;
	server_serve(s->server, s->connections);
	http_serve(s->http, s->connections);
	return true;
}

static void
set_up_database(struct streamer *s)
{
	static const struct upkeep_calls upkeep_calls = {
		.admit = admit, .up = upkeep_up, .down = upkeep_down, .tables = tables_read, .checkpoint = checkpoint_taken, .rows = rows_read, .changes = changes_read, .relayed = relayed};
	static const struct maintain_calls maintain_calls = {.admit = admit, .received = wal_position};
	static const struct wal_calls wal_calls = {
		.identified = identified, .slot_created = slot_created, .slot_waits = slot_waits, .data = wal_data, .lost = slot_lost};

	s->queries = query_pool_new(s->loop, s->options->query_database, s->options->query_connections, admit, s);
	query_pool_report(s->queries, pulled);
	s->upkeep = upkeep_new(s->loop, s->options->upkeep_database, &upkeep_calls, s);
	s->maintain = maintain_new(s->loop, s->options, &maintain_calls, s);
	s->wal = wal_new(s->loop, s->options->database, (enum plugin) s->options->plugin, &wal_calls, s);
	s->wake = loop_timer_new(s->loop, woken, s);
	s->judge = loop_timer_new(s->loop, judge_woken, s);
	s->tick = loop_timer_new(s->loop, tick, s);
	loop_timer_set(s->tick, 0);
}

bool
streamer_turn(struct streamer *s)
{
	bool	is_good = loop_turn(s->loop);

	hub_flush(s->hub);
	connections_clock(s->connections, loop_now_ms());
	connections_turn_end(s->connections);
	server_turn_end(s->server);
	return is_good;
}

void
streamer_say_goodbye(struct streamer *s)
{
	int64_t until_ms = loop_now_ms() + STOP_LIMIT_MS;

	server_stop_listening(s->server);
	rooms_say_goodbye(s->rooms);
	connections_close(s->connections, CLOSE_GOING_AWAY, "the server is stopping");
	while (connections_count(s->connections) > 0 && loop_now_ms() < until_ms && streamer_turn(s))
		;
}

struct streamer *
streamer_new(const struct options *o)
{
	struct streamer *s = memory_new(sizeof(*s));

	s->options = o;
	if (!set_up_keys(s) || (s->admission = admission_new(o)) == NULL || (s->loop = loop_new()) == NULL || !set_up_clients(s))
	{
		streamer_free(s);
		return NULL;
	}
	set_up_database(s);
	return s;
}

void
streamer_free(struct streamer *s)
{
	wal_free(s->wal);
	upkeep_free(s->upkeep);
	maintain_free(s->maintain);
	s->maintain = NULL;			/* the last connections' channels end below */
	query_pool_free(s->queries);
	loop_timer_free(s->wake);
	loop_timer_free(s->relay);
	loop_timer_free(s->judge);
	loop_timer_free(s->tick);
	if (s->loop != NULL)
		loop_free(s->loop);
	server_free(s->server);
	http_free(s->http);
	pages_free(s->pages);
	connections_free(s->connections);
	rooms_free(s->rooms);
	hub_free(s->hub);
	feed_free(s->feed);
	keyfiles_free(s->keyfiles);
	admission_free(s->admission);
	free(s);
}

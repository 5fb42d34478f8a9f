/* main.c - sync-streamer: reads its options, wires the parts together, turns the loop until it is told to stop. */
/* SPDX-License-Identifier: PostgreSQL */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "auth.h"
#include "check.h"
#include "connection.h"
#include "feed.h"
#include "http.h"
#include "hub.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "options.h"
#include "query.h"
#include "server.h"
#include "upkeep.h"
#include "wal.h"

#define TICK_MS 50
#define SECOND_MS 1000
#define STOP_LIMIT_MS 1500
#define SECRET_MAX 65536
#define SPARE_DESCRIPTORS 512		/* beside the clients: the database, plain HTTP, files */

extern char **environ;

struct app
{
	struct options options;
	struct auth auth;
	struct loop *loop;
	struct feed *feed;
	struct hub *hub;
	struct connections *connections;
	struct http *http;
	struct server *server;
	struct query_pool *queries;
	struct upkeep *upkeep;
	struct wal *wal;
	struct loop_timer *tick;
	struct loop_timer *wake;
	int64_t wake_at_ms;			/* 0: not set */
	int64_t second_ms;
	char	system_id[32];		/* of the replication connection's server; "" before */
	uint32_t timeline;
};

static volatile sig_atomic_t stop_signal;

static void
stop(int number)
{
	stop_signal = number;
}

/* The replication connection says what the right server is; the others must be on it. */

static const char *
identified(void *owner, const char *system_id, uint32_t timeline)
{
	struct app *app = owner;

	if (app->system_id[0] != '\0' && strcmp(app->system_id, system_id) != 0)
	{
		log_event(LOG_LEVEL_WARNING, "server_changed", "from=%s to=%s", app->system_id, system_id);
		snprintf(app->system_id, sizeof(app->system_id), "%s", system_id);
		query_pool_reconnect(app->queries, "the replication connection reached another server");
	}
	snprintf(app->system_id, sizeof(app->system_id), "%s", system_id);
	app->timeline = timeline;
	return NULL;
}

static const char *
admit(void *owner, const char *system_id, bool is_in_recovery)
{
	struct app *app = owner;

	if (is_in_recovery)
		return "the server is in recovery";
	if (app->system_id[0] != '\0' && strcmp(app->system_id, system_id) != 0)
		return "this is another server than the replication connection's";
	return NULL;
}

static void
slot_created(void *owner)
{
	struct app *app = owner;

	feed_begin(app->feed, app->system_id, app->timeline, loop_now_ms());
}

static void
slot_waits(void *owner, int pid)
{
	struct app *app = owner;

	upkeep_ask_blockers(app->upkeep, pid);
}

static void
wal_line(void *owner, const char *line, size_t len)
{
	struct app *app = owner;

	feed_line(app->feed, line, len, loop_now_ms());
}

static void
slot_lost(void *owner)
{
	struct app *app = owner;

	feed_end(app->feed);
}

static void
upkeep_up(void *owner)
{
	(void) owner;
}

static void
upkeep_down(void *owner)
{
	(void) owner;
}

static void
tables_read(void *owner, const char *json, const char *snapshot)
{
	struct app *app = owner;

	feed_tables_answer(app->feed, json, snapshot);
}

static void
checkpoint_taken(void *owner, int64_t nonce, const char *snapshot)
{
	struct app *app = owner;

	feed_checkpoint_answer(app->feed, nonce, snapshot);
}

static void
rows_read(void *owner, const char *json, const char *snapshot)
{
	struct app *app = owner;

	feed_rows_answer(app->feed, json, snapshot);
}

static void
ask_tables(void *owner)
{
	struct app *app = owner;

	upkeep_ask_tables(app->upkeep);
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	struct app *app = owner;

	upkeep_ask_checkpoint(app->upkeep, nonce);
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	struct app *app = owner;

	upkeep_ask_rows(app->upkeep, table_id, keys, count);
}

static void
start_wal(void *owner)
{
	struct app *app = owner;

	wal_start(app->wal);
}

static void
pause_wal(void *owner, bool is_paused)
{
	struct app *app = owner;

	wal_pause(app->wal, is_paused);
}

static void
restart_wal(void *owner, const char *reason)
{
	struct app *app = owner;

	wal_restart(app->wal, reason);
}

static void
wake_feed(void *owner, int64_t delay_ms)
{
	struct app *app = owner;
	int64_t at_ms = loop_now_ms() + delay_ms;

	if (app->wake_at_ms != 0 && app->wake_at_ms <= at_ms)
		return;
	app->wake_at_ms = at_ms;
	loop_timer_set(app->wake, delay_ms);
}

static void
woken(void *owner)
{
	struct app *app = owner;

	app->wake_at_ms = 0;
	feed_wake(app->feed);
}

static void
released(void *owner, struct transaction *t)
{
	struct app *app = owner;

	hub_released(app->hub, t, loop_now_ms());
}

static void
feed_ready(void *owner)
{
	struct app *app = owner;

	log_event(LOG_LEVEL_INFO, "ready", "sessions=%zu", hub_count(app->hub));
	hub_ready(app->hub, loop_now_ms());
}

static void
feed_down(void *owner, const char *reason)
{
	struct app *app = owner;

	log_event(LOG_LEVEL_WARNING, "not_ready", "reason=\"%s\"", reason);
	hub_down(app->hub, loop_now_ms());
}

static void
resync_all(void *owner, const char *reason)
{
	struct app *app = owner;

	log_event(LOG_LEVEL_WARNING, "resync", "reason=\"%s\" sessions=%zu", reason, hub_count(app->hub));
	hub_resync(app->hub, reason, loop_now_ms());
}

static void
submit(void *owner, const struct request *r, request_done done, void *done_owner, uint64_t id)
{
	struct app *app = owner;

	query_submit(app->queries, r, done, done_owner, id);
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
	struct app *app = owner;
	const char *stream = wal_missing(app->wal);

	put_missing(json, query_pool_up(app->queries) == 0 ? "query connection" : NULL);
	put_missing(json, !upkeep_is_up(app->upkeep) ? "upkeep connection" : NULL);
	put_missing(json, stream != NULL ? stream : feed_missing(app->feed));
}

static void
tick(void *owner)
{
	struct app *app = owner;
	int64_t now_ms = loop_now_ms();
	int64_t unix_now = time(NULL);

	loop_timer_set(app->tick, TICK_MS);
	feed_tick(app->feed, now_ms);
	hub_tick(app->hub, now_ms, unix_now);
	if (now_ms - app->second_ms < SECOND_MS)
		return;
	app->second_ms = now_ms;
	connections_tick(app->connections, now_ms, unix_now);
}

/* White space at the end goes: files written by shells end in a newline. */
static bool
read_secret(struct app *app)
{
	unsigned char secret[SECRET_MAX];
	FILE   *f = fopen(app->options.jwt_secret_file, "re");
	size_t	len = f != NULL ? fread(secret, 1, sizeof(secret), f) : 0;

	if (f == NULL || ferror(f))
		log_event(LOG_LEVEL_ERROR, "secret_unreadable", "file=\"%s\" reason=\"%s\"", app->options.jwt_secret_file, strerror(errno));
	else
	{
		while (len > 0 && (secret[len - 1] == '\n' || secret[len - 1] == '\r' || secret[len - 1] == ' '))
			len--;
		app->auth.keys = token_keys_hs256(secret, len);
		if (app->auth.keys == NULL)
			log_event(LOG_LEVEL_ERROR, "secret_too_short", "file=\"%s\" bytes=%zu least=32", app->options.jwt_secret_file, len);
	}
	explicit_bzero(secret, sizeof(secret));
	if (f != NULL)
		fclose(f);
	app->auth.default_role = app->options.default_role;
	return app->auth.keys != NULL;
}

/* Before the loop is made: libwebsockets takes its table's size from this limit. */
static void
raise_descriptor_limit(const struct options *o)
{
	struct rlimit limit;
	rlim_t	wanted = (rlim_t) o->max_clients + (rlim_t) o->query_connections + SPARE_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		log_event(LOG_LEVEL_WARNING, "few_descriptors", "wanted=%lu have=%lu cure=\"raise the limit of open files, or lower --max-clients\"",
				  (unsigned long) wanted, (unsigned long) limit.rlim_cur);
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

static bool
set_up_clients(struct app *app)
{
	static const struct feed_calls feed_calls = {
		.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .start = start_wal, .pause = pause_wal, .restart = restart_wal,
		.wake = wake_feed, .released = released, .ready = feed_ready, .down = feed_down, .resync = resync_all};
	static const struct connections_calls connections_calls = {.submit = submit, .writable = server_writable, .close = server_close};
	static const struct http_calls http_calls = {.submit = submit, .missing = missing};

	app->feed = feed_new(app->options.ring_size, &feed_calls, app);
	app->hub = hub_new(app->feed);
	app->connections = connections_new(&app->options, &app->auth, app->feed, app->hub, &connections_calls, app);
	app->http = http_new(&app->options, &app->auth, &http_calls, app);
	app->server = server_new(app->loop, &app->options, app->http);
	if (app->server == NULL)
		return false;
	server_serve(app->server, app->connections);
	return true;
}

static void
set_up_database(struct app *app)
{
	static const struct upkeep_calls upkeep_calls = {
		.admit = admit, .up = upkeep_up, .down = upkeep_down, .tables = tables_read, .checkpoint = checkpoint_taken, .rows = rows_read};
	static const struct wal_calls wal_calls = {
		.identified = identified, .slot_created = slot_created, .slot_waits = slot_waits, .line = wal_line, .lost = slot_lost};

	app->queries = query_pool_new(app->loop, app->options.query_database, app->options.query_connections, admit, app);
	app->upkeep = upkeep_new(app->loop, app->options.upkeep_database, &upkeep_calls, app);
	app->wal = wal_new(app->loop, app->options.database, &wal_calls, app);
	app->wake = loop_timer_new(app->loop, woken, app);
	app->tick = loop_timer_new(app->loop, tick, app);
	loop_timer_set(app->tick, 0);
}

static bool
turn(struct app *app)
{
	bool	is_good = loop_turn(app->loop);

	hub_flush(app->hub);
	connections_clock(app->connections, loop_now_ms());
	connections_turn_end(app->connections);
	return is_good;
}

static void
say_goodbye(struct app *app)
{
	int64_t until_ms = loop_now_ms() + STOP_LIMIT_MS;

	log_event(LOG_LEVEL_INFO, "stopping", "signal=%d clients=%zu", (int) stop_signal, connections_count(app->connections));
	server_stop_listening(app->server);
	connections_close(app->connections, CLOSE_GOING_AWAY, "the server is stopping");
	while (connections_count(app->connections) > 0 && loop_now_ms() < until_ms && turn(app))
		;
}

static void
tear_down(struct app *app)
{
	wal_free(app->wal);
	upkeep_free(app->upkeep);
	query_pool_free(app->queries);
	loop_timer_free(app->wake);
	loop_timer_free(app->tick);
	if (app->loop != NULL)
		loop_free(app->loop);
	server_free(app->server);
	http_free(app->http);
	connections_free(app->connections);
	hub_free(app->hub);
	feed_free(app->feed);
	token_keys_free(app->auth.keys);
}

static int
serve(struct app *app)
{
	struct buffer limits;
	bool	is_good = true;

	raise_descriptor_limit(&app->options);
	catch_signals();
	if (!read_secret(app) || (app->loop = loop_new()) == NULL || !set_up_clients(app))
	{
		tear_down(app);
		return 1;
	}
	set_up_database(app);
	buffer_init(&limits);
	options_limits(&app->options, &limits);
	log_event(LOG_LEVEL_INFO, "listening", "host=%s port=%d pid=%d %s", app->options.listen_host, app->options.listen_port, (int) getpid(), limits.data);
	buffer_free(&limits);
	while (stop_signal == 0 && is_good)
		is_good = turn(app);
	say_goodbye(app);
	tear_down(app);
	log_event(LOG_LEVEL_INFO, "stopped", "clean=%s", is_good ? "yes" : "no");
	return is_good ? 0 : 1;
}

static int
run(struct app *app)
{
	struct buffer text;
	int		status = 0;

	buffer_init(&text);
	if (app->options.help)
	{
		options_help(&text);
		fputs(text.data, stdout);
	}
	else if (app->options.version)
		puts("sync-streamer " SYNC_VERSION);
	else if (app->options.check)
		status = check_run(&app->options, stdout) > 0 ? 1 : 0;
	else
		status = serve(app);
	buffer_free(&text);
	return status;
}

int
main(int argc, char **argv)
{
	static struct app app;
	struct buffer error;
	int		status = 2;

	buffer_init(&error);
	if (options_read(&app.options, argc, argv, environ, &error))
	{
		log_set_level((enum log_level) app.options.log_level);
		status = run(&app);
	}
	else
		fprintf(stderr, "sync-streamer: %s\n", error.data);
	buffer_free(&error);
	options_free(&app.options);
	return status;
}

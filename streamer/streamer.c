/* streamer.c - the parts of the streamer made and wired together: from the WAL to the clients, and from the clients to the database. */
/* SPDX-License-Identifier: PostgreSQL */
#include "streamer_parts.h"

#include <stdlib.h>
#include <time.h>

#include "chance.h"
#include "memory.h"

#define TICK_MS 50
#define SECOND_MS 1000
#define STOP_LIMIT_MS 1500

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
	s->feed = feed_new(s->options->ring_size, (enum plugin) s->options->plugin, &streamer_feed_calls, s);
	s->hub = hub_new(s->feed, s->options, &streamer_judge_calls, s);
	s->relay = loop_timer_new(s->loop, streamer_wake_relay, s);
	s->rooms = rooms_new(chance_bits(), s->options->public_topics, &streamer_rooms_calls, s);
	s->connections = connections_new(s->options, &s->auth, s->feed, s->hub, s->rooms, &streamer_connections_calls, s);
	connections_limit(s->connections, s->admission);
	s->pages = pages_new(s->options, &streamer_pages_calls, s);
	if (s->pages == NULL)
		return false;
	s->http = http_new(s->options, &s->auth, s->admission, s->pages, &streamer_http_calls, s);
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
	s->queries = query_pool_new(s->loop, s->options->query_database, s->options->query_connections, streamer_admit, s);
	query_pool_report(s->queries, streamer_pulled);
	s->upkeep = upkeep_new(s->loop, s->options->upkeep_database, &streamer_upkeep_calls, s);
	s->maintain = maintain_new(s->loop, s->options, &streamer_maintain_calls, s);
	s->wal = wal_new(s->loop, s->options->database, (enum plugin) s->options->plugin, &streamer_wal_calls, s);
	s->wake = loop_timer_new(s->loop, streamer_wake_feed, s);
	s->judge = loop_timer_new(s->loop, streamer_wake_judge, s);
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

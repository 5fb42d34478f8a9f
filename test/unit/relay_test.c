/* relay_test.c - streamers find each other, tell each other what their clients do, notice what was lost and who is gone. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "log.h"
#include "relay.h"

#define STREAMERS 3

/* The WAL: every message reaches every streamer that hears, its writer too, in one order. */
static struct wal
{
	char   *messages[400];
	int		count;
} wal;

struct streamer
{
	struct relay *relay;
	int		heard;			/* messages of the WAL */
	bool	is_deaf;
	bool	is_dead;
	bool	wants_flush;
	bool	is_sending;
	struct buffer seen;		/* what its clients would get */
	const char *ref;		/* of its one client's presence; NULL: none */
} streamers[STREAMERS];

static int64_t now_ms;

static void
send(void *owner, const char *json)
{
	struct streamer *s = owner;

	wal.messages[wal.count++] = strdup(json);
	s->is_sending = true;
}

static void
wake(void *owner, int64_t delay_ms)
{
	(void) delay_ms;
	((struct streamer *) owner)->wants_flush = true;
}

static void
broadcast(void *owner, const struct relayed *b)
{
	struct streamer *s = owner;

	buffer_printf(&s->seen, "%s%s/%s=", b->is_private ? "" : "public ", b->topic, b->event);
	buffer_put(&s->seen, b->payload, b->len);
	buffer_puts(&s->seen, b->is_binary ? "! " : " ");
}

static void
presence(void *owner, uint64_t from, const struct relayed_presence *p)
{
	struct streamer *s = owner;

	if (p->key == NULL)
		buffer_printf(&s->seen, "-%s@%d ", p->ref, (int) from);
	else
		buffer_printf(&s->seen, "+%s:%s:%s%.*s@%d ", p->key, p->ref, p->previous, (int) p->meta.len, p->meta.raw, (int) from);
}

static void
tell_presences(void *owner)
{
	struct streamer *s = owner;

	if (s->ref != NULL)
		relay_put_presence(s->relay, "room", true, "client", s->ref, "", "\"a\":1");
}

static void
doubt(void *owner, uint64_t from)
{
	buffer_printf(&((struct streamer *) owner)->seen, "?%d ", (int) from);
}

static void
settle(void *owner, uint64_t from)
{
	buffer_printf(&((struct streamer *) owner)->seen, ".%d ", (int) from);
}

static void
gone(void *owner, uint64_t from)
{
	buffer_printf(&((struct streamer *) owner)->seen, "gone %d ", (int) from);
}

static bool
deliver(struct streamer *s)
{
	struct json *doc;

	if (s->heard == wal.count)
		return false;
	doc = json_parse(wal.messages[s->heard], strlen(wal.messages[s->heard]), 1000);
	s->heard++;
	if (doc != NULL && !s->is_deaf)
		relay_take(s->relay, json_root(doc), now_ms);
	json_free(doc);
	return true;
}

static bool
step(struct streamer *s)
{
	bool	has_moved = false;

	if (s->is_dead)
		return false;
	while (deliver(s))
		has_moved = true;
	if (s->is_sending)
	{
		s->is_sending = false;
		has_moved = true;
		relay_sent(s->relay, true);
	}
	if (s->wants_flush)
	{
		s->wants_flush = false;
		has_moved = true;
		relay_flush(s->relay);
	}
	return has_moved;
}

/* Until nobody has anything to say. */
static void
settle_down(void)
{
	for (bool has_moved = true; has_moved && CHECK(wal.count < 390);)
	{
		has_moved = false;
		for (int i = 0; i < STREAMERS; i++)
			has_moved = step(&streamers[i]) || has_moved;
	}
}

static void
pass(int64_t ms)
{
	for (int64_t until = now_ms + ms; now_ms < until;)
	{
		now_ms += 1000;
		for (int i = 0; i < STREAMERS; i++)
			if (!streamers[i].is_dead)
				relay_tick(streamers[i].relay, now_ms);
		settle_down();
	}
}

static const char *
seen(int i)
{
	static char text[4000];

	snprintf(text, sizeof(text), "%s", streamers[i].seen.data != NULL ? streamers[i].seen.data : "");
	buffer_reset(&streamers[i].seen);
	return text;
}

static void
start(int i)
{
	static const struct relay_calls calls = {
		.send = send, .wake = wake, .broadcast = broadcast, .presence = presence, .tell_presences = tell_presences, .doubt = doubt, .settle = settle, .gone = gone};

	streamers[i].relay = relay_new((uint64_t) i + 1, &calls, &streamers[i]);
	streamers[i].heard = wal.count;
	streamers[i].is_dead = false;
	relay_hears(streamers[i].relay, true, now_ms);
	settle_down();
}

static void
say(int i, const char *payload)
{
	struct relayed b = {.topic = "room", .is_private = true, .event = "e", .payload = payload, .len = strlen(payload)};

	relay_put_broadcast(streamers[i].relay, &b);
}

static void
alone_nothing_is_written(void)
{
	int		before;

	streamers[0].ref = "r1";
	start(0);
	before = wal.count;
	say(0, "{}");
	relay_put_presence(streamers[0].relay, "room", true, "k", "r", "", "");
	relay_put_end(streamers[0].relay, "room", true, "r");
	settle_down();
	CHECK(wal.count == before && relay_others(streamers[0].relay) == 0);
}

static void
two_find_each_other(void)
{
	start(1);
	CHECK(relay_others(streamers[0].relay) == 1 && relay_others(streamers[1].relay) == 1);
	CHECK(strstr(seen(1), "?1 +client:r1:{\"a\":1}@1 .1 ") != NULL);
	CHECK_TEXT(seen(0), "?2 .2 ");
}

static void
what_is_said_arrives_in_order_and_together(void)
{
	static const unsigned char bytes[] = {0, 1, 255};
	struct relayed b = {.topic = "bin", .event = "\"e\"", .is_binary = true, .payload = (const char *) bytes, .len = sizeof(bytes)};
	int		before = wal.count;

	say(1, "{\"n\":1.50}");
	relay_put_presence(streamers[1].relay, "room", true, "k", "r2", "r1", "\"x\":[]");
	relay_put_end(streamers[1].relay, "room", true, "r2");
	say(1, "null");
	settle_down();
	CHECK(wal.count == before + 1);
	CHECK_TEXT(seen(0), "room/e={\"n\":1.50} +k:r2:r1{\"x\":[]}@2 -r2@2 room/e=null ");
	relay_put_broadcast(streamers[0].relay, &b);
	settle_down();
	CHECK(memcmp(streamers[1].seen.data, "public bin/\"e\"=\0\1\377! ", 19) == 0);
	seen(1);
	CHECK_TEXT(seen(0), "");
}

static void
a_third_hears_of_all(void)
{
	streamers[1].ref = "r2";
	start(2);
	CHECK(relay_others(streamers[2].relay) == 2);
	CHECK(strstr(streamers[2].seen.data, "+client:r1:{\"a\":1}@1") != NULL && strstr(streamers[2].seen.data, "+client:r2:{\"a\":1}@2") != NULL);
	for (int i = 0; i < STREAMERS; i++)
		seen(i);
}

static void
a_lost_message_is_noticed(void)
{
	streamers[2].is_deaf = true;
	say(0, "1");
	settle_down();
	streamers[2].is_deaf = false;
	CHECK_TEXT(seen(2), "");
	say(0, "2");
	settle_down();
	CHECK(strstr(streamers[2].seen.data, "room/e=2") != NULL && strstr(streamers[2].seen.data, "?1 +client:r1:{\"a\":1}@1 .1") != NULL);
	for (int i = 0; i < STREAMERS; i++)
		seen(i);
}

static void
the_living_are_heard_and_the_silent_are_gone(void)
{
	pass(60000);
	for (int i = 0; i < STREAMERS; i++)
		CHECK_TEXT(seen(i), "");
	streamers[1].is_dead = true;
	pass(RELAY_SILENT_MS + 2000);
	CHECK_TEXT(seen(0), "gone 2 ");
	CHECK_TEXT(seen(2), "gone 2 ");
	streamers[1].is_dead = false;
	streamers[1].heard = wal.count;
	pass(1000);
	CHECK(relay_others(streamers[0].relay) == 2 && relay_others(streamers[1].relay) == 2);
	CHECK(strstr(seen(0), "+client:r2:{\"a\":1}@2") != NULL);
	seen(1);
	seen(2);
}

static void
who_is_deaf_counts_nobody_out(void)
{
	relay_hears(streamers[0].relay, false, now_ms);
	streamers[0].is_deaf = true;
	pass(RELAY_SILENT_MS + 2000);
	CHECK(relay_others(streamers[0].relay) == 2);
	CHECK_TEXT(seen(1), "gone 1 ");
	streamers[0].is_deaf = false;
	relay_hears(streamers[0].relay, true, now_ms);
	settle_down();
	CHECK(relay_others(streamers[1].relay) == 2);
	CHECK(strstr(seen(1), "+client:r1:{\"a\":1}@1") != NULL);
	seen(0);
	seen(2);
}

static void
goodbye_counts_at_once(void)
{
	relay_say_goodbye(streamers[0].relay);
	streamers[0].is_dead = true;
	settle_down();
	CHECK_TEXT(seen(1), "gone 1 ");
	CHECK_TEXT(seen(2), "gone 1 ");
}

static void
the_queue_has_a_limit(void)
{
	char   *large = malloc(RELAY_QUEUE_MAX / 2);

	memset(large, '1', RELAY_QUEUE_MAX / 2);
	large[RELAY_QUEUE_MAX / 2 - 1] = '\0';
	say(1, large);
	say(1, large);
	say(1, "3");
	relay_put_end(streamers[1].relay, "room", true, "r2");
	settle_down();
	CHECK(strstr(streamers[2].seen.data, "=3 ") != NULL && streamers[2].seen.len < RELAY_QUEUE_MAX);
	free(large);
	seen(2);
}

static void
garbage_is_let_be(void)
{
	static const char *const bad[] = {
		"{}", "{\"from\":1,\"n\":1}", "{\"from\":\"x\",\"n\":1}", "{\"from\":\"00000000000000ff\"}",
		"{\"from\":\"0000000000000003\",\"n\":-5,\"items\":[1,[],[2],[\"broadcast\"],[\"broadcast\",1,2,3,4],[\"here\",\"a\",true,\"k\",\"r\"],[\"binary\",\"t\",true,\"e\",\"*\"],[\"left\"]]}",
	};

	seen(1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		struct json *doc = json_parse(bad[i], strlen(bad[i]), 100);

		relay_take(streamers[1].relay, json_root(doc), now_ms);
		json_free(doc);
	}
	CHECK_TEXT(seen(1), "");
}

int
main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	for (int i = 0; i < STREAMERS; i++)
		streamers[i].is_dead = true;
	alone_nothing_is_written();
	two_find_each_other();
	what_is_said_arrives_in_order_and_together();
	a_third_hears_of_all();
	a_lost_message_is_noticed();
	the_living_are_heard_and_the_silent_are_gone();
	who_is_deaf_counts_nobody_out();
	goodbye_counts_at_once();
	the_queue_has_a_limit();
	garbage_is_let_be();
	for (int i = 0; i < STREAMERS; i++)
	{
		relay_free(streamers[i].relay);
		buffer_free(&streamers[i].seen);
	}
	for (int i = 0; i < wal.count; i++)
		free(wal.messages[i]);
	return CHECK_END();
}

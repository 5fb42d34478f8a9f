/* channel_fuzz.c - clients that say anything, beside a database and a stream that answer in any order: frames can be read, no client gets another's rows, nothing is left behind.
 * The whole of levels 0 and 1 as streamer.c wires it, without sockets; tokens are letters (their subject) and digits (how long they are good), as token_fuzz.c has the real ones. */
/* SPDX-License-Identifier: PostgreSQL */
#include <inttypes.h>

#include "auth.h"
#include "channel_world.h"
#include "describe.h"

static const char *const topics[] = {"sync:a", "sync:b", "realtime:r", "realtime:s", "phoenix", "realtime:", "sync:", "else"};
static const char *const events[] = {"phx_join", "phx_leave", "push", "pull", "digest", "resolve_conflict", "lock", "unlock", "access_token", "broadcast", "presence", "heartbeat", "stats", "changes", "x", "phx_close"};

static const struct
{
	unsigned topic;
	const char *event;
	const char *payload;
}			sayings[] = {
	{0, "phx_join", "{\"access_token\":\"ada\",\"device_id\":\"d\"}"},
	{0, "phx_join", "{\"access_token\":\"ben\",\"device_id\":\"e\",\"fields\":\"changed\"}"},
	{1, "phx_join", "{\"access_token\":\"ada\",\"tables\":[\"t\"],\"sync_token\":\"part.x\"}"},
	{2, "phx_join", "{\"access_token\":\"ada\",\"config\":{\"broadcast\":{\"self\":true,\"ack\":true},\"presence\":{\"key\":\"k\",\"enabled\":true},\"postgres_changes\":[{\"event\":\"*\",\"schema\":\"public\"}]}}"},
	{2, "phx_join", "{\"access_token\":\"ben\",\"config\":{\"private\":true,\"broadcast\":{\"replication_ready\":true},\"presence\":{\"enabled\":true},\"postgres_changes\":[]}}"},
	{3, "phx_join", "{\"access_token\":\"ben\",\"config\":{\"postgres_changes\":[{\"event\":\"UPDATE\",\"schema\":\"public\",\"table\":\"t\",\"filter\":\"n=gt.0\"}]}}"},
	{0, "push", "{\"changes\":[{\"queue_id\":\"1\",\"operation\":\"delete\",\"entity_type\":\"t\",\"entity_id\":\"1\"}],\"sync_token\":\"part.x\"}"},
	{0, "pull", "{}"},
	{0, "access_token", "{\"access_token\":\"ada5\"}"},
	{2, "access_token", "{\"access_token\":\"ada5\"}"},
	{2, "access_token", "{\"access_token\":\"ben5\"}"},
	{2, "broadcast", "{\"type\":\"broadcast\",\"event\":\"e\",\"payload\":{\"a\":1}}"},
	{2, "presence", "{\"event\":\"track\",\"payload\":{\"a\":1}}"},
	{2, "presence", "{\"event\":\"untrack\"}"},
	{0, "stats", "{\"storage_bytes\":1}"},
	{4, "heartbeat", "{}"},
};
#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* In the client's serializer, whatever the payload is. */
static void
say(struct world *w, struct client *c, const char *topic, const char *event, const char *payload)
{
	struct buffer text;

	buffer_init(&text);
	if (c->format == MESSAGE_OBJECTS)
		buffer_printf(&text, "{\"topic\":\"%s\",\"event\":\"%s\",\"payload\":%s,\"ref\":\"2\",\"join_ref\":\"1\"}", topic, event, payload);
	else
		buffer_printf(&text, "[\"1\",\"2\",\"%s\",\"%s\",%s]", topic, event, payload);
	world_say(w, c, text.data, text.len, false);
	buffer_free(&text);
}

static void
client_says(struct world *w, struct input *in, struct client *c, unsigned how)
{
	unsigned which;
	char   *text;

	if (how == 0)
	{
		which = input_byte(in) % COUNT(sayings);
		say(w, c, topics[sayings[which].topic], sayings[which].event, sayings[which].payload);
		return;
	}
	if (how == 1)
	{
		which = input_byte(in);
		text = input_text(in);
		say(w, c, topics[which % COUNT(topics)], events[which / 16 % COUNT(events)], text);
	}
	else
	{
		text = input_text(in);
		world_say(w, c, text, strlen(text), how == 2);
	}
	free(text);
}

static void
answer_database(struct world *w, struct input *in, unsigned how)
{
	char   *text;

	if (how < 4)
	{
		world_answer(w, how, (struct answer) {.status = ANSWER_OK}, NULL);
		return;
	}
	text = input_text(in);
	if (text_is_utf8(text, strlen(text)) && how < 8)
		world_answer(w, how - 4, (struct answer) {.status = ANSWER_OK}, text);
	else
		world_answer(w, how % 4, (struct answer) {.status = how < 12 ? ANSWER_REFUSED : ANSWER_UNAVAILABLE, .sqlstate = strlen(text) < 6 ? text : "SY403", .text = "x"}, NULL);
	free(text);
}

static void
topics_and_devices(struct world *w, struct input *in, unsigned how)
{
	char   *text = input_text(in);
	struct json *doc = text_is_utf8(text, strlen(text)) ? json_parse(text, strlen(text), 1000) : NULL;
	struct buffer out;

	buffer_init(&out);
	if (how % 4 == 0 && json_type(json_root(doc)) == JSON_OBJECT)
		rooms_message(w->rooms, json_root(doc), w->now_ms);
	else if (how % 4 == 1)
		connections_revoke(w->connections, "ada", text);
	else if (how % 4 == 2)
	{
		describe_sessions(w->hub, w->feed, "ada", w->now_ms, &out);
		require_json_text(&out);
	}
	else
		rooms_recheck(w->rooms, how == 3 ? NULL : "ben", w->now_ms);
	buffer_free(&out);
	json_free(doc);
	free(text);
}

static void
step(struct world *w, struct input *in)
{
	unsigned what = input_byte(in);
	unsigned how = what >> 4;
	struct client *c = &w->clients[how % CLIENTS];

	switch (what & 15)
	{
		case 0: case 1:
			client_says(w, in, &w->clients[what & 1], how % 4);
			break;
		case 2:
			answer_database(w, in, how);
			break;
		case 3:
			world_line(w, how);
			break;
		case 4:
			world_line(w, 16 + how);
			break;
		case 5:
			world_wal(w, in);
			break;
		case 6:
			world_upkeep(w, in, how);
			break;
		case 7:
			world_pass(w, (int64_t) how * 100);
			break;
		case 8:
			world_pass(w, (int64_t) how * 3000);
			break;
		case 9:
			world_drain(w, c);
			break;
		case 10:
			world_open(w, c, (enum message_format) (how / 4 % 4), how >= 8 ? "ada" : NULL);
			break;
		case 11:
			world_stream(w, in, how);
			break;
		case 12:
			world_slot(w, how);
			break;
		case 13:
			topics_and_devices(w, in, how);
			break;
		default:
			world_settle(w);
	}
	world_turn_end(w);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	struct world *w = world_new(memmem(data, size, "only-", 5) == NULL);

	while (input_left(&in) > 0)
		step(w, &in);
	world_free(w);
	return 0;
}

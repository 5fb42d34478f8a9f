/* relay_fuzz.c - any message of another streamer: what is passed on has names and an object for a meta; what we say ourselves is read alike by another. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "presence.h"
#include "relay.h"
#include "topics.h"

static struct buffer said;		/* by the relay that speaks */
static struct buffer heard;		/* what came of it, in words */

static void
send(void *owner, const char *json)
{
	(void) owner;
	buffer_reset(&said);
	buffer_puts(&said, json);
	require_json_text(&said);
}

static void
wake(void *owner, int64_t delay_ms)
{
	(void) owner;
	REQUIRE(delay_ms >= 0);
}

static void
broadcast(void *owner, const struct relayed *b)
{
	(void) owner;
	REQUIRE(b->topic != NULL && b->event != NULL && b->payload != NULL);
	buffer_printf(&heard, "%d%d%s/%s=", b->is_private, b->is_binary, b->topic, b->event);
	buffer_put(&heard, b->payload, b->len);
}

static void
presence(void *owner, uint64_t from, const struct relayed_presence *p)
{
	(void) owner;
	(void) from;
	REQUIRE(p->topic != NULL && p->ref != NULL && strlen(p->ref) <= PRESENCE_REF_MAX);
	REQUIRE(p->key == NULL || (p->previous != NULL && json_type(p->meta) == JSON_OBJECT));
	buffer_printf(&heard, "%d%s %s %s", p->is_private, p->topic, p->ref, p->key != NULL ? p->key : "-");
}

static void
nothing(void *owner)
{
	(void) owner;
}

static void
about(void *owner, uint64_t from)
{
	(void) owner;
	(void) from;
}

static const struct relay_calls calls = {send, wake, broadcast, presence, nothing, about, about, about};

static void
take(struct relay *r, const char *text, size_t len, int64_t now_ms)
{
	struct json *doc = json_parse(text, len, 100000);

	if (doc != NULL)
		relay_take(r, json_root(doc), now_ms);
	json_free(doc);
}

/* One speaks, another listens: the same must come out. */
static void
tell(struct input *in)
{
	static const char hello[] = "{\"from\":\"0000000000000002\",\"n\":0,\"hello\":true,\"items\":[]}";
	struct relay *speaker = relay_new(1, &calls, NULL);
	struct relay *listener = relay_new(2, &calls, NULL);
	unsigned how = input_byte(in);
	char   *topic = input_text(in);
	char   *event = input_text(in);
	size_t	len;
	char   *payload = input_rest(in, &len);
	struct relayed b = {.topic = topic, .is_private = (how & 2) != 0, .event = event, .is_binary = (how & 4) != 0, .payload = payload, .len = len};
	struct json *doc = text_is_utf8(payload, len) ? json_parse(payload, len, 1000) : NULL;

	relay_hears(speaker, true, 1);
	relay_hears(listener, true, 1);
	take(speaker, hello, strlen(hello), 1);
	relay_flush(speaker);		/* hello, and its presences */
	relay_sent(speaker, true);
	if (text_is_utf8(topic, strlen(topic)) && text_is_utf8(event, strlen(event)) && (b.is_binary || doc != NULL))
	{
		bool	is_deep = false;

		relay_put_broadcast(speaker, &b);
		buffer_reset(&said);
		for (int i = 0; i < 3 && memmem(said.data != NULL ? said.data : "", said.len, b.is_binary ? "[\"binary\"" : "[\"broadcast\"", b.is_binary ? 9 : 12) == NULL; i++)
		{
			relay_flush(speaker);
			relay_sent(speaker, true);
		}
		if (!b.is_binary)
		{
			struct json *again = json_parse(said.data, said.len, 100000);

			is_deep = again == NULL;
			json_free(again);
		}
		buffer_reset(&heard);
		take(listener, said.data, said.len, 2);
		if (!is_deep)
		{
			struct buffer wanted;

			buffer_init(&wanted);
			buffer_printf(&wanted, "%d%d%s/%s=", b.is_private, b.is_binary, topic, event);
			/* white space around a value is no part of it */
			if (b.is_binary)
				buffer_put(&wanted, payload, len);
			else
				buffer_put(&wanted, json_root(doc).raw, json_root(doc).len);
			REQUIRE(heard.len == wanted.len && memcmp(heard.data, wanted.data, heard.len) == 0);
			buffer_free(&wanted);
		}
	}
	json_free(doc);
	relay_free(speaker);
	relay_free(listener);
	free(topic);
	free(event);
	free(payload);
}

/* Messages one by one, cut at NULs, some time apart. */
static void
listen(struct input *in)
{
	struct relay *r = relay_new(1, &calls, NULL);
	int64_t now_ms = 1;

	relay_hears(r, true, now_ms);
	while (input_left(in) > 0)
	{
		unsigned pause = input_byte(in);
		char   *text = input_text(in);

		now_ms += (int64_t) pause * 100;
		if (text_is_utf8(text, strlen(text)))
			take(r, text, strlen(text), now_ms);
		REQUIRE(relay_others(r) <= RELAY_OTHERS_MAX);
		relay_flush(r);
		relay_sent(r, (pause & 1) != 0);
		relay_tick(r, now_ms);
		buffer_reset(&heard);
		free(text);
	}
	relay_say_goodbye(r);
	relay_free(r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);

	if (size == 0)
		return 0;
	if ((data[0] & 1) != 0)
		tell(&in);
	else
		listen(&in);
	return 0;
}

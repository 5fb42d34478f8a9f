/* relay.c - what the streamers of one database tell each other: broadcasts and presences of their clients, and that they are there. */
/* SPDX-License-Identifier: PostgreSQL */
#include "relay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "presence.h"
#include "topics.h"

/*
 * A message is {"from","n","hello"?,"bye"?,"items":[…]}; n counts the messages of one streamer, so that a lost one is noticed. `hello` asks all
 * others for their presences: it comes from one that is new, or that has missed something. Items:
 *
 *   ["broadcast", topic, is_private, event, payload]   ["binary", topic, is_private, event, base64url]
 *   ["here", topic, is_private, key, ref, previous, {meta}]   ["left", topic, is_private, ref]
 *   ["presences"] what follows is all there is   ["settled"] and now that has come to its end
 */

struct item
{
	struct item *next;
	bool	is_presence;
	size_t	len;
	char	text[];
};

struct other
{
	uint64_t id;
	uint64_t expected;		/* its next n */
	int64_t heard_ms;
};

struct relay
{
	uint64_t id;
	uint64_t n;
	struct relay_calls calls;
	void   *owner;
	struct other others[RELAY_OTHERS_MAX];
	size_t	other_count;
	struct item *first;		/* owned, like all behind it */
	struct item *last;
	size_t	bytes;
	bool	is_sending;
	bool	is_woken;			/* relay_flush will be called */
	bool	is_hearing;
	bool	is_hello_due;
	bool	is_state_due;		/* all our presences are to be told once the queue is empty */
	bool	is_full;			/* something was lost since the last tick */
	int64_t now_ms;
	int64_t sent_ms;
	int64_t tick_ms;
};

struct relay *
relay_new(uint64_t id, const struct relay_calls *calls, void *owner)
{
	struct relay *r = memory_new(sizeof(*r));

	r->id = id;
	r->calls = *calls;
	r->owner = owner;
	return r;
}

static struct item *
take_item(struct relay *r)
{
	struct item *item = r->first;

	r->first = item->next;
	if (r->first == NULL)
		r->last = NULL;
	r->bytes -= item->len;
	return item;
}

static void
drop_items(struct relay *r)
{
	while (r->first != NULL)
		free(take_item(r));
}

void
relay_free(struct relay *r)
{
	if (r == NULL)
		return;
	drop_items(r);
	free(r);
}

uint64_t
relay_id(const struct relay *r)
{
	return r->id;
}

size_t
relay_others(const struct relay *r)
{
	return r->other_count;
}

static void
wake(struct relay *r, int64_t delay_ms)
{
	if (r->is_woken || r->is_sending)
		return;
	r->is_woken = true;
	r->calls.wake(r->owner, delay_ms);
}

/* Takes the text over. */
static void
put_item(struct relay *r, struct buffer *text, bool is_presence)
{
	struct item *item;

	memory_require(text->failed ? NULL : text->data);
	if (r->bytes + text->len > RELAY_QUEUE_MAX)
	{
		r->is_full = true;
		r->is_state_due = r->is_state_due || is_presence;
		metric_add_for(METRIC_LIMITED, "relay", 1);
		buffer_free(text);
		return;
	}
	item = memory_new(sizeof(*item) + text->len + 1);
	item->is_presence = is_presence;
	item->len = text->len;
	memcpy(item->text, text->data, text->len);
	buffer_free(text);
	if (r->last != NULL)
		r->last->next = item;
	else
		r->first = item;
	r->last = item;
	r->bytes += item->len;
	wake(r, RELAY_GATHER_MS);
}

static void
begin_item(struct buffer *text, const char *what, const char *topic, bool is_private)
{
	buffer_init(text);
	buffer_printf(text, "[\"%s\",", what);
	buffer_json_string(text, topic, strlen(topic));
	buffer_puts(text, is_private ? ",true," : ",false,");
}

void
relay_put_broadcast(struct relay *r, const struct relayed *b)
{
	struct buffer text;

	if (r->other_count == 0)
		return;
	begin_item(&text, b->is_binary ? "binary" : "broadcast", b->topic, b->is_private);
	buffer_json_string(&text, b->event, strlen(b->event));
	if (b->is_binary)
	{
		buffer_puts(&text, ",\"");
		buffer_base64url(&text, (const uint8_t *) b->payload, b->len);
		buffer_puts(&text, "\"]");
	}
	else
	{
		buffer_putc(&text, ',');
		buffer_put(&text, b->payload, b->len);
		buffer_putc(&text, ']');
	}
	put_item(r, &text, false);
}

void
relay_put_presence(struct relay *r, const char *topic, bool is_private, const char *key, const char *ref, const char *previous, const char *members)
{
	struct buffer text;

	if (r->other_count == 0)
		return;
	begin_item(&text, "here", topic, is_private);
	buffer_json_string(&text, key, strlen(key));
	buffer_printf(&text, ",\"%s\",\"%s\",{%s}]", ref, previous, members);
	put_item(r, &text, true);
}

void
relay_put_end(struct relay *r, const char *topic, bool is_private, const char *ref)
{
	struct buffer text;

	if (r->other_count == 0)
		return;
	begin_item(&text, "left", topic, is_private);
	buffer_printf(&text, "\"%s\"]", ref);
	put_item(r, &text, true);
}

static void
put_mark(struct relay *r, const char *what)
{
	struct buffer text;

	buffer_init(&text);
	buffer_printf(&text, "[\"%s\"]", what);
	put_item(r, &text, true);
}

/* Everything that waits is older than this and goes first. */
static void
put_state(struct relay *r)
{
	r->is_state_due = false;
	put_mark(r, "presences");
	r->calls.tell_presences(r->owner);
	put_mark(r, "settled");
}

static void
send(struct relay *r, const char *flag)
{
	struct buffer text;
	size_t	count = 0;

	buffer_init(&text);
	buffer_printf(&text, "{\"from\":\"%016" PRIx64 "\",\"n\":%" PRIu64 "%s,\"items\":[", r->id, r->n++, flag);
	while (r->first != NULL && (count == 0 || text.len + r->first->len < RELAY_MESSAGE_MAX))
	{
		struct item *item = take_item(r);

		buffer_puts(&text, count++ > 0 ? "," : "");
		buffer_put(&text, item->text, item->len);
		free(item);
	}
	buffer_puts(&text, "]}");
	memory_require(text.failed ? NULL : text.data);
	metric_add_for(METRIC_RELAYED, "out", count);
	r->is_sending = true;
	r->sent_ms = r->now_ms;
	r->calls.send(r->owner, text.data);
	buffer_free(&text);
}

void
relay_flush(struct relay *r)
{
	r->is_woken = false;
	if (r->is_sending || !r->is_hearing)		/* also when it has said goodbye */
		return;
	if (r->is_state_due && r->first == NULL && r->other_count > 0)
		put_state(r);
	if (r->is_hello_due)
	{
		r->is_hello_due = false;
		send(r, ",\"hello\":true");
	}
	else if (r->first != NULL)
		send(r, "");
}

/* What was lost is noticed by the others from the gap in n; they ask then. */
void
relay_sent(struct relay *r, bool is_ok)
{
	r->is_sending = false;
	if (!is_ok)
		log_event(LOG_LEVEL_WARNING, "relay_failed", "text=\"a message to the other streamers was lost\"");
	if (r->first != NULL || r->is_hello_due || r->is_state_due)
		wake(r, is_ok ? 0 : RELAY_GATHER_MS);
}

static struct other *
find_other(struct relay *r, uint64_t id)
{
	for (size_t i = 0; i < r->other_count; i++)
		if (r->others[i].id == id)
			return &r->others[i];
	return NULL;
}

static void
ask_all(struct relay *r)
{
	r->is_hello_due = r->is_state_due = true;
	wake(r, RELAY_GATHER_MS);
}

static void
forget_other(struct relay *r, struct other *o, const char *reason)
{
	uint64_t id = o->id;

	*o = r->others[--r->other_count];
	if (r->other_count == 0)
		drop_items(r);
	log_event(LOG_LEVEL_INFO, "streamer_gone", "id=%016" PRIx64 " reason=\"%s\"", id, reason);
	r->calls.gone(r->owner, id);
}

/* NULL: there is no room for another. */
static struct other *
meet(struct relay *r, uint64_t id, uint64_t n, bool says_hello)
{
	struct other *o;

	if (r->other_count == RELAY_OTHERS_MAX)
	{
		r->is_full = true;
		return NULL;
	}
	o = &r->others[r->other_count++];
	*o = (struct other){.id = id, .expected = n, .heard_ms = r->now_ms};
	log_event(LOG_LEVEL_INFO, "streamer_met", "id=%016" PRIx64, id);
	r->is_state_due = true;
	if (!says_hello)
		r->is_hello_due = true;
	wake(r, RELAY_GATHER_MS);
	return o;
}

/* The texts of an item, by place; false: it is no item of ours. */
static bool
read_texts(struct json_value item, size_t first, size_t count, char **texts)
{
	struct json_value v = json_first(item);

	for (size_t i = 0; i < first; i++)
		v = json_next(v);
	for (size_t i = 0; i < count; i++, v = json_next(v))
		if ((texts[i] = json_strdup(v)) == NULL)
			return false;
	return true;
}

static struct json_value
element(struct json_value item, int place)
{
	struct json_value v = json_first(item);

	while (place-- > 0)
		v = json_next(v);
	return v;
}

static void
take_broadcast(struct relay *r, struct json_value item, bool is_binary)
{
	struct json_value payload = element(item, 4);
	char   *texts[2] = {NULL, NULL};		/* topic, event */
	struct relayed b = {.is_private = json_bool(element(item, 2), true), .is_binary = is_binary};
	struct buffer bytes;
	bool	is_good = read_texts(item, 1, 1, &texts[0]) && read_texts(item, 3, 1, &texts[1]) && json_type(payload) != JSON_ABSENT;

	buffer_init(&bytes);
	if (is_good && is_binary)
		is_good = json_type(payload) == JSON_STRING && buffer_unbase64url(&bytes, payload.raw + 1, payload.len - 2);
	b.topic = texts[0];
	b.event = texts[1];
	b.payload = is_binary ? (bytes.data != NULL ? bytes.data : "") : payload.raw;
	b.len = is_binary ? bytes.len : payload.len;
	if (is_good)
		r->calls.broadcast(r->owner, &b);
	buffer_free(&bytes);
	free(texts[0]);
	free(texts[1]);
}

static void
take_presence(struct relay *r, uint64_t from, struct json_value item, bool is_end)
{
	char   *topic[1] = {NULL};
	char   *texts[3] = {NULL, NULL, NULL};		/* key, ref, previous; or ref alone */
	struct relayed_presence p = {.is_private = json_bool(element(item, 2), true), .meta = element(item, 6)};
	bool	is_good = read_texts(item, 1, 1, topic) && read_texts(item, 3, is_end ? 1 : 3, texts);

	p.topic = topic[0];
	p.key = is_end ? NULL : texts[0];
	p.ref = is_end ? texts[0] : texts[1];
	p.previous = texts[2];
	if (is_good && (is_end || json_type(p.meta) == JSON_OBJECT) && strlen(p.ref) <= PRESENCE_REF_MAX)
		r->calls.presence(r->owner, from, &p);
	free(topic[0]);
	for (int i = 0; i < 3; i++)
		free(texts[i]);
}

static void
take(struct relay *r, uint64_t from, struct json_value item)
{
	struct json_value what = json_first(item);

	metric_add_for(METRIC_RELAYED, "in", 1);
	if (json_equals(what, "broadcast"))
		take_broadcast(r, item, false);
	else if (json_equals(what, "binary"))
		take_broadcast(r, item, true);
	else if (json_equals(what, "here"))
		take_presence(r, from, item, false);
	else if (json_equals(what, "left"))
		take_presence(r, from, item, true);
	else if (json_equals(what, "presences"))
		r->calls.doubt(r->owner, from);
	else if (json_equals(what, "settled"))
		r->calls.settle(r->owner, from);
}

static bool
read_id(struct json_value v, uint64_t *id)
{
	char	text[17];
	char   *end;

	if (!json_string(v, text, sizeof(text)) || strlen(text) != 16)
		return false;
	*id = strtoull(text, &end, 16);
	return *end == '\0';
}

void
relay_take(struct relay *r, struct json_value message, int64_t now_ms)
{
	bool	says_hello = json_bool(json_member(message, "hello"), false);
	struct other *o;
	uint64_t from;
	int64_t n;

	r->now_ms = now_ms;
	if (!read_id(json_member(message, "from"), &from) || from == r->id || !json_int64(json_member(message, "n"), &n))
		return;
	o = find_other(r, from);
	if (json_bool(json_member(message, "bye"), false))
	{
		if (o != NULL)
			forget_other(r, o, "it has ended");
		return;
	}
	if (o == NULL && (o = meet(r, from, (uint64_t) n, says_hello)) == NULL)
		return;
	if (o->expected != (uint64_t) n && !says_hello)
		ask_all(r);
	if (says_hello)
	{
		r->is_state_due = true;
		wake(r, RELAY_GATHER_MS);
	}
	o->expected = (uint64_t) n + 1;
	o->heard_ms = now_ms;
	for (struct json_value item = json_first(json_member(message, "items")); json_type(item) != JSON_ABSENT; item = json_next(item))
		take(r, from, item);
}

/* Who could not listen for a while cannot tell who was silent, and may have missed something. */
static void
listen_anew(struct relay *r)
{
	for (size_t i = 0; i < r->other_count; i++)
		r->others[i].heard_ms = r->now_ms;
	ask_all(r);
}

void
relay_hears(struct relay *r, bool is_hearing, int64_t now_ms)
{
	r->now_ms = now_ms;
	if (is_hearing && !r->is_hearing)
		listen_anew(r);
	r->is_hearing = is_hearing;
}

static void
say_full(struct relay *r)
{
	if (r->is_full)
		log_event(LOG_LEVEL_WARNING, "relay_full", "limit=%zu streamers=%d text=\"messages to the other streamers were lost\"", RELAY_QUEUE_MAX, RELAY_OTHERS_MAX);
	r->is_full = false;
}

void
relay_tick(struct relay *r, int64_t now_ms)
{
	bool	was_asleep = r->tick_ms != 0 && now_ms - r->tick_ms > RELAY_BEAT_MS;

	r->now_ms = r->tick_ms = now_ms;
	say_full(r);
	if (!r->is_hearing)
		return;
	if (was_asleep)
		listen_anew(r);
	for (size_t i = r->other_count; i-- > 0;)
		if (now_ms - r->others[i].heard_ms > RELAY_SILENT_MS)
			forget_other(r, &r->others[i], "it is silent");
	if (!r->is_sending && now_ms - r->sent_ms >= (r->other_count > 0 ? RELAY_BEAT_MS : RELAY_ALONE_MS))
		send(r, r->other_count > 0 ? "" : ",\"hello\":true");
}

void
relay_say_goodbye(struct relay *r)
{
	if (r->other_count > 0 && r->is_hearing)
	{
		drop_items(r);
		send(r, ",\"bye\":true");
	}
	r->is_hearing = false;
}

/* rooms.c - the topics of realtime: sessions: who is in them, broadcasts and presence to them, and to the other streamers. */
/* SPDX-License-Identifier: PostgreSQL */
#include "rooms.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "entrance.h"
#include "chance.h"
#include "memory.h"
#include "metrics.h"
#include "realtime.h"
#include "topics.h"

#define STATE_AFTER_MS 100			/* a diff that needs the whole state after it; */
#define STATE_EVERY_MS 1000			/* at most so often, */
#define STATE_METAS_MAX 200			/* and only of topics this small */
#define RECHECK_SPREAD_MS 500		/* rights that may have changed for everybody */

struct rooms
{
	struct topics topics;
	struct relay *relay;
	struct rooms_calls calls;
	void   *owner;
	uint64_t last_ref;
	size_t	presences;
	bool	allows_public;
};

/* One event in the three shapes that clients take, each built when the first needs it. */
struct shapes
{
	struct frame *arrays;
	struct frame *objects;
	struct frame *binary;
};

static void
release(struct shapes *f)
{
	frame_release(f->arrays);
	frame_release(f->objects);
	frame_release(f->binary);
}

static struct frame *
text_frame(struct shapes *f, const struct session *s, const char *event, const struct buffer *payload)
{
	struct frame **frame = s->format == MESSAGE_ARRAYS ? &f->arrays : &f->objects;
	struct buffer text;

	if (*frame == NULL)
	{
		buffer_init(&text);
		message_put(&text, s->format, NULL, NULL, s->topic, event, payload->data, payload->len);
		memory_require(text.failed ? NULL : text.data);
		*frame = frame_text(text.data, text.len);
		buffer_free(&text);
	}
	return frame_retain(*frame);
}

/* NULL: its client cannot take bytes. */
static struct frame *
binary_frame(struct shapes *f, const struct session *s, const struct relayed *b)
{
	struct message_broadcast broadcast = {.metadata = "", .payload = b->payload, .payload_len = b->len};
	struct buffer bytes;

	if (s->format != MESSAGE_ARRAYS || strlen(b->event) >= sizeof(broadcast.event))
		return NULL;
	if (f->binary == NULL)
	{
		memcpy(broadcast.event, b->event, strlen(b->event) + 1);
		buffer_init(&bytes);
		if (message_put_broadcast(&bytes, s->topic, &broadcast))
		{
			memory_require(bytes.failed ? NULL : bytes.data);
			f->binary = frame_binary(bytes.data, bytes.len);
		}
		buffer_free(&bytes);
	}
	return f->binary != NULL ? frame_retain(f->binary) : NULL;
}

/* May close the session, and only it, when its client is too slow. */
static void
put(struct session *s, struct frame *f)
{
	if (f != NULL)
		s->calls->put(s->connection, (struct outbox_entry){.frame = f, .session = s->id, .is_live = true});
}

static void
put_broadcast(struct buffer *payload, const struct relayed *b)
{
	buffer_puts(payload, "{\"type\":\"broadcast\",\"event\":");
	buffer_json_string(payload, b->event, strlen(b->event));
	buffer_puts(payload, ",\"payload\":");
	buffer_put(payload, b->payload, b->len);
	buffer_putc(payload, '}');
	memory_require(payload->failed ? NULL : payload->data);
}

/* From the last member to the first: one that is closed on the way makes room for one that had its turn. */
static void
deliver(struct rooms *r, const struct session *sender, const struct relayed *b)
{
	struct topic *topic = topics_find(&r->topics, b->topic, b->is_private);
	struct shapes f = {NULL, NULL, NULL};
	struct buffer payload;

	if (topic == NULL)
		return;
	buffer_init(&payload);
	if (!b->is_binary)
		put_broadcast(&payload, b);
	for (size_t i = topic->count; i-- > 0;)
	{
		struct session *s = topic->members[i]->owner;

		if (s != sender || s->realtime->hears_itself)
			put(s, b->is_binary ? binary_frame(&f, s, b) : text_frame(&f, s, "broadcast", &payload));
	}
	release(&f);
	buffer_free(&payload);
}

void
rooms_broadcast(struct rooms *r, const struct session *sender, const struct relayed *b, const char *from)
{
	metric_add_for(METRIC_BROADCASTS, from, 1);
	deliver(r, sender, b);
	relay_put_broadcast(r->relay, b);
}

static void
note_presences(struct rooms *r, size_t before, const struct presence *p)
{
	r->presences = r->presences - before + presence_count(p);
	metric_set(METRIC_PRESENCES, (double) r->presences);
}

void
rooms_show_presence(struct rooms *r, struct session *s)
{
	struct buffer state;

	(void) r;
	buffer_init(&state);
	presence_put_state(&s->realtime->member.topic->presence, &state);
	memory_require(state.failed ? NULL : state.data);
	session_put_event(s, NULL, "presence_state", state.data, state.len);
	s->realtime->sees_presence = true;
	buffer_free(&state);
}

void
rooms_enter(struct rooms *r, struct session *s)
{
	struct realtime *rt = s->realtime;

	if (rt->member.topic != NULL)
		return;
	rt->member.owner = s;
	topics_enter(topics_get(&r->topics, realtime_name(s), rt->is_private), &rt->member);
}

void
rooms_leave(struct rooms *r, struct session *s)
{
	if (s->realtime == NULL || s->realtime->member.topic == NULL)
		return;
	rooms_untrack(r, s);
	topics_leave(&r->topics, &s->realtime->member);
}

/* A random name that says nothing of who it is. */
static void
make_key(char key[PRESENCE_KEY_MAX + 1])
{
	uint64_t high = chance_bits();
	uint64_t low = chance_bits();

	snprintf(key, PRESENCE_KEY_MAX + 1, "%08x-%04x-4%03x-%04x-%012" PRIx64, (unsigned int) (high >> 32), (unsigned int) (high >> 16 & 0xffff), (unsigned int) (high & 0xfff),
			 (unsigned int) (0x8000 | (low >> 48 & 0x3fff)), low & UINT64_C(0xffffffffffff));
}

const char *
rooms_track(struct rooms *r, struct session *s, struct json_value meta)
{
	struct realtime *rt = s->realtime;
	struct topic *topic = rt->member.topic;
	char	ref[PRESENCE_REF_MAX + 1];
	const char *previous = rt->presence_ref[0] != '\0' ? rt->presence_ref : NULL;
	size_t	before = presence_count(&topic->presence);
	const struct presence_meta *m;

	if (previous != NULL && presence_is_same(&topic->presence, previous, meta))
		return NULL;
	if (previous == NULL && before >= PRESENCE_METAS_MAX)
		return "Too many presences in this topic";
	if (rt->presence_key[0] == '\0' || (rt->is_anonymous && previous == NULL))
		make_key(rt->presence_key);
	snprintf(ref, sizeof(ref), "%016" PRIx64 ".%" PRIx64, relay_id(r->relay), ++r->last_ref);
	presence_put(&topic->presence, rt->presence_key, ref, previous, relay_id(r->relay), meta);
	m = presence_find(&topic->presence, ref);
	relay_put_presence(r->relay, topic->name, topic->is_private, rt->presence_key, ref, m->previous, m->json);
	if (previous != NULL)
		relay_put_end(r->relay, topic->name, topic->is_private, previous);
	memcpy(rt->presence_ref, ref, sizeof(rt->presence_ref));
	topics_changed(&r->topics, topic);
	note_presences(r, before, &topic->presence);
	return NULL;
}

void
rooms_untrack(struct rooms *r, struct session *s)
{
	struct realtime *rt = s->realtime;
	struct topic *topic = rt->member.topic;
	size_t	before = topic != NULL ? presence_count(&topic->presence) : 0;

	if (topic == NULL || rt->presence_ref[0] == '\0')
		return;
	presence_remove(&topic->presence, rt->presence_ref);
	relay_put_end(r->relay, topic->name, topic->is_private, rt->presence_ref);
	rt->presence_ref[0] = '\0';
	topics_changed(&r->topics, topic);
	note_presences(r, before, &topic->presence);
}

static void
tell(struct topic *topic, const char *event, const struct buffer *payload, bool only_supabase)
{
	struct shapes f = {NULL, NULL, NULL};

	memory_require(payload->failed ? NULL : payload->data);
	for (size_t i = topic->count; i-- > 0;)
	{
		struct session *s = topic->members[i]->owner;

		if (s->realtime->sees_presence && (s->realtime->is_supabase || !only_supabase))
			put(s, text_frame(&f, s, event, payload));
	}
	release(&f);
}

/* Supabase's client, 2.109 for one, forgets the refs of metas once another one of their key joins or leaves, and would keep them for ever: the whole
 * state puts it right. To clients that count well it says nothing new. */
static void
tell_diff(struct topic *topic, int64_t now_ms)
{
	struct buffer diff;

	buffer_init(&diff);
	if (presence_put_diff(&topic->presence, &diff))
		tell(topic, "presence_diff", &diff, false);
	if (topic->presence.has_overlap && topic->state_at_ms == 0 && presence_count(&topic->presence) <= STATE_METAS_MAX)
		topic->state_at_ms = topic->state_ms + STATE_EVERY_MS > now_ms + STATE_AFTER_MS ? topic->state_ms + STATE_EVERY_MS : now_ms + STATE_AFTER_MS;
	buffer_free(&diff);
}

static void
tell_state(struct topic *topic, int64_t now_ms)
{
	struct buffer state;

	if (topic->state_at_ms == 0 || now_ms < topic->state_at_ms)
		return;
	topic->state_at_ms = 0;
	topic->state_ms = now_ms;
	buffer_init(&state);
	presence_put_state(&topic->presence, &state);
	tell(topic, "presence_state", &state, true);
	buffer_free(&state);
}

/* While it is being told a topic cannot go: it counts as changed. */
void
rooms_tick(struct rooms *r, int64_t now_ms)
{
	struct topic *list;

	relay_tick(r->relay, now_ms);
	list = topics_take_changed(&r->topics);
	while (list != NULL)
	{
		struct topic *topic = list;

		list = topic->next_changed;
		tell_diff(topic, now_ms);
		tell_state(topic, now_ms);
		topic->is_changed = false;
		if (topic->presence.changed != NULL || topic->state_at_ms != 0)		/* somebody was put out while it was told */
			topics_changed(&r->topics, topic);
		topics_tidy(&r->topics, topic);
	}
}

/* What the other streamers say. */

static void
relay_send(void *owner, const char *json)
{
	struct rooms *r = owner;

	r->calls.relay(r->owner, json);
}

static void
relay_wake(void *owner, int64_t delay_ms)
{
	struct rooms *r = owner;

	r->calls.wake(r->owner, delay_ms);
}

static void
relayed_broadcast(void *owner, const struct relayed *b)
{
	metric_add_for(METRIC_BROADCASTS, "streamer", 1);
	deliver(owner, NULL, b);
}

static void
relayed_presence(void *owner, uint64_t from, const struct relayed_presence *p)
{
	struct rooms *r = owner;
	struct topic *topic = topics_get(&r->topics, p->topic, p->is_private);
	size_t	before = presence_count(&topic->presence);
	bool	has_news;

	if (p->key == NULL)
		has_news = presence_remove(&topic->presence, p->ref);
	else
		has_news = presence_put(&topic->presence, p->key, p->ref, p->previous[0] != '\0' ? p->previous : NULL, from, p->meta);
	if (has_news)
		topics_changed(&r->topics, topic);
	note_presences(r, before, &topic->presence);
	topics_tidy(&r->topics, topic);
}

static void
tell_one(void *owner, const struct presence_meta *m, const char *key)
{
	const struct topic *topic = ((void **) owner)[1];
	struct rooms *r = ((void **) owner)[0];

	relay_put_presence(r->relay, topic->name, topic->is_private, key, m->ref, m->previous, m->json);
}

static void
tell_presences(void *owner)
{
	struct rooms *r = owner;
	size_t	place = 0;
	struct topic *topic;

	while ((topic = map_next(&r->topics.map, &place)) != NULL)
	{
		void   *both[2] = {r, topic};

		presence_each(&topic->presence, relay_id(r->relay), tell_one, both);
	}
}

static void
doubt(void *owner, uint64_t from)
{
	struct rooms *r = owner;
	size_t	place = 0;
	struct topic *topic;

	while ((topic = map_next(&r->topics.map, &place)) != NULL)
		presence_doubt(&topic->presence, from);
}

/* A topic that this leaves empty goes once it was told. */
static void
remove_all(struct rooms *r, uint64_t from, bool doubtful_only)
{
	size_t	place = 0;
	struct topic *topic;

	while ((topic = map_next(&r->topics.map, &place)) != NULL)
	{
		size_t	before = presence_count(&topic->presence);

		if (presence_remove_owner(&topic->presence, from, doubtful_only))
			topics_changed(&r->topics, topic);
		note_presences(r, before, &topic->presence);
	}
}

static void
settle(void *owner, uint64_t from)
{
	remove_all(owner, from, true);
}

static void
gone(void *owner, uint64_t from)
{
	remove_all(owner, from, false);
}

static void
take_broadcast(struct rooms *r, struct json_value message)
{
	struct json_value payload = json_member(message, "payload");
	char   *topic = json_strdup(json_member(message, "topic"));
	char   *event = json_strdup(json_member(message, "event"));
	struct relayed b = {
		.topic = topic, .is_private = json_bool(json_member(message, "private"), true), .event = event, .payload = payload.raw, .len = payload.len};

	if (topic != NULL && event != NULL && json_type(payload) != JSON_ABSENT)
	{
		metric_add_for(METRIC_BROADCASTS, "sql", 1);
		deliver(r, NULL, &b);
	}
	free(topic);
	free(event);
}

/* Spread, so that they do not all ask at once. */
static void
recheck_topic(const struct topic *topic, const char *user, int64_t now_ms, int64_t spread_ms)
{
	for (size_t i = 0; topic->is_private && i < topic->count; i++)
	{
		struct session *s = topic->members[i]->owner;

		if (user == NULL || strcasecmp(s->identity.subject, user) == 0)
			entrance_recheck(s, now_ms + chance_below(spread_ms));
	}
}

void
rooms_recheck(struct rooms *r, const char *user, int64_t now_ms)
{
	size_t	place = 0;
	struct topic *topic;

	while ((topic = map_next(&r->topics.map, &place)) != NULL)
		recheck_topic(topic, user, now_ms, user != NULL ? 1 : RECHECK_SPREAD_MS);
}

static void
take_watch(struct rooms *r, struct json_value users, int64_t now_ms)
{
	if (json_type(users) != JSON_ARRAY)
		rooms_recheck(r, NULL, now_ms);
	for (struct json_value v = json_first(users); json_type(users) == JSON_ARRAY && json_type(v) != JSON_ABSENT; v = json_next(v))
	{
		char   *user = json_strdup(v);

		if (user != NULL)
			rooms_recheck(r, user, now_ms);
		free(user);
	}
}

/* Every streamer reads what SQL sends: that is not relayed. */
void
rooms_message(struct rooms *r, struct json_value message, int64_t now_ms)
{
	struct json_value kind = json_member(message, "t");

	if (json_equals(kind, "broadcast"))
		take_broadcast(r, message);
	else if (json_equals(kind, "relay"))
		relay_take(r->relay, json_member(message, "relay"), now_ms);
	else if (json_equals(kind, "watch"))
		take_watch(r, json_member(message, "users"), now_ms);
}

bool
rooms_allow_public(const struct rooms *r)
{
	return r->allows_public;
}

void
rooms_flush(struct rooms *r)
{
	relay_flush(r->relay);
}

void
rooms_relayed(struct rooms *r, bool is_ok)
{
	relay_sent(r->relay, is_ok);
}

void
rooms_hear(struct rooms *r, bool is_hearing, int64_t now_ms)
{
	relay_hears(r->relay, is_hearing, now_ms);
}

void
rooms_say_goodbye(struct rooms *r)
{
	relay_say_goodbye(r->relay);
}

struct rooms *
rooms_new(uint64_t id, bool allows_public, const struct rooms_calls *calls, void *owner)
{
	static const struct relay_calls relay_calls = {
		.send = relay_send, .wake = relay_wake, .broadcast = relayed_broadcast, .presence = relayed_presence,
		.tell_presences = tell_presences, .doubt = doubt, .settle = settle, .gone = gone};
	struct rooms *r = memory_new(sizeof(*r));

	r->calls = *calls;
	r->owner = owner;
	r->allows_public = allows_public;
	topics_init(&r->topics);
	r->relay = relay_new(id, &relay_calls, r);
	return r;
}

void
rooms_free(struct rooms *r)
{
	if (r == NULL)
		return;
	topics_free(&r->topics);
	relay_free(r->relay);
	free(r);
}

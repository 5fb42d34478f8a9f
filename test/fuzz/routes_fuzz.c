/* routes_fuzz.c - any answers of sync.session_state for a few sessions that come and go: each is found by what it holds and by nothing else, and sees the columns it may read. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "routes.h"

#define SESSIONS 3

static const char feed_tables_text[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"t\",\"entity_type\":\"t\",\"scope\":\"team\",\"scope_column\":\"s\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"},{\"name\":\"s\",\"kind\":\"s\"},{\"name\":\"b\",\"kind\":\"b\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"u\",\"entity_type\":\"u\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"n\"],\"partitions\":[],\"columns\":[{\"name\":\"n\",\"kind\":\"n\"},{\"name\":\"d\",\"kind\":\"d\"}]}]}";

static struct sync_tables *tables;

static struct transaction *
make(const char *row, const char *old, unsigned changed)
{
	struct transaction *t = transaction_new(5);

	transaction_seal(t);
	free(t->changes);
	t->changes = memory_new(2 * sizeof(*t->changes));
	t->count = 2;
	for (int32_t i = 0; i < 2; i++)
	{
		struct stream_change *c = &t->changes[i];
		struct buffer json;

		*c = (struct stream_change) {.table_id = 1 + i, .sibling = -1, .kind = CHANGE_ROW, .xid = 5, .column_count = 3 - i};
		buffer_init(&json);
		buffer_printf(&json, "{\"operation\":\"update\",\"entity_type\":\"t\",\"entity_id\":\"1\",\"data\":%s,\"server_version\":2}", row);
		c->json = memory_text(json.data, json.len);
		c->json_len = json.len;
		c->entity_id = memory_string("1");
		c->old = memory_string(old);
		c->changed = memory_new(1);
		c->changed[0] = (uint8_t) changed;
		buffer_free(&json);
	}
	return t;
}

/* Only what the projection names is left of the row, and all of what it names. */
static void
look_at(const struct stream_change *c, const struct stream_change *from, const struct projection *p, bool only_changed)
{
	struct json *before = json_parse(from->json, from->json_len, 10000);
	struct json *after = require_json(c->json, c->json_len);
	struct json_value row = json_member(json_root(after), "data");

	for (struct json_value name = json_first(row); after != NULL && p != NULL && json_type(row) == JSON_OBJECT && json_type(name) != JSON_ABSENT; name = json_next(name))
	{
		bool	is_named = false;

		for (size_t i = 0; i < p->column_count; i++)
			is_named = is_named || json_equals(name, p->columns[i]);
		REQUIRE(is_named);
	}
	for (size_t i = 0; after != NULL && p != NULL && !only_changed && i < p->column_count; i++)
		REQUIRE(strlen(p->columns[i]) > 200 || (json_type(json_member(row, p->columns[i])) == JSON_ABSENT) == (json_type(json_member(json_member(json_root(before), "data"), p->columns[i])) == JSON_ABSENT));
	if (c->old != NULL)
		json_free(require_json(c->old, strlen(c->old)));
	json_free(before);
	json_free(after);
}

static void
project(const struct session *s, struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
	{
		const struct right *r = routes_right(s, t->changes[i].table_id);

		for (int only = 0; r != NULL && only < 2; only++)
			look_at(projection_of(&t->changes[i], r->projection, only == 1, tables), &t->changes[i], r->projection, only == 1);
	}
}

static bool
holds(struct json_value state, const char *scope, const char *value)
{
	for (struct json_value name = json_first(json_member(state, "scopes")); json_type(name) != JSON_ABSENT; name = json_next(name))
		for (struct json_value v = json_first(json_member_value(name)); json_equals(name, scope) && json_type(v) != JSON_ABSENT; v = json_next(v))
		{
			struct buffer text;
			bool	is_it;

			buffer_init(&text);
			is_it = json_unescape(v, &text) && text.len == strlen(value) && (text.len == 0 || memcmp(text.data, value, text.len) == 0);
			buffer_free(&text);
			if (is_it)
				return true;
		}
	return false;
}

/* Who is routed a row of this scope's value holds it. */
static void
route(const struct routes *all, struct session *sessions, struct json **states, const bool *is_in, const char *value)
{
	struct stream_change c = {.table_id = 1};
	struct buffer key;
	const struct route *r;

	buffer_init(&key);
	route_put_scope(&key, "team", value);
	c.route = key.data;
	c.route_len = key.len;
	r = routes_find(all, &c);
	for (size_t i = 0; i < SESSIONS; i++)
		if (is_in[i])
			REQUIRE((r != NULL && route_has(r, &sessions[i])) == holds(json_root(states[i]), "team", value));
		else
			REQUIRE(r == NULL || !route_has(r, &sessions[i]));
	buffer_free(&key);
}

static void
clear(struct routes *all, struct session *s, struct json **state, char **text, bool *is_in)
{
	routes_leave(all, s);
	json_free(*state);
	free(*text);
	*state = NULL;
	*text = NULL;
	*is_in = false;
}

/* A value, a row and the row before; then states, the byte before each says whose. Cut at NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	struct session sessions[SESSIONS] = {{.identity = {.subject = (char *) "ada"}}, {.identity = {.subject = (char *) "ben"}}, {.identity = {.subject = (char *) ""}}};
	struct json *states[SESSIONS] = {NULL};
	char   *kept[SESSIONS] = {NULL};		/* their texts */
	bool	is_in[SESSIONS] = {false};
	struct routes all;
	char   *texts[3];
	struct json *row;
	struct json *old;

	if (tables == NULL)
		tables = tables_parse(feed_tables_text, strlen(feed_tables_text));
	REQUIRE(tables != NULL);
	for (size_t i = 0; i < 3; i++)
		texts[i] = input_text(&in);
	row = text_is_utf8(texts[1], strlen(texts[1])) ? json_parse(texts[1], strlen(texts[1]), 1000) : NULL;
	old = text_is_utf8(texts[2], strlen(texts[2])) ? json_parse(texts[2], strlen(texts[2]), 1000) : NULL;
	routes_init(&all);
	while (input_left(&in) > 0)
	{
		unsigned who = input_byte(&in);
		size_t	i = who % SESSIONS;

		clear(&all, &sessions[i], &states[i], &kept[i], &is_in[i]);
		kept[i] = input_text(&in);
		states[i] = text_is_utf8(kept[i], strlen(kept[i])) ? json_parse(kept[i], strlen(kept[i]), 1000) : NULL;
		is_in[i] = states[i] != NULL && routes_enter(&all, &sessions[i], json_root(states[i]), tables);
		if (!is_in[i])
			clear(&all, &sessions[i], &states[i], &kept[i], &is_in[i]);
		route(&all, sessions, states, is_in, texts[0]);
		if (is_in[i] && json_type(json_root(row)) == JSON_OBJECT)
		{
			struct transaction *t = make(texts[1], json_type(json_root(old)) == JSON_OBJECT ? texts[2] : NULL, who >> 3);

			project(&sessions[i], t);
			transaction_release(t);
		}
	}
	for (size_t i = 0; i < SESSIONS; i++)
		clear(&all, &sessions[i], &states[i], &kept[i], &is_in[i]);
	REQUIRE(routes_find_user(&all, "ada") == NULL && routes_find_user(&all, "BEN") == NULL);
	routes_free(&all);
	json_free(row);
	json_free(old);
	for (size_t i = 0; i < 3; i++)
		free(texts[i]);
	return 0;
}

/* routes.c - which sessions want what: by scope value, or by table where there is no scope. */
/* SPDX-License-Identifier: PostgreSQL */
#include "routes.h"

#include <stdlib.h>

#include "concern.h"
#include "control.h"
#include "memory.h"

void
routes_init(struct routes *all)
{
	map_init(&all->map);
	projections_init(&all->projections);
}

void
routes_free(struct routes *all)
{
	map_free(&all->map);
	projections_free(&all->projections);
}

static void
free_route(struct routes *all, struct route *r)
{
	map_remove(&all->map, r->key, r->key_len);
	free(r->key);
	free(r->sessions);
	free(r->slots);
	free(r);
}

/* The last session moves into the place that becomes free. */
static void
leave_route(struct routes *all, struct route *r, size_t place)
{
	r->count--;
	r->sessions[place] = r->sessions[r->count];
	r->slots[place] = r->slots[r->count];
	if (place < r->count)
		r->sessions[place]->subscription.places[r->slots[place]] = place;
	if (r->count == 0)
		free_route(all, r);
}

void
routes_leave(struct routes *all, struct session *s)
{
	struct subscription *sub = &s->subscription;

	for (size_t i = 0; i < sub->route_count; i++)
		leave_route(all, sub->routes[i], sub->places[i]);
	for (size_t i = 0; i < sub->right_count; i++)
		projection_release(&all->projections, sub->rights[i].projection);
	free(sub->routes);
	free(sub->places);
	free(sub->rights);
	sub->routes = NULL;
	sub->places = NULL;
	sub->rights = NULL;
	sub->route_count = sub->right_count = 0;
}

bool
route_has(const struct route *r, const struct session *s)
{
	for (size_t i = 0; i < s->subscription.route_count; i++)
		if (s->subscription.routes[i] == r)
			return true;
	return false;
}

/* A session is told its scope values once each, so it enters a route once. */
static void
enter_route(struct routes *all, struct session *s, const struct buffer *key)
{
	struct subscription *sub = &s->subscription;
	struct route *r = map_get(&all->map, key->data, key->len);

	if (r == NULL)
	{
		r = memory_new(sizeof(*r));
		r->key = memory_text(key->data, key->len);
		r->key_len = key->len;
		map_put(&all->map, key->data, key->len, r);
	}
	else if (r->count > 0 && r->sessions[r->count - 1] == s)
		return;
	if (r->count == r->room)
	{
		r->room = r->room > 0 ? r->room * 2 : 4;
		r->sessions = memory_grow(r->sessions, r->room, sizeof(*r->sessions));
		r->slots = memory_grow(r->slots, r->room, sizeof(*r->slots));
	}
	sub->routes = memory_grow(sub->routes, sub->route_count + 1, sizeof(*sub->routes));
	sub->places = memory_grow(sub->places, sub->route_count + 1, sizeof(*sub->places));
	sub->routes[sub->route_count] = r;
	sub->places[sub->route_count] = r->count;
	r->sessions[r->count] = s;
	r->slots[r->count++] = sub->route_count++;
}

static int
compare_rights(const void *a, const void *b)
{
	int32_t x = ((const struct right *) a)->table_id;
	int32_t y = ((const struct right *) b)->table_id;

	return (x > y) - (x < y);
}

static void
add_right(struct routes *all, struct session *s, int32_t table_id, struct json_value e)
{
	struct subscription *sub = &s->subscription;
	struct json_value columns = json_member(e, "columns");
	bool	is_full = json_bool(json_member(e, "full"), false);

	sub->rights = memory_grow(sub->rights, sub->right_count + 1, sizeof(*sub->rights));
	sub->rights[sub->right_count++] = (struct right){
		.table_id = table_id,
		.is_judged = !is_full && (json_bool(json_member(e, "policies"), false) || json_bool(json_member(e, "verify"), false)),
		.is_verified = !is_full && json_bool(json_member(e, "verify"), false),
		.projection = json_type(columns) == JSON_ARRAY ? projection_get(&all->projections, table_id, columns) : NULL};
}

static bool
enter_tables(struct routes *all, struct session *s, struct json_value tables, const struct sync_tables *known)
{
	struct subscription *sub = &s->subscription;
	struct buffer key;
	bool	is_known = true;

	buffer_init(&key);
	for (struct json_value e = json_first(tables); json_type(e) != JSON_ABSENT; e = json_next(e))
	{
		int64_t id = 0;
		const struct sync_table *t = json_int64(json_member(e, "id"), &id) ? tables_by_id(known, (int32_t) id) : NULL;

		if (t == NULL)
		{
			is_known = false;
			break;
		}
		add_right(all, s, t->id, e);
		buffer_reset(&key);
		route_put_table(&key, t->id);
		if (t->scope == NULL || control_off("scope"))
			enter_route(all, s, &key);
	}
	buffer_free(&key);
	if (sub->right_count > 0)
		qsort(sub->rights, sub->right_count, sizeof(*sub->rights), compare_rights);
	return is_known;
}

static bool
enter_scopes(struct routes *all, struct session *s, struct json_value scopes)
{
	struct buffer key;
	bool	is_good = true;

	buffer_init(&key);
	for (struct json_value name = json_first(scopes); json_type(name) != JSON_ABSENT; name = json_next(name))
		for (struct json_value v = json_first(json_member_value(name)); json_type(v) != JSON_ABSENT && is_good; v = json_next(v))
		{
			buffer_reset(&key);
			is_good = json_unescape(name, &key);
			buffer_putc(&key, '\0');
			is_good = is_good && json_unescape(v, &key) && s->subscription.route_count < ROUTES_MAX;
			if (is_good)
				enter_route(all, s, &key);
		}
	buffer_free(&key);
	return is_good;
}

/* No scope has an empty name, and a table's key is shorter. */
static void
put_user(struct buffer *key, const char *user)
{
	buffer_put(key, "\0\0user\0", 7);
	concern_fold(key, user);
}

static void
enter_user(struct routes *all, struct session *s)
{
	struct buffer key;

	if (s->identity.subject == NULL || s->identity.subject[0] == '\0')
		return;
	buffer_init(&key);
	put_user(&key, s->identity.subject);
	enter_route(all, s, &key);
	buffer_free(&key);
}

bool
routes_enter(struct routes *all, struct session *s, struct json_value state, const struct sync_tables *known)
{
	routes_leave(all, s);
	enter_user(all, s);
	return enter_tables(all, s, json_member(state, "tables"), known) && enter_scopes(all, s, json_member(state, "scopes"));
}

const struct route *
routes_find(const struct routes *all, const struct stream_change *c)
{
	return map_get(&all->map, c->route, c->route_len);
}

const struct route *
routes_find_user(const struct routes *all, const char *user)
{
	const struct route *r;
	struct buffer key;

	buffer_init(&key);
	put_user(&key, user);
	r = map_get(&all->map, key.data, key.len);
	buffer_free(&key);
	return r;
}

const struct right *
routes_right(const struct session *s, int32_t table_id)
{
	const struct subscription *sub = &s->subscription;
	struct right key = {.table_id = table_id};

	return sub->right_count > 0 ? bsearch(&key, sub->rights, sub->right_count, sizeof(key), compare_rights) : NULL;
}

/* describe.c - a user's sessions in words: topic, state, tables and scopes, and how far behind the newest each cursor stands. */
/* SPDX-License-Identifier: PostgreSQL */
#include "describe.h"

#include <inttypes.h>
#include <string.h>

#include "routes.h"

struct description
{
	const struct feed *feed;
	const char *user;
	int64_t now_ms;
	struct buffer *json;
	size_t	count;
};

static void
put_text(struct buffer *json, const char *name, const char *text)
{
	buffer_printf(json, "\"%s\":", name);
	buffer_json_string(json, text, strlen(text));
}

/* Rows of a table that is not seen whole are judged by policies one by one, or lack columns. */
static bool
is_partial(const struct right *r)
{
	return r->is_judged || r->projection != NULL;
}

static bool
is_whole(const struct right *r)
{
	return !is_partial(r);
}

static void
put_tables(struct description *d, const char *name, const struct subscription *sub, bool (*is_meant)(const struct right *r))
{
	const struct sync_tables *known = feed_tables(d->feed);
	const char *separator = "";

	buffer_printf(d->json, ",\"%s\":[", name);
	for (size_t i = 0; i < sub->right_count; i++)
	{
		const struct sync_table *t = known != NULL ? tables_by_id(known, sub->rights[i].table_id) : NULL;

		if (t == NULL || !is_meant(&sub->rights[i]))
			continue;
		buffer_puts(d->json, separator);
		buffer_json_string(d->json, t->entity_type, strlen(t->entity_type));
		separator = ",";
	}
	buffer_putc(d->json, ']');
}

/* The key of a route is a scope, NUL and a value; that of a table without a scope begins with the NUL. */
static void
put_scopes(struct description *d, const struct subscription *sub)
{
	size_t	shown = 0;
	size_t	scopes = 0;

	buffer_puts(d->json, ",\"scopes\":[");
	for (size_t i = 0; i < sub->route_count; i++)
	{
		const struct route *r = sub->routes[i];
		size_t	scope_len = strnlen(r->key, r->key_len);

		if (scope_len == 0 || scope_len == r->key_len || scopes++ >= DESCRIBE_SCOPES_MAX)
			continue;
		buffer_puts(d->json, shown++ > 0 ? ",{\"scope\":" : "{\"scope\":");
		buffer_json_string(d->json, r->key, scope_len);
		buffer_puts(d->json, ",\"value\":");
		buffer_json_string(d->json, r->key + scope_len + 1, r->key_len - scope_len - 1);
		buffer_putc(d->json, '}');
	}
	buffer_putc(d->json, ']');
	if (scopes > shown)
		buffer_printf(d->json, ",\"more_scopes\":%zu", scopes - shown);
}

static void
put_behind(struct description *d, const struct session *s)
{
	const struct cursor *newest = feed_cursor(d->feed);
	struct position theirs;
	struct position ours;

	buffer_puts(d->json, ",\"behind\":");
	if (s->position == NULL || newest == NULL || !position_parse(&theirs, s->position->text, strlen(s->position->text)))
	{
		buffer_puts(d->json, "null");
		return;
	}
	if (!position_parse(&ours, newest->text, strlen(newest->text)))
		buffer_puts(d->json, "null");
	else
	{
		buffer_printf(d->json, "{\"bytes\":%" PRIu64 ",\"transactions\":%" PRIu64 "}", ours.lsn > theirs.lsn ? ours.lsn - theirs.lsn : 0,
					  ours.snapshot.xmax > theirs.snapshot.xmax ? ours.snapshot.xmax - theirs.snapshot.xmax : 0);
		position_free(&ours);
	}
	position_free(&theirs);
}

static void
put_age(struct description *d, const char *name, int64_t at_ms)
{
	if (at_ms == 0)
		buffer_printf(d->json, ",\"%s\":null", name);
	else
		buffer_printf(d->json, ",\"%s\":%.1f", name, (double) (d->now_ms - at_ms) / 1000);
}

static void
put_session(void *owner, const struct session *s)
{
	static const char *const states[] = {"new", "joining", "catching up", "live", "closing"};
	struct description *d = owner;
	const struct subscription *sub = &s->subscription;

	if (strcmp(s->identity.subject, d->user) != 0 || d->count++ >= DESCRIBE_SESSIONS_MAX)
		return;
	buffer_puts(d->json, d->count > 1 ? ",{" : "{");
	put_text(d->json, "topic", s->topic);
	buffer_printf(d->json, ",\"kind\":\"%s\",\"state\":\"%s\",\"device_id\":%s,", s->kind == SESSION_SYNC ? "sync" : "realtime", states[s->state],
				  s->device_id != NULL ? s->device_id : "null");
	put_text(d->json, "role", s->identity.role);
	put_tables(d, "tables", sub, is_whole);
	put_tables(d, "partial", sub, is_partial);
	put_scopes(d, sub);
	put_behind(d, s);
	put_age(d, "cursor_age", s->cursor_ms);
	put_age(d, "change_age", s->sent_ms);
	if (s->state == SESSION_CATCHING_UP && s->pull_at_ms > d->now_ms)
		buffer_printf(d->json, ",\"next_pull_in\":%.1f", (double) (s->pull_at_ms - d->now_ms) / 1000);
	buffer_putc(d->json, '}');
}

void
describe_sessions(const struct hub *h, const struct feed *f, const char *user, int64_t now_ms, struct buffer *json)
{
	struct description d = {.feed = f, .user = user, .now_ms = now_ms, .json = json};

	buffer_puts(json, "{\"sessions\":[");
	hub_each(h, put_session, &d);
	buffer_printf(json, "],\"count\":%zu}", d.count);
}

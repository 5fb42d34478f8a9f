/* standing.c - what the database last said an identity may follow, kept a moment after it has left: who comes back meanwhile needs no pull. */
/* SPDX-License-Identifier: PostgreSQL */
#include "standing.h"

#include <stdlib.h>
#include <string.h>

#include "concern.h"
#include "memory.h"
#include "request.h"

#define CLAIMS_VALUES_MAX 10000

void
standings_init(struct standings *all)
{
	*all = (struct standings){0};
	map_init(&all->map);
	map_init(&all->users);
}

static void
release(struct standing *st)
{
	if (--st->refs > 0)
		return;
	free(st->key);
	free(st->user);
	free(st->part);
	free(st->state);
	free(st);
}

static void
link_user(struct standings *all, struct standing *st)
{
	st->same_next = map_get(&all->users, st->user, strlen(st->user));
	if (st->same_next != NULL)
		st->same_next->same_previous = st;
	map_put(&all->users, st->user, strlen(st->user), st);
}

static void
unlink_user(struct standings *all, struct standing *st)
{
	if (st->same_next != NULL)
		st->same_next->same_previous = st->same_previous;
	if (st->same_previous != NULL)
		st->same_previous->same_next = st->same_next;
	else if (st->same_next != NULL)
		map_put(&all->users, st->user, strlen(st->user), st->same_next);
	else
		map_remove(&all->users, st->user, strlen(st->user));
	st->same_previous = st->same_next = NULL;
}

static void
take_out(struct standings *all, struct standing *st)
{
	if (!st->is_in_force)
		return;
	st->is_in_force = false;
	map_remove(&all->map, st->key, st->key_len);
	if (st->previous != NULL)
		st->previous->next = st->next;
	else
		all->first = st->next;
	if (st->next != NULL)
		st->next->previous = st->previous;
	st->previous = st->next = NULL;
	unlink_user(all, st);
	all->bytes -= st->bytes;
	release(st);
}

void
standings_drop_all(struct standings *all)
{
	while (all->first != NULL)
		take_out(all, all->first);
}

void
standings_free(struct standings *all)
{
	standings_drop_all(all);
	map_free(&all->map);
	map_free(&all->users);
}

char *
standing_key(const struct token *identity, const char *request, size_t *len)
{
	static const char *const without[] = {"iat", "nbf", "exp", "jti", "auth_time", "session_id", "amr", NULL};
	struct json *claims = json_parse(identity->claims, strlen(identity->claims), CLAIMS_VALUES_MAX);
	struct buffer key;
	char   *text;

	if (claims == NULL)
		return NULL;
	buffer_init(&key);
	buffer_put(&key, identity->role, strlen(identity->role) + 1);
	request_rewrite(&key, json_root(claims), without, NULL);
	buffer_putc(&key, '\0');
	buffer_puts(&key, request);
	json_free(claims);
	text = buffer_take(&key, len);
	memory_require(text);
	return text;
}

static void
put_in(struct standings *all, struct standing *st)
{
	struct standing *before = map_get(&all->map, st->key, st->key_len);

	if (before != NULL)
		take_out(all, before);
	if (all->bytes + st->bytes > STANDINGS_BYTES_MAX)
		return;
	st->is_in_force = true;
	st->refs++;
	st->next = all->first;
	if (all->first != NULL)
		all->first->previous = st;
	all->first = st;
	all->bytes += st->bytes;
	link_user(all, st);
	map_put(&all->map, st->key, st->key_len, st);
}

struct standing *
standing_new(struct standings *all, char *key, size_t key_len, const char *user, const char *part, const char *state, int64_t now_ms)
{
	struct standing *st = memory_new(sizeof(*st));
	struct buffer folded;

	buffer_init(&folded);
	concern_fold(&folded, user);
	*st = (struct standing){.refs = 1, .users = 1, .key = key, .key_len = key_len, .part = memory_string(part), .state = memory_string(state), .checked_ms = now_ms};
	st->user = memory_text(folded.data != NULL ? folded.data : "", folded.len);
	st->bytes = sizeof(*st) + 2 * key_len + strlen(part) + strlen(state) + folded.len;
	buffer_free(&folded);
	put_in(all, st);
	return st;
}

struct standing *
standing_find(struct standings *all, const char *key, size_t len, int64_t now_ms)
{
	struct standing *st = map_get(&all->map, key, len);

	if (st == NULL || (st->users == 0 && now_ms - st->left_ms > STANDING_KEPT_MS))
		return NULL;
	st->refs++;
	st->users++;
	return st;
}

void
standing_leave(struct standings *all, struct standing *st, int64_t now_ms)
{
	(void) all;
	if (st == NULL)
		return;
	if (--st->users == 0)
		st->left_ms = now_ms;
	release(st);
}

void
standing_renew(struct standings *all, struct standing *st, int64_t now_ms)
{
	st->checked_ms = now_ms;
	if (!st->is_in_force)
		put_in(all, st);
}

void
standings_drop(struct standings *all, const struct transaction *t)
{
	struct standing *st;

	if (t->needs_reload || t->concerns_everyone)
		standings_drop_all(all);
	for (size_t i = 0; i < t->concerned_count; i++)
		while ((st = map_get(&all->users, t->concerned[i].user, strlen(t->concerned[i].user))) != NULL)
			take_out(all, st);
}

void
standings_tick(struct standings *all, int64_t now_ms)
{
	struct standing *next;

	for (struct standing *st = all->first; st != NULL; st = next)
	{
		next = st->next;
		if (st->users == 0 && now_ms - st->left_ms > STANDING_KEPT_MS)
			take_out(all, st);
	}
}

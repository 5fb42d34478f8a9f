/* concern.c - whose rights a transaction may have changed: users named by `watch` messages, and those whose device was written. */
/* SPDX-License-Identifier: PostgreSQL */
#include "concern.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "json.h"
#include "memory.h"

#define VALUES_MAX 100000

void
concern_fold(struct buffer *out, const char *user)
{
	for (; *user != '\0'; user++)
		buffer_putc(out, *user >= 'A' && *user <= 'Z' ? (char) (*user - 'A' + 'a') : *user);
}

static void
add(struct transaction *t, const char *name, bool is_device)
{
	struct buffer user;

	for (size_t i = 0; i < t->concerned_count; i++)
		if (strcasecmp(t->concerned[i].user, name) == 0 && t->concerned[i].is_device == is_device)
			return;
	buffer_init(&user);
	concern_fold(&user, name);
	t->concerned = memory_grow(t->concerned, t->concerned_count + 1, sizeof(*t->concerned));
	t->bytes += user.len + sizeof(*t->concerned);
	t->concerned[t->concerned_count++] = (struct concerned){.user = buffer_take(&user, NULL), .is_device = is_device};
	memory_require(t->concerned[t->concerned_count - 1].user);
}

/* A list that cannot be read is everyone. */
static bool
add_users(struct transaction *t, struct json_value users)
{
	bool	is_good = json_type(users) == JSON_ARRAY;

	for (struct json_value u = json_first(users); json_type(u) != JSON_ABSENT && is_good; u = json_next(u))
	{
		char   *name = json_strdup(u);

		is_good = name != NULL;
		if (is_good && name[0] != '\0')
			add(t, name, false);
		free(name);
	}
	return is_good;
}

void
concern_message(struct transaction *t, const char *message)
{
	struct json *doc = json_parse(message, strlen(message), VALUES_MAX);

	if (doc != NULL && json_equals(json_member(json_root(doc), "t"), "watch"))
	{
		t->concerns_everyone |= !add_users(t, json_member(json_root(doc), "users"));
		transaction_raise(t, BARRIER_WATCH);
	}
	json_free(doc);
}

/* The key is ["user","device"]. */
void
concern_devices(struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
	{
		const char *id = t->changes[i].entity_id;
		struct json *key = t->changes[i].table_id == CONCERN_DEVICES ? json_parse(id, strlen(id), 8) : NULL;
		char   *name = key != NULL ? json_strdup(json_first(json_root(key))) : NULL;

		if (name != NULL)
			add(t, name, true);
		free(name);
		json_free(key);
	}
}

bool
concern_has(const struct transaction *t, const char *user)
{
	if (t->concerns_everyone)
		return true;
	for (size_t i = 0; i < t->concerned_count; i++)
		if (strcasecmp(t->concerned[i].user, user) == 0)
			return true;
	return false;
}

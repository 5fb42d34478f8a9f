/* topics.c - who has joined which topic, and what is known of presence there. */
/* SPDX-License-Identifier: PostgreSQL */
#include "topics.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void
topics_init(struct topics *t)
{
	*t = (struct topics){0};
	map_init(&t->map);
}

static void
free_topic(struct topic *topic)
{
	presence_free(&topic->presence);
	free(topic->members);
	free(topic->name);
	free(topic);
}

void
topics_free(struct topics *t)
{
	size_t	place = 0;
	struct topic *topic;

	while ((topic = map_next(&t->map, &place)) != NULL)
		free_topic(topic);
	map_free(&t->map);
	topics_init(t);
}

static size_t
make_key(char key[TOPIC_NAME_MAX + 2], const char *name, bool is_private)
{
	size_t	len = strlen(name);

	if (len > TOPIC_NAME_MAX)
		len = TOPIC_NAME_MAX;
	key[0] = is_private ? 'p' : 'b';
	memcpy(key + 1, name, len);
	return len + 1;
}

struct topic *
topics_find(const struct topics *t, const char *name, bool is_private)
{
	char	key[TOPIC_NAME_MAX + 2];
	size_t	len = make_key(key, name, is_private);

	return map_get(&t->map, key, len);
}

struct topic *
topics_get(struct topics *t, const char *name, bool is_private)
{
	char	key[TOPIC_NAME_MAX + 2];
	size_t	len = make_key(key, name, is_private);
	struct topic *topic = map_get(&t->map, key, len);

	if (topic != NULL)
		return topic;
	topic = memory_new(sizeof(*topic));
	topic->name = memory_text(key + 1, len - 1);
	topic->is_private = is_private;
	presence_init(&topic->presence);
	map_put(&t->map, key, len, topic);
	return topic;
}

void
topics_enter(struct topic *topic, struct topic_member *m)
{
	if (topic->count == topic->room)
	{
		topic->room = topic->room > 0 ? topic->room * 2 : 4;
		topic->members = memory_grow(topic->members, topic->room, sizeof(struct topic_member *));
	}
	m->topic = topic;
	m->place = topic->count;
	topic->members[topic->count++] = m;
}

void
topics_leave(struct topics *t, struct topic_member *m)
{
	struct topic *topic = m->topic;
	struct topic_member *last;

	if (topic == NULL)
		return;
	last = topic->members[--topic->count];
	topic->members[m->place] = last;
	last->place = m->place;
	m->topic = NULL;
	topics_tidy(t, topic);
}

void
topics_tidy(struct topics *t, struct topic *topic)
{
	char	key[TOPIC_NAME_MAX + 2];
	size_t	len;

	if (topic->count > 0 || topic->is_changed || !presence_is_empty(&topic->presence))
		return;
	len = make_key(key, topic->name, topic->is_private);
	map_remove(&t->map, key, len);
	free_topic(topic);
}

void
topics_changed(struct topics *t, struct topic *topic)
{
	if (topic->is_changed)
		return;
	topic->is_changed = true;
	topic->next_changed = t->changed;
	t->changed = topic;
}

struct topic *
topics_take_changed(struct topics *t)
{
	struct topic *list = t->changed;

	t->changed = NULL;
	return list;
}

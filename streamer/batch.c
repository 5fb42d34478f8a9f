/* batch.c - frames of live changes: what several sessions get alike in one turn is built once. */
/* SPDX-License-Identifier: PostgreSQL */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "memory.h"
#include "message.h"

struct built
{
	struct frame *frame;		/* owned reference */
	size_t	count;
	const struct stream_change *changes[];
};

struct kept
{
	void   *value;
	void	(*free_value)(void *value);
};

struct built_key
{
	const struct cursor *cursor;
	uint64_t hash;
	uint64_t format;
	char	topic[MESSAGE_TOPIC_MAX];
};

void
batches_init(struct batches *b)
{
	map_init(&b->built);
	map_init(&b->kept);
}

void
batches_free(struct batches *b)
{
	batches_clear(b);
}

static void
clear_kept(struct batches *b)
{
	size_t	place = 0;
	struct kept *k;

	if (b->kept.count == 0)
		return;
	while ((k = map_next(&b->kept, &place)) != NULL)
	{
		k->free_value(k->value);
		free(k);
	}
	map_free(&b->kept);
}

void   *
batches_find(struct batches *b, const void *key, size_t len)
{
	struct kept *k = map_get(&b->kept, key, len);

	return k != NULL ? k->value : NULL;
}

void
batches_keep(struct batches *b, const void *key, size_t len, void *value, void (*free_value)(void *value))
{
	struct kept *k = memory_new(sizeof(*k));

	*k = (struct kept) {value, free_value};
	map_put(&b->kept, key, len, k);
}

void
batches_clear(struct batches *b)
{
	size_t	place = 0;
	struct built *built;

	clear_kept(b);
	if (b->built.count == 0)
		return;
	while ((built = map_next(&b->built, &place)) != NULL)
	{
		frame_release(built->frame);
		free(built);
	}
	map_free(&b->built);
}

static struct frame *
build(bool is_replay, enum message_format format, const char *topic, const struct cursor *cursor, const struct stream_change *const *changes, size_t count)
{
	struct buffer payload;
	struct buffer text;
	struct frame *f;

	buffer_init(&payload);
	buffer_init(&text);
	buffer_puts(&payload, "{\"changes\":[");
	for (size_t i = 0; i < count; i++)
	{
		if (i > 0)
			buffer_putc(&payload, ',');
		buffer_put(&payload, changes[i]->json, changes[i]->json_len);
	}
	buffer_puts(&payload, "],\"has_more\":false");
	if (cursor != NULL)
		buffer_printf(&payload, ",\"cursor\":\"%s\"", cursor->text);
	buffer_putc(&payload, '}');
	memory_require(payload.failed ? NULL : payload.data);
	message_put(&text, format, NULL, NULL, topic, "changes", payload.data, payload.len);
	memory_require(text.failed ? NULL : text.data);
	f = frame_text(text.data, text.len);
	f->committed_us = count > 0 && !is_replay ? changes[0]->committed_us : 0;
	buffer_free(&payload);
	buffer_free(&text);
	return f;
}

struct frame *
batches_frame(struct batches *b, enum message_format format, const char *topic, const struct cursor *cursor, const struct stream_change *const *changes, size_t count, uint64_t hash)
{
	struct built_key key = {.cursor = cursor, .hash = hash, .format = format};
	size_t	key_len = offsetof(struct built_key, topic) + strlen(topic);
	size_t	bytes = count * sizeof(*changes);
	struct built *built;

	memcpy(key.topic, topic, strlen(topic));
	built = map_get(&b->built, &key, key_len);
	if (built != NULL && built->count == count && (count == 0 || memcmp(built->changes, changes, bytes) == 0))
		return frame_retain(built->frame);
	if (built != NULL)		/* another list with this hash: keep the first */
		return build(b->is_replay, format, topic, cursor, changes, count);
	built = memory_new(sizeof(*built) + bytes);
	built->frame = build(b->is_replay, format, topic, cursor, changes, count);
	built->count = count;
	if (count > 0)
		memcpy(built->changes, changes, bytes);
	map_put(&b->built, &key, key_len, built);
	return frame_retain(built->frame);
}

/* batch.c - frames of live changes: what several sessions get alike in one turn is built once. */
/* SPDX-License-Identifier: PostgreSQL */
#include "batch.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "memory.h"
#include "message.h"
#include "zip.h"

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

/* Phoenix' binary broadcast: kind, lengths, topic, event, payload. */
static void
put_deflated(struct buffer *out, const char *topic, const char *payload, size_t len)
{
	static const char event[] = "changes_deflate";

	buffer_putc(out, 2);
	buffer_putc(out, (char) strlen(topic));
	buffer_putc(out, sizeof(event) - 1);
	buffer_puts(out, topic);
	buffer_puts(out, event);
	zip_put(out, ZIP_RAW, payload, len);
}

struct frame *
batch_frame(enum message_format format, const char *topic, const char *payload, size_t len)
{
	bool	is_deflated = format == MESSAGE_DEFLATED && len >= ZIP_LEAST && strlen(topic) <= UINT8_MAX;
	struct buffer text;
	struct frame *f;

	buffer_init(&text);
	if (is_deflated)
		put_deflated(&text, topic, payload, len);
	else
		message_put(&text, format, NULL, NULL, topic, "changes", payload, len);
	memory_require(text.failed ? NULL : text.data);
	f = is_deflated ? frame_binary(text.data, text.len) : frame_text(text.data, text.len);
	buffer_free(&text);
	return f;
}

static struct frame *
build(bool is_replay, enum message_format format, const char *topic, const struct cursor *cursor, const struct stream_change *const *changes, size_t count)
{
	struct buffer payload;
	struct frame *f;

	buffer_init(&payload);
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
	f = batch_frame(format, topic, payload.data, payload.len);
	f->committed_us = count > 0 && !is_replay ? changes[0]->committed_us : 0;
	buffer_free(&payload);
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

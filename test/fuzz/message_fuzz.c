/* message_fuzz.c - any frame of either serializer: what is read can be written and read again alike. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "message.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
text(enum message_format format, const char *data, size_t size)
{
	struct message m;
	struct message again;
	struct buffer b;
	char	event[MESSAGE_EVENT_MAX + 1];

	if (message_parse(&m, format, data, size) != NULL)
		return;
	buffer_init(&b);
	message_put(&b, format, m.join_ref, m.ref, m.topic, m.event, m.payload.raw, m.payload.len);
	if (message_parse(&again, format, b.data, b.len) != NULL)
		abort();
	if (strcmp(m.topic, again.topic) != 0 || strcmp(m.ref, again.ref) != 0 || strcmp(m.event, again.event) != 0 || m.payload.len != again.payload.len)
		abort();
	if (!message_peek_event(format, b.data, b.len, event, sizeof(event)) || strcmp(event, m.event) != 0)
		abort();
	message_free(&again);
	message_free(&m);
	buffer_free(&b);
}

static void
binary(const char *data, size_t size)
{
	struct message m;
	struct buffer b;

	if (message_parse_binary(&m, data, size) != NULL)
		return;
	if (m.broadcast.metadata + m.broadcast.metadata_len != m.broadcast.payload || m.broadcast.payload + m.broadcast.payload_len != data + size)
		abort();
	buffer_init(&b);
	if (message_put_broadcast(&b, m.topic, &m.broadcast) &&
		b.len != 5 + strlen(m.topic) + strlen(m.broadcast.event) + m.broadcast.metadata_len + m.broadcast.payload_len)
		abort();
	message_free(&m);
	buffer_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	event[MESSAGE_EVENT_MAX + 1];

	text(MESSAGE_ARRAYS, (const char *) data, size);
	text(MESSAGE_OBJECTS, (const char *) data, size);
	binary((const char *) data, size);
	(void) message_peek_event(MESSAGE_OBJECTS, (const char *) data, size, event, sizeof(event));
	(void) message_peek_event(MESSAGE_ARRAYS, (const char *) data, size, event, sizeof(event));
	return 0;
}

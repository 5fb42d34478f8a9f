/* message_fuzz.c - any frame: what is read can be written and read again alike. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "message.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	struct message again;
	struct buffer b;

	if (message_parse(&m, (const char *) data, size) != NULL)
		return 0;
	buffer_init(&b);
	message_put(&b, m.join_ref, m.ref, m.topic, m.event, m.payload.raw, m.payload.len);
	if (message_parse(&again, b.data, b.len) != NULL)
		abort();
	if (strcmp(m.topic, again.topic) != 0 || strcmp(m.ref, again.ref) != 0 || strcmp(m.event, again.event) != 0 || m.payload.len != again.payload.len)
		abort();
	message_free(&again);
	message_free(&m);
	buffer_free(&b);
	return 0;
}

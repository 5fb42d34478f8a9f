/* pgoutput_fuzz.c - any bytes, as a run of messages of one slot: nothing is read that is not there, and what is told lies within the message. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "record.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t total;

static void
look_at(const struct field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
	{
		for (size_t k = 0; k < fields[i].name_len; k++)
			total += (unsigned char) fields[i].name[k];
		for (size_t k = 0; k < fields[i].value.len; k++)
			total += (unsigned char) fields[i].value.text[k];
	}
}

static void
take(void *owner, const struct record *r)
{
	(void) owner;
	look_at(r->columns, r->column_count);
	look_at(r->identity, r->identity_count);
	total += strlen(r->schema) + strlen(r->table) + (r->content != NULL ? strlen(r->content) : 0);
	if (r->action != RECORD_MESSAGE && r->xid == 0)
		abort();
}

/* Two bytes of length before each message; copied, so that a read past its end is seen. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader *reader = reader_new(PLUGIN_PGOUTPUT);

	while (reader != NULL && size >= 2)
	{
		size_t	len = (size_t) data[0] << 8 | data[1];
		char   *message;

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		message = malloc(len > 0 ? len : 1);
		if (message == NULL)
			break;
		memcpy(message, data, len);
		(void) reader_read(reader, message, len, 7, take, NULL);
		free(message);
		data += len;
		size -= len;
	}
	reader_free(reader);
	return 0;
}

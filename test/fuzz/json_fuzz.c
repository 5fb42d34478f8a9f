/* json_fuzz.c - any bytes: json_parse must not stumble, and a walk over what it accepts must account for every value. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "json.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
walk(struct json_value v)
{
	int		count = 0;
	struct buffer text;
	int64_t number;
	char	small[16];

	buffer_init(&text);
	if (json_unescape(v, &text) && json_type(v) != JSON_STRING)
		abort();
	if (json_int64(v, &number) && json_type(v) != JSON_NUMBER)
		abort();
	if (json_string(v, small, sizeof(small)) && !json_equals(v, small))
		abort();
	buffer_free(&text);
	for (struct json_value e = json_first(v); e.index >= 0; e = json_next(e))
	{
		count++;
		if (json_type(v) == JSON_OBJECT && json_type(json_member_value(e)) == JSON_ABSENT)
			abort();
		walk(json_type(v) == JSON_OBJECT ? json_member_value(e) : e);
	}
	if (count != json_size(v))
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json *doc = json_parse((const char *) data, size, 100000);

	if (doc != NULL)
	{
		walk(json_root(doc));
		(void) json_member(json_root(doc), "a");
	}
	json_free(doc);
	return 0;
}

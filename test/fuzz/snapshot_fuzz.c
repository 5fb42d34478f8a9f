/* snapshot_fuzz.c - any text: a snapshot or position that is accepted is written back as the same text. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "snapshot.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_snapshot(const char *text, size_t len)
{
	struct snapshot s;
	struct buffer b;

	if (!snapshot_parse(&s, text, len))
		return;
	buffer_init(&b);
	snapshot_put(&b, &s);
	if (b.len != len || memcmp(b.data, text, len) != 0)
		abort();
	for (uint32_t i = 0; i < s.xip_count; i++)
		if (snapshot_sees(&s, s.xip[i]))
			abort();
	if (!snapshot_sees(&s, s.xmin - 1) || snapshot_sees(&s, s.xmax) || (uint32_t) snapshot_widen(&s, 12345) != 12345)
		abort();
	buffer_free(&b);
	snapshot_free(&s);
}

static void
check_position(const char *text, size_t len)
{
	struct position p;
	struct buffer b;

	if (!position_parse(&p, text, len))
		return;
	buffer_init(&b);
	position_put(&b, &p);
	if (b.len != len || memcmp(b.data, text, len) != 0)
		abort();
	buffer_free(&b);
	position_free(&p);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer b;

	check_snapshot((const char *) data, size);
	check_position((const char *) data, size);
	buffer_init(&b);
	buffer_base64url(&b, data, size);	/* so that the fuzzer need not find base64 by itself */
	if (size > 0)
		check_position(b.data, b.len);
	buffer_free(&b);
	return 0;
}

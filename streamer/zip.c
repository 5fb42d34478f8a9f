/* zip.c - deflate, by zlib: one state for the whole process, so a client costs no memory. */
/* SPDX-License-Identifier: PostgreSQL */
#include "zip.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include <zlib.h>

#include "memory.h"

#define LEVEL_SMALL 6
#define LEVEL_LARGE 1
#define LARGE 65536
#define WINDOW_BITS 15
#define MEMORY_LEVEL 8

/* Made when first used, kept for good: 268 KB each. */
static z_stream *
state(enum zip_form form, bool is_large)
{
	static z_stream streams[2][2];
	static bool is_made[2][2];
	z_stream *z = &streams[form][is_large];
	int		result;

	if (is_made[form][is_large])
		result = deflateReset(z);
	else
		result = deflateInit2(z, is_large ? LEVEL_LARGE : LEVEL_SMALL, Z_DEFLATED, form == ZIP_RAW ? -WINDOW_BITS : WINDOW_BITS + 16, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
	is_made[form][is_large] = true;
	memory_require(result == Z_OK ? z : NULL);
	return z;
}

void
zip_put(struct buffer *out, enum zip_form form, const void *data, size_t len)
{
	z_stream *z = state(form, len > LARGE);
	uLong	bound = deflateBound(z, len);

	memory_require(len < UINT_MAX && buffer_reserve(out, bound) ? out : NULL);
	z->next_in = (Bytef *) (uintptr_t) data;
	z->avail_in = (uInt) len;
	z->next_out = (Bytef *) out->data + out->len;
	z->avail_out = (uInt) bound;
	memory_require(deflate(z, Z_FINISH) == Z_STREAM_END ? z : NULL);
	out->len += bound - z->avail_out;
	out->data[out->len] = '\0';
}

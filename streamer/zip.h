/* zip.h - deflate, by zlib: one state for the whole process, so a client costs no memory. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ZIP_H
#define SYNC_ZIP_H

#include <stddef.h>

#include "buffer.h"

#define ZIP_LEAST 512		/* bytes: what is smaller is sent as it is */

enum zip_form
{
	ZIP_RAW,		/* RFC 1951: browsers' DecompressionStream('deflate-raw') */
	ZIP_GZIP,		/* RFC 1952: Content-Encoding */
};

/* Appends data compressed, as one stream that needs nothing before it. Above 64 KiB faster and a little worse: other clients wait meanwhile. */
void	zip_put(struct buffer *out, enum zip_form form, const void *data, size_t len);

#endif

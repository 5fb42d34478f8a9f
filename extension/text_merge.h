/*
 * text_merge.h - three-way merge of one text by words. Pure: no PostgreSQL, so that it can be tested and fuzzed alone.
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_TEXT_MERGE_H
#define SYNC_TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct TextSlice
{
	const char *data;
	size_t		len;
} TextSlice;

/* Where the result and all that is needed meanwhile is allocated; nothing is freed. May not return NULL. */
typedef void *(*TextAllocate) (size_t size);

/*
 * Keeps the edits that both sides made to base. Returns false, with nothing set, when they touch each other or differ from base too much to
 * be compared in bounded time and memory. Arguments are UTF-8; the result is not terminated.
 */
extern bool text_merge(TextSlice base, TextSlice local, TextSlice server, TextAllocate allocate, TextSlice *result);

#endif

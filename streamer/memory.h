/* memory.h - allocation that cannot fail: without memory the process says so and ends, clients reconnect and pull. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_MEMORY_H
#define SYNC_MEMORY_H

#include <stddef.h>

void   *memory_new(size_t size) __attribute__((malloc, returns_nonnull));		/* zeroed; free() it */
void   *memory_grow(void *old, size_t count, size_t size) __attribute__((returns_nonnull));		/* realloc to count * size, new bytes undefined */
char   *memory_text(const char *text, size_t len) __attribute__((malloc, returns_nonnull));		/* NUL-terminated copy */
char   *memory_string(const char *text);		/* likewise; NULL stays NULL */
void	memory_require(const void *p);			/* ends the process when p is NULL */

#endif

/* memory.c - allocation that cannot fail: without memory the process says so and ends, clients reconnect and pull. */
/* SPDX-License-Identifier: PostgreSQL */
#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The log would need memory too, so this line is written by hand. */
void
memory_require(const void *p)
{
	static const char message[] = "error out_of_memory the process ends\n";

	if (p != NULL)
		return;
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(71);
	_exit(70);
}

void *
memory_new(size_t size)
{
	void   *p = calloc(1, size > 0 ? size : 1);

	memory_require(p);
	return p;
}

void *
memory_grow(void *old, size_t count, size_t size)
{
	void   *p = reallocarray(old, count > 0 ? count : 1, size);

	memory_require(p);
	return p;
}

char *
memory_text(const char *text, size_t len)
{
	char   *copy = memory_new(len + 1);

	if (len > 0)
		memcpy(copy, text, len);
	return copy;
}

char *
memory_string(const char *text)
{
	return text != NULL ? memory_text(text, strlen(text)) : NULL;
}

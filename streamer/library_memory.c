/* library_memory.c - libwebsockets and OpenSSL get their memory as we do: what they do without it differs by place, down to a crash. */
/* SPDX-License-Identifier: PostgreSQL */
#include "library_memory.h"

#include <stdlib.h>

#include <libwebsockets.h>
#include <openssl/crypto.h>

#include "memory.h"

/* Size 0 frees. */
static void *
sockets_memory(void *old, size_t size, const char *reason)
{
	(void) reason;
	if (size > 0)
		return memory_grow(old, 1, size);
	free(old);
	return NULL;
}

static void *
crypto_new(size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	return size > 0 ? memory_grow(NULL, 1, size) : NULL;
}

static void *
crypto_grow(void *old, size_t size, const char *file, int line)
{
	(void) file;
	(void) line;
	if (size > 0)
		return memory_grow(old, 1, size);
	free(old);
	return NULL;
}

static void
crypto_free(void *p, const char *file, int line)
{
	(void) file;
	(void) line;
	free(p);
}

void
library_memory_set(void)
{
	/* refused only when a library's constructor took memory before: then that one keeps its own ways */
	(void) CRYPTO_set_mem_functions(crypto_new, crypto_grow, crypto_free);
	lws_set_allocator(sockets_memory);
}

/* library_memory.h - libwebsockets and OpenSSL get their memory as we do: without it the process ends. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_LIBRARY_MEMORY_H
#define SYNC_LIBRARY_MEMORY_H

void	library_memory_set(void);	/* before any other call of these libraries */

#endif

/* query.h - the pool of ordinary connections: runs clients' requests, each under its own role and claims, in the order they came. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_QUERY_H
#define SYNC_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "request.h"

#define QUERY_WAITING_MAX 10000			/* requests */
#define QUERY_WAITING_BYTES_MAX ((size_t) 256 << 20)

struct query_pool;

typedef const char *(*query_admit)(void *owner, const char *place, bool is_in_recovery);	/* NULL, or why a connection may not be used */

/* A pull ended, other than empty. user and device may be NULL; ms is the time since it was asked. */
typedef void (*query_pulled)(void *owner, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms);

struct query_pool *query_pool_new(struct loop *l, const char *conninfo, int connections, query_admit admit, void *owner);
void	query_pool_free(struct query_pool *p);		/* what waits is never answered */

/* done is called once with the same id, never from within this call. When the asker is gone by then it is for done to notice. */
void	query_submit(struct query_pool *p, const struct request *r, request_done done, void *owner, uint64_t id);

void	query_pool_reconnect(struct query_pool *p, const char *reason);
void	query_pool_report(struct query_pool *p, query_pulled pulled);	/* with the owner of admit */
void	query_pool_gauges(const struct query_pool *p);
int		query_pool_up(const struct query_pool *p);		/* connections that can serve */

#endif

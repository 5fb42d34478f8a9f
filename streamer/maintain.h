/* maintain.h - the upkeep that runs by itself, on a connection of its own: purge, locks, reminders, the log of pulls. One streamer at a time leads. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_MAINTAIN_H
#define SYNC_MAINTAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "options.h"

struct maintain;

struct maintain_calls
{
	const char *(*admit)(void *owner, const char *place, bool is_in_recovery);	/* NULL, or why a connection may not be used */
	uint64_t (*received)(void *owner);		/* the WAL position read so far; 0: there is no stream */
};

/* The options must outlive it. */
struct maintain *maintain_new(struct loop *l, const struct options *o, const struct maintain_calls *calls, void *owner);
void	maintain_free(struct maintain *m);
void	maintain_tick(struct maintain *m, int64_t now_ms);		/* some times a second */
bool	maintain_is_up(const struct maintain *m);
const char *maintain_schema_version(const struct maintain *m);	/* JSON, as of the last minute; "null" before it is known */
bool	maintain_leads(const struct maintain *m);

/* A channel of a user's device began or ended; a device without any for a while loses its locks. */
void	maintain_joined(struct maintain *m, const char *user, const char *device);
void	maintain_left(struct maintain *m, const char *user, const char *device, int64_t now_ms);

/* A line of the sync log. user and device may be NULL. */
void	maintain_log_pull(struct maintain *m, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms);

#endif

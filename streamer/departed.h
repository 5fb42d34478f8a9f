/* departed.h - which devices are connected, and which have been gone for so long that their locks are to be released. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_DEPARTED_H
#define SYNC_DEPARTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "map.h"

#define DEPARTED_GRACE_MS 10000		/* a client that lost its connection is back by then, here or at another streamer */
#define DEPARTED_MAX 100000			/* devices gone and not released yet; of more, the locks expire by themselves */

struct presence;

struct departed
{
	struct map devices;			/* user, NUL, device → struct presence */
	struct presence *first;		/* those gone, the first to go first */
	struct presence *last;
	size_t	count;				/* of them */
};

void	departed_init(struct departed *d);
void	departed_free(struct departed *d);

/* Each joined channel of a device counts. */
void	departed_join(struct departed *d, const char *user, const char *device);
void	departed_leave(struct departed *d, const char *user, const char *device, int64_t now_ms);

bool	departed_are_due(const struct departed *d, int64_t now_ms);
/* Appends [{"user_id", "device_id", "ago": seconds since it left}] of at most `most` that are due, and forgets them; how many. */
size_t	departed_take(struct departed *d, int64_t now_ms, size_t most, struct buffer *json);

#endif

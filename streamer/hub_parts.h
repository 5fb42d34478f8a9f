/* hub_parts.h - the inside of a hub, shared by hub.c (sessions, barriers, time) and delivery.c (what each gets of a turn's changes). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HUB_PARTS_H
#define SYNC_HUB_PARTS_H

#include "batch.h"
#include "hub.h"
#include "queue.h"
#include "routes.h"

#define SPREAD_MS 2000				/* a resync of everybody is spread over at most this */

struct hub
{
	const struct feed *feed;
	struct session *sessions;
	size_t	count;
	struct routes routes;
	struct standings standings;
	int64_t standings_ms;		/* when the old ones were last cleared away */
	struct release **pending;			/* owned references: released in this turn */
	size_t	pending_count;
	size_t	pending_room;
	struct session *touched;			/* sessions with something to look at */
	struct session **waiting;			/* sessions whose queue waits for verdicts or for their client */
	size_t	waiting_count;
	size_t	waiting_room;
	struct judge *judge;
	size_t	max_queue;
	int64_t verify_ms;
	struct held *taken;					/* being delivered: kept until the frames made of them have been forgotten */
	size_t	taken_count;
	size_t	taken_room;
	const struct stream_change **outgoing;		/* scratch: of one batch */
	size_t	outgoing_room;
	struct batches batches;
	uint64_t last_serial;
	uint64_t routed;					/* serial of the last transaction that went to the live sessions */
	int64_t now_ms;
};

int64_t hub_spread_over(size_t count, int64_t most_ms);		/* a delay for one of so many sessions */
int64_t hub_spread(const struct hub *h, int64_t most_ms);		/* of all sessions */

#endif

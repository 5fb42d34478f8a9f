/* streamer_parts.h - the inside of the streamer, shared by streamer.c (its making, its turns) and the files that pass each part's calls on to the others. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_STREAMER_PARTS_H
#define SYNC_STREAMER_PARTS_H

#include "auth.h"
#include "connection.h"
#include "feed.h"
#include "http.h"
#include "hub.h"
#include "keyfiles.h"
#include "loop.h"
#include "maintain.h"
#include "pages.h"
#include "query.h"
#include "rooms.h"
#include "server.h"
#include "streamer.h"
#include "upkeep.h"
#include "wal.h"

struct streamer
{
	const struct options *options;
	struct keyfiles *keyfiles;
	struct admission *admission;
	struct auth auth;
	struct loop *loop;
	struct feed *feed;
	struct hub *hub;
	struct rooms *rooms;
	struct connections *connections;
	struct pages *pages;
	struct http *http;
	struct server *server;
	struct query_pool *queries;
	struct upkeep *upkeep;
	struct maintain *maintain;
	struct wal *wal;
	struct loop_timer *tick;
	struct loop_timer *wake;
	struct loop_timer *relay;
	struct loop_timer *judge;
	int64_t wake_at_ms;			/* 0: not set */
	int64_t second_ms;
	char	system_id[32];		/* of the replication connection's server; "" before */
	char	place[100];			/* the same with its database, as connections are admitted to */
	char	admitted[100];		/* where connections were let in before that was known; "" nowhere */
	bool	is_elsewhere;		/* in more than one place */
	uint32_t timeline;
};

/* streamer_database.c: what the connections to the database tell */
extern const struct wal_calls streamer_wal_calls;
extern const struct upkeep_calls streamer_upkeep_calls;
extern const struct maintain_calls streamer_maintain_calls;
const char *streamer_admit(void *owner, const char *place, bool is_in_recovery);		/* NULL, or why a connection to there is of no use */
void	streamer_pulled(void *owner, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms);
void	streamer_start_anew(struct streamer *s, const char *reason, bool is_rolled_back);

/* streamer_feed.c: what the feed asks for and lets go */
extern const struct feed_calls streamer_feed_calls;
void	streamer_wake_feed(void *owner);		/* of a timer */

/* streamer_clients.c: what clients, and those who look on, ask for */
extern const struct judge_calls streamer_judge_calls;
extern const struct connections_calls streamer_connections_calls;
extern const struct pages_calls streamer_pages_calls;
extern const struct rooms_calls streamer_rooms_calls;
extern const struct http_calls streamer_http_calls;
void	streamer_wake_relay(void *owner);		/* of a timer */
void	streamer_wake_judge(void *owner);		/* of a timer */

#endif

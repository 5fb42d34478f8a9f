/* hub.h - who wants which change: routes by scope value or table, gathers each turn's batches, tells sessions of gaps. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HUB_H
#define SYNC_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"
#include "judge.h"
#include "options.h"
#include "session.h"

#define HUB_HELD_BYTES_MAX ((size_t) 64 << 20)	/* of transactions that sessions wait for; over it those pull instead */

struct hub;

/* Of the options: query_connections, which the judge's questions share with clients' requests; max_queue, which is also the most worth sending to
 * one session; verify_interval_s. */
struct hub *hub_new(const struct feed *feed, const struct options *o, const struct judge_calls *calls, void *owner);
void	hub_free(struct hub *h);

void	hub_add(struct hub *h, struct session *s);
void	hub_remove(struct hub *h, struct session *s);		/* it must be closing */
void	hub_each(const struct hub *h, void (*take)(void *owner, const struct session *s), void *owner);
void	hub_gauges(const struct hub *h);
size_t	hub_count(const struct hub *h);
struct standings *hub_standings(struct hub *h);

/* session_calls */
bool	hub_subscribe(void *hub, struct session *s, struct json_value state);
void	hub_unsubscribe(void *hub, struct session *s);
void	hub_discard(void *hub, struct session *s);
void	hub_flush(void *hub);			/* also at the end of each turn */
void	hub_replay(void *hub, struct session *s);
uint64_t hub_given(void *hub, const struct session *s);
void	hub_drained(struct hub *h, struct session *s);		/* its client has taken all that was put */

/* For the judge. */
void	hub_verdicts(struct hub *h, uint64_t id, const struct answer *a, int64_t now_ms);
void	hub_ask(struct hub *h, int64_t now_ms);

/* feed_calls */
void	hub_released(struct hub *h, struct transaction *t, int64_t now_ms);
void	hub_ready(struct hub *h, int64_t now_ms);
void	hub_down(struct hub *h, int64_t now_ms);
void	hub_hold(struct hub *h, int64_t now_ms);		/* a gap: nobody gets anything until hub_ready or hub_down; then every standing is looked at again */

/* The server is not what it was: what sessions were sent may be gone. is_rolled_back: so much that their tokens cannot tell. */
void	hub_start_anew(struct hub *h, bool is_rolled_back, int64_t now_ms);

void	hub_renewed(struct hub *h, int64_t now_ms);		/* whoever has no token of the extension's has to be told */

void	hub_tick(struct hub *h, int64_t now_ms, int64_t unix_now);	/* pulls that are due, cursors for the quiet, tokens that ran out */

#endif

/* hub.h - who wants which change: routes by scope value or table, gathers each turn's batches, tells sessions of gaps. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HUB_H
#define SYNC_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "feed.h"
#include "session.h"

struct hub;

struct hub *hub_new(const struct feed *feed);
void	hub_free(struct hub *h);

void	hub_add(struct hub *h, struct session *s);
void	hub_remove(struct hub *h, struct session *s);		/* it must be closing */
void	hub_each(const struct hub *h, void (*take)(void *owner, const struct session *s), void *owner);
void	hub_gauges(const struct hub *h);
size_t	hub_count(const struct hub *h);

/* session_calls */
bool	hub_subscribe(void *hub, struct session *s, struct json_value state);
void	hub_unsubscribe(void *hub, struct session *s);
void	hub_flush(void *hub);			/* also at the end of each turn */
void	hub_replay(void *hub, struct session *s);
uint64_t hub_given(void *hub, const struct session *s);

/* feed_calls */
void	hub_released(struct hub *h, struct transaction *t, int64_t now_ms);
void	hub_resync(struct hub *h, const char *reason, int64_t now_ms);
void	hub_ready(struct hub *h, int64_t now_ms);
void	hub_down(struct hub *h, int64_t now_ms);

void	hub_tick(struct hub *h, int64_t now_ms, int64_t unix_now);	/* pulls that are due, cursors for the quiet, tokens that ran out */

#endif

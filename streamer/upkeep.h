/* upkeep.h - the connection of sync_upkeep: tables, checkpoints, rows read again, who blocks the slot. One question at a time, in order. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_UPKEEP_H
#define SYNC_UPKEEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

struct upkeep;

/* Every answer: json or text NULL when it failed (the reason was logged); snapshot is one that the answer is not older than. */
struct upkeep_calls
{
	const char *(*admit)(void *owner, const char *place, bool is_in_recovery);	/* NULL, or why not */
	void	(*up)(void *owner);
	void	(*down)(void *owner);
	void	(*tables)(void *owner, const char *json, const char *snapshot, const char *xid);
	void	(*checkpoint)(void *owner, int64_t nonce, const char *snapshot);
	void	(*rows)(void *owner, const char *json, const char *snapshot);
	void	(*changes)(void *owner, const char *json);
	void	(*relayed)(void *owner, bool is_ok);
};

struct upkeep *upkeep_new(struct loop *l, const char *conninfo, const struct upkeep_calls *calls, void *owner);
void	upkeep_free(struct upkeep *u);
void	upkeep_reconnect(struct upkeep *u, const char *reason);
bool	upkeep_is_up(const struct upkeep *u);

void	upkeep_ask_tables(struct upkeep *u);
void	upkeep_ask_checkpoint(struct upkeep *u, int64_t nonce);
void	upkeep_ask_rows(struct upkeep *u, int32_t table_id, const char *const *keys, size_t count);
void	upkeep_ask_changes(struct upkeep *u, const char *from_snapshot);
void	upkeep_relay(struct upkeep *u, const char *json);		/* a message to the other streamers */
void	upkeep_ask_blockers(struct upkeep *u, int pid);		/* answered in the log */

#endif

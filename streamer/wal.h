/* wal.h - the replication connection: a temporary slot, what its decoding plugin sends message by message, status reports, reconnects. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_WAL_H
#define SYNC_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"
#include "plugin.h"

struct wal;

/* What the server says of itself. */
struct wal_server
{
	const char *system_id;
	const char *database;
	uint32_t timeline;
	uint64_t lsn;				/* its WAL is written up to here */
	uint64_t reached;			/* and up to here it had sent it to us before; 0: never */
};

struct wal_calls
{
	void	(*identified)(void *owner, const struct wal_server *server);
	void	(*slot_created)(void *owner);		/* answered by wal_start, once its reader is ready */
	void	(*slot_waits)(void *owner, int pid);	/* the slot is blocked by older writers; pid is our server process */
	void	(*data)(void *owner, const char *message, size_t len, uint64_t lsn, int64_t sent_us);	/* one of the plugin's, sent then by the server's clock; wal_restart and wal_pause may be called */
	void	(*lost)(void *owner);				/* the slot is gone: whatever comes next is from a new one */
};

struct wal *wal_new(struct loop *l, const char *conninfo, enum plugin plugin, const struct wal_calls *calls, void *owner);
void	wal_free(struct wal *w);
void	wal_start(struct wal *w);				/* after slot_created; else does nothing */
void	wal_pause(struct wal *w, bool is_paused);	/* no messages while paused, status reports go on */
void	wal_restart(struct wal *w, const char *reason);	/* gives the slot up, soon: never from within this call */
uint64_t wal_received(const struct wal *w);		/* everything before this was read; 0: there is no stream */
const char *wal_missing(const struct wal *w);	/* NULL: the stream is flowing; else what is waited for */

#endif

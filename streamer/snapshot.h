/* snapshot.h - a PostgreSQL snapshot (xmin:xmax:xip,...) and the position text of a sync token. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_SNAPSHOT_H
#define SYNC_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

#define SNAPSHOT_XIP_MAX 4096

/* All ids are 64 bit, as pg_current_snapshot() prints them. All zero = no snapshot: it sees nothing, and freeing it is fine. */
struct snapshot
{
	uint64_t xmin;
	uint64_t xmax;
	uint32_t xip_count;
	uint64_t *xip;		/* ascending, owned; NULL when empty */
};

/* Strict: 1 <= xmin <= xip < xmax (xmin <= xmax without xip), xip ascending without repeats, at most SNAPSHOT_XIP_MAX of them,
 * decimals without signs, spaces or leading zeros. On false s is all zero. */
bool	snapshot_parse(struct snapshot *s, const char *text, size_t len) __attribute__((warn_unused_result));
void	snapshot_copy(struct snapshot *dst, const struct snapshot *src);		/* what dst held before is not freed */
void	snapshot_free(struct snapshot *s);		/* leaves it all zero */
bool	snapshot_sees(const struct snapshot *s, uint64_t xid);			/* the id is finished for this snapshot: xid < xmin, or below xmax and not in xip */
bool	snapshot_covers(const struct snapshot *s, const struct snapshot *other);		/* s sees all that other sees */
bool	snapshot_equal(const struct snapshot *a, const struct snapshot *b);
void	snapshot_put(struct buffer *out, const struct snapshot *s);
uint64_t snapshot_widen(const struct snapshot *s, uint32_t xid);			/* the 64-bit id nearest to s->xmax with these low 32 bits */

/* The place of a finished round of pull: everything the snapshot sees has been sent. As text
 * "1/<timeline decimal>/<lsn as %X:%X, high:low>/<xmin:xmax:xip,...>"; in a sync token, `<session part>.<position>`, that text
 * in base64url without padding. A position in the middle of a round has more fields: those are only passed on, never read here. */
struct position
{
	uint32_t timeline;
	uint64_t lsn;			/* in positions of the stream's own one less than a record's, so not a multiple of eight: pull then knows that rows
							 * may have been sent that it did not count, see extension/verify.c */
	struct snapshot snapshot;	/* owned */
};

void	position_put(struct buffer *out, const struct position *p);			/* the base64url form */
bool	position_parse(struct position *p, const char *text, size_t len) __attribute__((warn_unused_result));	/* from base64url; false also for a mid-round position; on false there is nothing to free */
void	position_free(struct position *p);

#endif

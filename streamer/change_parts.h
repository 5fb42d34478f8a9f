/* change_parts.h - what change.c (rows) and tombstone.c share; for nobody else. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHANGE_PARTS_H
#define SYNC_CHANGE_PARTS_H

#include "change.h"

/* What every change needs besides its data; from the sync_ columns of a row, or from a tombstone's own. */
struct stamp
{
	struct value version, xid, at, by;
};

bool	change_has_stamp(const struct stamp *stamp, uint64_t *xid) __attribute__((warn_unused_result));	/* version, xid and time can be read */
/* Takes a scope value's text (null: none) if the table is scoped; false: no text. */
bool	change_set_scope(struct change *c, struct value v) __attribute__((warn_unused_result));

/* The members before and after `data`; put_tail is false when a value cannot be rendered. The closing brace is the caller's. */
void	change_put_head(struct buffer *out, const struct change *c, const char *operation);
bool	change_put_tail(struct buffer *out, const struct change *c, const struct stamp *stamp, struct buffer *scratch) __attribute__((warn_unused_result));
bool	change_take_json(struct change *c, struct buffer *out) __attribute__((warn_unused_result));	/* the finished text; false: over BUFFER_MAX */

#endif

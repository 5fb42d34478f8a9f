/* change.h - the record of a row becomes the change object that clients see, and what routes and filters it. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHANGE_H
#define SYNC_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"
#include "record.h"
#include "tables.h"

enum change_kind { CHANGE_ROW, CHANGE_TOMBSTONE, CHANGE_MARKED /* soft-deleted row: nothing to send, its tombstone follows */ };

/* What the stream knows of one changed row. Owned strings are freed by change_free. */
struct change
{
	enum change_kind kind;
	const struct sync_table *table;		/* borrowed from the sync_tables */
	char   *entity_id;			/* owned; the unescaped key text */
	char   *scope;				/* owned; scope value's text, NULL: no scope column or NULL value, or not known before the re-read */
	bool	scope_is_null;		/* a scoped table's row with NULL scope: concerns nobody */
	uint64_t xid;				/* sync_xid of the row or tombstone */
	bool	needs_reread;		/* json is NULL: fetch it by sync.feed_rows */
	char   *old_values;			/* owned; JSON object that a tombstone keeps for judging policies; else NULL */
	bool	is_handover;		/* a tombstone of a row that lives on under its key and scope value, for those who may not see it any more */
	bool	is_new;				/* an insert; of several writes in one transaction that of the first */
	uint8_t *changed;			/* owned; which columns the write changed (column_set_has of clock.h); NULL: all, or it is not known */
	char   *old;				/* owned; JSON object of the row before the write, only with REPLICA IDENTITY FULL; else NULL */
	char   *json;				/* owned; the change object; NULL if CHANGE_MARKED */
	size_t	json_len;
};

/* The change object has these members, in this order:
 *  {"operation":"create"|"update"|"delete","entity_type","entity_id","data":{column:value,...} (not in a delete),"server_version",
 *   "timestamp","changed_by":text|null,"scope":text|null (scoped tables only),"reason":"deleted"|"moved" (deletes only)}
 * create is sync_version 1. entity_id is the key's text; of several columns a JSON array of their texts, ["1","3"]. Values follow render.h;
 * scope is always the value's text as a string.
 *
 * r is an insert or update on t. A value that is missing (unchanged TOAST) is taken from the old row if that has it. One that render.h cannot
 * give, one still missing and a column that t does not know ask for a re-read.
 * changed is exact for an update by SQL or push: the columns that sync_clock says were written at this version, so writing the same value again
 * counts. NULL for an insert. Of several updates in one transaction the transaction makes the union, see transaction.h.
 * old has the columns of data that the old row tells: those of kind x are missing, a number that wal2json shows as null is null.
 * false: the record has no sync_version, sync_xid or sync_at that can be read (it is older than the table's synchronisation), no key
 * that can be (a NaN in it), or memory ran out; nothing to free then. What the row was is unknown: the sessions of this table must pull. */
bool	change_from_row(struct change *c, const struct record *r, const struct sync_table *t) __attribute__((warn_unused_result));
/* r is an insert on the tombstone table; the synced table is found by its table_id. false: unknown id, or malformed as above. */
bool	change_from_tombstone(struct change *c, const struct record *r, const struct sync_tables *tables) __attribute__((warn_unused_result));
/* Of a delete on t with REPLICA IDENTITY FULL: the row's id and its values; both owned by the caller. false: not all of it is there. */
bool	change_read_deleted(const struct record *r, const struct sync_table *t, char **entity_id, char **old) __attribute__((warn_unused_result));
/* Fills json (and scope) of a change that needed a re-read, from the "change" of one element of sync.feed_rows' answer.
 * false: no object or no scope in it (c is as before). */
bool	change_set_json(struct change *c, struct json_value change_object) __attribute__((warn_unused_result));
void	change_free(struct change *c);

#endif

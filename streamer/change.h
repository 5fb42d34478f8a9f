/* change.h - one line of wal2json (format 2) becomes a record, and a row becomes the change object clients see. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHANGE_H
#define SYNC_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"
#include "tables.h"

enum record_action { RECORD_BEGIN, RECORD_COMMIT, RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE, RECORD_TRUNCATE, RECORD_MESSAGE };

/* One wal2json line. Values are slices of the line: call record_free before the line's memory goes. */
struct record
{
	enum record_action action;
	uint32_t xid;				/* 0 in a message that is not transactional */
	uint64_t lsn;
	uint64_t end_lsn;			/* nextlsn, begin and commit only */
	char	schema[64];			/* row actions and truncate */
	char	table[64];
	struct json *doc;			/* owned */
	struct json_value columns;	/* array of {"name","value"}; absent in begin, commit, truncate, and mostly in delete */
	struct json_value identity;	/* likewise the old key, of update and delete */
	bool	is_ours;			/* message with prefix "sync" whose content is one decimal number (anyone may write messages) */
	int64_t nonce;				/* its content */
	char   *content;			/* owned: any other content of a message with this prefix, else NULL; it belongs to a transaction if xid is not 0 */
};

/* Wants the options format-version=2, include-lsn and include-xids. false: not such a line (nothing to free then). */
bool	record_parse(struct record *r, const char *line, size_t len) __attribute__((warn_unused_result));
void	record_free(struct record *r);
struct json_value record_column(const struct record *r, const char *name);	/* the value; absent if the column is not there */

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
	char   *json;				/* owned; the change object; NULL if CHANGE_MARKED */
	size_t	json_len;
};

/* The change object has these members, in this order:
 *  {"operation":"create"|"update"|"delete","entity_type","entity_id","data":{column:value,...} (not in a delete),"server_version",
 *   "timestamp","changed_by":text|null,"scope":text|null (scoped tables only),"reason":"deleted"|"moved" (deletes only)}
 * create is sync_version 1. entity_id is the key's text; of several columns a JSON array of their texts, ["1","3"]. Values follow render.h;
 * scope is always the value's text as a string.
 *
 * r is an insert or update on t. A value that render.h cannot give, a missing column and one that t does not know ask for a re-read.
 * false: the record has no sync_version, sync_xid or sync_at that can be read (it is older than the table's synchronisation), no key
 * that can be (a NaN in it), or memory ran out; nothing to free then. What the row was is unknown: the sessions of this table must pull. */
bool	change_from_row(struct change *c, const struct record *r, const struct sync_table *t) __attribute__((warn_unused_result));
/* r is an insert on the tombstone table; the synced table is found by its table_id. false: unknown id, or malformed as above. */
bool	change_from_tombstone(struct change *c, const struct record *r, const struct sync_tables *tables) __attribute__((warn_unused_result));
/* Fills json (and scope) of a change that needed a re-read, from the "change" of one element of sync.feed_rows' answer.
 * false: no object or no scope in it (c is as before). */
bool	change_set_json(struct change *c, struct json_value change_object) __attribute__((warn_unused_result));
void	change_free(struct change *c);

#endif

/* record.h - what one message of the replication stream says, whichever decoder wrote it. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RECORD_H
#define SYNC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "plugin.h"

enum value_kind
{
	VALUE_ABSENT,				/* not told: an unchanged TOAST value, a generated column (pgoutput), a column the row did not have */
	VALUE_NULL,
	VALUE_BLANK,				/* wal2json's null: null, or a number that JSON cannot write (NaN, infinities) */
	VALUE_TEXT,					/* what the type's output function gave */
	VALUE_ESCAPED,				/* the same, still with JSON's escapes */
	VALUE_BOOL,					/* true or false, or t or f */
};

/* A slice of the message that the record came from; nothing is owned. */
struct value
{
	enum value_kind kind;
	const char *text;
	size_t	len;
};

struct field
{
	const char *name;			/* not NUL-terminated */
	size_t	name_len;
	struct value value;
};

enum record_action { RECORD_BEGIN, RECORD_COMMIT, RECORD_INSERT, RECORD_UPDATE, RECORD_DELETE, RECORD_TRUNCATE, RECORD_MESSAGE };

struct record
{
	enum record_action action;
	uint32_t xid;				/* 0 in a message that is not transactional */
	uint64_t lsn;				/* of a message: its own */
	uint64_t end_lsn;			/* of a commit: the transaction's end */
	int64_t committed_us;		/* of a commit: its time, Unix microseconds of the server's clock; 0: not told (wal2json) */
	const char *schema;			/* of rows and truncates, else "" */
	const char *table;
	const struct field *columns;	/* the new row, in attnum order; none in a delete */
	size_t	column_count;
	const struct field *identity;	/* the old row, or of it the replica identity's columns; only of updates and deletes, and not of all */
	size_t	identity_count;
	bool	is_ours;			/* message with prefix "sync" whose content is one decimal number (anyone may write messages) */
	int64_t nonce;				/* its content */
	const char *content;		/* any other content of a message with this prefix, NUL-terminated, else NULL; it belongs to a transaction if xid is not 0 */
};

/* Reads the messages of one replication connection after the other; its memory is used again for each message. */
struct reader;

struct reader *reader_new(enum plugin plugin);
void	reader_free(struct reader *r);		/* NULL is fine */
void	reader_reset(struct reader *r);		/* a new slot begins: pgoutput will tell its relations anew */

/* A message may hold no record (a relation's description), or several (a truncate). The record lives only during the call. */
typedef void (*record_take) (void *owner, const struct record *r);

/* lsn: from the header that the message travelled under. wal2json wants format-version=2 and include-xids, pgoutput protocol version 1.
 * false: no such message. */
bool	reader_read(struct reader *r, const char *message, size_t len, uint64_t lsn, record_take take, void *owner) __attribute__((warn_unused_result));

/* The value of that name; absent if there is none. */
struct value record_value(const struct field *fields, size_t count, const char *name);
bool	field_is(const struct field *f, const char *name, size_t len);
/* The old row is all there (REPLICA IDENTITY FULL), not its key alone. */
bool	record_has_old_row(const struct record *r);

bool	value_is_text(struct value v);			/* a value, and no boolean */
bool	value_is_null(struct value v);
bool	value_uint64(struct value v, uint64_t *out) __attribute__((warn_unused_result));
bool	value_int64(struct value v, int64_t *out) __attribute__((warn_unused_result));
/* The plain text; scratch (initialised, its content is lost) holds it where there were escapes. false: none, or it cannot be unescaped. */
bool	value_text(struct value v, struct buffer *scratch, const char **text, size_t *len) __attribute__((warn_unused_result));
char   *value_strdup(struct value v) __attribute__((warn_unused_result));		/* owned by the caller; NULL: as value_text */

#endif

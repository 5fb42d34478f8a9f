/* operand.h - values of columns read from their texts so that they can be compared as PostgreSQL compares them. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_OPERAND_H
#define SYNC_OPERAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

enum operand_class
{
	OPERAND_NONE,				/* its values are not compared here */
	OPERAND_INTEGER,			/* int2 int4 int8 oid */
	OPERAND_DECIMAL,			/* numeric xid8: exact */
	OPERAND_REAL,				/* float8 */
	OPERAND_SINGLE,				/* float4 */
	OPERAND_BOOLEAN,
	OPERAND_TEXT,				/* text varchar name, in the order of their bytes */
	OPERAND_PADDED,				/* bpchar: blanks at the end do not count */
	OPERAND_LABEL,				/* enums: equal or not */
	OPERAND_DATE,
	OPERAND_TIME,
	OPERAND_TIMESTAMP,
	OPERAND_TIMESTAMPTZ,
	OPERAND_UUID,
	OPERAND_BYTES,				/* equal or not */
};

struct operand
{
	int		rank;				/* of what is beyond numbers: -1 -Infinity, 0 finite, 1 Infinity, 2 NaN */
	int64_t number;				/* integers, booleans, microseconds */
	double	real;
	const char *text;			/* decimals, texts, uuids, bytes: borrowed from what was read, or from scratch */
	size_t	len;
};

/* By pg_type.typname of a type that is no domain; "enum" for any enum. */
enum operand_class operand_class(const char *base_type);
bool	operand_has_order(enum operand_class c);
bool	operand_is_text(enum operand_class c);

/* Of a filter: in PostgreSQL's input syntax, as far as it is served: ISO dates and times, hex bytes, no exponents in decimals.
 * type narrows integers: int2, int4, oid. The text must outlive the operand, unless it was changed: then scratch must. false: no such value. */
bool	operand_read(struct operand *o, enum operand_class c, const char *type, const char *text, size_t len, struct buffer *scratch) __attribute__((warn_unused_result));
/* Of a row: the unquoted text of render.h. */
bool	operand_read_rendered(struct operand *o, enum operand_class c, const char *text, size_t len, struct buffer *scratch) __attribute__((warn_unused_result));
int		operand_compare(enum operand_class c, const struct operand *a, const struct operand *b);		/* < 0, 0, > 0 */

#endif

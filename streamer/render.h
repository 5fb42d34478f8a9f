/* render.h - one rendering of column values as JSON, the same in the stream (from either decoder) and in pull (by the extension). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RENDER_H
#define SYNC_RENDER_H

#include <stdbool.h>

#include "buffer.h"
#include "record.h"

/* The kinds of columns. The value's text is what PostgreSQL's output function gives (TimeZone UTC, DateStyle ISO):
 *  n  int2, int4, oid: a bare number
 *  f  float4, float8: a bare number; "NaN", "Infinity", "-Infinity" as strings
 *  s  text, int8, uuid, date, enums, ...: a string of the text
 *  d  numeric: a string of the digits
 *  b  boolean: true or false
 *  j  json, jsonb: the text itself
 *  y  bytea (hex, with or without \x): a string of standard base64 with padding
 *  t  timestamp: a string, the first space becomes T
 *  z  timestamptz: as t, and +00 becomes Z
 *  x  anything else (arrays, composites, money, ...): must be read again
 *
 * Both append to out and return true, or return false when the row must be read again from the database: for x, when the value is absent
 * (an unchanged TOAST value), when it is blank and may be a number (VALUE_BLANK of f and d), or does not fit the kind (the column's type
 * changed since). What was appended before a false is to be thrown away. scratch is an initialised buffer for intermediate text; its
 * content is lost. */
bool	render_json(struct buffer *out, char kind, struct value v, struct buffer *scratch) __attribute__((warn_unused_result));
/* The same without quotes and escapes, for keys and scope values: false for null as well. x gives its text as it is. */
bool	render_text(struct buffer *out, char kind, struct value v, struct buffer *scratch) __attribute__((warn_unused_result));

#endif

/* render.h - one rendering of column values as JSON, the same in the stream (from wal2json) and in pull (by the extension). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RENDER_H
#define SYNC_RENDER_H

#include <stdbool.h>

#include "buffer.h"
#include "json.h"

/* The kinds of columns. The value's text is what PostgreSQL's output function gives (TimeZone UTC, DateStyle ISO), however wal2json
 * wrapped it (bare, or as a string for domains):
 *  n  int2, int4, oid: a bare number
 *  f  float4, float8: a bare number; "NaN", "Infinity", "-Infinity" as strings; null must be read again (wal2json writes it for those)
 *  s  text, int8, uuid, date, enums, ...: a string of the text
 *  d  numeric: a string of the digits; null must be read again, as f
 *  b  boolean: true or false
 *  j  json, jsonb: the text itself
 *  y  bytea (hex, with or without \x): a string of standard base64 with padding
 *  t  timestamp: a string, the first space becomes T
 *  z  timestamptz: as t, and +00 becomes Z
 *  x  anything else (arrays, composites, money, ...): must be read again
 * A null is null but for f, d and x.
 *
 * Both append to out and return true, or return false when the row must be read again from the database: besides the cases above when
 * the value is absent (an unchanged TOAST value) or does not fit the kind (the column's type changed since). What was appended before a
 * false is to be thrown away. scratch is an initialised buffer for intermediate text; its content is lost. */
bool	render_json(struct buffer *out, char kind, struct json_value v, struct buffer *scratch) __attribute__((warn_unused_result));
/* The same without quotes and escapes, for keys and scope values: false for null as well. x gives its text as it is. */
bool	render_text(struct buffer *out, char kind, struct json_value v, struct buffer *scratch) __attribute__((warn_unused_result));

#endif

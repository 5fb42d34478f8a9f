/* convert.h - values as Supabase's client expects them, made from our own rendering of them. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CONVERT_H
#define SYNC_CONVERT_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "json.h"
#include "tables.h"

/* Appends a value of this column, given as render.h renders it: int8 and numeric become bare numbers, bytea hex digits without \x, the Z of a timestamptz +00:00,
 * all this also within arrays; what else there is stays. keeps_int8: those stay strings, as numbers beyond 2^53 lose digits in that client. */
void	convert_value(struct buffer *out, const struct sync_column *column, struct json_value v, bool keeps_int8);
/* What the client is told the type is: it would make numbers even of strings, were they called int8. */
const char *convert_type(const struct sync_column *column, bool keeps_int8);
/* A part of an entity id: the text of a key column, as render_text gives it. */
void	convert_key(struct buffer *out, const struct sync_column *column, const char *text, size_t len, bool keeps_int8);

#endif

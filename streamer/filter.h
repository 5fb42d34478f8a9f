/* filter.h - what a client wants of a table, as Supabase writes it: column=op.value, joined by commas; read, checked against the table, evaluated. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FILTER_H
#define SYNC_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "json.h"
#include "tables.h"

#define FILTER_MAX 8192				/* bytes of a filter's text */
#define FILTER_CONDITIONS_MAX 32
#define FILTER_VALUES_MAX 100		/* of `in` */
#define FILTER_PATTERN_MAX 255		/* bytes of a pattern */
#define FILTER_SUBJECT_MAX 4096		/* bytes of a text that patterns are tried on: what is longer counts as unknown */

/* filter := cond ("," cond)*    cond := column "=" ["not."] op "." value
 * op     := eq neq lt lte gt gte in like ilike is match imatch isdistinct
 * value  := plain text up to the comma, or "quoted" with \" and \\; of in: "(" up to 100 of these ")"; of is: null, true, false, unknown
 *
 * Values are those of the column's type. Texts are ordered by their bytes. Types without an order here (enums, bytes) know eq, neq, in and
 * isdistinct, arrays, JSON, composites and rarer types only is.null. match and imatch take POSIX extended expressions without back-references, {n}, \d and
 * the like, which could take too long or mean something else here. */
struct filter;

/* A blank text is no filter: NULL, and *problem is "". Else NULL says what is wrong, in *problem (an initialised buffer). */
struct filter *filter_parse(const char *text, size_t len, struct buffer *problem) __attribute__((warn_unused_result));
/* Checks columns, values and patterns against the table; is_readable (NULL: all are) says which columns the caller may know of. false: *problem says why. */
bool	filter_bind(struct filter *f, const struct sync_table *t, bool (*is_readable)(void *owner, int column), void *owner, struct buffer *problem) __attribute__((warn_unused_result));
void	filter_free(struct filter *f);		/* NULL is fine */

void	filter_describe(const struct filter *f, struct buffer *out);		/* as Supabase lists them: [{"id", "eq", "1"}] */
int		filter_count(const struct filter *f);
const char *filter_column(const struct filter *f, int i);		/* the name in its condition i */

bool	filter_has_pattern(const struct filter *f);

enum filter_answer
{
	FILTER_NO,
	FILTER_UNKNOWN,				/* a column is missing, or too long for a pattern */
	FILTER_YES,
};

/* row: an object with the columns' values as render.h has them. NULL is never a yes but for is and isdistinct, under not. neither. */
enum filter_answer filter_eval(const struct filter *f, struct json_value row);

#endif

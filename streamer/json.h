/* json.h - reads JSON as slices of the text it came from, so that numbers keep every digit. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_JSON_H
#define SYNC_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

struct json;			/* a parsed document; refers to the text given, which must outlive it */

/* A value inside a document. Plain data, copied freely; `raw`/`len` is its exact text (strings with their quotes).
 * Every function here takes an absent value and answers as if there were nothing. */
struct json_value
{
	const struct json *doc;
	int		index;			/* < 0: absent */
	const char *raw;
	size_t	len;
};

enum json_type { JSON_ABSENT, JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

/* NULL when the text is not exactly one valid JSON value (white space around it is allowed), nests deeper than 64 or has
 * more than max_values values (names count too). Costs one allocation of at most 20 bytes per value. Whether strings are
 * UTF-8 is not looked at: text from the network goes through text_is_utf8 first. */
struct json *json_parse(const char *text, size_t len, int max_values) __attribute__((warn_unused_result));
void	json_free(struct json *doc);		/* NULL is fine */

struct json_value json_root(const struct json *doc);
enum json_type json_type(struct json_value v);
struct json_value json_member(struct json_value object, const char *name);	/* absent if no object or no such member; the last of equal names wins */
int		json_size(struct json_value v);		/* members or elements; 0 for scalars */

/* Walk: start with json_first (array element, or the first member's name in an object: value via json_member_value), then
 * json_next, until absent. Both take constant time whatever lies inside the value. */
struct json_value json_first(struct json_value v);
struct json_value json_next(struct json_value v);				/* next sibling element, or next member name */
struct json_value json_member_value(struct json_value name);

/* v is a string that, unescaped, is this text (shorter than 256 bytes). */
bool	json_equals(struct json_value v, const char *text);
/* Appends a string's unescaped UTF-8; false if v is no string, or has a lone surrogate or \u0000 (nothing is appended then). */
bool	json_unescape(struct json_value v, struct buffer *out) __attribute__((warn_unused_result));
/* The same for the text between a string's quotes, whose escapes are known to be well-formed. */
bool	json_unescape_text(const char *text, size_t len, struct buffer *out) __attribute__((warn_unused_result));
/* Unescapes into dst (NUL-terminated); false if no string, longer than size - 1 bytes, or as above. */
bool	json_string(struct json_value v, char *dst, size_t size) __attribute__((warn_unused_result));
char   *json_strdup(struct json_value v) __attribute__((warn_unused_result));		/* the unescaped string, owned by the caller; NULL as above */
bool	json_int64(struct json_value v, int64_t *out) __attribute__((warn_unused_result));		/* false for fractions, exponents, out of range */
bool	json_bool(struct json_value v, bool fallback);
bool	json_is_number(const char *text, size_t len);		/* the text follows the grammar of a JSON number */

#endif

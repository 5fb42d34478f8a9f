/* pattern.h - LIKE and regular expressions on texts, limited to what takes time linear in pattern times text. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PATTERN_H
#define SYNC_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct pattern;

/* % any text, _ any character, \ takes what follows as it is. NULL: *trouble says why (a constant). */
struct pattern *pattern_like(const char *text, bool ignores_case, const char **trouble) __attribute__((warn_unused_result));
/* A POSIX extended regular expression, matched anywhere. Refused: back-references, counts in braces, (?…), lazy quantifiers, and escapes of letters and digits
 * but \w \W \s \S: they take unbounded time, or mean something else in PostgreSQL than here. */
struct pattern *pattern_regex(const char *text, bool ignores_case, const char **trouble) __attribute__((warn_unused_result));
void	pattern_free(struct pattern *p);		/* NULL is fine */
bool	pattern_matches(const struct pattern *p, const char *text, size_t len);		/* text is UTF-8 */

#endif

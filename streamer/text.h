/* text.h - strict readers for the small texts inside tokens and WAL lines; all refuse empty text, signs, spaces and leading zeros. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TEXT_H
#define SYNC_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool	text_is_utf8(const char *text, size_t len);			/* as PostgreSQL sees it: no overlong forms, no surrogates */
bool	text_is_printable(const char *text, size_t len);	/* UTF-8 without control characters (C0, DEL, C1) */

/* On false *out is untouched. */
bool	text_uint64(const char *text, size_t len, uint64_t *out) __attribute__((warn_unused_result));
bool	text_int64(const char *text, size_t len, int64_t *out) __attribute__((warn_unused_result));		/* one leading '-' allowed */
/* A WAL position as PostgreSQL prints it (%X/%X, upper case), with the separator given. */
bool	text_lsn(const char *text, size_t len, char separator, uint64_t *out) __attribute__((warn_unused_result));

#endif

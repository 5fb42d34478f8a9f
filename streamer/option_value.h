/* option_value.h - reads single values of settings; for options.c only. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_OPTION_VALUE_H
#define SYNC_OPTION_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

enum option_unit { UNIT_NONE, UNIT_SECONDS /* may end in s */, UNIT_BYTES /* may end in k, M, G */ };

/* All return false if the value is not of the form wanted, or memory ran out. */
bool	option_set_text(char **dst, const char *value, size_t len) __attribute__((warn_unused_result));		/* *dst is owned, the old text freed */
bool	option_add_text(char **dst, const char *value) __attribute__((warn_unused_result));		/* after a comma */
bool	option_read_address(struct options *o, const char *value) __attribute__((warn_unused_result));	/* HOST:PORT, [IPv6]:PORT or PORT */
bool	option_read_plugin(int *plugin, const char *value) __attribute__((warn_unused_result));
bool	option_read_level(int *level, const char *value) __attribute__((warn_unused_result));
bool	option_read_number(enum option_unit unit, const char *value, int64_t *out) __attribute__((warn_unused_result));	/* not negative */
bool	option_read_switch(bool *out, const char *value) __attribute__((warn_unused_result));

size_t	option_distance(const char *a, size_t a_len, const char *b);	/* edits that lead from a to b; SIZE_MAX if either is longer than 40 */

#endif

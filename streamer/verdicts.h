/* verdicts.h - what the database's answers say in passing: counted without parsing them whole. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_VERDICTS_H
#define SYNC_VERDICTS_H

#include <stddef.h>

/* The texts are answers of sync.push and sync.pull. Whatever else they hold is skipped, and nothing breaks on it. */
void	verdicts_count(const char *json, size_t len);			/* METRIC_VERDICTS, OUTCOMES, CONFLICTS, REJECTS; repeats count as such only */
size_t	verdicts_changes(const char *json, size_t len);		/* how many changes a page has */

#endif

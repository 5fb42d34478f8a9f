/* quiet.h - for fuzzers of whole modules: nothing is logged, and chance is the same in every run, so that an input always does the same. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FUZZ_QUIET_H
#define SYNC_FUZZ_QUIET_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "chance.h"
#include "log.h"

static uint64_t chances;		/* set to 0 by whoever begins an input */

uint64_t
chance_bits(void)
{
	chances = chances * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return chances >> 16 | 1;
}

int64_t
chance_below(int64_t limit)
{
	return limit > 0 ? (int64_t) (chance_bits() % (uint64_t) limit) : 0;
}

void
log_set_level(enum log_level level)
{
	(void) level;
}

/* Formatted all the same: a wrong argument is seen. */
void
log_event(enum log_level level, const char *event, const char *format,...)
{
	char	line[512];
	va_list args;

	(void) level;
	(void) event;
	va_start(args, format);
	(void) vsnprintf(line, sizeof(line), format, args);
	va_end(args);
}

#endif

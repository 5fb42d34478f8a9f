/* check.h - CHECK counts and goes on; CHECK_END prints the program's sum for run.sh. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CHECK_H
#define SYNC_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int check_passed;
static int check_failed;

static inline bool
check_that(bool ok, const char *text, const char *file, int line)
{
	if (ok)
		check_passed++;
	else
	{
		check_failed++;
		fprintf(stderr, "%s:%d: failed: %s\n", file, line, text);
	}
	return ok;
}

static inline void
check_text(const char *got, const char *wanted, const char *file, int line)
{
	if (check_that(got != NULL && strcmp(got, wanted) == 0, wanted, file, line))
		return;
	fprintf(stderr, "    got: %s\n", got != NULL ? got : "(null)");
}

#define CHECK(condition) check_that((condition), #condition, __FILE__, __LINE__)
#define CHECK_TEXT(got, wanted) check_text((got), (wanted), __FILE__, __LINE__)
#define CHECK_END() (printf("%d passed, %d failed\n", check_passed, check_failed), check_failed > 0)

#endif

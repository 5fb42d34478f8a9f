/* live.h - the files of the live page, which the Makefile puts into the program. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_LIVE_H
#define SYNC_LIVE_H

#include <stddef.h>

struct live_file
{
	const char *name;		/* NULL at the end */
	const unsigned char *data;
	size_t	len;
};

extern const struct live_file live_files[];

#endif

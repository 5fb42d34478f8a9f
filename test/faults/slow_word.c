/* slow_word.c - loaded by one session: its commits are seen by all for a while before anybody is told that caches are old, as when the processor is taken from it there. */
/* SPDX-License-Identifier: PostgreSQL */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

#define WAIT_US 1500000L

extern PGDLLEXPORT void _PG_init(void);

static void
after_commit(XactEvent event, void *unused)
{
	(void) unused;
	if (event == XACT_EVENT_COMMIT)
		pg_usleep(WAIT_US);
}

void
_PG_init(void)
{
	RegisterXactCallback(after_commit, NULL);
}

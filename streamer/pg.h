/* pg.h - one asynchronous connection to PostgreSQL that comes up by itself again and again, and runs one job at a time. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_PG_H
#define SYNC_PG_H

#include <stdbool.h>
#include <stddef.h>

#include <libpq-fe.h>

#include "loop.h"

#define PG_STATEMENTS_MAX 8		/* in one job */
#define PG_PARAMETERS_MAX 3

struct pg;

struct pg_calls
{
	void	(*up)(void *owner);			/* connected; pg_run may be called */
	void	(*down)(void *owner);		/* was up and is not any more; a job in flight has been answered with NULL before */
	void	(*input)(void *owner);		/* replication connections only: libpq has read something */
	/* an ordinary connection tells what it reached; NULL, or why it may not be used. NULL function: takes any */
	/* place: system identifier, slash, database */
	const char *(*admit)(void *owner, const char *place, bool is_in_recovery);
	void	(*notice)(void *owner, const char *text);		/* what the server says beside its answers; NULL function: nobody wants it */
};

struct pg_statement
{
	const char *sql;
	int		parameter_count;
	const char *parameters[PG_PARAMETERS_MAX];
	bool	ends_segment;		/* an error before skips what follows up to here, not beyond; the last one always ends one */
};

/* The results, one for each statement (owned by pg, NULL if it was skipped); results = NULL: the connection was lost, nobody knows what happened. */
typedef void (*pg_done)(void *owner, PGresult *const *results, int count);

struct pg *pg_new(struct loop *l, const char *conninfo, bool is_replication, const char *name, const struct pg_calls *calls, void *owner);
void	pg_free(struct pg *p);			/* closes; no more calls. Not from within its own calls */

bool	pg_run(struct pg *p, const struct pg_statement *statements, int count, pg_done done);	/* false: not up, or busy. Parameters are copied by libpq */
bool	pg_is_up(const struct pg *p);
bool	pg_is_busy(const struct pg *p);
void	pg_drop(struct pg *p, const char *reason);		/* gives the connection up and connects anew after the back-off */

/* For the replication connection, which has its own protocol on the wire. */
PGconn *pg_raw(struct pg *p);
void	pg_flush(struct pg *p);			/* sends what waits, now or when the socket takes it (not while it is not read) */
void	pg_read(struct pg *p, bool wanted);		/* input: whether to read at all */

#endif

/* pg.c - one asynchronous connection to PostgreSQL that comes up by itself again and again, and runs one job at a time. */
/* SPDX-License-Identifier: PostgreSQL */
#include "pg.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chance.h"
#include "log.h"
#include "memory.h"

#define BACKOFF_LEAST_MS 200
#define BACKOFF_MOST_MS 5000
#define CONNECT_LIMIT_MS 10000

enum pg_state
{
	PG_WAITING,			/* no connection; the timer will try */
	PG_CONNECTING,		/* the timer limits it */
	PG_ADMITTING,		/* connected, asking where we are */
	PG_UP,
};

struct pg
{
	struct loop *loop;
	char   *conninfo;
	const char *name;		/* for the log */
	bool	is_replication;
	struct pg_calls calls;
	void   *owner;

	enum pg_state state;
	PGconn *conn;
	struct loop_watch *watch;
	ino_t	watched;		/* which socket the watch is on: descriptors are numbered anew */
	struct loop_timer *timer;
	int64_t backoff_ms;
	char	complaint[100];		/* why the last attempt failed, as it was logged as a warning; "" when it did not */

	pg_done done;			/* NULL: no job */
	int		count;
	int		place;			/* the statement whose results are being read */
	bool	ends[PG_STATEMENTS_MAX];
	PGresult *results[PG_STATEMENTS_MAX];
};

static void try_connect(void *owner);
static void socket_ready(void *owner);

static void
clear_results(struct pg *p)
{
	for (int i = 0; i < PG_STATEMENTS_MAX; i++)
	{
		PQclear(p->results[i]);
		p->results[i] = NULL;
	}
}

/* The job is forgotten before it is answered: the answer may start the next one. */
static void
finish_job(struct pg *p, bool is_known)
{
	pg_done done = p->done;
	PGresult *results[PG_STATEMENTS_MAX];

	memcpy(results, p->results, sizeof(results));
	memset(p->results, 0, sizeof(p->results));
	p->done = NULL;
	done(p->owner, is_known ? results : NULL, is_known ? p->count : 0);
	for (int i = 0; i < PG_STATEMENTS_MAX; i++)
		PQclear(results[i]);
}

static void
close_connection(struct pg *p)
{
	loop_watch_free(p->watch);
	p->watch = NULL;
	PQfinish(p->conn);
	p->conn = NULL;
}

static void
wait_and_retry(struct pg *p)
{
	p->state = PG_WAITING;
	loop_timer_set(p->timer, p->backoff_ms / 2 + chance_below(p->backoff_ms));
	p->backoff_ms = p->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : p->backoff_ms * 2;
}

/* Each cause is logged once as a warning; the repeats of an outage only for those who debug. */
void
pg_drop(struct pg *p, const char *reason)
{
	bool	was_up = p->state == PG_UP;

	if (p->state == PG_WAITING)
		return;
	log_event(strncmp(p->complaint, reason, sizeof(p->complaint) - 1) == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "database_lost", "connection=%s reason=\"%.400s\"", p->name, reason);
	snprintf(p->complaint, sizeof(p->complaint), "%s", reason);
	close_connection(p);
	wait_and_retry(p);
	if (p->done != NULL)
		finish_job(p, false);
	if (was_up && p->calls.down != NULL)
		p->calls.down(p->owner);
}

static void
drop_with_error(struct pg *p)
{
	char   *text = memory_string(PQerrorMessage(p->conn));

	text[strcspn(text, "\n")] = '\0';
	pg_drop(p, text[0] != '\0' ? text : "connection lost");
	free(text);
}

/* While connecting, libpq may close a socket and open another that gets the same number: the inode tells them apart. */
static bool
watch_socket(struct pg *p)
{
	struct stat seen;

	if (PQsocket(p->conn) < 0 || fstat(PQsocket(p->conn), &seen) != 0)
		return false;
	if (p->watch != NULL && seen.st_ino == p->watched)
		return true;
	loop_watch_free(p->watch);
	p->watched = seen.st_ino;
	p->watch = loop_watch_new(p->loop, PQsocket(p->conn), socket_ready, p);
	return p->watch != NULL;
}

static void
set_up(struct pg *p)
{
	loop_timer_stop(p->timer);
	p->state = PG_UP;
	p->backoff_ms = BACKOFF_LEAST_MS;
	p->complaint[0] = '\0';
	log_event(LOG_LEVEL_DEBUG, "database_connected", "connection=%s pid=%d", p->name, PQbackendPID(p->conn));
	if (p->calls.up != NULL)
		p->calls.up(p->owner);
}

/* The answer of the admission query comes back through the job machinery with p->owner; this runs before any owner's job. */
static void
check_admission(struct pg *p)
{
	PGresult *r = p->results[0];
	const char *refusal = NULL;

	if (r == NULL || PQresultStatus(r) != PGRES_TUPLES_OK)
	{
		drop_with_error(p);
		return;
	}
	if (p->calls.admit != NULL)
		refusal = p->calls.admit(p->owner, PQgetvalue(r, 0, 1), PQgetvalue(r, 0, 0)[0] == 't');
	if (refusal != NULL)
		pg_drop(p, refusal);
	else
		set_up(p);
	clear_results(p);
}

static void
never_called(void *owner, PGresult *const *results, int count)
{
	(void) owner;
	(void) results;
	(void) count;
}

static bool
send_job(struct pg *p, const struct pg_statement *statements, int count, pg_done done)
{
	if (count > PG_STATEMENTS_MAX)
		return false;
	p->done = done;
	p->count = count;
	p->place = 0;
	for (int i = 0; i < count; i++)
	{
		const struct pg_statement *s = &statements[i];

		p->ends[i] = s->ends_segment || i == count - 1;
		if (!PQsendQueryParams(p->conn, s->sql, s->parameter_count, NULL, s->parameters, NULL, NULL, 0) || (p->ends[i] && !PQpipelineSync(p->conn)))
		{
			drop_with_error(p);
			return true;
		}
	}
	pg_flush(p);
	return true;
}

static void
connection_made(struct pg *p)
{
	static const struct pg_statement where = {.sql = "SELECT pg_is_in_recovery(), (SELECT system_identifier FROM pg_control_system()) || '/' || current_database()"};

	if (PQsetnonblocking(p->conn, 1) != 0)
		drop_with_error(p);
	else if (p->is_replication)
		set_up(p);
	else if (!PQenterPipelineMode(p->conn))
		drop_with_error(p);
	else
	{
		p->state = PG_ADMITTING;
		send_job(p, &where, 1, never_called);
	}
}

static void
go_on_connecting(struct pg *p)
{
	PostgresPollingStatusType status = PQconnectPoll(p->conn);

	if (status == PGRES_POLLING_FAILED || !watch_socket(p))
		drop_with_error(p);
	else if (status == PGRES_POLLING_OK)
		connection_made(p);
	else if (status == PGRES_POLLING_WRITING)
		loop_watch_output(p->watch);
}

/* Reads one result or separator; false when nothing more can be read now. */
static bool
read_result(struct pg *p)
{
	PGresult *r;

	if (PQisBusy(p->conn))
		return false;
	r = PQgetResult(p->conn);
	if (r == NULL)		/* the end of one statement's results; or of everything, on a broken connection */
	{
		if (PQstatus(p->conn) == CONNECTION_BAD)
			return false;
		if (!p->ends[p->place])
			p->place++;
		return true;
	}
	if (PQresultStatus(r) == PGRES_PIPELINE_SYNC)
	{
		PQclear(r);
		return ++p->place < p->count;
	}
	if (PQresultStatus(r) == PGRES_PIPELINE_ABORTED || p->results[p->place] != NULL)
		PQclear(r);
	else
		p->results[p->place] = r;
	return true;
}

static void
read_results(struct pg *p)
{
	while (p->done != NULL && p->place < p->count && read_result(p))
		;
	if (PQstatus(p->conn) == CONNECTION_BAD)
		drop_with_error(p);
	else if (p->done != NULL && p->place >= p->count)
	{
		if (p->state != PG_ADMITTING)
		{
			finish_job(p, true);
			return;
		}
		p->done = NULL;
		check_admission(p);
	}
}

static void
socket_ready(void *owner)
{
	struct pg *p = owner;

	if (p->state == PG_CONNECTING)
	{
		go_on_connecting(p);
		return;
	}
	if (!PQconsumeInput(p->conn))
	{
		/* what had arrived before the end may hold the reason */
		if (!p->is_replication && p->done != NULL)
			read_results(p);
		if (p->conn != NULL)
			drop_with_error(p);
		return;
	}
	pg_flush(p);
	if (p->conn == NULL)
		return;
	if (p->is_replication)
		p->calls.input(p->owner);
	else
		read_results(p);
}

/* What triggers of the application say may hold anything: it is passed on to whoever wants it, and else dropped, never printed. */
static void
notice(void *at, const PGresult *r)
{
	struct pg *p = at;
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (p->calls.notice != NULL && text != NULL)
		p->calls.notice(p->owner, text);
}

/* Settings before dbname may be overridden by the user's conninfo, those after it may not. The last two are for replication only:
 * the list ends earlier for an ordinary connection. */
static void
try_connect(void *owner)
{
	struct pg *p = owner;
	const char *const names[] = {
		"fallback_application_name", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname",
		"client_encoding", p->is_replication ? "replication" : NULL, "options", NULL,
	};
	const char *const values[] = {
		"sync-streamer", "10", "5", "3", "20000", p->conninfo, "UTF8", "database",
		"-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex", NULL,
	};

	if (p->state != PG_WAITING)
	{
		pg_drop(p, p->state == PG_UP ? "the socket cannot be watched" : "connecting took too long");
		return;
	}
	p->state = PG_CONNECTING;
	p->conn = PQconnectStartParams(names, values, 1);
	PQsetNoticeReceiver(p->conn, notice, p);
	memory_require(p->conn);
	loop_timer_set(p->timer, CONNECT_LIMIT_MS);
	if (PQstatus(p->conn) == CONNECTION_BAD || !watch_socket(p))
		drop_with_error(p);
	else
		loop_watch_output(p->watch);
}

struct pg *
pg_new(struct loop *l, const char *conninfo, bool is_replication, const char *name, const struct pg_calls *calls, void *owner)
{
	struct pg *p = memory_new(sizeof(*p));

	p->loop = l;
	p->conninfo = memory_string(conninfo);
	p->name = name;
	p->is_replication = is_replication;
	p->calls = *calls;
	p->owner = owner;
	p->backoff_ms = BACKOFF_LEAST_MS;
	p->timer = loop_timer_new(l, try_connect, p);
	loop_timer_set(p->timer, 0);
	return p;
}

void
pg_free(struct pg *p)
{
	if (p == NULL)
		return;
	close_connection(p);
	clear_results(p);
	loop_timer_free(p->timer);
	free(p->conninfo);
	free(p);
}

bool
pg_run(struct pg *p, const struct pg_statement *statements, int count, pg_done done)
{
	if (p->state != PG_UP || p->done != NULL)
		return false;
	return send_job(p, statements, count, done);
}

bool
pg_is_up(const struct pg *p)
{
	return p->state == PG_UP;
}

bool
pg_is_busy(const struct pg *p)
{
	return p->done != NULL;
}

PGconn *
pg_raw(struct pg *p)
{
	return p->conn;
}

void
pg_flush(struct pg *p)
{
	int		left = PQflush(p->conn);

	if (left < 0)
		drop_with_error(p);
	else if (left > 0 && p->watch != NULL)
		loop_watch_output(p->watch);
}

/* The library's own flow control did not take input up again reliably: so the watch goes, and comes anew. */
void
pg_read(struct pg *p, bool wanted)
{
	if (p->state != PG_UP)
		return;
	if (!wanted)
	{
		loop_watch_free(p->watch);
		p->watch = NULL;
	}
	else if (!watch_socket(p))
		loop_timer_set(p->timer, 0);		/* not at once: the caller is in the middle of something */
}

/* upkeep.c - the connection of sync_upkeep: tables, checkpoints, rows read again, who blocks the slot. One question at a time, in order. */
/* SPDX-License-Identifier: PostgreSQL */
#include "upkeep.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "log.h"
#include "memory.h"
#include "pg.h"

#define JOBS_MAX 64		/* each asker has at most a few under way */

enum job_kind
{
	JOB_TABLES,
	JOB_CHECKPOINT,
	JOB_ROWS,
	JOB_CHANGES,
	JOB_BLOCKERS,
	JOB_RELAY,
};

struct job
{
	enum job_kind kind;
	int64_t number;		/* nonce, table id or pid */
	char   *keys;		/* owned; of JOB_ROWS; of JOB_RELAY the message, of JOB_CHANGES the snapshot; else NULL */
};

struct upkeep
{
	struct pg *pg;
	struct upkeep_calls calls;
	void   *owner;
	struct job jobs[JOBS_MAX];		/* a ring; the first is in flight if is_asking */
	size_t	head;
	size_t	count;
	bool	is_asking;
};

/* The snapshot is the statement's own; what the function sees is as new or newer. An id of our own says where the server's counter stands. */
static const char *const job_sql[] = {
	[JOB_TABLES] = "SELECT sync.feed_tables()::text, pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_xact_id()::text",
	[JOB_CHECKPOINT] = "SELECT sync.checkpoint($1::bigint)",
	[JOB_ROWS] = "SELECT sync.feed_rows($1::int, $2::text[])::text, pg_catalog.pg_current_snapshot()::text",
	[JOB_CHANGES] = "SELECT sync.feed_changes($1)::text",
	[JOB_RELAY] = "SELECT sync.relay($1::json)",
	[JOB_BLOCKERS] = "SELECT pg_catalog.string_agg(DISTINCT coalesce('prepared transaction ' || quote_literal(p.gid), 'pid ' || h.pid), ', ') "
	"FROM pg_catalog.pg_locks w JOIN pg_catalog.pg_locks h ON h.locktype = 'transactionid' AND h.transactionid = w.transactionid AND h.granted "
	"LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = w.transactionid WHERE w.pid = $1::int AND NOT w.granted",
};

static const char *
text_at(PGresult *r, int column)
{
	if (r == NULL || PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1 || PQnfields(r) <= column || PQgetisnull(r, 0, column))
		return NULL;
	return PQgetvalue(r, 0, column);
}

static void
log_blockers(const char *blockers)
{
	log_event(LOG_LEVEL_WARNING, "slot_waits", "for=\"%s\" text=\"a new slot waits for every transaction that was writing before it: end it, or wait\"",
			  blockers != NULL ? blockers : "older writing transactions");
}

static void
answer(struct upkeep *u, const struct job *j, PGresult *r)
{
	switch (j->kind)
	{
		case JOB_TABLES:
			u->calls.tables(u->owner, text_at(r, 0), text_at(r, 1), text_at(r, 2));
			break;
		case JOB_CHECKPOINT:
			u->calls.checkpoint(u->owner, j->number, text_at(r, 0));
			break;
		case JOB_ROWS:
			u->calls.rows(u->owner, text_at(r, 0), text_at(r, 1));
			break;
		case JOB_CHANGES:
			u->calls.changes(u->owner, text_at(r, 0));
			break;
		case JOB_BLOCKERS:
			log_blockers(text_at(r, 0));
			break;
		case JOB_RELAY:
			u->calls.relayed(u->owner, r != NULL && PQresultStatus(r) == PGRES_TUPLES_OK);
			break;
	}
}

static struct job
take_job(struct upkeep *u)
{
	struct job j = u->jobs[u->head];

	u->head = (u->head + 1) % JOBS_MAX;
	u->count--;
	u->is_asking = false;
	return j;
}

static void ask_next(struct upkeep *u);

static void
job_done(void *owner, PGresult *const *results, int count)
{
	static const char *const names[] = {"feed_tables", "checkpoint", "feed_rows", "feed_changes", "blockers", "relay"};
	struct upkeep *u = owner;
	PGresult *r = results != NULL && count > 0 ? results[0] : NULL;
	struct job j = take_job(u);

	if (r != NULL && PQresultStatus(r) != PGRES_TUPLES_OK)
		log_event(LOG_LEVEL_ERROR, "upkeep_failed", "call=%s sqlstate=%s reason=\"%s\"", names[j.kind], PQresultErrorField(r, PG_DIAG_SQLSTATE),
				  PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY));
	answer(u, &j, r);
	free(j.keys);
	ask_next(u);
}

static void
ask_next(struct upkeep *u)
{
	struct job *j = &u->jobs[u->head];
	struct pg_statement s = {.parameter_count = 1};
	char	number[24];

	if (u->count == 0 || u->is_asking || !pg_is_up(u->pg))
		return;
	snprintf(number, sizeof(number), "%" PRId64, j->number);
	s.sql = job_sql[j->kind];
	s.parameters[0] = number;
	s.parameters[1] = j->keys;
	if (j->kind == JOB_RELAY)
		s.parameters[0] = j->keys;
	if (j->kind == JOB_TABLES)
		s.parameter_count = 0;
	else if (j->kind == JOB_ROWS)
		s.parameter_count = 2;
	else if (j->kind == JOB_CHANGES)
		s.parameters[0] = j->keys;
	u->is_asking = true;
	if (!pg_run(u->pg, &s, 1, job_done))
		u->is_asking = false;
}

static void
put_job(struct upkeep *u, enum job_kind kind, int64_t number, const char *keys)
{
	struct job j = {.kind = kind, .number = number, .keys = memory_string(keys)};

	if (u->count == JOBS_MAX || !pg_is_up(u->pg))
	{
		answer(u, &j, NULL);
		free(j.keys);
		return;
	}
	u->jobs[(u->head + u->count++) % JOBS_MAX] = j;
	ask_next(u);
}

static void
connected(void *owner)
{
	struct upkeep *u = owner;

	u->calls.up(u->owner);
}

/* The job in flight was answered by pg before; those behind it are answered here. */
static void
disconnected(void *owner)
{
	struct upkeep *u = owner;

	while (u->count > 0)
	{
		struct job j = take_job(u);

		answer(u, &j, NULL);
		free(j.keys);
	}
	u->calls.down(u->owner);
}

static const char *
admit(void *owner, const char *place, bool is_in_recovery)
{
	struct upkeep *u = owner;

	return u->calls.admit(u->owner, place, is_in_recovery);
}

struct upkeep *
upkeep_new(struct loop *l, const char *conninfo, const struct upkeep_calls *calls, void *owner)
{
	static const struct pg_calls pg_calls = {.up = connected, .down = disconnected, .admit = admit};
	struct upkeep *u = memory_new(sizeof(*u));

	u->calls = *calls;
	u->owner = owner;
	u->pg = pg_new(l, conninfo, false, "upkeep", &pg_calls, u);
	return u;
}

void
upkeep_free(struct upkeep *u)
{
	if (u == NULL)
		return;
	pg_free(u->pg);
	while (u->count > 0)
	{
		struct job j = take_job(u);

		free(j.keys);
	}
	free(u);
}

void
upkeep_reconnect(struct upkeep *u, const char *reason)
{
	pg_drop(u->pg, reason);
}

bool
upkeep_is_up(const struct upkeep *u)
{
	return pg_is_up(u->pg);
}

void
upkeep_ask_tables(struct upkeep *u)
{
	put_job(u, JOB_TABLES, 0, NULL);
}

void
upkeep_ask_checkpoint(struct upkeep *u, int64_t nonce)
{
	put_job(u, JOB_CHECKPOINT, nonce, NULL);
}

/* One more element of the text of a PostgreSQL array. */
static void
put_key(struct buffer *keys, const char *key)
{
	buffer_puts(keys, keys->len > 1 ? ",\"" : "\"");
	for (; *key != '\0'; key++)
	{
		if (*key == '"' || *key == '\\')
			buffer_putc(keys, '\\');
		buffer_putc(keys, *key);
	}
	buffer_putc(keys, '"');
}

void
upkeep_ask_rows(struct upkeep *u, int32_t table_id, const char *const *keys, size_t count)
{
	struct buffer text;

	buffer_init(&text);
	buffer_putc(&text, '{');
	for (size_t i = 0; i < count; i++)
		put_key(&text, keys[i]);
	buffer_putc(&text, '}');
	put_job(u, JOB_ROWS, table_id, text.failed ? "{}" : text.data);
	buffer_free(&text);
}

void
upkeep_ask_changes(struct upkeep *u, const char *from_snapshot)
{
	put_job(u, JOB_CHANGES, 0, from_snapshot);
}

void
upkeep_ask_blockers(struct upkeep *u, int pid)
{
	put_job(u, JOB_BLOCKERS, pid, NULL);
}

void
upkeep_relay(struct upkeep *u, const char *json)
{
	put_job(u, JOB_RELAY, 0, json);
}

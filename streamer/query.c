/* query.c - the pool of ordinary connections: runs clients' requests, each under its own role and claims, in the order they came. */
/* SPDX-License-Identifier: PostgreSQL */
#include "query.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "pg.h"
#include "verdicts.h"

struct waiting
{
	struct waiting *next;
	enum request_kind kind;
	char   *role;			/* owned, like the next two */
	char   *claims;
	char   *json;
	size_t	bytes;
	int64_t asked_us;
	enum answer_status refusal;		/* once it is on the list of the refused */
	request_done done;
	void   *owner;
	uint64_t id;
};

struct worker
{
	struct query_pool *pool;
	struct pg *pg;
	struct waiting *current;	/* owned; NULL: idle */
};

struct query_pool
{
	struct waiting *first;
	struct waiting *last;
	size_t	count;
	size_t	bytes;
	struct waiting *refused;		/* answered as busy or unavailable in the next turn */
	struct loop_timer *refuse;
	int64_t down_since_ms;			/* 0: some connection is up */
	query_admit admit;
	query_pulled pulled;			/* NULL: nobody wants to know */
	void   *owner;
	int		worker_count;
	struct worker workers[];
};

/* While the database is away requests wait this long for it, then are answered as unavailable. */
#define PATIENCE_MS 3000

#define REQUEST_VALUES_MAX 1000000

static int64_t
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void
free_waiting(struct waiting *w)
{
	free(w->role);
	free(w->claims);
	free(w->json);
	free(w);
}

static void
answer(struct waiting *w, const struct answer *a)
{
	w->done(w->owner, w->id, a);
	free_waiting(w);
}

static struct answer
read_error(const PGresult *r)
{
	struct answer a = {.status = ANSWER_REFUSED};

	a.sqlstate = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	a.text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);
	a.hint = PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);
	if (a.sqlstate == NULL)
		a.status = ANSWER_UNAVAILABLE;
	else
		a.read = request_read(PQresultErrorField(r, PG_DIAG_CONTEXT), &a.read_len);
	return a;
}

/* BEGIN, role and claims, the call, COMMIT: an answer counts only when the commit has gone through.
 * The second statement takes the role on: its errors are about the token, whatever they say. */
static struct answer
read_answer(enum request_kind kind, PGresult *const *results, int count)
{
	struct answer a = {.status = ANSWER_UNAVAILABLE};
	PGresult *call = count == 4 ? results[2] : NULL;
	int		column = kind == REQUEST_CATCH_UP ? 1 : 0;

	for (int i = 0; i < count; i++)
		if (results[i] != NULL && PQresultStatus(results[i]) != PGRES_TUPLES_OK && PQresultStatus(results[i]) != PGRES_COMMAND_OK)
		{
			a = read_error(results[i]);
			if (i == 1 && a.status == ANSWER_REFUSED)
				a.sqlstate = "28000";
			return a;
		}
	if (call == NULL || results[3] == NULL || PQntuples(call) != 1 || PQgetisnull(call, 0, column) || strcmp(PQcmdStatus(results[3]), "COMMIT") != 0)
		return a;
	a.status = ANSWER_OK;
	a.json = PQgetvalue(call, 0, column);
	a.len = (size_t) PQgetlength(call, 0, column);
	if (kind == REQUEST_CATCH_UP)
		a.state = PQgetvalue(call, 0, 0);
	if (kind == REQUEST_STATE || kind == REQUEST_CATCH_UP)
		a.snapshot = PQgetvalue(call, 0, kind == REQUEST_STATE ? 1 : 2);
	return a;
}

/* Never at once: the asker may be in the middle of asking. */
static void
refuse_later(struct query_pool *p, struct waiting *w, enum answer_status status)
{
	w->refusal = status;
	w->next = p->refused;
	p->refused = w;
	loop_timer_set(p->refuse, 0);
}

static char *
text_member(const char *json, const char *name)
{
	struct json *doc = json_parse(json, strlen(json), REQUEST_VALUES_MAX);
	char   *text = json_strdup(json_member(json_root(doc), name));

	json_free(doc);
	return text;
}

/* A pull that brought nothing is no news. */
static void
report_pull(const struct query_pool *p, const struct waiting *w, const struct answer *a, int64_t took_us)
{
	size_t	changes = a->status == ANSWER_OK ? verdicts_changes(a->json, a->len) : 0;
	char   *user;
	char   *device;

	if (p->pulled == NULL || (changes == 0 && a->status == ANSWER_OK))
		return;
	user = text_member(w->claims, "sub");
	device = text_member(w->json, "device_id");
	p->pulled(p->owner, user, device, changes, a->status == ANSWER_OK ? a->len : 0, a->status == ANSWER_OK ? "ok" : request_error(a).code, (double) took_us / 1000);
	free(user);
	free(device);
}

static const char *
request_name(enum request_kind kind)
{
	static const char *const names[] = {
		[REQUEST_PULL] = "pull", [REQUEST_CATCH_UP] = "catch_up", [REQUEST_PUSH] = "push", [REQUEST_DIGEST] = "digest", [REQUEST_RESOLVE] = "resolve_conflict",
		[REQUEST_LOCK] = "lock", [REQUEST_UNLOCK] = "unlock",
		[REQUEST_STATE] = "state", [REQUEST_TOPIC] = "topic", [REQUEST_VISIBLE] = "visible"};

	return names[kind];
}

/* Its own texts, class SY, are for clients alone. */
static void
log_refusal(const struct waiting *w, const struct answer *a)
{
	char   *user;

	if (a->status != ANSWER_REFUSED || strncmp(a->sqlstate, "SY", 2) == 0)
		return;
	user = text_member(w->claims, "sub");
	log_event(LOG_LEVEL_WARNING, "request_failed", "request=%s sqlstate=%s user=\"%.100s\" read=\"%.*s\" reason=\"%s\"", request_name(w->kind), a->sqlstate,
			  user != NULL ? user : "", a->read != NULL ? (int) a->read_len : 0, a->read != NULL ? a->read : "", a->text != NULL ? a->text : "");
	free(user);
}

static void
note_answer(const struct query_pool *p, const struct waiting *w, const struct answer *a)
{
	int64_t took_us = now_us() - w->asked_us;

	metric_observe_for(METRIC_REQUEST_TIME, request_name(w->kind), took_us);
	log_refusal(w, a);
	if (w->kind == REQUEST_PUSH && a->status == ANSWER_OK)
		verdicts_count(a->json, a->len);
	else if (w->kind == REQUEST_PULL || w->kind == REQUEST_CATCH_UP)
		report_pull(p, w, a, took_us);
}

static void start_next(struct worker *w);

static void
job_done(void *owner, PGresult *const *results, int count)
{
	struct worker *w = owner;
	struct waiting *current = w->current;
	struct answer a;

	w->current = NULL;
	if (results == NULL)
	{
		refuse_later(w->pool, current, ANSWER_UNAVAILABLE);
		return;
	}
	a = read_answer(current->kind, results, count);
	note_answer(w->pool, current, &a);
	answer(current, &a);
	start_next(w);
}

/* COMMIT stands in a segment of its own, so it runs after an error too, and then rolls back: each job is one round trip and leaves
 * no transaction behind. Statements are unnamed: no plan made under one role is ever used under another. */
static bool
run(struct worker *w)
{
	static const char *const calls[] = {
		[REQUEST_PULL] = "SELECT sync.pull($1::jsonb)::text",
		[REQUEST_CATCH_UP] = "SELECT sync.session_state($1::jsonb)::text, sync.pull($1::jsonb)::text, pg_catalog.pg_current_snapshot()::text",
		[REQUEST_PUSH] = "SELECT sync.push($1::jsonb)::text",
		[REQUEST_DIGEST] = "SELECT sync.digest($1::jsonb)::text",
		[REQUEST_RESOLVE] = "SELECT sync.resolve_conflict($1::jsonb)::text",
		[REQUEST_LOCK] = "SELECT sync.lock($1::jsonb)::text",
		[REQUEST_UNLOCK] = "SELECT sync.unlock($1::jsonb)::text",
		[REQUEST_STATE] = "SELECT sync.session_state($1::jsonb)::text, pg_catalog.pg_current_snapshot()::text",
		[REQUEST_TOPIC] = "SELECT sync.topic_rights($1::text)::text",
		[REQUEST_VISIBLE] = "SELECT sync.visible_keys($1::jsonb)::text",
	};
	const struct waiting *current = w->current;
	bool writes = current->kind == REQUEST_PUSH || current->kind == REQUEST_RESOLVE || current->kind == REQUEST_LOCK || current->kind == REQUEST_UNLOCK;
	const struct pg_statement job[] = {
		{.sql = writes ? "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE" : "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"},
		{.sql = "SELECT pg_catalog.set_config('role', $1, true), pg_catalog.set_config('request.jwt.claims', $2, true)",
		 .parameter_count = 2,
		 .parameters = {current->role, current->claims}},
		{.sql = calls[current->kind], .parameter_count = 1, .parameters = {current->json}, .ends_segment = true},
		{.sql = "COMMIT"},
	};

	return pg_run(w->pg, job, 4, job_done);
}

static void
start_next(struct worker *w)
{
	struct query_pool *p = w->pool;
	struct waiting *next = p->first;

	if (next == NULL || w->current != NULL || !pg_is_up(w->pg) || pg_is_busy(w->pg))
		return;
	p->first = next->next;
	if (p->first == NULL)
		p->last = NULL;
	p->count--;
	p->bytes -= next->bytes;
	w->current = next;
	run(w);
}

static void
connected(void *owner)
{
	struct worker *w = owner;

	w->pool->down_since_ms = 0;
	metric_add_for(METRIC_DATABASE_CONNECTS, "query", 1);
	start_next(w);
}

/* When the last connection is gone the queue may wait a little: most outages are short. */
static void
disconnected(void *owner)
{
	struct worker *w = owner;
	struct query_pool *p = w->pool;

	if (query_pool_up(p) > 0 || p->down_since_ms != 0)
		return;
	p->down_since_ms = loop_now_ms();
	loop_timer_set(p->refuse, p->refused != NULL ? 0 : PATIENCE_MS);
}

static void
refuse(void *owner)
{
	struct query_pool *p = owner;
	struct waiting *list;

	if (p->down_since_ms != 0 && loop_now_ms() - p->down_since_ms >= PATIENCE_MS)
		while (p->first != NULL)
		{
			struct waiting *next = p->first->next;

			refuse_later(p, p->first, ANSWER_UNAVAILABLE);
			p->first = next;
		}
	if (p->first == NULL)
	{
		p->last = NULL;
		p->count = p->bytes = 0;
	}
	list = p->refused;
	p->refused = NULL;
	loop_timer_stop(p->refuse);
	if (p->down_since_ms != 0 && p->first != NULL)
		loop_timer_set(p->refuse, PATIENCE_MS);
	while (list != NULL)
	{
		struct waiting *next = list->next;
		struct answer a = {.status = list->refusal};

		answer(list, &a);
		list = next;
	}
}

/* Questions of the judge go first: live sessions wait for them, and few are under way at a time. */
static void
enqueue(struct query_pool *p, struct waiting *w)
{
	if (p->last == NULL)
		p->first = p->last = w;
	else if (w->kind == REQUEST_VISIBLE)
	{
		w->next = p->first;
		p->first = w;
	}
	else
	{
		p->last->next = w;
		p->last = w;
	}
}

void
query_submit(struct query_pool *p, const struct request *r, request_done done, void *owner, uint64_t id)
{
	struct waiting *w = memory_new(sizeof(*w));

	w->kind = r->kind;
	w->role = memory_string(r->role);
	w->claims = memory_string(r->claims);
	w->json = memory_string(r->json);
	w->bytes = strlen(r->role) + strlen(r->claims) + strlen(r->json) + sizeof(*w);
	w->asked_us = now_us();
	w->done = done;
	w->owner = owner;
	w->id = id;
	if (p->down_since_ms != 0 && loop_now_ms() - p->down_since_ms >= PATIENCE_MS)
	{
		refuse_later(p, w, ANSWER_UNAVAILABLE);
		return;
	}
	if (p->count >= QUERY_WAITING_MAX || p->bytes + w->bytes > QUERY_WAITING_BYTES_MAX)
	{
		refuse_later(p, w, ANSWER_BUSY);
		return;
	}
	enqueue(p, w);
	p->count++;
	p->bytes += w->bytes;
	for (int i = 0; i < p->worker_count && p->first != NULL; i++)
		start_next(&p->workers[i]);
}

static const char *
admit_connection(void *owner, const char *place, bool is_in_recovery)
{
	struct worker *w = owner;

	return w->pool->admit != NULL ? w->pool->admit(w->pool->owner, place, is_in_recovery) : NULL;
}

struct query_pool *
query_pool_new(struct loop *l, const char *conninfo, int connections, query_admit admit, void *owner)
{
	static const struct pg_calls pg_calls = {.up = connected, .down = disconnected, .admit = admit_connection};
	struct query_pool *p = memory_new(sizeof(*p) + (size_t) connections * sizeof(p->workers[0]));

	p->admit = admit;
	p->owner = owner;
	p->worker_count = connections;
	p->down_since_ms = loop_now_ms();
	p->refuse = loop_timer_new(l, refuse, p);
	loop_timer_set(p->refuse, PATIENCE_MS);
	for (int i = 0; i < connections; i++)
	{
		p->workers[i].pool = p;
		p->workers[i].pg = pg_new(l, conninfo, false, "query", &pg_calls, &p->workers[i]);
	}
	return p;
}

void
query_pool_free(struct query_pool *p)
{
	if (p == NULL)
		return;
	for (int i = 0; i < p->worker_count; i++)
	{
		pg_free(p->workers[i].pg);
		if (p->workers[i].current != NULL)
			free_waiting(p->workers[i].current);
	}
	if (p->last != NULL)
		p->last->next = p->refused;
	else
		p->first = p->refused;
	while (p->first != NULL)
	{
		struct waiting *next = p->first->next;

		free_waiting(p->first);
		p->first = next;
	}
	loop_timer_free(p->refuse);
	free(p);
}

int
query_pool_up(const struct query_pool *p)
{
	int		up = 0;

	for (int i = 0; i < p->worker_count; i++)
		up += pg_is_up(p->workers[i].pg);
	return up;
}

void
query_pool_report(struct query_pool *p, query_pulled pulled)
{
	p->pulled = pulled;
}

void
query_pool_gauges(const struct query_pool *p)
{
	int		busy = 0;

	for (int i = 0; i < p->worker_count; i++)
		busy += p->workers[i].current != NULL;
	metric_set(METRIC_QUERIES_BUSY, busy);
	metric_set(METRIC_QUERIES_WAITING, (double) p->count);
	metric_set(METRIC_QUERY_CONNECTIONS, query_pool_up(p));
}

void
query_pool_reconnect(struct query_pool *p, const char *reason)
{
	for (int i = 0; i < p->worker_count; i++)
		pg_drop(p->workers[i].pg, reason);
}

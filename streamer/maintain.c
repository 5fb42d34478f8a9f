/* maintain.c - the upkeep that runs by itself, on a connection of its own: purge, locks, reminders, the log of pulls. One streamer at a time leads. */
/* SPDX-License-Identifier: PostgreSQL */
#include "maintain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "buffer.h"
#include "chance.h"
#include "departed.h"
#include "json.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "pg.h"

#define LEAD_MS 10000			/* how often those who do not lead try to */
#define LOCKS_MS 5000
#define REMINDERS_MS 10000
#define REMINDERS_MOST 1000		/* of one call of sync.remind_due() */
#define STATUS_MS 60000
#define LAG_MS 5000
#define LOG_MS 1000
#define LOG_LINES_MAX 5000		/* waiting; more are left out */
#define RELEASE_MOST 500		/* devices in one call */
#define RETRY_LEAST_MS 5000
#define RETRY_MOST_MS 600000
#define FIRST_PURGE_MS 60000	/* after the lead was taken, unless the interval is shorter */
#define BATCH_LEAST 100
#define BATCH_MOST 10000
#define VALUES_MAX 1000

/* In the order in which they are looked at. */
enum task
{
	TASK_SET_UP,
	TASK_LEAD,
	TASK_RELEASE,
	TASK_LOCKS,
	TASK_REMINDERS,
	TASK_LOG,
	TASK_LAG,
	TASK_STATUS,
	TASK_PURGE,
	TASK_COUNT
};

/* The number of the lock is "sync", 1. The settings let the server notice within half a minute that the host of a leader is gone. */
static const struct
{
	const char *name;
	const char *sql;
	int		parameters;
	bool	needs_lead;
} tasks[TASK_COUNT] = {
	[TASK_SET_UP] = {"set_up", "SELECT pg_catalog.set_config('tcp_keepalives_idle', '15', false), pg_catalog.set_config('tcp_keepalives_interval', '5', false), "
		"pg_catalog.set_config('tcp_keepalives_count', '3', false), pg_catalog.set_config('default_transaction_isolation', 'read committed', false)", 0, false},
	[TASK_LEAD] = {"lead", "SELECT pg_catalog.pg_try_advisory_lock(1937337955, 1)", 0, false},
	[TASK_RELEASE] = {"release_device_locks", "SELECT pg_catalog.sum(sync.release_device_locks(d.user_id, d.device_id, pg_catalog.clock_timestamp() - d.ago * interval '1 second')) "
		"FROM pg_catalog.jsonb_to_recordset($1::jsonb) AS d (user_id text, device_id text, ago double precision)", 1, false},
	[TASK_LOCKS] = {"expire_locks", "SELECT sync.expire_locks()", 0, true},
	[TASK_REMINDERS] = {"remind_due", "SELECT sync.remind_due()", 0, true},
	[TASK_LOG] = {"log_syncs", "SELECT sync.log_syncs($1::jsonb)", 1, false},
	[TASK_LAG] = {"lag", "SELECT pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), $1::pg_lsn)", 1, false},
	[TASK_STATUS] = {"status", "SELECT s #>> '{conflicts,open}', extract(epoch FROM pg_catalog.now() - (s #>> '{conflicts,oldest_open}')::timestamptz), "
		"s #>> '{oldest_transaction,seconds}', pg_catalog.jsonb_array_length(s -> 'prepared_transactions'), "
		"(SELECT pg_catalog.sum((t ->> 'tombstones')::bigint) FROM pg_catalog.jsonb_array_elements(s -> 'tables') t), s #>> '{ledger,bytes}', s ->> 'schema_version' "
		"FROM (SELECT sync.status()::jsonb) x (s)", 0, false},
	[TASK_PURGE] = {"purge", "SELECT sync.purge($1::interval, $2::int, $3::interval)::text", 3, true},
};

struct maintain
{
	struct pg *pg;
	const struct options *options;
	struct maintain_calls calls;
	void   *owner;
	bool	is_leader;
	bool	is_asking;
	enum task task;				/* in flight if is_asking */
	int64_t asked_ms;
	int64_t due_ms[TASK_COUNT];
	int64_t retry_ms[TASK_COUNT];	/* 0: the last one went well */

	char	schema_version[64];	/* JSON */
	int		batch;				/* of purge: halved when it takes too long */
	double	purged;				/* in the run under way */

	struct departed departed;
	struct buffer lines;		/* of the sync log, "" or "[{…},…" */
	int		line_count;
	int64_t line_ms;			/* of the first */
};

static const char *
value_at(PGresult *r, int column)
{
	return PQgetisnull(r, 0, column) ? NULL : PQgetvalue(r, 0, column);
}

static double
number_at(PGresult *r, int column)
{
	const char *text = value_at(r, column);

	return text != NULL ? atof(text) : 0;
}

static const enum metric status_metrics[] = {METRIC_OPEN_CONFLICTS, METRIC_OLDEST_CONFLICT, METRIC_OLDEST_TRANSACTION, METRIC_PREPARED, METRIC_TOMBSTONES, METRIC_LEDGER_BYTES};

#define STATUS_METRICS ((int) (sizeof(status_metrics) / sizeof(status_metrics[0])))

static void
lead(struct maintain *m, bool is_leader, int64_t now_ms)
{
	int64_t interval_ms = (int64_t) m->options->upkeep_interval_s * 1000;

	metric_set(METRIC_UPKEEP_LEADER, is_leader);
	if (m->is_leader == is_leader)
		return;
	m->is_leader = is_leader;
	m->purged = 0;
	log_event(LOG_LEVEL_INFO, is_leader ? "upkeep_leads" : "upkeep_rests", "interval=%ds keep=%dd keep_log=%dd", m->options->upkeep_interval_s,
			  m->options->purge_keep_days, m->options->purge_keep_log_days);
	m->due_ms[TASK_LOCKS] = m->due_ms[TASK_REMINDERS] = now_ms;
	m->due_ms[TASK_PURGE] = now_ms + (interval_ms < FIRST_PURGE_MS ? interval_ms : FIRST_PURGE_MS);
}

static void
count_removed(struct maintain *m, struct json_value answer)
{
	for (struct json_value name = json_first(answer); json_type(name) != JSON_ABSENT; name = json_next(name))
	{
		char	kind[METRIC_LABEL_MAX];
		int64_t n;

		if (!json_int64(json_member_value(name), &n) || n <= 0 || !json_string(name, kind, sizeof(kind)))
			continue;
		metric_add_for(METRIC_UPKEEP_REMOVED, kind, (uint64_t) n);
		m->purged += (double) n;
	}
}

/* Between two batches of a run the database rests for as long as the last one took. */
static void
purged(struct maintain *m, PGresult *r, int64_t now_ms)
{
	const char *text = value_at(r, 0);
	struct json *doc = text != NULL ? json_parse(text, strlen(text), VALUES_MAX) : NULL;
	struct json_value answer = json_root(doc);
	bool	is_busy = json_bool(json_member(answer, "busy"), false);
	bool	has_more = json_bool(json_member(answer, "more"), false);

	count_removed(m, answer);
	json_free(doc);
	if (m->batch < BATCH_MOST)
		m->batch *= 2;
	if (has_more || is_busy)
	{
		m->due_ms[TASK_PURGE] = now_ms + (is_busy ? RETRY_LEAST_MS : now_ms - m->asked_ms);
		return;
	}
	log_event(m->purged > 0 ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "purged", "removed=%.0f", m->purged);
	m->purged = 0;
	metric_set(METRIC_UPKEEP_LAST, (double) time(NULL));
	m->due_ms[TASK_PURGE] = now_ms + (int64_t) m->options->upkeep_interval_s * 1000;
}

static void
note_status(struct maintain *m, PGresult *r)
{
	snprintf(m->schema_version, sizeof(m->schema_version), "%s", value_at(r, STATUS_METRICS) != NULL ? value_at(r, STATUS_METRICS) : "null");
	for (int i = 0; i < STATUS_METRICS; i++)
		metric_set(status_metrics[i], number_at(r, i));
}

static void
take_answer(struct maintain *m, enum task task, PGresult *r, int64_t now_ms)
{
	switch (task)
	{
		case TASK_LEAD:
			lead(m, number_at(r, 0) != 0 || PQgetvalue(r, 0, 0)[0] == 't', now_ms);
			m->due_ms[task] = now_ms + LEAD_MS / 2 + chance_below(LEAD_MS);
			break;
		case TASK_LOCKS:
			metric_add_for(METRIC_UPKEEP_REMOVED, "locks", (uint64_t) number_at(r, 0));
			m->due_ms[task] = now_ms + LOCKS_MS;
			break;
		case TASK_REMINDERS:
			m->due_ms[task] = number_at(r, 0) < REMINDERS_MOST ? now_ms + REMINDERS_MS : now_ms;
			break;
		case TASK_LAG:
			metric_set(METRIC_SLOT_LAG_BYTES, number_at(r, 0) > 0 ? number_at(r, 0) : 0);
			m->due_ms[task] = now_ms + LAG_MS;
			break;
		case TASK_STATUS:
			note_status(m, r);
			m->due_ms[task] = now_ms + STATUS_MS;
			break;
		case TASK_PURGE:
			purged(m, r, now_ms);
			break;
		case TASK_RELEASE:
			metric_add_for(METRIC_UPKEEP_REMOVED, "locks_of_departed", (uint64_t) number_at(r, 0));
			break;
		case TASK_SET_UP:
		case TASK_LOG:
		case TASK_COUNT:
			break;
	}
}

/* Each cause is logged once as a warning. What failed is tried again later and later; it blocks no other task. */
static void
failed(struct maintain *m, enum task task, PGresult *r, int64_t now_ms)
{
	const char *state = r != NULL ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
	const char *reason = r != NULL ? PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY) : NULL;

	metric_add_for(METRIC_UPKEEP_FAILURES, tasks[task].name, 1);
	log_event(m->retry_ms[task] == 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "upkeep_failed", "task=%s sqlstate=%s reason=\"%s\"", tasks[task].name,
			  state != NULL ? state : "", reason != NULL ? reason : "the connection was lost");
	if (task == TASK_PURGE && m->batch > BATCH_LEAST)
		m->batch /= 2;
	m->retry_ms[task] = m->retry_ms[task] * 2 < RETRY_LEAST_MS ? RETRY_LEAST_MS : m->retry_ms[task] * 2;
	if (m->retry_ms[task] > RETRY_MOST_MS)
		m->retry_ms[task] = RETRY_MOST_MS;
	m->due_ms[task] = now_ms + m->retry_ms[task];
}

static void start_next(struct maintain *m, int64_t now_ms);

static void
task_done(void *owner, PGresult *const *results, int count)
{
	struct maintain *m = owner;
	PGresult *r = results != NULL && count > 0 ? results[0] : NULL;
	enum task task = m->task;
	int64_t now_ms = loop_now_ms();

	m->is_asking = false;
	metric_add_for(METRIC_UPKEEP_RUNS, tasks[task].name, 1);
	if (r != NULL && PQresultStatus(r) == PGRES_TUPLES_OK && PQntuples(r) == 1)
	{
		m->retry_ms[task] = 0;
		take_answer(m, task, r, now_ms);
	}
	else
		failed(m, task, r, now_ms);
	start_next(m, now_ms);
}

static bool
is_due(const struct maintain *m, enum task task, int64_t now_ms)
{
	bool	is_on = m->options->upkeep_interval_s > 0;

	if (now_ms < m->due_ms[task] || (tasks[task].needs_lead && !m->is_leader))
		return false;
	switch (task)
	{
		case TASK_SET_UP:
			return m->due_ms[task] != 0;
		case TASK_LEAD:
			return is_on && !m->is_leader;
		case TASK_LAG:
			return m->calls.received(m->owner) != 0;
		case TASK_RELEASE:
			return departed_are_due(&m->departed, now_ms);
		case TASK_LOG:
			return m->line_count > 0 && now_ms - m->line_ms >= LOG_MS;
		default:
			return true;
	}
}

static void
run(struct maintain *m, enum task task, const char *first, int64_t now_ms)
{
	struct pg_statement s = {.sql = tasks[task].sql, .parameter_count = tasks[task].parameters, .parameters = {first}};
	char	keep[24];
	char	keep_log[24];
	char	batch[16];
	char	lsn[24];
	uint64_t received = m->calls.received(m->owner);

	if (task == TASK_PURGE)
	{
		snprintf(keep, sizeof(keep), "%d days", m->options->purge_keep_days);
		snprintf(keep_log, sizeof(keep_log), "%d days", m->options->purge_keep_log_days);
		snprintf(batch, sizeof(batch), "%d", m->batch);
		s.parameters[0] = keep;
		s.parameters[1] = batch;
		s.parameters[2] = keep_log;
	}
	else if (task == TASK_LAG)
	{
		snprintf(lsn, sizeof(lsn), "%X/%X", (unsigned int) (received >> 32), (unsigned int) received);
		s.parameters[0] = lsn;
	}
	m->task = task;
	m->asked_ms = now_ms;
	m->is_asking = true;
	m->due_ms[task] = task == TASK_SET_UP ? 0 : now_ms;
	if (!pg_run(m->pg, &s, 1, task_done))
		m->is_asking = false;
}

static void
run_with_text(struct maintain *m, enum task task, struct buffer *text, int64_t now_ms)
{
	memory_require(text->failed ? NULL : text->data);
	run(m, task, text->data, now_ms);
	buffer_free(text);
}

static void
start(struct maintain *m, enum task task, int64_t now_ms)
{
	struct buffer text;

	buffer_init(&text);
	if (task == TASK_RELEASE)
	{
		departed_take(&m->departed, now_ms, RELEASE_MOST, &text);
		run_with_text(m, task, &text, now_ms);
	}
	else if (task == TASK_LOG)
	{
		text = m->lines;
		buffer_init(&m->lines);
		m->line_count = 0;
		buffer_putc(&text, ']');
		run_with_text(m, task, &text, now_ms);
	}
	else
		run(m, task, NULL, now_ms);
}

static void
start_next(struct maintain *m, int64_t now_ms)
{
	for (int task = 0; task < TASK_COUNT && !m->is_asking && pg_is_up(m->pg); task++)
		if (is_due(m, (enum task) task, now_ms))
		{
			start(m, (enum task) task, now_ms);
			return;
		}
}

void
maintain_tick(struct maintain *m, int64_t now_ms)
{
	if (!m->is_asking && pg_is_up(m->pg))
		start_next(m, now_ms);
}

static void
connected(void *owner)
{
	struct maintain *m = owner;
	int64_t now_ms = loop_now_ms();

	metric_add_for(METRIC_DATABASE_CONNECTS, "maintenance", 1);
	for (int task = 0; task < TASK_COUNT; task++)
		m->due_ms[task] = now_ms;
	start_next(m, now_ms);
}

/* The server gave the lock back when the connection went. */
static void
disconnected(void *owner)
{
	struct maintain *m = owner;

	lead(m, false, loop_now_ms());
	metric_clear(METRIC_SLOT_LAG_BYTES);
	for (int i = 0; i < STATUS_METRICS; i++)
		metric_clear(status_metrics[i]);
}

static const char *
admit(void *owner, const char *place, bool is_in_recovery)
{
	struct maintain *m = owner;

	return m->calls.admit(m->owner, place, is_in_recovery);
}

/* Rows that purge had to leave, reminders that could not be sent. */
static void
noticed(void *owner, const char *text)
{
	(void) owner;
	log_event(LOG_LEVEL_WARNING, "upkeep_notice", "text=\"%s\"", text);
}

struct maintain *
maintain_new(struct loop *l, const struct options *o, const struct maintain_calls *calls, void *owner)
{
	static const struct pg_calls pg_calls = {.up = connected, .down = disconnected, .admit = admit, .notice = noticed};
	struct maintain *m = memory_new(sizeof(*m));

	m->options = o;
	m->calls = *calls;
	m->owner = owner;
	m->batch = BATCH_MOST;
	strcpy(m->schema_version, "null");
	departed_init(&m->departed);
	buffer_init(&m->lines);
	m->pg = pg_new(l, o->upkeep_database, false, "maintenance", &pg_calls, m);
	return m;
}

void
maintain_free(struct maintain *m)
{
	if (m == NULL)
		return;
	pg_free(m->pg);
	departed_free(&m->departed);
	buffer_free(&m->lines);
	free(m);
}

bool
maintain_is_up(const struct maintain *m)
{
	return pg_is_up(m->pg);
}

bool
maintain_leads(const struct maintain *m)
{
	return m->is_leader;
}

void
maintain_joined(struct maintain *m, const char *user, const char *device)
{
	departed_join(&m->departed, user, device);
}

void
maintain_left(struct maintain *m, const char *user, const char *device, int64_t now_ms)
{
	departed_leave(&m->departed, user, device, now_ms);
}

const char *
maintain_schema_version(const struct maintain *m)
{
	return m->schema_version;
}

static void
put_member(struct buffer *out, const char *name, const char *text)
{
	if (text == NULL)
		return;
	buffer_printf(out, "\"%s\":", name);
	buffer_json_string(out, text, strlen(text));
	buffer_putc(out, ',');
}

void
maintain_log_pull(struct maintain *m, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms)
{
	struct buffer *out = &m->lines;
	struct timespec now;
	struct tm utc;
	char	at[32];

	if (m->line_count >= LOG_LINES_MAX)
	{
		metric_add_for(METRIC_UPKEEP_FAILURES, "log_line_left_out", 1);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &utc);
	if (m->line_count++ == 0)
		m->line_ms = loop_now_ms();
	buffer_puts(out, out->len == 0 ? "[{" : ",{");
	put_member(out, "user_id", user);
	put_member(out, "device_id", device);
	put_member(out, "status", status);
	buffer_printf(out, "\"at\":\"%s.%06ldZ\",\"kind\":\"pull\",\"changes\":%zu,\"bytes\":%zu,\"ms\":%.3f}", at, now.tv_nsec / 1000, changes, bytes, ms);
	memory_require(out->failed ? NULL : out->data);
}

/* wal.c - the replication connection: a temporary slot, what its decoding plugin sends message by message, status reports, reconnects. */
/* SPDX-License-Identifier: PostgreSQL */
#include "wal.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "chance.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"
#include "pg.h"

#define LINES_PER_TURN 2000			/* so that clients are served between them */
#define BYTES_PER_TURN ((size_t) 1 << 18)	/* what comes of it must fit into the clients' queues */
#define STATUS_MS 5000
#define SLOT_WARNING_MS 2000
#define SILENCE_LIMIT_MS 30000		/* nothing heard although asked to answer: the connection is dead */
#define EPOCH_2000_S INT64_C(946684800)
#define DATA_HEADER 25				/* 'w', start, end, time */
#define KEEPALIVE_SIZE 18			/* 'k', end, time, reply wanted */

enum wal_state
{
	WAL_DOWN,
	WAL_IDENTIFYING,
	WAL_ASKING,			/* whether it is a standby */
	WAL_CREATING,		/* the timer warns of blockers */
	WAL_CREATED,		/* waits for wal_start */
	WAL_STARTING,
	WAL_STREAMING,		/* the timer sends status */
};

struct wal
{
	struct pg *pg;
	struct wal_calls calls;
	void   *owner;
	enum plugin plugin;
	enum wal_state state;
	struct loop_timer *timer;
	struct loop_timer *more;		/* lines wait in libpq's buffer, or a restart was asked for */
	char   *restart_reason;			/* NULL: none asked for */
	char	slot[32];
	uint64_t received;				/* everything before this was read */
	uint64_t reached;				/* the same of all connections so far */
	struct wal_server server;
	char	system_id[32];			/* of server, like the next */
	char	database[64];
	bool	is_paused;
	int64_t heard_ms;
};

static void
send_simple(struct wal *w, enum wal_state next, const char *command)
{
	if (!PQsendQuery(pg_raw(w->pg), command))
	{
		pg_drop(w->pg, PQerrorMessage(pg_raw(w->pg)));
		return;
	}
	w->state = next;
	pg_flush(w->pg);
}

static void
connected(void *owner)
{
	struct wal *w = owner;

	w->heard_ms = loop_now_ms();
	metric_add_for(METRIC_DATABASE_CONNECTS, "replication", 1);
	send_simple(w, WAL_IDENTIFYING, "IDENTIFY_SYSTEM");
}

static void
disconnected(void *owner)
{
	struct wal *w = owner;
	bool	had_slot = w->state >= WAL_CREATED;

	if (w->received > w->reached)
		w->reached = w->received;
	w->received = 0;
	w->state = WAL_DOWN;
	w->is_paused = false;
	loop_timer_stop(w->timer);
	loop_timer_stop(w->more);
	free(w->restart_reason);
	w->restart_reason = NULL;
	if (had_slot)
		w->calls.lost(w->owner);
}

static void
identified(struct wal *w, PGresult *r)
{
	unsigned int high = 0;
	unsigned int low = 0;

	sscanf(PQgetvalue(r, 0, 2), "%X/%X", &high, &low);
	snprintf(w->system_id, sizeof(w->system_id), "%s", PQgetvalue(r, 0, 0));
	snprintf(w->database, sizeof(w->database), "%s", PQgetvalue(r, 0, 3));
	w->server = (struct wal_server){
		.system_id = w->system_id, .database = w->database, .timeline = (uint32_t) strtoul(PQgetvalue(r, 0, 1), NULL, 10), .lsn = (uint64_t) high << 32 | low, .reached = w->reached};
	send_simple(w, WAL_ASKING, "SELECT pg_catalog.pg_is_in_recovery()");
}

static void
create_slot(struct wal *w, PGresult *r)
{
	char	command[160];

	if (PQgetvalue(r, 0, 0)[0] == 't')
	{
		pg_drop(w->pg, "the server is in recovery");
		return;
	}
	w->calls.identified(w->owner, &w->server);
	w->reached = w->server.lsn;
	snprintf(w->slot, sizeof(w->slot), "sync_%016" PRIx64, chance_bits());
	snprintf(command, sizeof(command), "CREATE_REPLICATION_SLOT \"%s\" TEMPORARY LOGICAL %s NOEXPORT_SNAPSHOT", w->slot, plugin_name(w->plugin));
	loop_timer_set(w->timer, SLOT_WARNING_MS);
	send_simple(w, WAL_CREATING, command);
}

/* As lean as can be: where a message stands is in its header, and when it was committed in its row. */
void
wal_start(struct wal *w)
{
	static const char *const options[PLUGIN_COUNT] = {
		"\"format-version\" '2', \"include-xids\" '1', \"include-lsn\" '0', \"include-timestamp\" '0', \"include-types\" '0', "
		"\"include-typmod\" '0', \"include-pk\" '0', \"include-transaction\" '1', \"add-msg-prefixes\" 'sync'",
		"\"proto_version\" '1', \"messages\" 'true', \"publication_names\" '" PLUGIN_PUBLICATIONS "'",
	};
	char	command[512];

	if (w->state != WAL_CREATED)
		return;
	snprintf(command, sizeof(command), "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (%s)", w->slot, options[w->plugin]);
	send_simple(w, WAL_STARTING, command);
}

static void
put64(unsigned char *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, sizeof(value));
}

static uint64_t
get64(const char *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof(value));
	return be64toh(value);
}

/* The slot is temporary and the reader keeps nothing, so what was received is as good as flushed. */
static void
send_status(struct wal *w, bool wants_reply)
{
	unsigned char status[34] = {'r'};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	put64(status + 1, w->received);
	put64(status + 9, w->received);
	put64(status + 17, w->received);
	put64(status + 25, (uint64_t) (((int64_t) now.tv_sec - EPOCH_2000_S) * 1000000 + now.tv_nsec / 1000));
	status[33] = wants_reply;
	if (PQputCopyData(pg_raw(w->pg), (const char *) status, sizeof(status)) < 0)
		pg_drop(w->pg, "status could not be sent");
	else
		pg_flush(w->pg);
}

static void
timer_fired(void *owner)
{
	struct wal *w = owner;
	int64_t silence_ms = loop_now_ms() - w->heard_ms;

	if (w->state == WAL_CREATING)
	{
		w->calls.slot_waits(w->owner, PQbackendPID(pg_raw(w->pg)));
		loop_timer_set(w->timer, STATUS_MS);
	}
	else if (w->state == WAL_STREAMING && !w->is_paused && silence_ms > SILENCE_LIMIT_MS)
		pg_drop(w->pg, "the server has been silent for too long");
	else if (w->state == WAL_STREAMING)
	{
		loop_timer_set(w->timer, STATUS_MS);
		send_status(w, silence_ms > STATUS_MS);
	}
}

static void
take_message(struct wal *w, const char *message, size_t len)
{
	w->heard_ms = loop_now_ms();
	if (len >= DATA_HEADER && message[0] == 'w')
	{
		if (get64(message + 1) > w->received)
			w->received = get64(message + 1);
		metric_add(METRIC_WAL_RECORDS, 1);
		metric_add(METRIC_WAL_BYTES, len - DATA_HEADER);
		w->calls.data(w->owner, message + DATA_HEADER, len - DATA_HEADER, get64(message + 1), (int64_t) get64(message + 17) + EPOCH_2000_S * 1000000);
	}
	else if (len >= KEEPALIVE_SIZE && message[0] == 'k')
	{
		if (get64(message + 1) > w->received)
			w->received = get64(message + 1);
		if (message[17] != 0)
			send_status(w, false);
	}
}

static void
tell_cure(const struct wal *w, const char *reason)
{
	const char *cure = plugin_cure(w->plugin, reason);

	if (cure != NULL)
		log_event(LOG_LEVEL_ERROR, "plugin_refused", "plugin=%s cure=\"%s\"", plugin_name(w->plugin), cure);
}

static void
stream_ended(struct wal *w)
{
	PGresult *r = PQgetResult(pg_raw(w->pg));
	char   *reason = memory_string(r != NULL && PQresultErrorMessage(r)[0] != '\0' ? PQresultErrorMessage(r) : "the stream has ended");

	PQclear(r);
	reason[strcspn(reason, "\n")] = '\0';
	tell_cure(w, reason);
	pg_drop(w->pg, reason);
	free(reason);
}

/* One more line, from the socket when libpq's buffer holds none: that buffer is small, and all that a turn finds goes out together. */
static int
next_line(struct wal *w, char **message)
{
	int		len = PQgetCopyData(pg_raw(w->pg), message, 1);

	return len == 0 && PQconsumeInput(pg_raw(w->pg)) ? PQgetCopyData(pg_raw(w->pg), message, 1) : len;
}

static void
read_lines(struct wal *w)
{
	size_t	bytes = 0;

	for (int lines = 0; w->state == WAL_STREAMING && !w->is_paused && w->restart_reason == NULL; lines++)
	{
		char   *message = NULL;
		int		len;

		if (lines >= LINES_PER_TURN || bytes >= BYTES_PER_TURN)
		{
			loop_timer_set(w->more, 0);
			return;
		}
		len = next_line(w, &message);
		if (len == 0)
			return;
		if (len < 0)
		{
			stream_ended(w);
			return;
		}
		take_message(w, message, (size_t) len);
		bytes += (size_t) len;
		PQfreemem(message);
	}
}

static void
command_failed(struct wal *w, PGresult *r)
{
	char   *reason = memory_string(PQresultErrorMessage(r));

	reason[strcspn(reason, "\n")] = '\0';
	tell_cure(w, reason);
	pg_drop(w->pg, reason);
	free(reason);
}

static void
take_result(struct wal *w, PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	if (status == PGRES_TUPLES_OK && w->state == WAL_IDENTIFYING && PQntuples(r) == 1 && PQnfields(r) >= 4)
		identified(w, r);
	else if (status == PGRES_TUPLES_OK && w->state == WAL_ASKING && PQntuples(r) == 1)
		create_slot(w, r);
	else if (status == PGRES_TUPLES_OK && w->state == WAL_CREATING)
	{
		loop_timer_stop(w->timer);
		w->state = WAL_CREATED;
		w->calls.slot_created(w->owner);
	}
	else if (status == PGRES_COPY_BOTH && w->state == WAL_STARTING)
	{
		w->state = WAL_STREAMING;
		log_event(LOG_LEVEL_INFO, "streaming", "slot=%s plugin=%s", w->slot, plugin_name(w->plugin));
		loop_timer_set(w->timer, STATUS_MS);
	}
	else
		command_failed(w, r);
}

/* Each command is sent from the answer to the one before, whose closing NULL then has not been read: libpq wants it read first. */
static void
read_results(struct wal *w)
{
	while (w->state != WAL_DOWN && w->state != WAL_STREAMING && !PQisBusy(pg_raw(w->pg)))
	{
		PGresult *r = PQgetResult(pg_raw(w->pg));
		PGresult *end;

		if (r == NULL)
			break;
		if (PQresultStatus(r) != PGRES_COPY_BOTH)
			while ((end = PQgetResult(pg_raw(w->pg))) != NULL)
				PQclear(end);
		take_result(w, r);
		PQclear(r);
	}
	if (w->state == WAL_STREAMING)
		read_lines(w);
	else if (w->state != WAL_DOWN && PQstatus(pg_raw(w->pg)) == CONNECTION_BAD)
		pg_drop(w->pg, "connection lost");
}

static void
input(void *owner)
{
	read_results(owner);
}

static void
go_on(void *owner)
{
	struct wal *w = owner;

	if (w->restart_reason != NULL)
		pg_drop(w->pg, w->restart_reason);
	else
		read_lines(w);
}

struct wal *
wal_new(struct loop *l, const char *conninfo, enum plugin plugin, const struct wal_calls *calls, void *owner)
{
	static const struct pg_calls pg_calls = {.up = connected, .down = disconnected, .input = input};
	struct wal *w = memory_new(sizeof(*w));

	w->calls = *calls;
	w->owner = owner;
	w->plugin = plugin;
	w->timer = loop_timer_new(l, timer_fired, w);
	w->more = loop_timer_new(l, go_on, w);
	w->pg = pg_new(l, conninfo, true, "replication", &pg_calls, w);
	return w;
}

void
wal_free(struct wal *w)
{
	if (w == NULL)
		return;
	pg_free(w->pg);
	loop_timer_free(w->timer);
	loop_timer_free(w->more);
	free(w->restart_reason);
	free(w);
}

void
wal_pause(struct wal *w, bool is_paused)
{
	if (w->is_paused == is_paused || w->state != WAL_STREAMING)
		return;
	w->is_paused = is_paused;
	w->heard_ms = loop_now_ms();
	pg_read(w->pg, !is_paused);
	if (!is_paused)
		loop_timer_set(w->more, 0);
}

void
wal_restart(struct wal *w, const char *reason)
{
	if (w->state == WAL_DOWN || w->restart_reason != NULL)
		return;
	w->restart_reason = memory_string(reason);
	loop_timer_set(w->more, 0);
}

uint64_t
wal_received(const struct wal *w)
{
	return w->state == WAL_STREAMING ? w->received : 0;
}

const char *
wal_missing(const struct wal *w)
{
	switch (w->state)
	{
		case WAL_DOWN:
			return "replication connection";
		case WAL_IDENTIFYING:
			return "answer of IDENTIFY_SYSTEM";
		case WAL_ASKING:
			return "answer about the server";
		case WAL_CREATING:
			return "replication slot (older writers must end first)";
		case WAL_CREATED:
		case WAL_STARTING:
			return "start of replication";
		case WAL_STREAMING:
			return NULL;
	}
	return "replication";
}

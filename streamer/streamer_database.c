/* streamer_database.c - what the connections to the database tell, passed on: the replication connection says what the right server is, the others must be on it. */
/* SPDX-License-Identifier: PostgreSQL */
#include "streamer_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "metrics.h"
#include "text.h"

/* What a session was sent may not be there any more. Where the tokens cannot tell, because the timeline is the same, they are not trusted. */
void
streamer_start_anew(struct streamer *s, const char *reason, bool is_rolled_back)
{
	feed_forget(s->feed, reason);
	hub_start_anew(s->hub, is_rolled_back, loop_now_ms());
}

static void
identified(void *owner, const struct wal_server *now)
{
	struct streamer *s = owner;
	bool	is_first = s->system_id[0] == '\0';
	bool	is_other = !is_first && (strcmp(s->system_id, now->system_id) != 0 || s->timeline != now->timeline);

	if (is_other)
		log_event(LOG_LEVEL_WARNING, "server_changed", "from=%s/%" PRIu32 " to=%s/%" PRIu32, s->system_id, s->timeline, now->system_id, now->timeline);
	snprintf(s->system_id, sizeof(s->system_id), "%s", now->system_id);
	snprintf(s->place, sizeof(s->place), "%s/%s", now->system_id, now->database);
	s->timeline = now->timeline;
	if (is_other)
		streamer_start_anew(s, "the stream goes on from another server or timeline", false);
	if (is_other || s->is_elsewhere || (s->admitted[0] != '\0' && strcmp(s->admitted, s->place) != 0))
	{
		s->is_elsewhere = false;
		s->admitted[0] = '\0';
		query_pool_reconnect(s->queries, "the replication connection reached another server, timeline or database");
		upkeep_reconnect(s->upkeep, "the replication connection reached another server, timeline or database");
	}
	if (!is_other && !is_first && now->lsn < now->reached)
	{
		log_event(LOG_LEVEL_ERROR, "storage_rolled_back", "from=%" PRIX64 " to=%" PRIX64 " text=\"run SELECT sync.new_incarnation(): clients that were away may be stale\"", now->reached,
				  now->lsn);
		streamer_start_anew(s, "the server's storage was rolled back", true);
	}
}

const char *
streamer_admit(void *owner, const char *place, bool is_in_recovery)
{
	struct streamer *s = owner;
	size_t	len = strlen(s->system_id);

	if (is_in_recovery)
		return "the server is in recovery";
	if (s->place[0] != '\0' && strcmp(s->place, place) != 0)
		return strncmp(place, s->system_id, len) == 0 && place[len] == '/' ? "this is another database than the replication connection's"
			: "this is another server than the replication connection's";
	if (s->place[0] == '\0')
	{
		s->is_elsewhere |= s->admitted[0] != '\0' && strcmp(s->admitted, place) != 0;
		snprintf(s->admitted, sizeof(s->admitted), "%s", place);
	}
	return NULL;
}

static void
slot_created(void *owner)
{
	struct streamer *s = owner;

	feed_begin(s->feed, s->system_id, s->timeline, loop_now_ms());
}

static void
slot_waits(void *owner, int pid)
{
	struct streamer *s = owner;

	upkeep_ask_blockers(s->upkeep, pid);
}

static void
wal_data(void *owner, const char *message, size_t len, uint64_t lsn, int64_t sent_us)
{
	struct streamer *s = owner;

	feed_sent(s->feed, sent_us);
	feed_data(s->feed, message, len, lsn, loop_now_ms());
}

static void
slot_lost(void *owner)
{
	struct streamer *s = owner;

	rooms_hear(s->rooms, false, loop_now_ms());
	feed_end(s->feed);
}

static void
upkeep_up(void *owner)
{
	(void) owner;
	metric_add_for(METRIC_DATABASE_CONNECTS, "upkeep", 1);
}

static void
upkeep_down(void *owner)
{
	(void) owner;
}

static void
tables_read(void *owner, const char *json, const char *snapshot, const char *xid)
{
	struct streamer *s = owner;
	uint64_t next;

	if (xid != NULL && text_uint64(xid, strlen(xid), &next))
		feed_counted(s->feed, next);
	feed_tables_answer(s->feed, json, snapshot);
}

static void
checkpoint_taken(void *owner, int64_t nonce, const char *snapshot)
{
	struct streamer *s = owner;

	feed_checkpoint_answer(s->feed, nonce, snapshot);
}

static void
rows_read(void *owner, const char *json, const char *snapshot)
{
	struct streamer *s = owner;

	feed_rows_answer(s->feed, json, snapshot);
}

static void
changes_read(void *owner, const char *json)
{
	struct streamer *s = owner;

	feed_changes_answer(s->feed, json);
}

static void
relayed(void *owner, bool is_ok)
{
	struct streamer *s = owner;

	rooms_relayed(s->rooms, is_ok);
}

static uint64_t
wal_position(void *owner)
{
	struct streamer *s = owner;

	return wal_received(s->wal);
}

void
streamer_pulled(void *owner, const char *user, const char *device, size_t changes, size_t bytes, const char *status, double ms)
{
	struct streamer *s = owner;

	if (s->options->log_pulls)
		maintain_log_pull(s->maintain, user, device, changes, bytes, status, ms);
}

const struct wal_calls streamer_wal_calls = {
	.identified = identified, .slot_created = slot_created, .slot_waits = slot_waits, .data = wal_data, .lost = slot_lost};

const struct upkeep_calls streamer_upkeep_calls = {
	.admit = streamer_admit, .up = upkeep_up, .down = upkeep_down, .tables = tables_read, .checkpoint = checkpoint_taken, .rows = rows_read, .changes = changes_read, .relayed = relayed};

const struct maintain_calls streamer_maintain_calls = {.admit = streamer_admit, .received = wal_position};

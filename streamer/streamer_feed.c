/* streamer_feed.c - what the feed asks of the database's connections, and what it lets go to the clients. */
/* SPDX-License-Identifier: PostgreSQL */
#include "streamer_parts.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "metrics.h"

#define DEVICE_VALUES_MAX 4096	/* of a row of sync.device: what its client says of itself has at most 4096 bytes */

/* The counter of transactions ran backwards: another slot, and nothing of what was kept. */
static void
rolled_back(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_ERROR, "storage_rolled_back", "text=\"the server counts fewer transactions than before; run SELECT sync.new_incarnation(): clients that were away may be stale\"");
	streamer_start_anew(s, "the server's storage was rolled back", true);
	wal_restart(s->wal, "the server's storage was rolled back");
}

static void
renewed(void *owner)
{
	struct streamer *s = owner;

	hub_renewed(s->hub, loop_now_ms());
}

static void
ask_tables(void *owner)
{
	struct streamer *s = owner;

	upkeep_ask_tables(s->upkeep);
}

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	struct streamer *s = owner;

	upkeep_ask_checkpoint(s->upkeep, nonce);
}

static void
ask_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	struct streamer *s = owner;

	metric_add(METRIC_ROWS_REREAD, count);
	upkeep_ask_rows(s->upkeep, table_id, keys, count);
}

static void
ask_changes(void *owner, const char *from_snapshot)
{
	struct streamer *s = owner;

	upkeep_ask_changes(s->upkeep, from_snapshot);
}

static void
hold_all(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_WARNING, "gap", "sessions=%zu", hub_count(s->hub));
	hub_hold(s->hub, loop_now_ms());
}

static void
start_wal(void *owner)
{
	struct streamer *s = owner;

	wal_start(s->wal);
}

static void
pause_wal(void *owner, bool is_paused)
{
	struct streamer *s = owner;

	wal_pause(s->wal, is_paused);
}

static void
restart_wal(void *owner, const char *reason)
{
	struct streamer *s = owner;

	wal_restart(s->wal, reason);
}

static void
wake_feed(void *owner, int64_t delay_ms)
{
	struct streamer *s = owner;
	int64_t at_ms = loop_now_ms() + delay_ms;

	if (s->wake_at_ms != 0 && s->wake_at_ms <= at_ms)
		return;
	s->wake_at_ms = at_ms;
	loop_timer_set(s->wake, delay_ms);
}

void
streamer_wake_feed(void *owner)
{
	struct streamer *s = owner;

	s->wake_at_ms = 0;
	feed_wake(s->feed);
}

/* A device that was revoked loses its channels before anything of this transaction goes out. Where the stream has a gap the pull that bridges it refuses them. */
static void
cut_revoked(struct streamer *s, const struct transaction *t)
{
	for (size_t i = 0; i < t->count; i++)
	{
		const struct stream_change *c = &t->changes[i];
		const struct sync_table *table = c->kind == CHANGE_ROW ? tables_by_id(feed_tables(s->feed), c->table_id) : NULL;
		struct json *doc;
		struct json_value row;
		char   *user;
		char   *device;

		if (table == NULL || strcmp(table->entity_type, "sync.device") != 0)
			continue;
		doc = json_parse(c->json, c->json_len, DEVICE_VALUES_MAX);
		row = json_member(json_root(doc), "data");
		user = json_strdup(json_member(row, "user_id"));
		device = json_strdup(json_member(row, "device_id"));
		if (user != NULL && device != NULL && json_type(json_member(row, "revoked_at")) == JSON_STRING)
			connections_revoke(s->connections, user, device);
		free(user);
		free(device);
		json_free(doc);
	}
}

static void
released(void *owner, struct transaction *t)
{
	struct streamer *s = owner;

	cut_revoked(s, t);
	hub_released(s->hub, t, loop_now_ms());
}

static void
feed_ready(void *owner)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_INFO, "ready", "sessions=%zu", hub_count(s->hub));
	hub_ready(s->hub, loop_now_ms());
	rooms_hear(s->rooms, true, loop_now_ms());
}

static void
feed_down(void *owner, const char *reason)
{
	struct streamer *s = owner;

	log_event(LOG_LEVEL_WARNING, "not_ready", "reason=\"%s\"", reason);
	hub_down(s->hub, loop_now_ms());
}

static void
take_message(void *owner, struct json_value message)
{
	struct streamer *s = owner;

	rooms_message(s->rooms, message, loop_now_ms());
}

const struct feed_calls streamer_feed_calls = {
	.ask_tables = ask_tables, .ask_checkpoint = ask_checkpoint, .ask_rows = ask_rows, .ask_changes = ask_changes, .hold = hold_all, .start = start_wal, .pause = pause_wal, .restart = restart_wal,
	.wake = wake_feed, .released = released, .ready = feed_ready, .down = feed_down, .renewed = renewed, .rolled_back = rolled_back, .message = take_message};

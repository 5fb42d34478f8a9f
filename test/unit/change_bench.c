/* change_bench.c - what a transaction of one changed row costs on one core, from the message to its release: run by `make bench-change`. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "feed.h"
#include "log.h"

#define TRANSACTIONS 500000

static const char feed_tables_answer_json[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"note\",\"scope\":\"team\",\"scope_column\":\"team_id\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"s\"},{\"name\":\"team_id\",\"kind\":\"n\"},{\"name\":\"title\",\"kind\":\"s\"},{\"name\":\"body\",\"kind\":\"j\"}]}]}";

/* A row of four columns of the user's and five of ours, as messages of either decoder. */
struct messages
{
	struct buffer relation, begin, row, commit;
};

static const struct
{
	const char *name;
	const char *text;
	const char *json;
}		columns[] = {
	{"id", "0d9bb0d1-4c2a-4d8b-9f2e-6a1a36a4d3d1", "\"0d9bb0d1-4c2a-4d8b-9f2e-6a1a36a4d3d1\""},
	{"team_id", "42", "42"},
	{"title", "a title of \"some\" length", "\"a title of \\\"some\\\" length\""},
	{"body", "{\"a\": 1, \"b\": [1, 2, 3]}", "\"{\\\"a\\\": 1, \\\"b\\\": [1, 2, 3]}\""},
	{"sync_version", "2", "2"},
	{"sync_xid", "725", "\"725\""},
	{"sync_at", "2026-11-21 07:51:42.653306+00", "\"2026-11-21 07:51:42.653306+00\""},
	{"sync_by", "alice", "\"alice\""},
	{"sync_clock", "\\x03020001be0506401370b1", "\"03020001be0506401370b1\""},
};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

static void
put_number(struct buffer *b, int size, uint64_t value)
{
	while (size-- > 0)
		buffer_putc(b, (char) (value >> size * 8));
}

static void
make_wal2json(struct messages *m)
{
	buffer_puts(&m->begin, "{\"action\":\"B\",\"xid\":725}");
	buffer_puts(&m->commit, "{\"action\":\"C\",\"xid\":725}");
	buffer_puts(&m->row, "{\"action\":\"U\",\"xid\":725,\"schema\":\"public\",\"table\":\"note\",\"columns\":[");
	for (size_t i = 0; i < COLUMNS; i++)
		buffer_printf(&m->row, "%s{\"name\":\"%s\",\"value\":%s}", i > 0 ? "," : "", columns[i].name, columns[i].json);
	buffer_printf(&m->row, "],\"identity\":[{\"name\":\"id\",\"value\":%s}]}", columns[0].json);
}

static void
make_pgoutput(struct messages *m)
{
	buffer_putc(&m->begin, 'B');
	put_number(&m->begin, 8, 0x1539CB0);
	put_number(&m->begin, 8, 0);
	put_number(&m->begin, 4, 725);
	buffer_putc(&m->commit, 'C');
	put_number(&m->commit, 1, 0);
	put_number(&m->commit, 8, 0x1539CB0);
	put_number(&m->commit, 8, 0x1539CE0);
	put_number(&m->commit, 8, 0);
	buffer_putc(&m->relation, 'R');
	put_number(&m->relation, 4, 16385);
	buffer_put(&m->relation, "public\0note\0d", 13);
	put_number(&m->relation, 2, COLUMNS);
	buffer_putc(&m->row, 'U');
	put_number(&m->row, 4, 16385);
	buffer_putc(&m->row, 'N');
	put_number(&m->row, 2, COLUMNS);
	for (size_t i = 0; i < COLUMNS; i++)
	{
		put_number(&m->relation, 1, i == 0);
		buffer_put(&m->relation, columns[i].name, strlen(columns[i].name) + 1);
		put_number(&m->relation, 4, 25);
		put_number(&m->relation, 4, UINT32_MAX);
		buffer_putc(&m->row, 't');
		put_number(&m->row, 4, strlen(columns[i].text));
		buffer_puts(&m->row, columns[i].text);
	}
}

static long released_count;
static size_t released_bytes;

static void
released(void *owner, struct transaction *t)
{
	(void) owner;
	released_count += (long) t->count;
	released_bytes += t->changes[0].json_len;
}

static void
no_question(void *owner)
{
	(void) owner;
}

static void
no_checkpoint(void *owner, int64_t nonce)
{
	(void) owner;
	(void) nonce;
}

static void
no_rows(void *owner, int32_t table_id, const char *const *keys, size_t count)
{
	(void) owner;
	(void) table_id;
	(void) keys;
	(void) count;
}

static void
no_reason(void *owner, const char *reason)
{
	(void) owner;
	(void) reason;
}

static void
no_pause(void *owner, bool is_paused)
{
	(void) owner;
	(void) is_paused;
}

static void
no_wake(void *owner, int64_t delay_ms)
{
	(void) owner;
	(void) delay_ms;
}

static void
no_message(void *owner, struct json_value message)
{
	(void) owner;
	(void) message;
}

static int64_t asked_nonce;

static void
ask_checkpoint(void *owner, int64_t nonce)
{
	no_checkpoint(owner, nonce);
	asked_nonce = nonce;
}

static void
send(struct feed *f, const struct buffer *message)
{
	feed_data(f, message->data, message->len, 0x1539CE0, 0);
}

static void
run(enum plugin plugin)
{
	static const struct feed_calls calls = {
		.ask_tables = no_question, .ask_checkpoint = ask_checkpoint, .ask_rows = no_rows, .start = no_question, .pause = no_pause, .restart = no_reason,
		.wake = no_wake, .released = released, .ready = no_question, .down = no_reason, .resync = no_reason, .message = no_message};
	struct feed *f = feed_new(1 << 20, plugin, &calls, NULL);
	struct messages m = {0};
	struct timespec start;
	struct timespec end;
	double	seconds;

	(plugin == PLUGIN_PGOUTPUT ? make_pgoutput : make_wal2json) (&m);
	feed_begin(f, "7", 1, 0);
	feed_tables_answer(f, feed_tables_answer_json, "724:724:");
	feed_checkpoint_answer(f, asked_nonce, "724:724:");
	released_count = 0;
	if (m.relation.len > 0)
		send(f, &m.relation);
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (int i = 0; i < TRANSACTIONS; i++)
	{
		send(f, &m.begin);
		send(f, &m.row);
		send(f, &m.commit);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = (double) (end.tv_sec - start.tv_sec) + (double) (end.tv_nsec - start.tv_nsec) / 1e9;
	printf("%s: %zu bytes a row, %ld of %d released: %.2f us a transaction of one row, %.0f transactions/s\n", plugin_name(plugin), m.row.len, released_count,
		   TRANSACTIONS, seconds * 1e6 / TRANSACTIONS, TRANSACTIONS / seconds);
	buffer_free(&m.relation);
	buffer_free(&m.begin);
	buffer_free(&m.row);
	buffer_free(&m.commit);
	feed_free(f);
	if (released_count != TRANSACTIONS)
		exit(1);
}

int
main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	run(PLUGIN_WAL2JSON);
	run(PLUGIN_PGOUTPUT);
	return 0;
}

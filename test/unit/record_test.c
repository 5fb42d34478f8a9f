/* record_test.c - lines of wal2json and bytes of pgoutput, as a real server sent them, become the same records; broken ones are refused. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "record.h"

/* A record in words, one line each: its values are gone when the call returns. */
static void
put_fields(struct buffer *out, const char *what, const struct field *fields, size_t count)
{
	static const char kinds[] = "-0?'\\b";

	for (size_t i = 0; i < count; i++)
		buffer_printf(out, " %s%.*s:%c%.*s", what, (int) fields[i].name_len, fields[i].name, kinds[fields[i].value.kind],
					  (int) fields[i].value.len, fields[i].value.text);
}

static void
write_down(void *owner, const struct record *r)
{
	static const char letters[] = "BCIUDTM";
	struct buffer *out = owner;

	buffer_printf(out, "%c %u", letters[r->action], r->xid);
	if (r->action == RECORD_COMMIT)
		buffer_printf(out, " %llx", (unsigned long long) r->end_lsn);
	if (r->action == RECORD_MESSAGE)
		buffer_printf(out, " %llx", (unsigned long long) r->lsn);
	if (r->table[0] != '\0')
		buffer_printf(out, " %s.%s", r->schema, r->table);
	put_fields(out, "", r->columns, r->column_count);
	put_fields(out, "old ", r->identity, r->identity_count);
	if (r->is_ours)
		buffer_printf(out, " nonce %lld", (long long) r->nonce);
	if (r->content != NULL)
		buffer_printf(out, " content %s", r->content);
	buffer_putc(out, '\n');
}

/* Reads one message and compares what it told; wanted NULL: it is refused. */
static void
reads(struct reader *r, const char *message, size_t len, uint64_t lsn, const char *wanted)
{
	struct buffer out;
	bool	ok;

	buffer_init(&out);
	ok = reader_read(r, message, len, lsn, write_down, &out);
	if (!CHECK(ok == (wanted != NULL)))
		fprintf(stderr, "    %.*s\n", (int) len, message);
	else if (ok)
		CHECK_TEXT(out.data != NULL ? out.data : "", wanted);
	buffer_free(&out);
}

static void
line(struct reader *r, const char *text, const char *wanted)
{
	reads(r, text, strlen(text), 0x1539CE0, wanted);
}

static void
lines_are_read(void)
{
	struct reader *r = reader_new(PLUGIN_WAL2JSON);

	line(r, "{\"action\":\"B\",\"xid\":725}", "B 725\n");
	line(r, "{\"action\":\"C\",\"xid\":725}", "C 725 1539ce0\n");
	line(r, "{\"action\":\"M\",\"xid\":null,\"transactional\":false,\"prefix\":\"sync\",\"content\":\"-12345\"}", "M 0 1539ce0 nonce -12345\n");
	line(r, "{\"action\":\"M\",\"xid\":4294967295,\"transactional\":true,\"prefix\":\"sync\",\"content\":\"1\\\"2x\"}", "M 4294967295 1539ce0 content 1\"2x\n");
	line(r, "{\"action\":\"M\",\"xid\":null,\"transactional\":false,\"prefix\":\"other\",\"content\":\"1\"}", "M 0 1539ce0\n");
	line(r, "{\"action\":\"T\",\"xid\":1,\"schema\":\"public\",\"table\":\"no\\\"te\"}", "T 1 public.no\"te\n");
	line(r, "{\"action\":\"D\",\"xid\":1,\"schema\":\"public\",\"table\":\"t\",\"identity\":[{\"name\":\"id\",\"value\":1}]}", "D 1 public.t old id:'1\n");
	line(r, " { \"action\" : \"U\" , \"xid\":739, \"other\":[{},[],{\"a\":[1,\"]\"]}], \"schema\":\"public\",\"table\":\"t\",\"columns\":[{\"name\":\"id\",\"value\":1},"
		 "{\"name\":\"a\",\"value\":null},{\"name\":\"e\",\"value\":true},{\"name\":\"q\\\"x\",\"value\":\"x\\\"y\"},{\"value\":\"\",\"type\":\"text\",\"name\":\"z\"},"
		 "{\"name\":\"n\",\"value\":{\"a\":1}}],\"identity\":[{\"name\":\"id\",\"value\":1}]} ",
		 "U 739 public.t id:'1 a:?null e:btrue q\"x:\\x\\\"y z:' n:- old id:'1\n");
	reader_free(r);
}

static void
bad_lines_are_refused(void)
{
	static const char *const bad[] = {
		"", "[]", "{}", "1", "{\"action\":\"X\",\"xid\":1}", "{\"action\":\"\",\"xid\":1}", "{\"action\":\"B\"}", "{\"action\":\"B\",\"xid\":1",
		"{\"action\":\"B\",\"xid\":null}", "{\"action\":\"B\",\"xid\":4294967296}", "{\"action\":\"B\",\"xid\":0}", "{\"action\":\"B\",\"xid\":1}}", "{\"action\":\"B\",\"xid\":01}",
		"{\"action\":\"I\",\"xid\":1,\"schema\":\"a\"}", "{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":null}", "{\"action\":1,\"xid\":1}",
		"{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":\"b\",\"columns\":[1]}", "{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":\"b\",\"columns\":1}",
		"{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":\"b\",\"columns\":[{\"name\":\"a\",\"value\":\"\\x\"}]}",
		"{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":\"b\",\"columns\":[{\"name\":\"a\",\"value\":\"\\u12\"}]}",
		"{\"action\":\"I\",\"xid\":1,\"schema\":\"a\",\"table\":\"b\",\"columns\":[{\"name\":\"\\u0000\",\"value\":1}]}",
	};
	struct reader *r = reader_new(PLUGIN_WAL2JSON);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		line(r, bad[i], NULL);
	reader_free(r);
}

#include "pgoutput_bytes.h"

static void
bytes_are_read(void)
{
	struct reader *r = reader_new(PLUGIN_PGOUTPUT);

	for (size_t i = 0; i < sizeof(captured) / sizeof(captured[0]); i++)
		reads(r, captured[i].bytes, captured[i].len, captured[i].lsn, captured[i].wanted);
	/* of a relation that this slot has not told */
	reader_reset(r);
	reads(r, captured[0].bytes, captured[0].len, 0, captured[0].wanted);
	reads(r, captured[2].bytes, captured[2].len, 0, NULL);
	reader_free(r);
}

/* Every message cut short at every place, and with a byte too many. */
static void
bad_bytes_are_refused(void)
{
	for (size_t i = 0; i < sizeof(captured) / sizeof(captured[0]); i++)
		for (size_t len = 0; len <= captured[i].len + 1; len++)
		{
			struct reader *r = reader_new(PLUGIN_PGOUTPUT);
			struct buffer out;
			char	*copy;

			if (len == captured[i].len)
			{
				reader_free(r);
				continue;
			}
			buffer_init(&out);
			for (size_t before = 0; before < i; before++)
				if (!reader_read(r, captured[before].bytes, captured[before].len, 0, write_down, &out))
					CHECK(false);
			copy = malloc(len > 0 ? len : 1);	/* so that a read past its end is seen */
			memset(copy, 0, len > 0 ? len : 1);
			memcpy(copy, captured[i].bytes, len < captured[i].len ? len : captured[i].len);
			CHECK(!reader_read(r, copy, len, 0, write_down, &out));
			free(copy);
			buffer_free(&out);
			reader_free(r);
		}
}

int
main(void)
{
	lines_are_read();
	bad_lines_are_refused();
	bytes_are_read();
	bad_bytes_are_refused();
	return CHECK_END();
}

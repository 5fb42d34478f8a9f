/* change_test.c - the records of rows become exactly the change objects that pull would send, or ask for a re-read. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "change.h"
#include "check.h"
#include "clock.h"
#include "render.h"

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"no\\\"te\",\"scope\":\"team\",\"scope_column\":\"team_id\",\"deleted_at\":\"gone\",\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"},{\"name\":\"sync_state\",\"kind\":\"s\"},{\"name\":\"team_id\",\"kind\":\"s\"},{\"name\":\"gone\",\"kind\":\"z\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"pair\",\"entity_type\":\"pair\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"b\",\"a\"],\"partitions\":[],\"columns\":[{\"name\":\"a\",\"kind\":\"s\"},{\"name\":\"b\",\"kind\":\"n\"},{\"name\":\"c\",\"kind\":\"d\"}]},"
	"{\"id\":5,\"schema\":\"public\",\"table\":\"clocked\",\"entity_type\":\"clocked\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\",\"type\":\"int4\",\"hash\":17},{\"name\":\"b\",\"kind\":\"s\",\"type\":\"text\",\"hash\":34},"
	"{\"name\":\"c\",\"kind\":\"s\",\"type\":\"text\",\"hash\":51},{\"name\":\"d\",\"kind\":\"f\",\"type\":\"float8\",\"hash\":68,\"follows\":true}]},"
	"{\"id\":4,\"schema\":\"public\",\"table\":\"item\",\"entity_type\":\"item\",\"scope\":\"team\",\"scope_column\":\"sync_scope\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[[\"public\",\"item_1\"]],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"},{\"name\":\"body\",\"kind\":\"s\"}]}]}";

#define ROW_HEAD "{\"action\":\"U\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42.65369+00\",\"lsn\":\"0/1539B58\",\"schema\":\"public\",\"table\":\"t\",\"columns\":["
#define STAMP "{\"name\":\"sync_version\",\"value\":3},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42.65+00\"}," \
	"{\"name\":\"sync_by\",\"value\":\"alice\"},{\"name\":\"sync_clock\",\"value\":null}"
#define COLUMN(name, value) "{\"name\":\"" name "\",\"value\":" value "},"

static struct sync_tables *tables;

/* What a line's record becomes while it lives. */
struct made
{
	struct change *change;
	int32_t id;				/* 0: a tombstone */
	bool	ok;
};

static void
make(void *owner, const struct record *r)
{
	struct made *m = owner;

	m->ok = m->id == 0 ? change_from_tombstone(m->change, r, tables) : change_from_row(m->change, r, tables_by_id(tables, m->id));
}

static bool
from_line(struct change *c, int32_t id, const char *line)
{
	struct made m = {c, id, false};
	struct reader *reader = reader_new(PLUGIN_WAL2JSON);

	CHECK(reader_read(reader, line, strlen(line), 7, make, &m));
	reader_free(reader);
	return m.ok;
}

/* Reads columns (without brackets) as a row of table id. */
static bool
row(struct change *c, int32_t id, const char *columns)
{
	struct buffer line;
	bool	ok;

	buffer_init(&line);
	buffer_printf(&line, ROW_HEAD "%s]}", columns);
	ok = from_line(c, id, line.data);
	buffer_free(&line);
	return ok;
}

static void
a_row_is_rendered(void)
{
	static const char wanted[] = "{\"operation\":\"update\",\"entity_type\":\"no\\\"te\",\"entity_id\":\"1\",\"data\":{\"id\":1,\"sync_state\":\"\\u0001\\\"x\",\"team_id\":\"42\",\"gone\":null},"
		"\"server_version\":3,\"timestamp\":\"2026-11-21T07:51:42.65Z\",\"changed_by\":\"alice\",\"scope\":\"42\"}";
	struct change c;

	/* sync_ columns first, last and in between; a user's column may begin with sync_ */
	CHECK(row(&c, 1, STAMP "," COLUMN("id", "1") COLUMN("sync_state", "\"\\u0001\\\"x\"") COLUMN("team_id", "42") "{\"name\":\"gone\",\"value\":null}"));
	CHECK(c.kind == CHANGE_ROW && !c.needs_reread && c.xid == 725 && !c.scope_is_null && c.json_len == strlen(wanted));
	CHECK_TEXT(c.json, wanted);
	CHECK_TEXT(c.scope, "42");
	CHECK_TEXT(c.entity_id, "1");
	change_free(&c);
	CHECK(row(&c, 1, COLUMN("gone", "null") COLUMN("team_id", "42") COLUMN("sync_state", "\"\\u0001\\\"x\"") COLUMN("id", "1") STAMP));
	CHECK_TEXT(c.json, wanted);
	change_free(&c);
	CHECK(row(&c, 1, COLUMN("id", "1") COLUMN("sync_state", "\"\"") "{\"name\":\"sync_version\",\"value\":1},{\"name\":\"sync_xid\",\"value\":\"18446744073709551615\"},"
			  COLUMN("team_id", "null") COLUMN("gone", "null") "{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42+00\"},{\"name\":\"sync_by\",\"value\":null}"));
	CHECK_TEXT(c.json, "{\"operation\":\"create\",\"entity_type\":\"no\\\"te\",\"entity_id\":\"1\",\"data\":{\"id\":1,\"sync_state\":\"\",\"team_id\":null,\"gone\":null},"
			   "\"server_version\":1,\"timestamp\":\"2026-11-21T07:51:42Z\",\"changed_by\":null,\"scope\":null}");
	CHECK(c.scope == NULL && c.scope_is_null && c.xid == UINT64_MAX);
	change_free(&c);
}

static void
keys_of_several_columns(void)
{
	struct change c;

	CHECK(row(&c, 2, COLUMN("a", "\"x\\\"y\"") COLUMN("b", "7") COLUMN("c", "1.50") STAMP));
	CHECK_TEXT(c.entity_id, "[\"7\",\"x\\\"y\"]");
	CHECK_TEXT(c.json, "{\"operation\":\"update\",\"entity_type\":\"pair\",\"entity_id\":\"[\\\"7\\\",\\\"x\\\\\\\"y\\\"]\",\"data\":{\"a\":\"x\\\"y\",\"b\":7,\"c\":\"1.50\"},"
			   "\"server_version\":3,\"timestamp\":\"2026-11-21T07:51:42.65Z\",\"changed_by\":\"alice\"}");
	change_free(&c);
	/* the key's unchanged TOAST value is only in the old key */
	CHECK(row(&c, 2, COLUMN("b", "7") COLUMN("c", "1.50") STAMP "],\"identity\":[{\"name\":\"a\",\"value\":\"old\"}"));
	CHECK_TEXT(c.entity_id, "[\"7\",\"old\"]");
	CHECK(!c.needs_reread && c.old == NULL);
	CHECK_TEXT(c.json, "{\"operation\":\"update\",\"entity_type\":\"pair\",\"entity_id\":\"[\\\"7\\\",\\\"old\\\"]\",\"data\":{\"a\":\"old\",\"b\":7,\"c\":\"1.50\"},"
			   "\"server_version\":3,\"timestamp\":\"2026-11-21T07:51:42.65Z\",\"changed_by\":\"alice\"}");
	change_free(&c);
}

static void
rereads_are_asked_for(void)
{
	static const char answer[] = "{\"operation\":\"update\",\"scope\":\"5\"}";
	struct json *doc = json_parse(answer, strlen(answer), 10);
	struct change c;

	CHECK(row(&c, 2, COLUMN("a", "\"x\"") COLUMN("b", "7") COLUMN("c", "null") STAMP) && c.needs_reread && c.json == NULL && c.xid == 725);
	change_free(&c);
	CHECK(row(&c, 2, COLUMN("a", "\"x\"") COLUMN("b", "7") COLUMN("c", "1") COLUMN("new", "1") STAMP) && c.needs_reread);
	CHECK(change_set_json(&c, json_root(doc)) && !c.needs_reread && c.scope == NULL);
	CHECK_TEXT(c.json, answer);
	change_free(&c);
	CHECK(row(&c, 1, COLUMN("id", "1") COLUMN("sync_state", "\"s\"") COLUMN("gone", "null") STAMP) && c.needs_reread && c.scope == NULL);
	CHECK(!change_set_json(&c, json_member(json_root(doc), "scope")) && c.needs_reread);
	CHECK(change_set_json(&c, json_root(doc)));
	CHECK_TEXT(c.scope, "5");
	change_free(&c);
	json_free(doc);
}

static void
marked_rows_are_not_sent(void)
{
	struct change c;

	CHECK(row(&c, 1, COLUMN("id", "1") COLUMN("sync_state", "\"s\"") COLUMN("team_id", "4") COLUMN("gone", "\"2026-11-21 07:51:42+00\"") STAMP));
	CHECK(c.kind == CHANGE_MARKED && c.json == NULL && !c.needs_reread);
	CHECK_TEXT(c.entity_id, "1");
	change_free(&c);
}

static void
bad_rows_are_refused(void)
{
	static const char *const bad[] = {
		"", COLUMN("id", "1") "{}", COLUMN("a", "1") COLUMN("b", "null") STAMP, COLUMN("a", "\"\\u0000\"") COLUMN("b", "7") STAMP,
		COLUMN("a", "\"x\"") COLUMN("b", "1") COLUMN("sync_version", "1.5") COLUMN("sync_xid", "\"1\"") "{\"name\":\"sync_at\",\"value\":\"x\"}",
		COLUMN("a", "\"x\"") COLUMN("b", "1") COLUMN("sync_version", "1") COLUMN("sync_xid", "null") "{\"name\":\"sync_at\",\"value\":\"x\"}",
	};
	struct change c;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!row(&c, 2, bad[i]));
}

static bool
tombstone(struct change *c, const char *columns)
{
	return row(c, 0, columns);
}

#define GRAVE(id, scope, version) COLUMN("table_id", id) COLUMN("entity_id", "\"a\\\"b\"") COLUMN("scope_value", scope) COLUMN("old_values", "\"{}\"") \
	COLUMN("version", version) COLUMN("sync_xid", "\"800\"") COLUMN("reason", "\"moved\"") COLUMN("at", "\"2026-11-21 07:51:42+00\"") "{\"name\":\"changed_by\",\"value\":null}"

static void
tombstones_are_rendered(void)
{
	struct change c;

	CHECK(tombstone(&c, GRAVE("1", "\"42\"", "4")) && c.kind == CHANGE_TOMBSTONE && c.table->id == 1 && c.xid == 800);
	CHECK_TEXT(c.json, "{\"operation\":\"delete\",\"entity_type\":\"no\\\"te\",\"entity_id\":\"a\\\"b\",\"server_version\":4,\"timestamp\":\"2026-11-21T07:51:42Z\","
			   "\"changed_by\":null,\"scope\":\"42\",\"reason\":\"moved\"}");
	CHECK_TEXT(c.scope, "42");
	CHECK_TEXT(c.entity_id, "a\"b");
	change_free(&c);
	CHECK(tombstone(&c, GRAVE("1", "null", "4")) && c.scope_is_null && c.scope == NULL);
	change_free(&c);
	CHECK(tombstone(&c, GRAVE("2", "null", "4")) && !c.scope_is_null);
	CHECK(c.json != NULL && strstr(c.json, "scope") == NULL);
	change_free(&c);
	CHECK(!tombstone(&c, GRAVE("3", "null", "4")));
	CHECK(!tombstone(&c, GRAVE("1", "null", "null")));
	CHECK(!tombstone(&c, GRAVE("\"x\"", "null", "4")));
	CHECK(!tombstone(&c, "{\"name\":\"table_id\",\"value\":1}"));
}

/* A token as wal2json writes it. */
static struct value
value_of(const char *token)
{
	size_t	len = strlen(token);
	bool	is_string = token[0] == '"';

	if (is_string)
		return (struct value) {memchr(token, '\\', len) != NULL ? VALUE_ESCAPED : VALUE_TEXT, token + 1, len - 2};
	return (struct value) {strcmp(token, "null") == 0 ? VALUE_BLANK : strchr("tf", token[0]) != NULL ? VALUE_BOOL : VALUE_TEXT, token, len};
}

/* What a kind makes of a value: as JSON, NULL: to be read again. */
static void
renders_value(char kind, struct value v, const char *wanted, const char *wanted_text)
{
	struct buffer out;
	struct buffer scratch;
	bool	ok;

	buffer_init(&out);
	buffer_init(&scratch);
	ok = render_json(&out, kind, v, &scratch);
	if (!CHECK(ok == (wanted != NULL)))
		fprintf(stderr, "    %c %.*s\n", kind, (int) v.len, v.text);
	else if (ok)
		CHECK_TEXT(out.data, wanted);
	buffer_reset(&out);
	ok = render_text(&out, kind, v, &scratch);
	if (!CHECK(ok == (wanted_text != NULL)))
		fprintf(stderr, "    %c %.*s as text\n", kind, (int) v.len, v.text);
	else if (ok)
		CHECK_TEXT(out.data, wanted_text);
	buffer_free(&out);
	buffer_free(&scratch);
}

static void
renders(char kind, const char *token, const char *wanted, const char *wanted_text)
{
	renders_value(kind, value_of(token), wanted, wanted_text);
}

static void
kinds_are_rendered(void)
{
	renders('n', "-12", "-12", "-12");
	renders('n', "\"12\"", "12", "12");
	renders('n', "\"12a\"", NULL, NULL);
	renders('n', "null", "null", NULL);
	renders('n', "true", NULL, NULL);
	renders('f', "1e+20", "1e+20", "1e+20");
	renders('f', "\"-Infinity\"", "\"-Infinity\"", "-Infinity");
	renders('f', "\"nan\"", NULL, NULL);
	renders('f', "null", NULL, NULL);
	renders('s', "9223372036854775807", "\"9223372036854775807\"", "9223372036854775807");
	renders('s', "\"a\\/\\u00e9\\n\\\"\"", "\"a/\xc3\xa9\\n\\\"\"", "a/\xc3\xa9\n\"");
	renders('s', "\"\\ud800\"", NULL, NULL);
	renders('s', "true", NULL, NULL);
	renders_value('s', (struct value) {VALUE_ABSENT, "", 0}, NULL, NULL);
	renders('d', "1.500", "\"1.500\"", "1.500");
	renders('d', "\"NaN\"", "\"NaN\"", "NaN");
	renders('d', "null", NULL, NULL);
	renders('d', "\"x\"", NULL, NULL);
	renders('b', "true", "true", "true");
	renders('b', "\"f\"", "false", "false");
	renders('b', "\"yes\"", NULL, NULL);
	renders('j', "\"{\\\"a\\\": 1}\"", "{\"a\": 1}", "{\"a\": 1}");
	renders('j', "\"{\\\"a\\\"\"", NULL, NULL);
	renders('j', "\"null\"", "null", "null");
	renders('j', "null", "null", NULL);
	renders('y', "\"00ff\"", "\"AP8=\"", "AP8=");
	renders('y', "\"\\\\x00FF10\"", "\"AP8Q\"", "AP8Q");
	renders('y', "\"\"", "\"\"", "");
	renders('y', "\"0\"", NULL, NULL);
	renders('y', "\"0g\"", NULL, NULL);
	renders('t', "\"2026-11-21 07:51:42.65\"", "\"2026-11-21T07:51:42.65\"", "2026-11-21T07:51:42.65");
	renders('t', "\"infinity\"", "\"infinity\"", "infinity");
	renders('z', "\"0044-03-15 10:00:00+00 BC\"", "\"0044-03-15T10:00:00Z BC\"", "0044-03-15T10:00:00Z BC");
	renders('z', "\"a \\\"+00\"", "\"aT\\\"Z\"", "aT\"Z");
	renders('x', "\"{1,2}\"", NULL, "{1,2}");
	renders('x', "null", "null", NULL);
	/* pgoutput knows a null from a number that is none */
	renders_value('f', (struct value) {VALUE_NULL, "", 0}, "null", NULL);
	renders_value('d', (struct value) {VALUE_NULL, "", 0}, "null", NULL);
	renders_value('d', (struct value) {VALUE_TEXT, "NaN", 3}, "\"NaN\"", "NaN");
}

static void
long_bytes_join(void)
{
	char	token[2001];
	struct buffer out;
	struct buffer scratch;

	memset(token, 'f', sizeof(token));
	buffer_init(&out);
	buffer_init(&scratch);
	CHECK(render_json(&out, 'y', (struct value) {VALUE_TEXT, token, 2000}, &scratch) && out.len == 1336 + 2);
	CHECK(strspn(out.data + 1, "/") == 1333);
	CHECK_TEXT(out.data + 1 + 1333, "w==\"");
	buffer_free(&out);
	buffer_free(&scratch);
}

/* A partition's columns may stand in another order than the table's; the scope is the parent's, from a column that is not sent. */
static void
a_partition_is_its_table(void)
{
	struct change c;

	if (CHECK(row(&c, 4, STAMP "," COLUMN("sync_scope", "\"7\"") COLUMN("body", "\"b\"") "{\"name\":\"id\",\"value\":4}")))
	{
		CHECK_TEXT(c.entity_id, "4");
		CHECK_TEXT(c.scope, "7");
		CHECK(!c.needs_reread && strstr(c.json, "\"data\":{\"id\":4,\"body\":\"b\"}") != NULL && strstr(c.json, "\"scope\":\"7\"") != NULL);
		change_free(&c);
	}
	if (CHECK(row(&c, 4, STAMP "," COLUMN("sync_scope", "null") COLUMN("body", "\"b\"") "{\"name\":\"id\",\"value\":4}")))
	{
		CHECK(c.scope == NULL && c.scope_is_null);
		change_free(&c);
	}
}

/* The set as letters, a for the first column; "any" when it is not known. */
static void
changes(const char *columns, const char *wanted)
{
	struct change c;
	char	letters[8] = "";

	if (!CHECK(row(&c, 5, columns)))
		return;
	if (c.changed == NULL)
		snprintf(letters, sizeof(letters), "any");
	else
		for (int i = 0; i < c.table->column_count; i++)
			if (column_set_has(c.changed, i))
				letters[strlen(letters)] = (char) ('a' + i);
	CHECK_TEXT(letters, wanted);
	change_free(&c);
}

#define CLOCKED(clock) COLUMN("id", "1") COLUMN("b", "\"x\"") COLUMN("c", "\"y\"") COLUMN("d", "2") COLUMN("sync_version", "9") \
	COLUMN("sync_xid", "\"725\"") COLUMN("sync_at", "\"2026-11-21 07:51:42.65+00\"") "{\"name\":\"sync_clock\",\"value\":" clock "}"

/* Hashes: id 0x11, b 0x22, c 0x33; d is generated. */
static void
the_clock_says_what_changed(void)
{
	changes(CLOCKED("null"), "any");
	changes(CLOCKED("\"\""), "any");
	changes(CLOCKED("\"0201\""), "any");
	/* one write of all */
	changes(CLOCKED("\"030102\""), "abcd");
	/* the rest an hour ago, then b by SQL; as pgoutput writes it too */
	changes(CLOCKED("\"03020001be050600000022\""), "bd");
	changes(CLOCKED("\"\\\\x03020001be050600000022\""), "bd");
	/* two columns by a device, at this version though not at the row's time */
	changes(CLOCKED("\"03020001be05090004" "0102030405060708" "1112131415161718" "0000002200000033\""), "bcd");
	/* all columns stand apart; none is left for the rest, the last is a's */
	changes(CLOCKED("\"0302" "080100" "0000002200000033" "06" "00000011\""), "ad");
	/* nothing was written at this version */
	changes(CLOCKED("\"030100" "0100\""), "d");
	/* a column that has another name now: it may be any that is not listed */
	changes(CLOCKED("\"0302" "040100" "00000022" "06" "00000099\""), "acd");
	/* cut short, odd, no digits, more columns than there are */
	changes(CLOCKED("\"03020001be0506000000\""), "any");
	changes(CLOCKED("\"03020001be05060000002\""), "any");
	changes(CLOCKED("\"03zz\""), "any");
	changes(CLOCKED("\"0301fe\""), "any");
	changes(CLOCKED("\"0301feffffffff7f\""), "any");
}

/* With REPLICA IDENTITY FULL the old row fills what the new one leaves out, and is told itself. */
static void
the_old_row_is_told(void)
{
	static const char update[] = ROW_HEAD COLUMN("id", "1") COLUMN("b", "\"n\"") COLUMN("d", "2") STAMP "],\"identity\":[" COLUMN("id", "1") COLUMN("b", "null")
		COLUMN("c", "\"long\"") COLUMN("d", "null") STAMP "]}";
	static const char key_only[] = ROW_HEAD COLUMN("id", "1") COLUMN("b", "\"n\"") COLUMN("d", "2") STAMP "],\"identity\":[{\"name\":\"id\",\"value\":1}]}";
	struct change c;

	if (CHECK(from_line(&c, 5, update)))
	{
		CHECK(!c.needs_reread);
		CHECK(c.json != NULL && strstr(c.json, "\"data\":{\"id\":1,\"b\":\"n\",\"c\":\"long\",\"d\":2}") != NULL);
		CHECK_TEXT(c.old, "{\"id\":1,\"b\":null,\"c\":\"long\",\"d\":null}");
		change_free(&c);
	}
	if (CHECK(from_line(&c, 5, key_only)))
	{
		CHECK(c.needs_reread && c.json == NULL && c.old == NULL);
		change_free(&c);
	}
}

int
main(void)
{
	tables = tables_parse(feed_tables, strlen(feed_tables));
	if (CHECK(tables != NULL))
	{
		a_row_is_rendered();
		keys_of_several_columns();
		rereads_are_asked_for();
		marked_rows_are_not_sent();
		bad_rows_are_refused();
		tombstones_are_rendered();
		kinds_are_rendered();
		long_bytes_join();
		a_partition_is_its_table();
		the_clock_says_what_changed();
		the_old_row_is_told();
	}
	tables_free(tables);
	return CHECK_END();
}

/* change_test.c - wal2json's lines become exactly the change objects that pull would send, or ask for a re-read. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "change.h"
#include "check.h"
#include "render.h"

static const char feed_tables[] =
	"{\"system_id\":\"7\",\"timeline\":1,\"incarnation\":\"3\",\"message_key\":\"k\",\"tombstone\":{\"schema\":\"sync\",\"table\":\"tombstone\"},\"registry\":[],\"watch\":[],\"tables\":["
	"{\"id\":1,\"schema\":\"public\",\"table\":\"note\",\"entity_type\":\"no\\\"te\",\"scope\":\"team\",\"scope_column\":\"team_id\",\"deleted_at\":\"gone\",\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"},{\"name\":\"sync_state\",\"kind\":\"s\"},{\"name\":\"team_id\",\"kind\":\"s\"},{\"name\":\"gone\",\"kind\":\"z\"}]},"
	"{\"id\":2,\"schema\":\"public\",\"table\":\"pair\",\"entity_type\":\"pair\",\"scope\":null,\"scope_column\":null,\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"b\",\"a\"],\"partitions\":[],\"columns\":[{\"name\":\"a\",\"kind\":\"s\"},{\"name\":\"b\",\"kind\":\"n\"},{\"name\":\"c\",\"kind\":\"d\"}]},"
	"{\"id\":4,\"schema\":\"public\",\"table\":\"item\",\"entity_type\":\"item\",\"scope\":\"team\",\"scope_column\":\"sync_scope\",\"deleted_at\":null,\"priority\":2,"
	"\"key\":[\"id\"],\"partitions\":[[\"public\",\"item_1\"]],\"columns\":[{\"name\":\"id\",\"kind\":\"n\"},{\"name\":\"body\",\"kind\":\"s\"}]}]}";

#define ROW_HEAD "{\"action\":\"U\",\"xid\":725,\"timestamp\":\"2026-11-21 07:51:42.65369+00\",\"lsn\":\"0/1539B58\",\"schema\":\"public\",\"table\":\"t\",\"columns\":["
#define STAMP "{\"name\":\"sync_version\",\"value\":3},{\"name\":\"sync_xid\",\"value\":\"725\"},{\"name\":\"sync_at\",\"value\":\"2026-11-21 07:51:42.65+00\"}," \
	"{\"name\":\"sync_by\",\"value\":\"alice\"},{\"name\":\"sync_clock\",\"value\":null}"
#define COLUMN(name, value) "{\"name\":\"" name "\",\"value\":" value "},"

static struct sync_tables *tables;

/* Reads columns (without brackets) as a row of table id; the record's memory is gone when it returns. */
static bool
row(struct change *c, int32_t id, const char *columns)
{
	struct buffer line;
	struct record r;
	bool	ok;

	buffer_init(&line);
	buffer_printf(&line, ROW_HEAD "%s]}", columns);
	ok = CHECK(record_parse(&r, line.data, line.len)) && change_from_row(c, &r, tables_by_id(tables, id));
	record_free(&r);
	buffer_free(&line);
	return ok;
}

static bool
parses(const char *line)
{
	struct record r;
	bool	ok = record_parse(&r, line, strlen(line));

	if (ok)
		record_free(&r);
	return ok;
}

static void
records_are_read(void)
{
	static const char begin[] = "{\"action\":\"B\",\"xid\":725,\"timestamp\":\"x\",\"lsn\":\"0/1539CB0\",\"nextlsn\":\"0/1539CE0\"}";
	static const char message[] = "{\"action\":\"M\",\"xid\":null,\"timestamp\":null,\"lsn\":\"0/1539DE0\",\"transactional\":false,\"prefix\":\"sync\",\"content\":\"-12345\"}";
	static const char foreign[] = "{\"action\":\"M\",\"xid\":4294967295,\"lsn\":\"A/1\",\"transactional\":true,\"prefix\":\"sync\",\"content\":\"12x\"}";
	static const char truncate[] = "{\"action\":\"T\",\"xid\":1,\"lsn\":\"0/1\",\"schema\":\"public\",\"table\":\"no\\\"te\"}";
	static const char delete[] = "{\"action\":\"D\",\"xid\":1,\"lsn\":\"0/1\",\"schema\":\"public\",\"table\":\"t\",\"identity\":[{\"name\":\"id\",\"value\":1}]}";
	struct record r;

	CHECK(record_parse(&r, begin, strlen(begin)) && r.action == RECORD_BEGIN && r.xid == 725 && r.lsn == 0x1539CB0 && r.end_lsn == 0x1539CE0);
	record_free(&r);
	CHECK(record_parse(&r, message, strlen(message)) && r.action == RECORD_MESSAGE && r.xid == 0 && r.is_ours && r.nonce == -12345);
	record_free(&r);
	CHECK(record_parse(&r, foreign, strlen(foreign)) && r.xid == UINT32_MAX && !r.is_ours && r.lsn == UINT64_C(0xA00000001));
	record_free(&r);
	CHECK(record_parse(&r, truncate, strlen(truncate)) && r.action == RECORD_TRUNCATE && json_type(r.columns) == JSON_ABSENT);
	CHECK_TEXT(r.table, "no\"te");
	record_free(&r);
	CHECK(record_parse(&r, delete, strlen(delete)) && r.action == RECORD_DELETE && json_size(r.identity) == 1);
	CHECK(json_type(record_column(&r, "id")) == JSON_ABSENT);
	record_free(&r);
	CHECK(record_parse(&r, ROW_HEAD STAMP "]}", strlen(ROW_HEAD STAMP "]}")) && json_equals(record_column(&r, "sync_by"), "alice"));
	record_free(&r);
}

static void
bad_records_are_refused(void)
{
	static const char *const bad[] = {
		"", "[]", "{}", "1", "{\"action\":\"X\",\"xid\":1,\"lsn\":\"0/1\"}", "{\"action\":\"\",\"xid\":1,\"lsn\":\"0/1\"}", "{\"action\":\"B\",\"xid\":1,\"lsn\":\"0/1\"}",
		"{\"action\":\"B\",\"xid\":null,\"lsn\":\"0/1\",\"nextlsn\":\"0/1\"}", "{\"action\":\"B\",\"xid\":4294967296,\"lsn\":\"0/1\",\"nextlsn\":\"0/1\"}",
		"{\"action\":\"B\",\"xid\":1,\"lsn\":\"01\",\"nextlsn\":\"0/1\"}", "{\"action\":\"I\",\"xid\":1,\"lsn\":\"0/1\",\"schema\":\"a\"}",
		"{\"action\":\"I\",\"xid\":1,\"lsn\":\"0/1\",\"schema\":\"a\",\"table\":\"0123456789012345678901234567890123456789012345678901234567890123\"}",
		"{\"action\":\"I\",\"xid\":1,\"lsn\":\"0/1\",\"schema\":\"a\",\"table\":null}", "{\"action\":1,\"xid\":1,\"lsn\":\"0/1\"}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!parses(bad[i]));
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
	CHECK(c.needs_reread && c.json == NULL);
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
		"", COLUMN("id", "1") "{}", "1", COLUMN("a", "1") COLUMN("b", "null") STAMP, COLUMN("a", "\"\\u0000\"") COLUMN("b", "7") STAMP,
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
	struct buffer line;
	struct record r;
	bool	ok;

	buffer_init(&line);
	buffer_printf(&line, ROW_HEAD "%s]}", columns);
	ok = CHECK(record_parse(&r, line.data, line.len)) && change_from_tombstone(c, &r, tables);
	record_free(&r);
	buffer_free(&line);
	return ok;
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
	CHECK(!tombstone(&c, GRAVE("1", "42", "4")));
	CHECK(!tombstone(&c, GRAVE("1", "null", "null")));
	CHECK(!tombstone(&c, GRAVE("\"1\"", "null", "4")));
	CHECK(!tombstone(&c, "{\"name\":\"table_id\",\"value\":1}"));
}

/* What a kind makes of a token: as JSON, NULL: to be read again. */
static void
renders(char kind, const char *token, const char *wanted, const char *wanted_text)
{
	struct json *doc = json_parse(token, strlen(token), 10);
	struct buffer out;
	struct buffer scratch;
	bool	ok;

	buffer_init(&out);
	buffer_init(&scratch);
	ok = render_json(&out, kind, json_root(doc), &scratch);
	if (!CHECK(doc != NULL && ok == (wanted != NULL)))
		fprintf(stderr, "    %c %s\n", kind, token);
	else if (ok)
		CHECK_TEXT(out.data, wanted);
	buffer_reset(&out);
	ok = render_text(&out, kind, json_root(doc), &scratch);
	if (!CHECK(ok == (wanted_text != NULL)))
		fprintf(stderr, "    %c %s as text\n", kind, token);
	else if (ok)
		CHECK_TEXT(out.data, wanted_text);
	buffer_free(&out);
	buffer_free(&scratch);
	json_free(doc);
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
	renders('s', "[1]", NULL, NULL);
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
	renders('x', "null", NULL, NULL);
}

static void
long_bytes_join(void)
{
	char	token[2003];
	struct json *doc;
	struct buffer out;
	struct buffer scratch;

	memset(token, 'f', sizeof(token));
	token[0] = token[2001] = '"';
	token[2002] = '\0';
	doc = json_parse(token, 2002, 1);
	buffer_init(&out);
	buffer_init(&scratch);
	CHECK(render_json(&out, 'y', json_root(doc), &scratch) && out.len == 1336 + 2);
	CHECK(strspn(out.data + 1, "/") == 1333);
	CHECK_TEXT(out.data + 1 + 1333, "w==\"");
	buffer_free(&out);
	buffer_free(&scratch);
	json_free(doc);
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

int
main(void)
{
	tables = tables_parse(feed_tables, strlen(feed_tables));
	if (CHECK(tables != NULL))
	{
		records_are_read();
		bad_records_are_refused();
		a_row_is_rendered();
		keys_of_several_columns();
		rereads_are_asked_for();
		marked_rows_are_not_sent();
		bad_rows_are_refused();
		tombstones_are_rendered();
		kinds_are_rendered();
		long_bytes_join();
		a_partition_is_its_table();
	}
	tables_free(tables);
	return CHECK_END();
}

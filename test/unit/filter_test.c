/* filter_test.c - filters of postgres_changes: what is read, what is refused with which words, and what rows meet them. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "filter.h"

static struct sync_column columns[] = {
	{.name = "id", .type = "int8", .base = "int8", .kind = 's', .is_key = true}, {.name = "small", .type = "int2", .base = "int2", .kind = 'n'},
	{.name = "num", .type = "numeric", .base = "numeric", .kind = 'd'}, {.name = "real", .type = "float8", .base = "float8", .kind = 'f'},
	{.name = "yes", .type = "bool", .base = "bool", .kind = 'b'}, {.name = "txt", .type = "text", .base = "text", .kind = 's'},
	{.name = "chars", .type = "bpchar", .base = "bpchar", .kind = 's'}, {.name = "day", .type = "date", .base = "date", .kind = 's'},
	{.name = "at", .type = "timestamp", .base = "timestamp", .kind = 't'}, {.name = "atz", .type = "timestamptz", .base = "timestamptz", .kind = 'z'},
	{.name = "uid", .type = "uuid", .base = "uuid", .kind = 's'}, {.name = "raw", .type = "bytea", .base = "bytea", .kind = 'y'},
	{.name = "feel", .type = "mood", .base = "enum", .kind = 's'}, {.name = "tags", .type = "_text", .base = "_text", .kind = 'x'},
	{.name = "hour", .type = "time", .base = "time", .kind = 's'}, {.name = "doc", .type = "jsonb", .base = "jsonb", .kind = 'j'},
	{.name = "plus", .type = "positive", .base = "int8", .kind = 's'}, {.name = "f4", .type = "float4", .base = "float4", .kind = 'f'},
};
static int key[] = {0};
static const struct sync_table table = {.column_count = sizeof(columns) / sizeof(columns[0]), .columns = columns, .key_count = 1, .key = key};

static const char row[] =
	"{\"id\":\"9007199254740993\",\"small\":-5,\"num\":\"12.340\",\"real\":2.5,\"yes\":true,\"txt\":\"a,b \\\"c\\\" \xc3\x9c\",\"chars\":\"ab   \",\"day\":\"2026-01-02\","
	"\"at\":\"2026-01-02T03:04:05.678\",\"atz\":\"2026-01-02T01:04:05.678Z\",\"uid\":\"11111111-2222-3333-4444-55555555aaaa\",\"raw\":\"AP8Q\",\"feel\":\"calm\","
	"\"tags\":[\"a\"],\"hour\":\"23:59:59.5\",\"doc\":{\"a\":1},\"plus\":\"10\",\"f4\":1.1}";
static const char nulls[] = "{\"id\":\"1\",\"small\":null,\"num\":\"NaN\",\"real\":\"-Infinity\",\"yes\":null,\"txt\":null,\"day\":\"infinity\",\"at\":\"0044-03-15T00:00:00 BC\",\"tags\":null}";

/* 'y', 'n', '?'; or 'p': does not parse, 'b': does not bind */
static char
meets(const char *text, const char *json)
{
	struct buffer problem;
	struct filter *f;
	struct json *doc;
	char	answer = 'p';

	buffer_init(&problem);
	f = filter_parse(text, strlen(text), &problem);
	if (f != NULL)
	{
		answer = 'b';
		if (filter_bind(f, &table, NULL, NULL, &problem))
		{
			doc = json_parse(json, strlen(json), 1000);
			answer = "n?y"[filter_eval(f, json_root(doc))];
			json_free(doc);
		}
	}
	filter_free(f);
	buffer_free(&problem);
	return answer;
}

static void
check_all(const char *json, const char *const (*cases)[2], size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!CHECK(meets(cases[i][0], json) == cases[i][1][0]))
			fprintf(stderr, "    %s: %c, not %s\n", cases[i][0], meets(cases[i][0], json), cases[i][1]);
}

static void
rows_meet_filters(void)
{
	static const char *const cases[][2] = {
		{"id=eq.9007199254740993", "y"}, {"id=eq.9007199254740992", "n"}, {"id=gt.9007199254740992", "y"}, {"id=neq.1", "y"}, {"id=eq. 09007199254740993 ", "y"},
		{"plus=lt.9", "n"}, {"plus=gt.9", "y"}, {"small=lt.-4", "y"}, {"small=lte.-5", "y"}, {"small=gte.-4", "n"}, {"small=eq.-5", "y"},
		{"num=eq.12.34", "y"}, {"num=eq.012.3400", "y"}, {"num=gt.12.3399999999999999999999999999", "y"}, {"num=lt.NaN", "y"}, {"num=gt.-100", "y"}, {"num=lt.Infinity", "y"},
		{"real=eq.2.50", "y"}, {"real=gt.1e300", "n"}, {"real=lt.1e300", "y"}, {"f4=eq.1.1", "y"}, {"yes=eq.true", "y"}, {"yes=eq.t", "y"}, {"yes=is.true", "y"}, {"yes=is.false", "n"},
		{"yes=not.is.true", "n"}, {"yes=gt.false", "y"},
		{"txt=eq.\"a,b \\\"c\\\" \xc3\x9c\"", "y"}, {"txt=like.\"a,%\"", "y"}, {"txt=like.a_b%", "y"}, {"txt=like.A%", "n"}, {"txt=ilike.A%\xc3\xbc", "y"}, {"txt=like.%c%_", "y"},
		{"txt=like.%", "y"}, {"txt=like.", "n"}, {"txt=like.\"a\\\\,b%\"", "y"}, {"txt=match.^a,b", "p"}, {"txt=match.\"^a,b\"", "y"}, {"txt=match.b .c", "y"}, {"txt=match.B", "n"}, {"txt=imatch.B", "y"},
		{"txt=match.\xc3\x9c$", "y"}, {"txt=match.[xyz]$", "n"}, {"txt=match.(a|b)+", "y"}, {"txt=not.match.zz", "y"}, {"txt=lt.b", "y"},
		{"chars=eq.ab", "y"}, {"chars=in.(x,ab)", "y"}, {"day=eq.2026-01-02", "y"}, {"day=lt.2026-01-03", "y"}, {"day=gt.infinity", "n"}, {"day=lt.infinity", "y"}, {"day=gt.2026-01-02 BC", "y"},
		{"at=eq.2026-01-02 03:04:05.678", "y"}, {"at=gt.2026-01-02", "y"}, {"at=lt.2026-01-02T03:04:05.6780001", "n"}, {"at=eq.2026-01-02T03:04:05.678+05", "y"},
		{"atz=eq.2026-01-02T03:04:05.678+02", "y"}, {"atz=eq.2026-01-01T20:04:05.678-05:00", "y"}, {"atz=eq.2026-01-02T01:04:05.678Z", "y"}, {"atz=lt.2026-01-02 01:04:05.679", "y"},
		{"uid=eq.11111111222233334444-55555555AAAA", "y"}, {"uid=eq.{11111111-2222-3333-4444-55555555AAAA}", "y"}, {"uid=lt.ffffffff-ffff-ffff-ffff-ffffffffffff", "y"},
		{"raw=eq.\\x00ff10", "y"}, {"raw=neq.\\x00FF10", "n"}, {"feel=eq.calm", "y"}, {"feel=in.(wild,calm)", "y"}, {"hour=gt.23:59", "y"}, {"hour=eq.23:59:59.500", "y"}, {"tags=not.is.null", "y"},
		{"id=in.(1,9007199254740993)", "y"}, {"id=in.( 1 , 2 )", "n"}, {"id=in.()", "n"}, {"id=not.in.(1,2)", "y"}, {"id=not.in.(1,null)", "n"}, {"id=in.(null,9007199254740993)", "y"},
		{"txt=in.(\"a,b \\\"c\\\" \xc3\x9c\",x)", "y"}, {"id=gt.1,small=lt.0", "y"}, {"id=gt.1,small=gt.0", "n"}, {" id=gt.1", "y"},
		{"txt=isdistinct.x", "y"}, {"txt=isdistinct.null", "y"}, {"txt=not.isdistinct.null", "n"},
	};

	check_all(row, cases, sizeof(cases) / sizeof(cases[0]));
}

/* NULL is neither; what is missing is unknown. */
static void
nulls_meet_few(void)
{
	static const char *const cases[][2] = {
		{"small=eq.1", "n"}, {"small=not.eq.1", "n"}, {"small=neq.1", "n"}, {"small=is.null", "y"}, {"small=not.is.null", "n"}, {"small=isdistinct.1", "y"}, {"small=isdistinct.null", "n"},
		{"small=in.(1)", "n"}, {"small=not.in.(1)", "n"}, {"txt=like.%", "n"}, {"txt=not.like.x", "n"}, {"yes=is.unknown", "y"}, {"yes=is.true", "n"}, {"yes=not.is.true", "y"}, {"tags=is.null", "y"},
		{"num=eq.NaN", "y"}, {"num=gt.99999999999999999999999", "y"}, {"num=gt.infinity", "y"}, {"real=lt.-1e308", "y"}, {"day=gt.294000-01-01", "y"}, {"at=lt.0001-01-01", "y"}, {"at=eq.0044-03-15 BC", "y"},
		{"uid=eq.11111111-2222-3333-4444-555555555555", "?"}, {"uid=is.null", "?"}, {"uid=is.null,id=eq.2", "n"}, {"uid=is.null,id=eq.1", "?"},
	};

	check_all(nulls, cases, sizeof(cases) / sizeof(cases[0]));
}

static void
what_is_wrong_is_said(void)
{
	static const char *const cases[][2] = {
		{"hey", "[\"hey\"]"}, {"foo=hey", "[\"foo\", \"hey\"]"}, {"=eq.1", "[\"\", \"eq.1\"]"}, {"id=near.1", "[\"id\", \"near.1\"]"}, {"id=not.eq", "[\"id\", \"not.eq\"]"},
		{"id=in.1,2", "`in` filter value must be wrapped by parentheses"}, {"id=eq.1,", "filter must not contain empty segments (check for extra commas)"},
		{",id=eq.1", "filter must not contain empty segments (check for extra commas)"}, {"id=eq.1,,small=eq.2", "filter must not contain empty segments (check for extra commas)"},
		{"nope=eq.1", "invalid column for filter nope"}, {"id=eq.1.5", "invalid input syntax for type int8: \"1.5\""}, {"small=eq.70000", "invalid input syntax for type int2: \"70000\""},
		{"id=eq.99999999999999999999", "invalid input syntax for type int8: \"99999999999999999999\""}, {"num=eq.1e3", "invalid input syntax for type numeric: \"1e3\""},
		{"yes=eq.maybe", "invalid input syntax for type bool: \"maybe\""}, {"day=eq.2026-02-30", "invalid input syntax for type date: \"2026-02-30\""}, {"at=eq.now", "invalid input syntax for type timestamp: \"now\""},
		{"uid=eq.1", "invalid input syntax for type uuid: \"1\""}, {"raw=eq.00", "invalid input syntax for type bytea: \"00\""}, {"raw=eq.\\x#0", "invalid input syntax for type bytea: \"\\\\x#0\""}, {"tags=eq.{}", "columns of type _text cannot be filtered by eq"},
		{"doc=eq.{}", "columns of type jsonb cannot be filtered by eq"}, {"feel=lt.calm", "columns of type mood cannot be filtered by lt"}, {"raw=gt.\\x00", "columns of type bytea cannot be filtered by gt"},
		{"id=is.true", "is true needs a boolean column"}, {"yes=is.maybe", "invalid value for is filter: must be null, true, false or unknown"}, {"id=like.1%", "operator does not exist: int8 like text"},
		{"txt=match.(", "invalid pattern for match filter: not a regular expression"}, {"txt=match.\"a{1,1000}\"", "invalid pattern for match filter: counts in braces are not served"},
		{"txt=match.(a)\\1", "invalid pattern for match filter: of the escapes of letters and digits only \\w \\W \\s \\S are served"}, {"txt=match.a*?", "invalid pattern for match filter: (?, lazy and doubled quantifiers are not served"},
		{"txt=match.(?i)a", "invalid pattern for match filter: (?, lazy and doubled quantifiers are not served"}, {"txt=like.a\\", "invalid pattern for like filter: LIKE pattern must not end with escape character"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		struct buffer problem;
		struct filter *f;

		buffer_init(&problem);
		f = filter_parse(cases[i][0], strlen(cases[i][0]), &problem);
		if (f != NULL)
			CHECK(!filter_bind(f, &table, NULL, NULL, &problem));
		CHECK_TEXT(problem.data, cases[i][1]);
		filter_free(f);
		buffer_free(&problem);
	}
}

static bool
all_but_text(void *owner, int column)
{
	(void) owner;
	return strcmp(columns[column].name, "txt") != 0;
}

static void
limits(void)
{
	struct buffer text;
	struct buffer problem;
	struct filter *f;
	char	long_row[FILTER_SUBJECT_MAX + 100];

	buffer_init(&text);
	buffer_init(&problem);
	buffer_puts(&text, "id=in.(0");
	for (int i = 1; i < FILTER_VALUES_MAX; i++)
		buffer_printf(&text, ",%d", i);
	buffer_puts(&text, ")");
	CHECK(meets(text.data, "{\"id\":\"99\"}") == 'y');
	text.len--;
	buffer_puts(&text, ",100)");
	CHECK(filter_parse(text.data, text.len, &problem) == NULL);
	CHECK_TEXT(problem.data, "too many values for `in` filter. Maximum 100");
	buffer_reset(&problem);
	CHECK(filter_parse("  ", 2, &problem) == NULL && problem.len == 0);
	f = filter_parse("txt=eq.1", 8, &problem);
	CHECK(f != NULL && !filter_bind(f, &table, all_but_text, NULL, &problem));
	CHECK_TEXT(problem.data, "invalid column for filter txt");
	filter_free(f);
	snprintf(long_row, sizeof(long_row), "{\"txt\":\"%0*d\"}", FILTER_SUBJECT_MAX + 1, 0);
	CHECK(meets("txt=like.x", long_row) == '?' && meets("txt=match.x", long_row) == '?' && meets("txt=eq.x", long_row) == 'n');
	buffer_reset(&problem);
	f = filter_parse("id=not.eq.1,txt=in.(a,b)", 24, &problem);
	filter_describe(f, &problem);
	CHECK_TEXT(problem.data, "[{\"id\", \"not.eq\", \"1\"}, {\"txt\", \"in\", \"{a,b}\"}]");
	CHECK(filter_count(f) == 2 && strcmp(filter_column(f, 1), "txt") == 0);
	filter_free(f);
	buffer_free(&text);
	buffer_free(&problem);
}

int
main(void)
{
	rows_meet_filters();
	nulls_meet_few();
	what_is_wrong_is_said();
	limits();
	return CHECK_END();
}

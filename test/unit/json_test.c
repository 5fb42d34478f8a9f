/* json_test.c - JSON is read to the letter of its grammar, and walked without losing digits. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "json.h"

static bool
is_valid(const char *text)
{
	struct json *doc = json_parse(text, strlen(text), 1000);

	json_free(doc);
	return doc != NULL;
}

static void
grammar_is_kept(void)
{
	static const char *const good[] = {
		"1", " -0.5e+10 ", "null", "true", "\"\"", "[]", "{}", " [ 1 , \"a\" , { \"b\" : [ ] } ] ", "{\"a\":{\"b\":{}},\"c\":[[],[[]]]}",
		"\"\\ud83d\\ude00\"", "[1e5,0,-1,0.0]", "\t\n\r1", "{\"\":0}", "{\"a\":1,\"a\":2}", "\"\\u0000\"",
	};
	static const char *const bad[] = {
		"", " ", "01", "-", "1.", ".5", "+1", "1e", "1e+", "nul", "nulll", "tru", "NaN", "Infinity", "0x1", "1 2", "[1 2]", "[1,]", "[,1]", "[,]",
		"{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{1:2}", "{\"a\":1,}", "{,}", "{\"a\":1 \"b\":2}", "{\"a\":\"b\":\"c\"}", "[1:2]", "[\"a\":1]", "[1]]", "[", "]", "}", "{",
		"[}", "{]", "[1}", "\"a", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"a\nb\"", "\"\t\"", "[1],", ",[1]", "[1]:", ":1", "{\"a\":1}x", "'a'", "{a:1}", "[\"a\"\"b\"]",
		"{[]:1}", "{\"a\",\"b\"}", "{\"a\":1:2}", "\"\\", "[-]", "{\"a\":[}]", "[\"\\\"]", "{\"a\":1,,\"b\":2}", "//x", "[1]/**/", "\xef\xbb\xbf[]",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		if (!CHECK(is_valid(good[i])))
			fprintf(stderr, "    %s\n", good[i]);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK(!is_valid(bad[i])))
			fprintf(stderr, "    %s\n", bad[i]);
	CHECK(json_parse("1\0", 2, 10) == NULL);
	CHECK(json_parse("[1]\0", 4, 10) == NULL);
	CHECK(json_parse("[\"\0\"]", 5, 10) == NULL);
}

static void
nest(char *text, int depth)
{
	memset(text, '[', (size_t) depth);
	memset(text + depth, ']', (size_t) depth);
	text[2 * depth] = '\0';
}

static void
limits_hold(void)
{
	char   *text = malloc(400001);
	struct json *doc;

	nest(text, 64);
	CHECK(is_valid(text));
	nest(text, 65);
	CHECK(!is_valid(text));
	nest(text, 200000);
	CHECK(!is_valid(text));		/* and at once, though jsmn alone would take minutes */
	free(text);
	doc = json_parse("[1,[],2]", 8, 4);
	CHECK(doc != NULL);
	json_free(doc);
	doc = json_parse("[1,[],2]", 8, 3);
	CHECK(doc == NULL);
}

static void
walk_finds_siblings(void)
{
	static const char text[] = "{\"a\":[1,[2,{\"x\":3}],\"s\"],\"b\":{\"c\":[]},\"\\u0064\":-12.50,\"e\":null,\"b\":true}";
	struct json *doc = json_parse(text, strlen(text), 100);
	struct json_value root = json_root(doc);
	struct json_value v = json_first(json_member(root, "a"));
	int		names = 0;

	CHECK(json_type(root) == JSON_OBJECT && json_size(root) == 5);
	CHECK(json_type(v) == JSON_NUMBER && json_size(v) == 0);
	v = json_next(v);
	CHECK(json_type(v) == JSON_ARRAY && json_size(v) == 2);
	CHECK(json_type(json_next(json_next(json_first(v)))) == JSON_ABSENT);
	v = json_next(v);
	CHECK(json_equals(v, "s"));
	CHECK(json_type(json_next(v)) == JSON_ABSENT);
	for (struct json_value m = json_first(root); m.index >= 0; m = json_next(m))
		names++;
	CHECK(names == 5);
	CHECK(json_bool(json_member(root, "b"), false));
	v = json_member(root, "d");
	CHECK(v.len == 6 && memcmp(v.raw, "-12.50", 6) == 0);
	CHECK(json_type(json_member(root, "e")) == JSON_NULL);
	CHECK(json_type(json_member(root, "zz")) == JSON_ABSENT);
	CHECK(json_type(json_member(v, "a")) == JSON_ABSENT);
	CHECK(json_type(json_first(v)) == JSON_ABSENT && json_type(json_next(root)) == JSON_ABSENT);
	CHECK(json_type(json_member_value(json_member(root, "a"))) == JSON_ABSENT);
	CHECK(json_type(json_root(NULL)) == JSON_ABSENT);
	json_free(doc);
}

static char *
unescaped(const char *text)
{
	struct json *doc = json_parse(text, strlen(text), 10);
	char   *result = json_strdup(json_root(doc));

	json_free(doc);
	return result;
}

static void
strings_come_out_plain(void)
{
	static const char *const refused[] = {"\"\\u0000\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"a\\ud83d\"", "1", "null"};
	char   *text = unescaped("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\uDE00\"");
	struct json *doc = json_parse("\"abc\\n\"", 7, 1);
	char	small[5];

	CHECK_TEXT(text, "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	free(text);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
	{
		text = unescaped(refused[i]);
		CHECK(text == NULL);
		free(text);
	}
	CHECK(json_string(json_root(doc), small, sizeof(small)));
	CHECK_TEXT(small, "abc\n");
	CHECK(!json_string(json_root(doc), small, 4) && !json_string(json_root(doc), small, 0));
	json_free(doc);
}

static bool
integer(const char *text, int64_t wanted)
{
	struct json *doc = json_parse(text, strlen(text), 1);
	int64_t got = 0;
	bool	ok = json_int64(json_root(doc), &got) && got == wanted;

	json_free(doc);
	return ok;
}

static void
integers_are_exact(void)
{
	CHECK(integer("0", 0) && integer("-1", -1) && integer("9223372036854775807", INT64_MAX));
	CHECK(integer("-9223372036854775808", INT64_MIN));
	CHECK(!integer("9223372036854775808", 0) && !integer("-9223372036854775809", 0) && !integer("99999999999999999999999", 0));
	CHECK(!integer("1.0", 1) && !integer("1e2", 100) && !integer("\"1\"", 1) && !integer("true", 1));
}

int
main(void)
{
	grammar_is_kept();
	limits_hold();
	walk_finds_siblings();
	strings_come_out_plain();
	integers_are_exact();
	return CHECK_END();
}

/* request_test.c - what a client is told of an error of the database: its name, whether to try again, and no word that may tell of hidden rows. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "request.h"

static struct request_error
told(const char *sqlstate, const char *read)
{
	struct answer a = {.status = ANSWER_REFUSED, .sqlstate = sqlstate, .text = "the secret of a row", .read = read, .read_len = read != NULL ? strlen(read) : 0};

	return request_error(&a);
}

static bool
says(const char *sqlstate, const char *read, const char *code)
{
	struct request_error e = told(sqlstate, read);
	char	text[REQUEST_ERROR_TEXT_MAX];

	request_error_text(&e, text);
	return strcmp(e.code, code) == 0 && strstr(text, "secret") == NULL;
}

static void
test_rules(void)
{
	struct request_error e = told("22012", "table \"note\"");
	char	text[REQUEST_ERROR_TEXT_MAX];

	request_error_text(&e, text);
	CHECK(strcmp(e.code, "policy_failed") == 0 && e.http_status == 500 && !e.is_passing);
	CHECK(strstr(text, "(SQLSTATE 22012)") != NULL && strstr(text, "note") == NULL);
	CHECK(says("P0001", "scope \"team\"", "policy_failed") && says("42P17", "table \"note\"", "policy_failed") && says("54001", "table \"note\"", "policy_failed"));
	/* elsewhere, or the server's own trouble */
	CHECK(says("22012", NULL, "internal") && says("XX000", "table \"note\"", "internal") && says("53100", "table \"note\"", "internal"));
	CHECK(says("57014", "table \"note\"", "timeout") && says("42501", "table \"note\"", "forbidden") && says("40001", "table \"note\"", "busy"));
}

static bool
reads(const char *context, const char *expected)
{
	size_t	len = 0;
	const char *read = request_read(context, &len);

	if (expected == NULL || read == NULL)
		return read == NULL && expected == NULL;
	return len == strlen(expected) && memcmp(read, expected, len) == 0;
}

static void
test_contexts(void)
{
	CHECK(reads(NULL, NULL) && reads("", NULL) && reads("\n", NULL) && reads("SQL statement \"sync reads as its caller: table\"", NULL));
	CHECK(reads("sync reads as its caller: table \"note\"", "table \"note\""));
	CHECK(reads("SQL function \"f\" statement 1\nPL/pgSQL function g() line 3 at RETURN\nsync reads as its caller: scope \"team\"\nSQL statement \"x\"", "scope \"team\""));
	/* the innermost first: the scope of a table's rows */
	CHECK(reads("sync reads as its caller: scope \"a\"\nsync reads as its caller: table \"b\"", "scope \"a\""));
}

int
main(void)
{
	test_rules();
	test_contexts();
	return CHECK_END();
}

/* operand_fuzz.c - any two or three values of a class: what is read is ordered as an order must be, and equal to itself; LIKE as its definition says. */
/* SPDX-License-Identifier: PostgreSQL */
#include <ctype.h>

#include "filter.h"
#include "fuzz.h"
#include "operand.h"
#include "pattern.h"

static const char *const types[] = {"int2", "int4", "int8", "oid", "numeric", "xid8", "float8", "float4", "bool", "text", "varchar", "bpchar", "enum", "date", "time", "timestamp", "timestamptz",
	"uuid", "bytea", "json"};

static int
sign(int order)
{
	return (order > 0) - (order < 0);
}

static void
compare(const char *type, char *const texts[3])
{
	enum operand_class c = operand_class(type);
	struct operand o[3];
	struct buffer scratch[3];
	bool	is_there[3];
	int		order[3][3] = {{0}};

	for (int i = 0; i < 3; i++)
	{
		buffer_init(&scratch[i]);
		is_there[i] = operand_read(&o[i], c, type, texts[i], strlen(texts[i]), &scratch[i]);
		REQUIRE(!is_there[i] || c != OPERAND_NONE);
	}
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++)
			if (is_there[i] && is_there[k])
				order[i][k] = sign(operand_compare(c, &o[i], &o[k]));
	for (int i = 0; i < 3; i++)
		for (int k = 0; k < 3; k++)
			REQUIRE(order[i][k] == -order[k][i]);
	if (is_there[0] && is_there[1] && is_there[2])
		REQUIRE(!(order[0][1] <= 0 && order[1][2] <= 0) || order[0][2] <= 0);
	for (int i = 0; i < 3; i++)
		buffer_free(&scratch[i]);
}

/* Of ASCII texts only, where a character is a byte: the plainest possible, by all ways of splitting. */
static bool
is_like(const char *pattern, const char *text)
{
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '%')
		return is_like(pattern + 1, text) || (*text != '\0' && is_like(pattern, text + 1));
	if (*pattern == '_')
		return *text != '\0' && is_like(pattern + 1, text + 1);
	if (*pattern == '\\')
		pattern++;
	return *text == *pattern && is_like(pattern + 1, text + 1);
}

static bool
is_short_ascii(const char *text)
{
	size_t	len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] >= 0x80)
			return false;
	return len <= 12;
}

static void
match(const char *pattern, const char *text, bool ignores_case)
{
	const char *trouble = NULL;
	struct pattern *like = pattern_like(pattern, ignores_case, &trouble);
	struct pattern *regex;

	REQUIRE(like != NULL || trouble != NULL);
	if (like != NULL)
	{
		bool	is_met = pattern_matches(like, text, strlen(text));

		if (!ignores_case && is_short_ascii(pattern) && is_short_ascii(text))
			REQUIRE(is_met == is_like(pattern, text));
	}
	pattern_free(like);
	trouble = NULL;
	regex = pattern_regex(pattern, ignores_case, &trouble);
	REQUIRE(regex != NULL || trouble != NULL);
	if (regex != NULL && strlen(text) <= FILTER_SUBJECT_MAX)
		(void) pattern_matches(regex, text, strlen(text));
	pattern_free(regex);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	const char *type = types[input_byte(&in) % (sizeof(types) / sizeof(types[0]))];
	unsigned how = input_byte(&in);
	char   *texts[3] = {input_text(&in), input_text(&in), input_text(&in)};

	if (text_is_utf8(texts[0], strlen(texts[0])) && text_is_utf8(texts[1], strlen(texts[1])) && text_is_utf8(texts[2], strlen(texts[2])))
	{
		compare(type, texts);
		if (how % 4 == 0)
			match(texts[0], texts[1], (how & 4) != 0);
	}
	for (int i = 0; i < 3; i++)
		free(texts[i]);
	return 0;
}

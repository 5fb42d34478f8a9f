/* verdicts.c - walks over the text of an answer, value by value, and looks only into the few members that are counted. */
/* SPDX-License-Identifier: PostgreSQL */
#include "verdicts.h"

#include <stdbool.h>
#include <string.h>

#include "metrics.h"

/* A place in the text; end is its end, or that of the value walked through. */
struct walk
{
	const char *at;
	const char *end;
};

static void
skip_space(struct walk *w)
{
	while (w->at < w->end && (*w->at == ' ' || *w->at == '\n' || *w->at == '\t' || *w->at == '\r' || *w->at == ',' || *w->at == ':'))
		w->at++;
}

static void
skip_string(struct walk *w)
{
	for (w->at++; w->at < w->end && *w->at != '"'; w->at++)
		if (*w->at == '\\' && w->at + 1 < w->end)
			w->at++;
	if (w->at < w->end)
		w->at++;
}

static void
skip_nested(struct walk *w)
{
	size_t	depth = 0;

	do
	{
		if (*w->at == '"')
		{
			skip_string(w);
			continue;
		}
		if (*w->at == '{' || *w->at == '[')
			depth++;
		else if (*w->at == '}' || *w->at == ']')
			depth--;
		w->at++;
	} while (w->at < w->end && depth > 0);
}

/* Takes the next value off w; false at the end of what it is in. */
static bool
next_value(struct walk *w, struct walk *value)
{
	skip_space(w);
	if (w->at >= w->end || *w->at == '}' || *w->at == ']')
		return false;
	value->at = w->at;
	if (*w->at == '"')
		skip_string(w);
	else if (*w->at == '{' || *w->at == '[')
		skip_nested(w);
	else
		for (w->at++; w->at < w->end && strchr(",:}] \n\t\r", *w->at) == NULL;)
			w->at++;
	value->end = w->at;
	return true;
}

/* Into an object or array; false if the value is none. */
static bool
step_in(struct walk *value, char bracket)
{
	if (value->at >= value->end || *value->at != bracket)
		return false;
	value->at++;
	return true;
}

static bool
next_member(struct walk *w, struct walk *name, struct walk *value)
{
	return next_value(w, name) && next_value(w, value);
}

static bool
is_text(const struct walk *value, const char *text)
{
	size_t	len = strlen(text);

	return (size_t) (value->end - value->at) == len && memcmp(value->at, text, len) == 0;
}

/* A string without escapes, as codes are; "" for anything else. */
static void
copy_code(const struct walk *value, char code[METRIC_LABEL_MAX])
{
	size_t	len = (size_t) (value->end - value->at);

	code[0] = '\0';
	if (len < 3 || len - 2 >= METRIC_LABEL_MAX || value->at[0] != '"')
		return;
	memcpy(code, value->at + 1, len - 2);
	code[len - 2] = '\0';
}

/* The member of that name (in quotes) of an object. */
static void
read_code(struct walk object, const char *wanted, char code[METRIC_LABEL_MAX])
{
	struct walk name;
	struct walk value;

	if (!step_in(&object, '{'))
		return;
	while (next_member(&object, &name, &value))
		if (is_text(&name, wanted))
			copy_code(&value, code);
}

static void
count_verdict(struct walk verdict)
{
	char	status[METRIC_LABEL_MAX] = "";
	char	outcome[METRIC_LABEL_MAX] = "";
	char	reason[METRIC_LABEL_MAX] = "";
	char	kind[METRIC_LABEL_MAX] = "";
	bool	is_repeat = false;
	struct walk name;
	struct walk value;

	if (!step_in(&verdict, '{'))
		return;
	while (next_member(&verdict, &name, &value))
		if (is_text(&name, "\"status\""))
			copy_code(&value, status);
		else if (is_text(&name, "\"outcome\""))
			copy_code(&value, outcome);
		else if (is_text(&name, "\"error\""))
			read_code(value, "\"code\"", reason);
		else if (is_text(&name, "\"conflict_data\""))
			read_code(value, "\"kind\"", kind);
		else if (is_text(&name, "\"repeat\""))
			is_repeat = is_text(&value, "true");
	metric_add_for(METRIC_VERDICTS, is_repeat ? "repeat" : status, 1);
	if (is_repeat)
		return;
	metric_add_for(METRIC_OUTCOMES, outcome, 1);
	if (kind[0] != '\0')
		metric_add_for(METRIC_CONFLICTS, kind, 1);
	if (strcmp(outcome, "rejected") == 0)
		metric_add_for(METRIC_REJECTS, reason, 1);
}

/* The array that is a member of the whole; stepped into. */
static bool
find_array(const char *json, size_t len, const char *wanted, struct walk *array)
{
	struct walk whole = {json, json + len};
	struct walk name;

	skip_space(&whole);
	if (!step_in(&whole, '{'))
		return false;
	while (next_member(&whole, &name, array))
		if (is_text(&name, wanted))
			return step_in(array, '[');
	return false;
}

void
verdicts_count(const char *json, size_t len)
{
	struct walk array;
	struct walk verdict;

	if (find_array(json, len, "\"processed\"", &array))
		while (next_value(&array, &verdict))
			count_verdict(verdict);
}

size_t
verdicts_changes(const char *json, size_t len)
{
	struct walk array;
	struct walk change;
	size_t	count = 0;

	if (find_array(json, len, "\"changes\"", &array))
		while (next_value(&array, &change))
			count++;
	return count;
}

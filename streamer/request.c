/* request.c - what a client asks of the database: its three kinds, their answers and errors, and how push and pull are joined. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
request_named(const char *name, enum request_kind *kind)
{
	static const struct { const char *name; enum request_kind kind; } named[] = {
		{"push", REQUEST_PUSH}, {"pull", REQUEST_PULL}, {"digest", REQUEST_DIGEST}, {"resolve_conflict", REQUEST_RESOLVE}, {"lock", REQUEST_LOCK}, {"unlock", REQUEST_UNLOCK},
	};

	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		if (strcmp(name, named[i].name) == 0)
		{
			*kind = named[i].kind;
			return true;
		}
	return false;
}

/* Errors of sync's own functions: class SY, the digits are the HTTP status, text and hint are written for clients. */
static const struct
{
	int		status;
	const char *code;
	bool	is_passing;
} own_errors[] = {
	{400, "bad_request", false},
	{401, "unauthorized", false},
	{403, "forbidden", false},
	{404, "not_found", false},
	{409, "unavailable", true},
	{413, "too_large", false},
	{422, "unprocessable", false},
	{426, "upgrade_required", false},
	{429, "rate_limited", true},
	{503, "unavailable", true},
};

/* What else the database may say. Its own texts may tell about hidden rows: they are for the log. */
static const struct
{
	const char *sqlstate;
	struct request_error error;
} other_errors[] = {
	{"42501", {403, "forbidden", "permission denied", NULL, false, NULL}},
	{"28000", {403, "forbidden", "the token's role does not exist or may not be used", NULL, false, NULL}},
	{"57014", {503, "timeout", "the request took too long", NULL, true, NULL}},
	{"55P03", {503, "busy", "a lock was not free in time", NULL, true, NULL}},
	{"40001", {503, "busy", "concurrent changes, try again", NULL, true, NULL}},
	{"40P01", {503, "busy", "concurrent changes, try again", NULL, true, NULL}},
	/* a table that changed while it was being read; or a scope, a policy that names what is gone, which check() finds */
	{"42703", {503, "unavailable", "the tables have changed, try again", NULL, true, NULL}},
	{"42P01", {503, "unavailable", "the tables have changed, try again", NULL, true, NULL}},
	{"53300", {503, "busy", "too many connections", NULL, true, NULL}},
	{"57P01", {503, "unavailable", "the database is restarting", NULL, true, NULL}},
	{"57P03", {503, "unavailable", "the database is starting", NULL, true, NULL}},
};

/* What came up while rows were read as the caller is the application's doing, but for what the server itself lacks (53, 57, 58) or does wrong (XX). */
static bool
is_of_a_rule(const struct answer *a)
{
	static const char *const others[] = {"53", "57", "58", "XX", "F0"};

	if (a->read == NULL || a->sqlstate == NULL)
		return false;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strncmp(a->sqlstate, others[i], 2) == 0)
			return false;
	return true;
}

static struct request_error
refusal(const struct answer *a)
{
	const char *state = a->sqlstate != NULL ? a->sqlstate : "";

	if (strncmp(state, "SY", 2) == 0)
		for (size_t i = 0; i < sizeof(own_errors) / sizeof(own_errors[0]); i++)
			if (own_errors[i].status == atoi(state + 2))
				return (struct request_error){own_errors[i].status, own_errors[i].code, a->text, a->hint, own_errors[i].is_passing, NULL};
	for (size_t i = 0; i < sizeof(other_errors) / sizeof(other_errors[0]); i++)
		if (strcmp(state, other_errors[i].sqlstate) == 0)
			return other_errors[i].error;
	if (is_of_a_rule(a))
		return (struct request_error){500, "policy_failed", "a policy, scope or type of the application's failed for this user",
			"Its owner can mend it: the streamer's log names it.", false, a->sqlstate};
	return (struct request_error){500, "internal", "the request failed in the database", NULL, false, NULL};
}

void
request_error_text(const struct request_error *e, char out[REQUEST_ERROR_TEXT_MAX])
{
	const char *text = e->text != NULL ? e->text : "";

	if (e->sqlstate != NULL)
		snprintf(out, REQUEST_ERROR_TEXT_MAX, "%s (SQLSTATE %s)", text, e->sqlstate);
	else
		snprintf(out, REQUEST_ERROR_TEXT_MAX, "%s", text);
}

/* The extension's own words, in the contexts of an error from the inside out, a line each. */
const char *
request_read(const char *context, size_t *len)
{
	static const char words[] = "sync reads as its caller: ";

	for (const char *line = context; line != NULL && *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n')
		if (strncmp(line, words, sizeof(words) - 1) == 0)
		{
			line += sizeof(words) - 1;
			*len = strcspn(line, "\n");
			return line;
		}
	return NULL;
}

unsigned int
request_status(const char *code)
{
	static const struct { const char *code; unsigned int status; } limits[] = {{"too_many_clients", 429}, {"too_many_joins", 429}, {"busy", 503}, {"timeout", 503}, {"internal", 500}};

	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		if (strcmp(code, limits[i].code) == 0)
			return limits[i].status;
	for (size_t i = sizeof(own_errors) / sizeof(own_errors[0]); i > 0; i--)		/* unavailable: 503, the last of that name */
		if (strcmp(code, own_errors[i - 1].code) == 0)
			return (unsigned int) own_errors[i - 1].status;
	return 500;
}

struct request_error
request_error(const struct answer *a)
{
	if (a->status == ANSWER_REFUSED)
		return refusal(a);
	if (a->status == ANSWER_BUSY)
		return (struct request_error){503, "busy", "too many requests wait", NULL, true, NULL};
	return (struct request_error){503, "unavailable", "the database cannot be reached", NULL, true, NULL};
}

static bool
is_listed(struct json_value name, const char *const *names)
{
	for (; *names != NULL; names++)
		if (json_equals(name, *names))
			return true;
	return false;
}

static void
put_member(struct buffer *out, struct json_value name)
{
	struct json_value value = json_member_value(name);

	if (out->len > 0 && out->data[out->len - 1] != '{')
		buffer_putc(out, ',');
	buffer_put(out, name.raw, name.len);
	buffer_putc(out, ':');
	buffer_put(out, value.raw, value.len);
}

void
request_rewrite(struct buffer *out, struct json_value object, const char *const *without, const char *extra)
{
	buffer_putc(out, '{');
	if (extra != NULL)
		buffer_puts(out, extra);
	for (struct json_value name = json_first(object); json_type(name) != JSON_ABSENT; name = json_next(name))
		if (!is_listed(name, without))
			put_member(out, name);
	buffer_putc(out, '}');
}

bool
request_pull_of_push(struct buffer *out, struct json_value push)
{
	static const char *const wanted[] = {"sync_token", "device_id", "tables", "priority", "schema_version", "limit", NULL};

	if (json_type(json_member(push, "sync_token")) != JSON_STRING)
		return false;
	buffer_putc(out, '{');
	for (struct json_value name = json_first(push); json_type(name) != JSON_ABSENT; name = json_next(name))
		if (is_listed(name, wanted))
			put_member(out, name);
	buffer_putc(out, '}');
	return true;
}

void
request_join(struct buffer *out, struct json_value push, struct json_value pull)
{
	static const char *const wanted[] = {"withdrawn", "reset", "has_more", "next_sync_token", NULL};
	static const char *const none[] = {NULL};
	struct json_value changes = json_member(pull, "changes");

	request_rewrite(out, push, none, NULL);
	if (out->failed)
		return;
	out->len--;		/* the closing brace */
	if (json_type(changes) == JSON_ARRAY)
	{
		buffer_puts(out, out->data[out->len - 1] == '{' ? "\"pull_changes\":" : ",\"pull_changes\":");
		buffer_put(out, changes.raw, changes.len);
	}
	for (struct json_value name = json_first(pull); json_type(name) != JSON_ABSENT; name = json_next(name))
		if (is_listed(name, wanted))
			put_member(out, name);
	buffer_putc(out, '}');
}

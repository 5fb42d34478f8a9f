/* page.c - one answer of pull, taken apart, and the `changes` payload made of it. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#include "page.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_VALUES_MAX 4000000

bool
page_read(struct page *page, const char *json, size_t len)
{
	struct json_value root;
	char   *dot;

	*page = (struct page){.doc = json_parse(json, len, ANSWER_VALUES_MAX)};
	if (page->doc == NULL)
		return false;
	root = json_root(page->doc);
	page->changes = json_member(root, "changes");
	page->withdrawn = json_member(root, "withdrawn");
	page->reset = json_member(root, "reset");
	page->server_time = json_member(root, "server_time");
	page->has_more = json_bool(json_member(root, "has_more"), false);
	page->token = json_strdup(json_member(root, "next_sync_token"));
	dot = page->token != NULL ? strrchr(page->token, '.') : NULL;
	if (dot == NULL || strcspn(page->token, "\"\\") != strlen(page->token) || json_type(page->changes) != JSON_ARRAY)
		return false;
	*dot = '\0';
	page->position = dot + 1;
	return true;
}

void
page_free(struct page *page)
{
	json_free(page->doc);
	free(page->token);
}

bool
page_is_empty(const struct page *page)
{
	return json_size(page->changes) == 0 && json_size(page->withdrawn) == 0 && json_size(page->reset) == 0;
}

static void
put_optional(struct buffer *out, const char *name, struct json_value v)
{
	if (json_type(v) == JSON_ABSENT || json_type(v) == JSON_NULL)
		return;
	buffer_printf(out, ",\"%s\":", name);
	buffer_put(out, v.raw, v.len);
}

/* The session part goes with the position it belongs to, so that a client can store both at once. */
void
page_put(struct buffer *payload, const struct page *page)
{
	buffer_puts(payload, "{\"changes\":");
	buffer_put(payload, page->changes.raw, page->changes.len);
	put_optional(payload, "withdrawn", page->withdrawn);
	put_optional(payload, "reset", page->reset);
	buffer_printf(payload, ",\"has_more\":%s,\"session\":\"%s\",\"cursor\":\"%s\"", page->has_more ? "true" : "false", page->token, page->position);
	put_optional(payload, "server_time", page->server_time);
	buffer_putc(payload, '}');
}

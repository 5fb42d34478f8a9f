/* work.c - what one client has asked of the database and not been answered yet: a bounded queue, served one by one. */
/* SPDX-License-Identifier: PostgreSQL */
#include "work.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define ANSWER_VALUES_MAX 4000000

void
works_init(struct works *w)
{
	*w = (struct works){0};
}

static size_t
bytes_of(const struct work *w)
{
	return (w->json != NULL ? strlen(w->json) : 0) + (w->pull_json != NULL ? strlen(w->pull_json) : 0);
}

struct work *
works_take_first(struct works *w)
{
	struct work *first = w->first;

	w->first = first->next;
	if (w->first == NULL)
		w->last = NULL;
	if (first->kind != WORK_CATCH_UP)
		w->count--;
	w->bytes -= bytes_of(first);
	return first;
}

void
work_free(struct work *w)
{
	free(w->json);
	free(w->pull_json);
	free(w->pushed);
	free(w);
}

void
works_free(struct works *w)
{
	while (w->first != NULL)
		work_free(works_take_first(w));
	works_init(w);
}

void
works_add(struct works *w, struct work work)
{
	struct work *copy = memory_new(sizeof(*copy));

	*copy = work;
	copy->next = NULL;
	if (w->last != NULL)
		w->last->next = copy;
	else
		w->first = copy;
	w->last = copy;
	if (work.kind != WORK_CATCH_UP)
		w->count++;
	w->bytes += bytes_of(copy);
}

/* The largest request alone always has room. */
bool
works_are_full(const struct works *w, size_t more, size_t largest)
{
	return w->count >= WORKS_MAX || (w->count > 0 && w->bytes + more > 2 * largest);
}

void
works_prepare(struct work *w, struct json_value payload, const char *device_id)
{
	static const char *const none[] = {NULL};
	struct buffer text;
	struct buffer extra;

	buffer_init(&text);
	buffer_init(&extra);
	if (device_id != NULL && json_type(json_member(payload, "device_id")) == JSON_ABSENT)
		buffer_printf(&extra, "\"device_id\":%s", device_id);
	request_rewrite(&text, payload, none, extra.data);
	w->json = buffer_take(&text, NULL);
	memory_require(w->json);
	if (w->kind == WORK_PUSH && request_pull_of_push(&text, payload))
	{
		w->pull_json = buffer_take(&text, NULL);
		memory_require(w->pull_json);
	}
	buffer_free(&extra);
	buffer_free(&text);
}

void
works_join(struct buffer *out, const char *pushed, const struct answer *pull)
{
	struct json *push_doc = json_parse(pushed, strlen(pushed), ANSWER_VALUES_MAX);
	struct json *pull_doc = pull->status == ANSWER_OK ? json_parse(pull->json, pull->len, ANSWER_VALUES_MAX) : NULL;
	static const char more[] = "{\"has_more\":true}";
	struct json *fallback = json_parse(more, sizeof(more) - 1, 8);

	memory_require(fallback);
	if (push_doc != NULL)
		request_join(out, json_root(push_doc), json_root(pull_doc != NULL ? pull_doc : fallback));
	else
		buffer_puts(out, pushed);
	json_free(push_doc);
	json_free(pull_doc);
	json_free(fallback);
}

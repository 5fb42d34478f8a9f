/* request_fuzz.c - any request, push and answer of the database: what goes on from here is JSON with the members it should have and none of those left out. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "page.h"
#include "request.h"
#include "work.h"

static void
rewrite(struct json_value object)
{
	static const char *const without[] = {"access_token", "sync_token", NULL};
	struct buffer out;
	struct json *doc;

	buffer_init(&out);
	request_rewrite(&out, object, without, "\"sync_token\":1");
	doc = require_json(out.data, out.len);
	if (doc != NULL)
	{
		REQUIRE(json_type(json_member(json_root(doc), "access_token")) == JSON_ABSENT);
		REQUIRE(json_type(json_member(json_root(doc), "sync_token")) == JSON_NUMBER);
	}
	json_free(doc);
	buffer_free(&out);
}

static void
prepare(struct json_value payload)
{
	struct work w = {.kind = WORK_PUSH, .request = REQUEST_PUSH};
	struct json *doc;

	works_prepare(&w, payload, "\"d\"");
	doc = require_json(w.json, strlen(w.json));
	REQUIRE(doc == NULL || json_type(json_member(json_root(doc), "device_id")) != JSON_ABSENT);
	json_free(doc);
	REQUIRE((w.pull_json != NULL) == (json_type(json_member(payload, "sync_token")) == JSON_STRING));
	if (w.pull_json != NULL)
		json_free(require_json(w.pull_json, strlen(w.pull_json)));
	free(w.json);
	free(w.pull_json);
}

static void
join(const char *pushed, const char *pulled, bool is_ok)
{
	struct answer a = {.status = is_ok ? ANSWER_OK : ANSWER_BUSY, .json = pulled, .len = strlen(pulled)};
	struct buffer out;
	struct json *push = json_parse(pushed, strlen(pushed), 10000);

	buffer_init(&out);
	works_join(&out, pushed, &a);
	if (push != NULL)
		json_free(require_json(out.data, out.len));
	json_free(push);
	buffer_free(&out);
}

static void
read_page(const char *text)
{
	struct page page;
	struct buffer out;

	buffer_init(&out);
	if (page_read(&page, text, strlen(text)))
	{
		page_put(&out, &page);
		require_json_text(&out);
		(void) page_is_empty(&page);
	}
	page_free(&page);
	buffer_free(&out);
}

/* Two texts and an SQLSTATE with a message, cut at NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	char   *first = input_text(&in);
	char   *second = input_text(&in);
	char   *state = input_text(&in);
	struct json *doc = text_is_utf8(first, strlen(first)) ? json_parse(first, strlen(first), 10000) : NULL;
	struct answer refused = {.status = (enum answer_status) (how >> 1 & 3), .sqlstate = state, .text = "x"};
	struct request_error error = request_error(&refused);

	REQUIRE(error.http_status >= 400 && error.http_status < 600 && error.code != NULL);
	if (doc != NULL && json_type(json_root(doc)) == JSON_OBJECT)
	{
		rewrite(json_root(doc));
		prepare(json_root(doc));
		read_page(first);
		if (text_is_utf8(second, strlen(second)))
			join(first, second, (how & 1) != 0);
	}
	json_free(doc);
	free(first);
	free(second);
	free(state);
	return 0;
}

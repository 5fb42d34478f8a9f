/* posted_test.c - posted broadcasts: addresses, batches, what is refused and with which status, whose rights are asked. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "posted.h"
#include "rights.h"

static struct buffer sent;

static void
send(void *owner, const struct relayed *b)
{
	(void) owner;
	buffer_printf(&sent, "%s%s/%s=", b->is_private ? "" : "public ", b->topic, b->event);
	buffer_put(&sent, b->payload, b->len);
	buffer_puts(&sent, b->is_binary ? "! " : " ");
}

static unsigned int
post(const char *path, bool is_private, const char *media, const char *body, bool allows_public)
{
	struct posted_problem problem;
	struct posted *p = posted_new(path, is_private, media, &problem);

	buffer_reset(&sent);
	buffer_puts(&sent, "");
	if (p != NULL && problem.text == NULL)
		problem = posted_read(p, body, strlen(body), 40, allows_public);
	if (p != NULL && problem.text == NULL)
		posted_send(p, send, NULL);
	posted_free(p);
	return p == NULL ? 1 : problem.status;
}

static void
addresses(void)
{
	CHECK(posted_is_address("/api/broadcast") && posted_is_address("/realtime/v1/api/broadcast/a/events/b"));
	CHECK(!posted_is_address("/api/broadcasts") && !posted_is_address("/api/v1/sync/push") && !posted_is_address("/realtime/v1"));
	CHECK(post("/api/broadcast/room:1/events/my event", true, "application/json", " {\"a\": 1.0} ", false) == 0);
	CHECK_TEXT(sent.data, "room:1/my event={\"a\": 1.0} ");
	CHECK(post("/realtime/v1/api/broadcast/a/events/b/events/c", true, "application/json; charset=utf-8", "null", false) == 0);
	CHECK_TEXT(sent.data, "a/events/b/c=null ");
	CHECK(post("/api/broadcast/a/events/b", true, "application/octet-stream", "\1\2", false) == 0);
	CHECK_TEXT(sent.data, "a/b=\1\2! ");
	CHECK(post("/api/broadcast/a/events/b", true, "text/plain", "{}", false) == 415);
	CHECK(post("/api/broadcast", true, "application/octet-stream", "{}", false) == 415);
	CHECK(post("/api/broadcast", true, "", "{}", false) == 415);
	CHECK(post("/api/broadcast/a", true, "application/json", "{}", false) == 404);
	CHECK(post("/api/broadcast//events/b", true, "application/json", "{}", false) == 404);
	CHECK(post("/api/broadcast/a/events/", true, "application/json", "{}", false) == 404);
	CHECK(post("/api/broadcast/a\n/events/b", true, "application/json", "{}", false) == 404);
	CHECK(post("/api/broadcast/a/events/b", false, "application/json", "{}", false) == 403);
	CHECK(post("/api/broadcast/a/events/b", false, "application/json", "{}", true) == 0);
	CHECK_TEXT(sent.data, "public a/b={} ");
	CHECK(post("/api/broadcast/a/events/b", true, "application/json", "{", false) == 422);
	CHECK(post("/api/broadcast/a/events/b", true, "application/json", "\"\xff\"", false) == 422);
	CHECK(post("/api/broadcast/a/events/b", true, "application/json", "\"0123456789012345678901234567890123456789\"", false) == 422);
}

static void
batches(void)
{
	static const char *const bad[] = {
		"[]", "{}", "{\"messages\":{}}", "{\"messages\":[]}", "{\"messages\":[1]}", "{\"messages\":[{\"topic\":\"a\",\"event\":\"b\"}]}",
		"{\"messages\":[{\"topic\":\"\",\"event\":\"b\",\"payload\":{}}]}", "{\"messages\":[{\"topic\":\"a\",\"event\":1,\"payload\":{}}]}",
		"{\"messages\":[{\"topic\":\"a\",\"event\":\"b\",\"payload\":\"0123456789012345678901234567890123456789\"}]}",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(post("/api/broadcast", false, "application/json", bad[i], true) == 422);
	CHECK(post("/api/broadcast", false, "application/json",
			   "{\"messages\":[{\"topic\":\"a\",\"event\":\"b\",\"payload\":{}},{\"topic\":\"a\",\"event\":\"c\",\"payload\":[ 1 ],\"private\":true}]}", true) == 0);
	CHECK_TEXT(sent.data, "public a/b={} a/c=[ 1 ] ");
	CHECK(post("/api/broadcast", false, "application/json", "{\"messages\":[{\"topic\":\"a\",\"event\":\"b\",\"payload\":{}}]}", false) == 403);
}

static bool
may(struct posted *p, const char *rights)
{
	struct json *doc = json_parse(rights, strlen(rights), 100);
	bool	result = posted_may(p, json_root(doc));

	json_free(doc);
	return result;
}

static void
rights_are_asked_once_for_each_private_topic(void)
{
	static const char body[] = "{\"messages\":[{\"topic\":\"a\",\"event\":\"b\",\"payload\":1},{\"topic\":\"p\",\"event\":\"b\",\"payload\":1,\"private\":true},"
		"{\"topic\":\"p\",\"event\":\"c\",\"payload\":1,\"private\":true},{\"topic\":\"a\",\"event\":\"c\",\"payload\":1,\"private\":true}]}";
	struct posted_problem problem;
	struct posted *p = posted_new("/api/broadcast", false, "application/json", &problem);

	CHECK(posted_read(p, body, sizeof(body) - 1, 100, true).text == NULL);
	CHECK_TEXT(posted_topic(p), "p");
	CHECK(may(p, "{\"pattern\":\"p\",\"actions\":[\"broadcast\"]}"));
	CHECK_TEXT(posted_topic(p), "a");
	CHECK(!may(p, "{\"pattern\":null,\"actions\":[\"join\",\"presence\"]}"));
	CHECK(posted_topic(p) == NULL);
	posted_free(p);
}

static void
a_batch_has_a_limit(void)
{
	struct posted_problem problem;
	struct posted *p = posted_new("/api/broadcast", false, "application/json", &problem);
	struct buffer body;

	buffer_init(&body);
	buffer_puts(&body, "{\"messages\":[");
	for (int i = 0; i <= POSTED_MESSAGES_MAX; i++)
		buffer_printf(&body, "%s{\"topic\":\"t%d\",\"event\":\"b\",\"payload\":1}", i > 0 ? "," : "", i);
	buffer_puts(&body, "]}");
	CHECK(posted_read(p, body.data, body.len, 100, true).status == 422);
	posted_free(p);
	buffer_free(&body);
}

int
main(void)
{
	buffer_init(&sent);
	addresses();
	batches();
	rights_are_asked_once_for_each_private_topic();
	a_batch_has_a_limit();
	buffer_free(&sent);
	return CHECK_END();
}

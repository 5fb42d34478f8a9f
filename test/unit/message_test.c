/* message_test.c - Phoenix frames come in whole or not at all, and go out as the serializer expects. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "message.h"

static void
frames_are_read(void)
{
	static const char text[] = "[\"1\",\"a-2_\",\"sync:te\xc3\xa9m\",\"phx_join\",{\"a\":[1]}]";
	static const char nulls[] = " [ null , null , \"phoenix\" , \"heartbeat\" , { } ] ";
	struct message m;

	CHECK(message_parse(&m, text, strlen(text)) == NULL);
	CHECK_TEXT(m.join_ref, "1");
	CHECK_TEXT(m.ref, "a-2_");
	CHECK_TEXT(m.topic, "sync:te\xc3\xa9m");
	CHECK_TEXT(m.event, "phx_join");
	CHECK(json_size(json_member(m.payload, "a")) == 1);
	message_free(&m);
	CHECK(message_parse(&m, nulls, strlen(nulls)) == NULL);
	CHECK(m.join_ref[0] == '\0' && m.ref[0] == '\0' && json_size(m.payload) == 0);
	message_free(&m);
}

static void
hostile_frames_are_refused(void)
{
	static const char *const bad[] = {
		"", "{}", "[]", "1", "[\"1\",\"2\",\"t\",\"e\"]", "[\"1\",\"2\",\"t\",\"e\",{},1]", "[1,\"2\",\"t\",\"e\",{}]", "[\"\",\"2\",\"t\",\"e\",{}]",
		"[\"1\",\"a b\",\"t\",\"e\",{}]", "[\"1\",\"\\\"\",\"t\",\"e\",{}]", "[\"1\",\"2\",null,\"e\",{}]", "[\"1\",\"2\",\"\",\"e\",{}]", "[\"1\",\"2\",\"t\\n\",\"e\",{}]",
		"[\"1\",\"2\",\"t\\\"\",\"e\",{}]", "[\"1\",\"2\",\"t\\\\\",\"e\",{}]", "[\"1\",\"2\",\"t\",\"\\u0085\",{}]", "[\"1\",\"2\",\"t\",\"e\",[]]", "[\"1\",\"2\",\"t\",\"e\",null]",
		"[\"1\",\"2\",\"t\\u0000\",\"e\",{}]", "[\"1\",\"2\",\"t\",\"e\",{\"a\":\"\xff\"}]", "[\"1\",\"2\",\"t\",\"e\",{}",
	};
	struct message m;
	char	text[500];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK(message_parse(&m, bad[i], strlen(bad[i])) != NULL))
			message_free(&m);
	snprintf(text, sizeof(text), "[\"%064d\",\"2\",\"%0256d\",\"%064d\",{}]", 0, 0, 0);
	CHECK(message_parse(&m, text, strlen(text)) == NULL);
	message_free(&m);
	snprintf(text, sizeof(text), "[\"%065d\",\"2\",\"t\",\"e\",{}]", 0);
	CHECK(message_parse(&m, text, strlen(text)) != NULL);
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"%0257d\",\"e\",{}]", 0);
	CHECK(message_parse(&m, text, strlen(text)) != NULL);
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"t\",\"%065d\",{}]", 0);
	CHECK(message_parse(&m, text, strlen(text)) != NULL);
}

static void
frames_are_written(void)
{
	struct buffer b;

	buffer_init(&b);
	message_put(&b, NULL, NULL, "sync:a", "changes", "{}", 2);
	CHECK_TEXT(b.data, "[null,null,\"sync:a\",\"changes\",{}]");
	buffer_reset(&b);
	message_put_reply(&b, "1", "2", "sync:a", true, "{\"x\":1}", 7);
	CHECK_TEXT(b.data, "[\"1\",\"2\",\"sync:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"x\":1}}]");
	buffer_reset(&b);
	message_put_reply(&b, "", "2", "t", false, "{}", 2);
	CHECK_TEXT(b.data, "[null,\"2\",\"t\",\"phx_reply\",{\"status\":\"error\",\"response\":{}}]");
	buffer_reset(&b);
	message_error_object(&b, "SY403", "no \"x\"\n", NULL);
	CHECK_TEXT(b.data, "{\"reason\":\"SY403: no \\\"x\\\"\\n\",\"code\":\"SY403\",\"message\":\"no \\\"x\\\"\\n\"}");
	buffer_reset(&b);
	message_error_object(&b, "c", "m", "h");
	CHECK_TEXT(b.data, "{\"reason\":\"c: m\",\"code\":\"c\",\"message\":\"m\",\"hint\":\"h\"}");
	buffer_free(&b);
}

static void
frame_headers(void)
{
	unsigned char h[10];

	CHECK(message_frame_header(h, 0) == 2 && h[0] == 0x81 && h[1] == 0);
	CHECK(message_frame_header(h, 125) == 2 && h[1] == 125);
	CHECK(message_frame_header(h, 126) == 4 && h[1] == 126 && h[2] == 0 && h[3] == 126);
	CHECK(message_frame_header(h, 65535) == 4 && h[2] == 255 && h[3] == 255);
	CHECK(message_frame_header(h, 65536) == 10 && h[1] == 127 && h[2] == 0 && h[7] == 1 && h[8] == 0 && h[9] == 0);
}

int
main(void)
{
	frames_are_read();
	hostile_frames_are_refused();
	frames_are_written();
	frame_headers();
	return CHECK_END();
}

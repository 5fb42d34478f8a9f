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

	CHECK(message_parse(&m, MESSAGE_ARRAYS, text, strlen(text)) == NULL);
	CHECK_TEXT(m.join_ref, "1");
	CHECK_TEXT(m.ref, "a-2_");
	CHECK_TEXT(m.topic, "sync:te\xc3\xa9m");
	CHECK_TEXT(m.event, "phx_join");
	CHECK(json_size(json_member(m.payload, "a")) == 1);
	message_free(&m);
	CHECK(message_parse(&m, MESSAGE_ARRAYS, nulls, strlen(nulls)) == NULL);
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
		if (!CHECK(message_parse(&m, MESSAGE_ARRAYS, bad[i], strlen(bad[i])) != NULL))
			message_free(&m);
	snprintf(text, sizeof(text), "[\"%064d\",\"2\",\"%0256d\",\"%064d\",{}]", 0, 0, 0);
	CHECK(message_parse(&m, MESSAGE_ARRAYS, text, strlen(text)) == NULL);
	message_free(&m);
	snprintf(text, sizeof(text), "[\"%065d\",\"2\",\"t\",\"e\",{}]", 0);
	CHECK(message_parse(&m, MESSAGE_ARRAYS, text, strlen(text)) != NULL);
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"%0257d\",\"e\",{}]", 0);
	CHECK(message_parse(&m, MESSAGE_ARRAYS, text, strlen(text)) != NULL);
	snprintf(text, sizeof(text), "[\"1\",\"2\",\"t\",\"%065d\",{}]", 0);
	CHECK(message_parse(&m, MESSAGE_ARRAYS, text, strlen(text)) != NULL);
}

static void
frames_are_written(void)
{
	struct buffer b;

	buffer_init(&b);
	message_put(&b, MESSAGE_ARRAYS, NULL, NULL, "sync:a", "changes", "{}", 2);
	CHECK_TEXT(b.data, "[null,null,\"sync:a\",\"changes\",{}]");
	buffer_reset(&b);
	message_put_reply(&b, MESSAGE_ARRAYS, "1", "2", "sync:a", true, "{\"x\":1}", 7);
	CHECK_TEXT(b.data, "[\"1\",\"2\",\"sync:a\",\"phx_reply\",{\"status\":\"ok\",\"response\":{\"x\":1}}]");
	buffer_reset(&b);
	message_put_reply(&b, MESSAGE_ARRAYS, "", "2", "t", false, "{}", 2);
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
objects_are_read_and_written(void)
{
	static const char full[] = "{\"topic\":\"realtime:a\",\"event\":\"phx_join\",\"payload\":{\"a\":1},\"ref\":\"2\",\"join_ref\":\"1\",\"more\":[]}";
	static const char bare[] = "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":null}";
	static const char *const bad[] = {
		"[null,null,\"a\",\"b\",{}]", "{}", "{\"topic\":\"a\",\"event\":\"b\"}", "{\"topic\":\"a\",\"payload\":{}}", "{\"event\":\"a\",\"payload\":{}}",
		"{\"topic\":\"a\",\"event\":\"b\",\"payload\":null}", "{\"topic\":\"a\",\"event\":\"b\",\"payload\":{},\"ref\":1}",
	};
	struct message m;
	struct buffer b;

	CHECK(message_parse(&m, MESSAGE_OBJECTS, full, strlen(full)) == NULL);
	CHECK_TEXT(m.join_ref, "1");
	CHECK_TEXT(m.ref, "2");
	CHECK_TEXT(m.topic, "realtime:a");
	CHECK_TEXT(m.event, "phx_join");
	CHECK(json_size(m.payload) == 1);
	message_free(&m);
	CHECK(message_parse(&m, MESSAGE_OBJECTS, bare, strlen(bare)) == NULL);
	CHECK(m.ref[0] == '\0' && m.join_ref[0] == '\0');
	message_free(&m);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!CHECK(message_parse(&m, MESSAGE_OBJECTS, bad[i], strlen(bad[i])) != NULL))
			message_free(&m);
	buffer_init(&b);
	message_put(&b, MESSAGE_OBJECTS, NULL, "2", "t", "e", "{}", 2);
	CHECK_TEXT(b.data, "{\"join_ref\":null,\"ref\":\"2\",\"topic\":\"t\",\"event\":\"e\",\"payload\":{}}");
	buffer_reset(&b);
	message_put_reply(&b, MESSAGE_OBJECTS, "1", "2", "t", true, "{}", 2);
	CHECK_TEXT(b.data, "{\"join_ref\":\"1\",\"ref\":\"2\",\"topic\":\"t\",\"event\":\"phx_reply\",\"payload\":{\"status\":\"ok\",\"response\":{}}}");
	buffer_free(&b);
}

/* The frame that realtime-js 2.119 was seen to send. */
static void
binary_frames(void)
{
	static const char frame[] = "\x03\x01\x01\x0e\x02\x00\x01" "67realtime:room1ev{\"hi\":\"\xc3\xa9\"}";
	static const char latin[] = "\x03\x00\x00\x0d\x01\x02\x00" "realtime:t\xe9" "a\xe9\xe9{}\x00";
	static const char *const bad[] = {
		"\x04\x01\x01\x01\x01\x01\x01" "aaaaaaa", "\x03\x01\x01\x0e\x02\x01\x01" "67short", "\x03\x01\x01\x01\x01\x01\x02" "67tex", "\x03\x01\x01\x01\x01\x01\x01" "\"7tex",
	};
	struct message m;
	struct buffer b;

	CHECK(message_parse_binary(&m, frame, sizeof(frame) - 1) == NULL);
	CHECK_TEXT(m.join_ref, "6");
	CHECK_TEXT(m.ref, "7");
	CHECK_TEXT(m.topic, "realtime:room1");
	CHECK_TEXT(m.event, "broadcast");
	CHECK_TEXT(m.broadcast.event, "ev");
	CHECK(m.is_binary && m.broadcast.is_json && m.broadcast.metadata_len == 0 && m.broadcast.payload_len == 11 && json_size(m.payload) == 0);
	buffer_init(&b);
	CHECK(message_put_broadcast(&b, m.topic, &m.broadcast));
	CHECK(b.len == sizeof(frame) - 1 - 4 && memcmp(b.data, "\x04\x0e\x02\x00\x01realtime:room1ev{", 22) == 0);
	message_free(&m);
	CHECK(message_parse_binary(&m, latin, sizeof(latin) - 1) == NULL);
	CHECK_TEXT(m.topic, "realtime:t\xc3\xa9" "a\xc3\xa9");
	CHECK_TEXT(m.broadcast.event, "\xc3\xa9");
	CHECK(!m.broadcast.is_json && m.broadcast.metadata_len == 2 && m.broadcast.payload_len == 1);
	message_free(&m);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(message_parse_binary(&m, bad[i], 7 + strlen(bad[i] + 7)) != NULL);
	CHECK(message_parse_binary(&m, "", 0) != NULL && message_parse_binary(&m, "\x03", 1) != NULL);
	buffer_free(&b);
}

static void
events_are_seen_early(void)
{
	static const char array[] = " [ \"1\" , null,\"sync:a\",\"push\",{\"changes\":[";
	static const char object[] = "{\"topic\":\"a\", \"event\" : \"push\",\"payload\":{";
	static const char late[] = "{\"topic\":\"a\",\"payload\":{\"event\":\"push\"},\"event\":\"push\"";
	char	event[MESSAGE_EVENT_MAX + 1];

	CHECK(message_peek_event(MESSAGE_ARRAYS, array, strlen(array), event, sizeof(event)) && strcmp(event, "push") == 0);
	CHECK(message_peek_event(MESSAGE_OBJECTS, object, strlen(object), event, sizeof(event)) && strcmp(event, "push") == 0);
	CHECK(!message_peek_event(MESSAGE_OBJECTS, late, strlen(late), event, sizeof(event)));
	CHECK(!message_peek_event(MESSAGE_ARRAYS, array, 20, event, sizeof(event)));
	CHECK(!message_peek_event(MESSAGE_ARRAYS, "", 0, event, sizeof(event)));
}

static void
frame_headers(void)
{
	unsigned char h[10];

	CHECK(message_frame_header(h, 0, false) == 2 && h[0] == 0x81 && h[1] == 0);
	CHECK(message_frame_header(h, 125, false) == 2 && h[1] == 125);
	CHECK(message_frame_header(h, 126, false) == 4 && h[1] == 126 && h[2] == 0 && h[3] == 126);
	CHECK(message_frame_header(h, 65535, false) == 4 && h[2] == 255 && h[3] == 255);
	CHECK(message_frame_header(h, 5, true) == 2 && h[0] == 0x82 && h[1] == 5);
	CHECK(message_frame_header(h, 65536, false) == 10 && h[1] == 127 && h[2] == 0 && h[7] == 1 && h[8] == 0 && h[9] == 0);
}

int
main(void)
{
	frames_are_read();
	hostile_frames_are_refused();
	frames_are_written();
	objects_are_read_and_written();
	binary_frames();
	events_are_seen_early();
	frame_headers();
	return CHECK_END();
}

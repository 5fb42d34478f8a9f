/* page_fuzz.c - any answer of pull: what goes on as a batch says the same, in every form it may take, and its compressed form holds the same bytes. */
/* SPDX-License-Identifier: PostgreSQL */
#include <zlib.h>

#include "batch.h"
#include "fuzz.h"
#include "page.h"

/* What a client that asked for compression reads. */
static void
inflate_and_compare(const char *frame, size_t len, const struct buffer *payload)
{
	size_t	head = 3 + (size_t) (unsigned char) frame[1] + (size_t) (unsigned char) frame[2];
	char   *out = malloc(payload->len + 1);
	z_stream z = {.next_in = (Bytef *) frame + head, .avail_in = (uInt) (len - head), .next_out = (Bytef *) out, .avail_out = (uInt) payload->len + 1};

	memory_require(out);
	REQUIRE(len > head && inflateInit2(&z, -15) == Z_OK && inflate(&z, Z_FINISH) == Z_STREAM_END);
	REQUIRE(z.total_out == payload->len && z.avail_in == 0 && memcmp(out, payload->data, payload->len) == 0);
	inflateEnd(&z);
	free(out);
}

static void
require_same(struct json_value before, struct json_value after)
{
	REQUIRE(before.len == after.len && memcmp(before.raw, after.raw, before.len) == 0);
}

/* The payload of a frame as these clients read it. */
static struct json_value
payload_of(const struct json *doc, enum message_format format)
{
	struct json_value v = json_root(doc);

	if (format == MESSAGE_OBJECTS)
		return json_member(v, "payload");
	v = json_first(v);
	for (int i = 0; i < 4; i++)
		v = json_next(v);
	return v;
}

static void
send(const struct buffer *payload, struct json_value sent)
{
	static const enum message_format formats[] = {MESSAGE_ARRAYS, MESSAGE_OBJECTS, MESSAGE_DEFLATED, MESSAGE_EVENTS};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
	{
		struct frame *f = batch_frame(formats[i], "sync:x", payload->data, payload->len);
		size_t	len;
		const char *text = frame_payload(f, &len);
		struct json *doc = NULL;

		if (text[0] == 2)
			inflate_and_compare(text, len, payload);
		else if (formats[i] != MESSAGE_EVENTS)
			doc = require_json(text, len);
		if (doc != NULL)
			require_same(sent, payload_of(doc, formats[i]));
		json_free(doc);
		frame_release(f);
	}
}

/* The answer itself, and one whose list of changes has been made long, so that it is compressed. */
static void
pass_on(const char *text)
{
	struct page page;
	struct buffer out;
	struct json *doc;

	buffer_init(&out);
	if (page_read(&page, text, strlen(text)))
	{
		page_put(&out, &page);
		REQUIRE(!out.failed && text_is_utf8(out.data, out.len));
		doc = require_json(out.data, out.len);
		if (doc != NULL)
		{
			require_same(page.changes, json_member(json_root(doc), "changes"));
			REQUIRE(json_equals(json_member(json_root(doc), "session"), page.token) && json_equals(json_member(json_root(doc), "cursor"), page.position));
			REQUIRE(json_bool(json_member(json_root(doc), "has_more"), !page.has_more) == page.has_more);
			REQUIRE(!page_is_empty(&page) || json_size(json_member(json_root(doc), "changes")) == 0);
			send(&out, json_root(doc));
		}
		json_free(doc);
	}
	page_free(&page);
	buffer_free(&out);
}

static void
pass_on_long(const char *text, unsigned times)
{
	struct buffer all;

	buffer_init(&all);
	buffer_puts(&all, "{\"next_sync_token\":\"a.b\",\"changes\":[0");
	for (unsigned i = 0; i < times; i++)
	{
		buffer_putc(&all, ',');
		buffer_json_string(&all, text, strlen(text));
	}
	buffer_puts(&all, "]}");
	pass_on(all.data);
	buffer_free(&all);
}

/* The first byte: so many times the text is a change of its own. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	unsigned times = input_byte(&in);
	char   *text = input_text(&in);

	if (text_is_utf8(text, strlen(text)))
	{
		pass_on(text);
		if (times % 16 == 1)
			pass_on_long(text, times);
	}
	free(text);
	return 0;
}

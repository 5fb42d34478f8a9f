/* buffer_test.c - buffers grow, fail for good, and encode to the byte. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "buffer.h"
#include "check.h"

static void
grows_and_gives_away(void)
{
	struct buffer b;
	size_t	len = 0;
	char   *text;

	buffer_init(&b);
	for (int i = 0; i < 1000; i++)
		buffer_printf(&b, "%d,", i);
	CHECK(b.len == 3890 && b.data[b.len] == '\0');
	buffer_reset(&b);
	CHECK(b.len == 0 && b.data[0] == '\0');
	buffer_puts(&b, "ab");
	buffer_putc(&b, 'c');
	buffer_put(&b, NULL, 0);
	text = buffer_take(&b, &len);
	CHECK_TEXT(text, "abc");
	CHECK(len == 3 && b.data == NULL && b.len == 0);
	free(text);
	text = buffer_take(&b, NULL);
	CHECK_TEXT(text, "");
	free(text);
}

static void
failure_sticks(void)
{
	struct buffer b;
	char   *text;

	buffer_init(&b);
	buffer_puts(&b, "x");
	CHECK(!buffer_reserve(&b, BUFFER_MAX) && b.failed);
	buffer_puts(&b, "y");
	CHECK(b.len == 1);
	text = buffer_take(&b, NULL);
	CHECK(text == NULL && b.data == NULL && !b.failed);
}

static void
strings_are_escaped(void)
{
	struct buffer b;

	buffer_init(&b);
	buffer_json_string(&b, "a\"\\\b\f\n\r\t\x01\x1f/\x7f\xc3\xa9", 14);
	CHECK_TEXT(b.data, "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f\xc3\xa9\"");
	buffer_reset(&b);
	buffer_json_string(&b, "", 0);
	buffer_json_string(&b, "\0x", 2);
	CHECK_TEXT(b.data, "\"\"\"\\u0000x\"");
	buffer_free(&b);
}

static void
base64_has_one_spelling(void)
{
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const padded[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
	static const char *const bad[] = {"Z", "Zg==", "Zh", "Zm9", "Zm+v", "Zm/v", "Zm9v\n", " Zm9", "Zm9vY"};
	struct buffer b;
	struct buffer back;

	buffer_init(&b);
	buffer_init(&back);
	for (size_t i = 0; i < 7; i++)
	{
		buffer_reset(&b);
		buffer_base64(&b, (const uint8_t *) plain[i], i);
		CHECK_TEXT(b.data, padded[i]);
		buffer_reset(&b);
		buffer_base64url(&b, (const uint8_t *) plain[i], i);
		buffer_reset(&back);
		CHECK(buffer_unbase64url(&back, b.data, b.len));
		CHECK_TEXT(back.data, plain[i]);
	}
	buffer_reset(&b);
	buffer_base64url(&b, (const uint8_t *) "\xfb\xff\xfe", 3);
	CHECK_TEXT(b.data, "-__-");
	buffer_reset(&back);
	buffer_puts(&back, "kept");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!buffer_unbase64url(&back, bad[i], strlen(bad[i])));
	CHECK_TEXT(back.data, "kept");
	buffer_free(&b);
	buffer_free(&back);
}

int
main(void)
{
	grows_and_gives_away();
	failure_sticks();
	strings_are_escaped();
	base64_has_one_spelling();
	return CHECK_END();
}

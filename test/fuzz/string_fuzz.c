/* string_fuzz.c - any bytes as a text: JSON and base64 give them back as they were, UTF-8 is told from what is none as its definition says, and zipping loses nothing. */
/* SPDX-License-Identifier: PostgreSQL */
#include <zlib.h>

#include "fuzz.h"
#include "zip.h"

/* By decoding each character to its number: the other way round than text.c, which looks at bytes. */
static bool
is_utf8(const unsigned char *at, size_t len)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

	while (len > 0)
	{
		int		more = at[0] < 0x80 ? 0 : at[0] >> 5 == 6 ? 1 : at[0] >> 4 == 14 ? 2 : at[0] >> 3 == 30 ? 3 : -1;
		uint32_t number = more <= 0 ? at[0] : at[0] & (0x3fu >> more);

		if (more < 0 || len < (size_t) more + 1)
			return false;
		for (int i = 1; i <= more; i++)
		{
			if (at[i] >> 6 != 2)
				return false;
			number = number << 6 | (at[i] & 0x3f);
		}
		if (number < least[more] || number > 0x10ffff || (number >= 0xd800 && number < 0xe000))
			return false;
		at += more + 1;
		len -= (size_t) more + 1;
	}
	return true;
}

static void
as_json(const char *text, size_t len)
{
	struct buffer out;
	struct buffer back;
	struct json *doc;

	buffer_init(&out);
	buffer_init(&back);
	buffer_json_string(&out, text, len);
	doc = json_parse(out.data, out.len, 2);
	REQUIRE(doc != NULL && json_type(json_root(doc)) == JSON_STRING);
	if (len == 0 || memchr(text, '\0', len) == NULL)
	{
		REQUIRE(json_unescape(json_root(doc), &back));
		REQUIRE(back.len == len && (len == 0 || memcmp(back.data, text, len) == 0));
	}
	json_free(doc);
	buffer_free(&out);
	buffer_free(&back);
}

static void
as_base64(const char *text, size_t len)
{
	struct buffer out;
	struct buffer back;

	buffer_init(&out);
	buffer_init(&back);
	buffer_base64url(&out, (const uint8_t *) text, len);
	REQUIRE(buffer_unbase64url(&back, out.data != NULL ? out.data : "", out.len));
	REQUIRE(back.len == len && (len == 0 || memcmp(back.data, text, len) == 0));
	/* and as if it were base64 itself: one spelling for each value */
	buffer_reset(&back);
	buffer_reset(&out);
	if (buffer_unbase64url(&back, text, len))
	{
		buffer_base64url(&out, (const uint8_t *) back.data, back.len);
		REQUIRE(out.len == len && (len == 0 || memcmp(out.data, text, len) == 0));
	}
	buffer_free(&out);
	buffer_free(&back);
}

static void
zipped(const char *text, size_t len, enum zip_form form)
{
	struct buffer out;
	z_stream z = {0};
	char   *back = malloc(len + 1);

	buffer_init(&out);
	zip_put(&out, form, text, len);
	REQUIRE(back != NULL && !out.failed && inflateInit2(&z, form == ZIP_RAW ? -15 : 31) == Z_OK);
	z.next_in = (unsigned char *) out.data;
	z.avail_in = (unsigned int) out.len;
	z.next_out = (unsigned char *) back;
	z.avail_out = (unsigned int) len + 1;
	REQUIRE(inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == len && z.avail_in == 0 && memcmp(back, text, len) == 0);
	inflateEnd(&z);
	free(back);
	buffer_free(&out);
}

static void
as_number(const char *text, size_t len)
{
	uint64_t number = 0;
	int64_t whole = 0;
	char	again[24];

	if (text_uint64(text, len, &number))
	{
		snprintf(again, sizeof(again), "%llu", (unsigned long long) number);
		REQUIRE(strlen(again) == len && memcmp(again, text, len) == 0);
	}
	if (text_int64(text, len, &whole))
	{
		snprintf(again, sizeof(again), "%lld", (long long) whole);
		REQUIRE((strlen(again) == len && memcmp(again, text, len) == 0) || (len == 2 && memcmp(text, "-0", 2) == 0));
	}
	if (text_lsn(text, len, '/', &number))
	{
		snprintf(again, sizeof(again), "%X/%X", (unsigned) (number >> 32), (unsigned) number);
		REQUIRE(strlen(again) == len && memcmp(again, text, len) == 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	size_t	len;
	char   *text = input_rest(&in, &len);

	REQUIRE(text_is_utf8(text, len) == is_utf8((const unsigned char *) text, len));
	if (text_is_utf8(text, len))
		as_json(text, len);
	as_base64(text, len);
	as_number(text, len);
	if (how % 8 < 2)
		zipped(text, len, how % 8 == 0 ? ZIP_RAW : ZIP_GZIP);
	free(text);
	return 0;
}

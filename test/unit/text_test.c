/* text_test.c - the strict little readers refuse whatever PostgreSQL would not write. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "text.h"

static bool
utf8(const char *text)
{
	return text_is_utf8(text, strlen(text));
}

static bool
printable(const char *text)
{
	return text_is_printable(text, strlen(text));
}

static void
utf8_is_postgresql_s(void)
{
	CHECK(utf8("") && utf8("abc\x7f") && utf8("\xc2\x80") && utf8("\xdf\xbf") && utf8("\xe0\xa0\x80") && utf8("\xed\x9f\xbf") && utf8("\xf0\x90\x80\x80") && utf8("\xf4\x8f\xbf\xbf"));
	CHECK(!utf8("\x80") && !utf8("\xc0\x80") && !utf8("\xc1\xbf") && !utf8("\xe0\x9f\xbf") && !utf8("\xed\xa0\x80") && !utf8("\xf0\x8f\xbf\xbf"));
	CHECK(!utf8("\xf4\x90\x80\x80") && !utf8("\xf5\x80\x80\x80") && !utf8("\xff") && !utf8("\xc3") && !utf8("\xe2\x82") && !utf8("\xc3(") && !utf8("\xe2\x82("));
	CHECK(printable("sync:team \xc3\xa9\xc2\xa0") && !printable("a\nb") && !printable("\x7f") && !printable("\xc2\x85") && !printable("\xc3"));
}

static void
positions_are_read(void)
{
	uint64_t lsn = 0;

	CHECK(text_lsn("0/1539B58", 9, '/', &lsn) && lsn == 0x1539B58);
	CHECK(text_lsn("FFFFFFFF/FFFFFFFF", 17, '/', &lsn) && lsn == UINT64_MAX);
	CHECK(!text_lsn("0:1", 3, '/', &lsn) && !text_lsn("/1", 2, '/', &lsn) && !text_lsn("1/", 2, '/', &lsn) && !text_lsn("0/1/2", 5, '/', &lsn) && !text_lsn("", 0, '/', &lsn));
}

static void
decimals_are_read(void)
{
	uint64_t u = 7;
	int64_t i = 7;

	CHECK(text_uint64("18446744073709551615", 20, &u) && u == UINT64_MAX);
	CHECK(!text_uint64("18446744073709551616", 20, &u) && !text_uint64("", 0, &u) && !text_uint64("1a", 2, &u) && !text_uint64("\xb1", 1, &u) && u == UINT64_MAX);
	CHECK(text_int64("-0", 2, &i) && i == 0);
	CHECK(!text_int64("-", 1, &i) && !text_int64("--1", 3, &i) && !text_int64("", 0, &i));
}

int
main(void)
{
	utf8_is_postgresql_s();
	positions_are_read();
	decimals_are_read();
	return CHECK_END();
}

/* snapshot_test.c - snapshots and positions are read strictly and answer as PostgreSQL would. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "snapshot.h"

static bool
reads(const char *text)
{
	struct snapshot s;
	bool	ok = snapshot_parse(&s, text, strlen(text));

	snapshot_free(&s);
	return ok;
}

static void
text_is_read_strictly(void)
{
	static const char *const good[] = {"1:1:", "10:20:10,14,19", "5:5:", "18446744073709551614:18446744073709551615:18446744073709551614"};
	static const char *const bad[] = {
		"", "1", "1:1", "0:1:", "2:1:", "1:1:1", "10:20:9", "10:20:20", "10:20:14,14", "10:20:15,14", "10:20:,", "10:20:14,", "10:20:,14", "10:20: 14",
		"+1:2:", "01:2:", "1:2: ", " 1:2:", "a:b:", "-1:1:", "1:2:/x", "18446744073709551616:18446744073709551617:", "1:2::",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(reads(good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!reads(bad[i]));
}

static void
length_is_limited(void)
{
	struct buffer b;

	buffer_init(&b);
	buffer_puts(&b, "1:100000:1");
	for (int i = 2; i <= SNAPSHOT_XIP_MAX; i++)
		buffer_printf(&b, ",%d", i);
	CHECK(reads(b.data));
	buffer_puts(&b, ",99999");
	CHECK(!reads(b.data));
	buffer_free(&b);
}

static void
sees_what_is_finished(void)
{
	struct snapshot s;
	struct snapshot copy;
	struct snapshot none = {0};
	struct buffer b;

	CHECK(snapshot_parse(&s, "10:20:10,14,19", 14));
	CHECK(snapshot_sees(&s, 9) && snapshot_sees(&s, 11) && snapshot_sees(&s, 18) && snapshot_sees(&s, 1));
	CHECK(!snapshot_sees(&s, 10) && !snapshot_sees(&s, 14) && !snapshot_sees(&s, 19) && !snapshot_sees(&s, 20) && !snapshot_sees(&s, 1000));
	CHECK(!snapshot_sees(&none, 0) && !snapshot_sees(&none, 1));
	snapshot_copy(&copy, &s);
	CHECK(snapshot_equal(&copy, &s) && copy.xip != s.xip);
	copy.xip[1] = 15;
	CHECK(!snapshot_equal(&copy, &s) && !snapshot_equal(&none, &s));
	buffer_init(&b);
	snapshot_put(&b, &s);
	CHECK_TEXT(b.data, "10:20:10,14,19");
	buffer_free(&b);
	snapshot_free(&s);
	snapshot_free(&copy);
	CHECK(s.xip == NULL && s.xmax == 0);
}

static void
ids_are_widened_to_the_nearest(void)
{
	const uint64_t epoch = UINT64_C(1) << 32;
	struct snapshot s = {.xmin = 1, .xmax = 3 * epoch + 100};

	CHECK(snapshot_widen(&s, 100) == 3 * epoch + 100);
	CHECK(snapshot_widen(&s, 99) == 3 * epoch + 99);
	CHECK(snapshot_widen(&s, 2000) == 3 * epoch + 2000);
	CHECK(snapshot_widen(&s, UINT32_MAX) == 3 * epoch - 1);
	s.xmax = 3 * epoch - 5;
	CHECK(snapshot_widen(&s, 3) == 3 * epoch + 3);
	s.xmax = 750;
	CHECK(snapshot_widen(&s, 725) == 725 && snapshot_widen(&s, 751) == 751);
	CHECK(snapshot_widen(&s, UINT32_MAX) == UINT32_MAX);
}

static bool
position_of(const char *plain, struct position *p)
{
	struct buffer b;
	bool	ok;

	buffer_init(&b);
	buffer_base64url(&b, (const uint8_t *) plain, strlen(plain));
	ok = position_parse(p, b.data, b.len);
	buffer_free(&b);
	return ok;
}

static void
positions_go_round(void)
{
	static const char *const bad[] = {
		"", "1", "1/1/0:0", "1/1/0:0/", "2/1/0:0/1:1:", "1/1/0:0/1:1:/x", "1/1/0:0/1:1:1/", "1/x/0:0/1:1:", "1/4294967296/0:0/1:1:", "1/1/0/1:1:",
		"1/1/g:0/1:1:", "1/1/a:0/1:1:", "1/1/123456789:0/1:1:", "1/1/00:0/1:1:", "1//0:0/1:1:",
	};
	static const char text[] = "1/2/A:1539CB0/10:20:14";
	struct position p;
	struct buffer b;
	struct buffer plain;

	CHECK(position_of(text, &p));
	CHECK(p.timeline == 2 && p.lsn == UINT64_C(0xA01539CB0) && p.snapshot.xip_count == 1);
	buffer_init(&b);
	buffer_init(&plain);
	position_put(&b, &p);
	CHECK(buffer_unbase64url(&plain, b.data, b.len));
	CHECK_TEXT(plain.data, text);
	position_free(&p);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(!position_of(bad[i], &p));
	CHECK(!position_parse(&p, "MS8x=", 5));
	buffer_free(&b);
	buffer_free(&plain);
}

int
main(void)
{
	text_is_read_strictly();
	length_is_limited();
	sees_what_is_finished();
	ids_are_widened_to_the_nearest();
	positions_go_round();
	return CHECK_END();
}

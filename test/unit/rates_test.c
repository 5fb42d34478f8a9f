/* rates_test.c - buckets let through what their rate allows and no more, names do not touch each other, memory is given back. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "rates.h"

static void
a_bucket_holds_two_seconds_and_fills_evenly(void)
{
	struct bucket b;
	int		taken = 0;

	bucket_fill(&b, 10, 0);
	while (bucket_take(&b, 10, 0))
		taken++;
	CHECK(taken == 20);
	CHECK(bucket_wait_s(&b, 10) == 1);
	CHECK(!bucket_take(&b, 10, 99));
	CHECK(bucket_take(&b, 10, 100));
	CHECK(!bucket_take(&b, 10, 100));
	for (taken = 0; bucket_take(&b, 10, 1000000); taken++)
		;
	CHECK(taken == 20);
}

static void
time_that_goes_back_gives_nothing(void)
{
	struct bucket b;

	bucket_fill(&b, 1, 5000);
	CHECK(bucket_take(&b, 1, 5000) && bucket_take(&b, 1, 5000) && !bucket_take(&b, 1, 5000));
	CHECK(!bucket_take(&b, 1, 1000));
	CHECK(!bucket_take(&b, 1, 1999) && bucket_take(&b, 1, 2000));
}

static void
a_rate_of_none_is_no_limit(void)
{
	struct bucket b;
	struct rates r;

	bucket_fill(&b, 0, 0);
	CHECK(bucket_take(&b, 0, 0));
	rates_init(&r, 0, 10);
	for (int i = 0; i < 1000; i++)
		CHECK(rates_take(&r, "ada", 0) == 0);
	CHECK(r.buckets.count == 0);
	rates_free(&r);
}

static void
names_have_buckets_of_their_own(void)
{
	struct rates r;

	rates_init(&r, 1, 10);
	CHECK(rates_take(&r, "ada", 0) == 0 && rates_take(&r, "ada", 0) == 0);
	CHECK(rates_take(&r, "ada", 0) == 1);
	CHECK(rates_take(&r, "ben", 0) == 0);
	CHECK(rates_take(&r, "ada", 1000) == 0);
	CHECK(rates_take(&r, "ada", 1000) == 1);
	rates_free(&r);
}

static void
forgotten_when_full_again(void)
{
	struct rates r;
	char	name[16];

	rates_init(&r, 1, 100);
	for (int i = 0; i < 200; i++)
	{
		snprintf(name, sizeof(name), "%d", i);
		CHECK(rates_take(&r, name, 20000) == 0);
	}
	CHECK(r.buckets.count == 100);		/* names beyond that many are let through */
	CHECK(rates_take(&r, "0", 20000) == 0 && rates_take(&r, "0", 20000) == 1);
	rates_sweep(&r, 31000);
	CHECK(r.buckets.count == 0);
	CHECK(rates_take(&r, "0", 31000) == 0 && rates_take(&r, "1", 30000) == 0);
	rates_sweep(&r, 32000);
	CHECK(r.buckets.count == 2);		/* not more often than every ten seconds */
	rates_free(&r);
}

static void
counts_come_and_go(void)
{
	struct counts c;

	counts_init(&c, 2);
	CHECK(counts_has_room(&c, "a"));
	counts_enter(&c, "a");
	counts_enter(&c, "a");
	CHECK(!counts_has_room(&c, "a") && counts_has_room(&c, "b"));
	counts_leave(&c, "a");
	CHECK(counts_has_room(&c, "a"));
	counts_leave(&c, "a");
	CHECK(c.numbers.count == 0);
	counts_leave(&c, "a");
	CHECK(c.numbers.count == 0 && counts_has_room(&c, "a"));
	c.most = 0;
	for (int i = 0; i < 100; i++)
		counts_enter(&c, "a");
	CHECK(counts_has_room(&c, "a"));
	counts_free(&c);
}

int
main(void)
{
	a_bucket_holds_two_seconds_and_fills_evenly();
	time_that_goes_back_gives_nothing();
	a_rate_of_none_is_no_limit();
	names_have_buckets_of_their_own();
	forgotten_when_full_again();
	counts_come_and_go();
	return CHECK_END();
}

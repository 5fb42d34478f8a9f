/* departed_test.c - a device's locks go only when its last channel has been gone for long enough, and each device once. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "departed.h"

static struct departed d;
static struct buffer json;

static const char *
take(int64_t now_ms, size_t most)
{
	buffer_reset(&json);
	departed_take(&d, now_ms, most, &json);
	return json.data;
}

static void
test_grace(void)
{
	departed_init(&d);
	departed_join(&d, "ada", "phone");
	departed_join(&d, "ada", "phone");
	departed_leave(&d, "ada", "phone", 1000);
	CHECK(!departed_are_due(&d, 1000 + 2 * DEPARTED_GRACE_MS));		/* another channel is left */
	departed_leave(&d, "ada", "phone", 2000);
	CHECK(!departed_are_due(&d, 1999 + DEPARTED_GRACE_MS));
	CHECK(departed_are_due(&d, 2000 + DEPARTED_GRACE_MS));
	departed_join(&d, "ada", "phone");		/* back in time */
	CHECK(!departed_are_due(&d, 2000 + 2 * DEPARTED_GRACE_MS));
	departed_leave(&d, "ada", "phone", 3000);
	CHECK_TEXT(take(3000 + DEPARTED_GRACE_MS, 9), "[{\"user_id\":\"ada\",\"device_id\":\"phone\",\"ago\":10.000}]");
	CHECK_TEXT(take(9000 + DEPARTED_GRACE_MS, 9), "[]");
	departed_leave(&d, "ada", "phone", 4000);		/* of nobody */
	CHECK(!departed_are_due(&d, 4000 + DEPARTED_GRACE_MS) && d.devices.count == 0);
	departed_free(&d);
}

static void
test_names(void)
{
	departed_init(&d);
	departed_join(&d, "a", "bc");
	departed_join(&d, "ab", "c");
	departed_join(&d, "a\"", "x");
	departed_leave(&d, "ab", "c", 0);
	departed_leave(&d, "a\"", "x", 1500);
	CHECK_TEXT(take(1500 + DEPARTED_GRACE_MS, 1), "[{\"user_id\":\"ab\",\"device_id\":\"c\",\"ago\":11.500}]");
	CHECK_TEXT(take(1500 + DEPARTED_GRACE_MS, 1), "[{\"user_id\":\"a\\\"\",\"device_id\":\"x\",\"ago\":10.000}]");
	CHECK(d.devices.count == 1 && d.count == 0);
	departed_free(&d);
}

static void
test_limit(void)
{
	char	name[24];

	departed_init(&d);
	for (int i = 0; i < DEPARTED_MAX + 10; i++)
	{
		snprintf(name, sizeof(name), "user%d", i);
		departed_join(&d, name, "d");
		departed_leave(&d, name, "d", i);
	}
	CHECK(d.count == DEPARTED_MAX && d.devices.count == DEPARTED_MAX);
	CHECK(strncmp(take(DEPARTED_MAX + DEPARTED_GRACE_MS, 1), "[{\"user_id\":\"user10\"", 20) == 0);
	/* from the middle of the list */
	departed_join(&d, "user500", "d");
	CHECK(d.count == DEPARTED_MAX - 2);
	departed_free(&d);
}

int
main(void)
{
	buffer_init(&json);
	test_grace();
	test_names();
	test_limit();
	buffer_free(&json);
	return CHECK_END();
}

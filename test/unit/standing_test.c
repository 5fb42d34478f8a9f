/* standing_test.c - what an identity may follow is remembered for a moment, for exactly that identity and request, and forgotten when it may have changed. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "concern.h"
#include "memory.h"
#include "standing.h"

static const struct token ada = {.claims = (char *) "{\"sub\":\"Ada\",\"role\":\"app\",\"iat\":1,\"exp\":2,\"jti\":\"x\"}", .subject = (char *) "Ada", .role = (char *) "app"};

static struct standing *
stand(struct standings *all, const struct token *who, const char *request, const char *state, int64_t now_ms)
{
	size_t	len;
	char   *key = standing_key(who, request, &len);

	return standing_new(all, key, len, who->subject, "part", state, now_ms);
}

static struct standing *
find(struct standings *all, const struct token *who, const char *request, int64_t now_ms)
{
	size_t	len;
	char   *key = standing_key(who, request, &len);
	struct standing *st = standing_find(all, key, len, now_ms);

	free(key);
	return st;
}

static void
it_is_of_one_identity_and_request(void)
{
	static const struct token renewed = {.claims = (char *) "{\"sub\":\"Ada\",\"role\":\"app\",\"iat\":7,\"exp\":8,\"jti\":\"y\",\"amr\":[]}", .subject = (char *) "Ada", .role = (char *) "app"};
	static const struct token other_role = {.claims = (char *) "{\"sub\":\"Ada\",\"role\":\"app\"}", .subject = (char *) "Ada", .role = (char *) "admin"};
	static const struct token other_claim = {.claims = (char *) "{\"sub\":\"Ada\",\"role\":\"app\",\"team\":1}", .subject = (char *) "Ada", .role = (char *) "app"};
	struct standings all;
	struct standing *st;

	standings_init(&all);
	st = stand(&all, &ada, "{\"tables\":[\"a\"]}", "s", 1000);
	CHECK(find(&all, &ada, "{\"tables\":[\"b\"]}", 1000) == NULL);
	CHECK(find(&all, &other_role, "{\"tables\":[\"a\"]}", 1000) == NULL);
	CHECK(find(&all, &other_claim, "{\"tables\":[\"a\"]}", 1000) == NULL);
	CHECK(find(&all, &renewed, "{\"tables\":[\"a\"]}", 1000) == st);
	standing_leave(&all, st, 1000);
	standing_leave(&all, st, 1000);
	standings_free(&all);
}

static void
it_is_kept_for_a_moment(void)
{
	struct standings all;
	struct standing *st;

	standings_init(&all);
	st = stand(&all, &ada, "{}", "s", 1000);
	CHECK(find(&all, &ada, "{}", 10000000) == st);		/* while a session is there it does not age */
	standing_leave(&all, st, 10000000);
	standings_tick(&all, 20000000);
	standing_leave(&all, st, 20000000);
	CHECK(find(&all, &ada, "{}", 20000000 + STANDING_KEPT_MS) == st);
	standing_leave(&all, st, 20000000);
	CHECK(find(&all, &ada, "{}", 20000001 + STANDING_KEPT_MS) == NULL && all.bytes > 0);
	standings_tick(&all, 20000001 + STANDING_KEPT_MS);
	CHECK(all.bytes == 0 && all.first == NULL && all.users.count == 0 && all.map.count == 0);
	standings_free(&all);
}

static struct transaction *
watch(const char *message)
{
	struct transaction *t = transaction_new(700);

	concern_message(t, message);
	return t;
}

static void
a_change_of_membership_ends_it(void)
{
	static const struct token ben = {.claims = (char *) "{\"sub\":\"ben\"}", .subject = (char *) "ben", .role = (char *) "app"};
	struct standings all;
	struct standing *of_ada[2];
	struct standing *of_ben;
	struct transaction *t = watch("{\"t\":\"watch\",\"users\":[\"aDA\",\"\",\"aDA\"]}");

	standings_init(&all);
	of_ada[0] = stand(&all, &ada, "{}", "s", 0);
	of_ada[1] = stand(&all, &ada, "{\"priority\":1}", "s", 0);
	of_ben = stand(&all, &ben, "{}", "s", 0);
	CHECK(t->barrier == BARRIER_WATCH && t->concerned_count == 1 && concern_has(t, "ADA") && !concern_has(t, "ben"));
	standings_drop(&all, t);
	CHECK(!of_ada[0]->is_in_force && !of_ada[1]->is_in_force && of_ben->is_in_force && find(&all, &ada, "{}", 0) == NULL);
	standing_renew(&all, of_ada[0], 10);
	CHECK(of_ada[0]->is_in_force && all.users.count == 2);
	transaction_release(t);
	t = watch("{\"t\":\"watch\",\"users\":null}");
	CHECK(t->concerns_everyone && concern_has(t, "anybody"));
	standings_drop(&all, t);
	CHECK(all.first == NULL && all.bytes == 0 && all.users.count == 0);
	transaction_release(t);
	for (int i = 0; i < 2; i++)
		standing_leave(&all, of_ada[i], 0);
	standing_leave(&all, of_ben, 0);
	standings_free(&all);
}

static void
what_cannot_be_read_concerns_everyone(void)
{
	static const char *const bad[] = {"{\"t\":\"watch\"}", "{\"t\":\"watch\",\"users\":\"ada\"}", "{\"t\":\"watch\",\"users\":[1]}", "{\"t\":\"watch\",\"users\":{}}"};
	static const char *const none[] = {"", "{", "[]", "{\"t\":\"other\",\"users\":null}", "{\"users\":null}"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		struct transaction *t = watch(bad[i]);

		CHECK(t->concerns_everyone && t->barrier == BARRIER_WATCH);
		transaction_release(t);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
	{
		struct transaction *t = watch(none[i]);

		CHECK(!t->concerns_everyone && t->concerned_count == 0 && t->barrier == BARRIER_NONE);
		transaction_release(t);
	}
}

static void
a_newer_one_takes_its_place(void)
{
	struct standings all;
	struct standing *before;
	struct standing *after;

	standings_init(&all);
	before = stand(&all, &ada, "{}", "one", 0);
	after = stand(&all, &ada, "{}", "two", 5);
	CHECK(!before->is_in_force && find(&all, &ada, "{}", 5) == after);
	standing_leave(&all, after, 5);
	standing_leave(&all, before, 5);
	standing_leave(&all, after, 5);
	standings_free(&all);
}

int
main(void)
{
	it_is_of_one_identity_and_request();
	it_is_kept_for_a_moment();
	a_change_of_membership_ends_it();
	what_cannot_be_read_concerns_everyone();
	a_newer_one_takes_its_place();
	return CHECK_END();
}

/* presence_test.c - members are told each join and leave once, whatever happened between two tellings; topics know who is in them. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include "check.h"
#include "presence.h"
#include "topics.h"

static struct buffer out;

static bool
put(struct presence *p, const char *key, const char *ref, const char *previous, uint64_t owner, const char *meta)
{
	struct json *doc = json_parse(meta, strlen(meta), 100);
	bool	has_news = presence_put(p, key, ref, previous, owner, json_root(doc));

	json_free(doc);
	return has_news;
}

static const char *
state(const struct presence *p)
{
	buffer_reset(&out);
	presence_put_state(p, &out);
	return out.data;
}

static const char *
diff(struct presence *p)
{
	buffer_reset(&out);
	return presence_put_diff(p, &out) ? out.data : "";
}

static void
joins_updates_and_leaves(void)
{
	struct presence p;

	presence_init(&p);
	CHECK(presence_is_empty(&p));
	CHECK_TEXT(state(&p), "{}");
	CHECK(put(&p, "ada", "1", NULL, 7, "{\"at\": \"desk\",\"phx_ref\":\"forged\",\"phx_ref_prev\":\"too\"}"));
	CHECK_TEXT(state(&p), "{}");
	CHECK_TEXT(diff(&p), "{\"joins\":{\"ada\":{\"metas\":[{\"phx_ref\":\"1\",\"at\":\"desk\"}]}},\"leaves\":{}}");
	CHECK_TEXT(diff(&p), "");
	CHECK_TEXT(state(&p), "{\"ada\":{\"metas\":[{\"phx_ref\":\"1\",\"at\":\"desk\"}]}}");
	CHECK(put(&p, "ada", "2", "1", 7, "{\"at\":\"tea\"}"));
	CHECK_TEXT(state(&p), "{\"ada\":{\"metas\":[{\"phx_ref\":\"1\",\"at\":\"desk\"}]}}");
	CHECK_TEXT(diff(&p), "{\"joins\":{\"ada\":{\"metas\":[{\"phx_ref\":\"2\",\"phx_ref_prev\":\"1\",\"at\":\"tea\"}]}},"
			   "\"leaves\":{\"ada\":{\"metas\":[{\"phx_ref\":\"1\",\"at\":\"desk\"}]}}}");
	CHECK(presence_remove(&p, "2") && !presence_remove(&p, "2") && !presence_remove(&p, "1"));
	CHECK(!presence_is_empty(&p) && presence_count(&p) == 0);
	CHECK_TEXT(diff(&p), "{\"joins\":{},\"leaves\":{\"ada\":{\"metas\":[{\"phx_ref\":\"2\",\"phx_ref_prev\":\"1\",\"at\":\"tea\"}]}}}");
	CHECK(presence_is_empty(&p));
	presence_free(&p);
}

static void
what_nobody_saw_is_not_told(void)
{
	struct presence p;

	presence_init(&p);
	put(&p, "ada", "1", NULL, 7, "{}");
	presence_remove(&p, "1");
	CHECK_TEXT(diff(&p), "");
	CHECK(presence_is_empty(&p));
	put(&p, "ada", "2", NULL, 7, "{}");
	diff(&p);
	put(&p, "ada", "3", "2", 7, "{\"a\":1}");
	put(&p, "ada", "4", "3", 7, "{\"a\":2}");
	CHECK_TEXT(diff(&p), "{\"joins\":{\"ada\":{\"metas\":[{\"phx_ref\":\"4\",\"phx_ref_prev\":\"2\",\"a\":2}]}},\"leaves\":{\"ada\":{\"metas\":[{\"phx_ref\":\"2\"}]}}}");
	CHECK(!put(&p, "ada", "4", "3", 7, "{\"a\":9}"));
	CHECK_TEXT(diff(&p), "");
	presence_free(&p);
}

static void
one_key_at_several_places(void)
{
	struct presence p;
	struct json *doc = json_parse("{ \"n\" : 1 }", 11, 10);

	presence_init(&p);
	put(&p, "a\"b", "1", NULL, 7, "{\"n\":1}");
	put(&p, "a\"b", "2", NULL, 8, "{\"n\":2}");
	diff(&p);
	CHECK_TEXT(state(&p), "{\"a\\\"b\":{\"metas\":[{\"phx_ref\":\"2\",\"n\":2},{\"phx_ref\":\"1\",\"n\":1}]}}");
	CHECK(presence_is_same(&p, "1", json_root(doc)) && !presence_is_same(&p, "2", json_root(doc)) && !presence_is_same(&p, "3", json_root(doc)));
	presence_remove(&p, "1");
	CHECK_TEXT(diff(&p), "{\"joins\":{},\"leaves\":{\"a\\\"b\":{\"metas\":[{\"phx_ref\":\"1\",\"n\":1}]}}}");
	CHECK_TEXT(state(&p), "{\"a\\\"b\":{\"metas\":[{\"phx_ref\":\"2\",\"n\":2}]}}");
	json_free(doc);
	presence_free(&p);
}

static void
a_streamer_that_went_takes_its_clients_along(void)
{
	struct presence p;

	presence_init(&p);
	put(&p, "ada", "1", NULL, 7, "{}");
	put(&p, "ben", "2", NULL, 8, "{}");
	put(&p, "cleo", "3", NULL, 8, "{}");
	diff(&p);
	presence_doubt(&p, 8);
	CHECK(!put(&p, "cleo", "3", NULL, 8, "{}"));
	CHECK(presence_remove_owner(&p, 8, true));
	CHECK_TEXT(diff(&p), "{\"joins\":{},\"leaves\":{\"ben\":{\"metas\":[{\"phx_ref\":\"2\"}]}}}");
	CHECK(!presence_remove_owner(&p, 8, true));
	CHECK(presence_remove_owner(&p, 8, false) && !presence_remove_owner(&p, 8, false));
	CHECK_TEXT(diff(&p), "{\"joins\":{},\"leaves\":{\"cleo\":{\"metas\":[{\"phx_ref\":\"3\"}]}}}");
	CHECK_TEXT(state(&p), "{\"ada\":{\"metas\":[{\"phx_ref\":\"1\"}]}}");
	presence_free(&p);
}

static void
topics_know_their_members(void)
{
	struct topics t;
	struct topic_member a = {0}, b = {0}, c = {0};
	struct topic *room;

	topics_init(&t);
	CHECK(topics_find(&t, "room", true) == NULL);
	room = topics_get(&t, "room", true);
	CHECK(topics_get(&t, "room", true) == room && topics_get(&t, "room", false) != room);
	topics_tidy(&t, topics_find(&t, "room", false));
	CHECK(topics_find(&t, "room", false) == NULL);
	topics_enter(room, &a);
	topics_enter(room, &b);
	topics_enter(room, &c);
	topics_leave(&t, &a);
	topics_leave(&t, &a);
	CHECK(room->count == 2 && room->members[b.place] == &b && room->members[c.place] == &c);
	put(&room->presence, "ada", "1", NULL, 7, "{}");
	topics_changed(&t, room);
	topics_changed(&t, room);
	topics_leave(&t, &b);
	topics_leave(&t, &c);
	CHECK(topics_find(&t, "room", true) == room);
	CHECK(topics_take_changed(&t) == room && room->next_changed == NULL && topics_take_changed(&t) == NULL);
	room->is_changed = false;
	presence_remove(&room->presence, "1");
	diff(&room->presence);
	topics_tidy(&t, room);
	CHECK(topics_find(&t, "room", true) == NULL);
	topics_get(&t, "left over", true);
	topics_free(&t);
}

int
main(void)
{
	buffer_init(&out);
	joins_updates_and_leaves();
	what_nobody_saw_is_not_told();
	one_key_at_several_places();
	a_streamer_that_went_takes_its_clients_along();
	topics_know_their_members();
	buffer_free(&out);
	return CHECK_END();
}

/* projection_test.c - less of a row: only readable columns, also of what it was; rendered once, and gone with the transaction. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "memory.h"
#include "projection.h"

#include <stdlib.h>

static const char row[] = "{\"operation\":\"update\",\"entity_type\":\"n\",\"entity_id\":\"1\",\"data\":{\"id\":1,\"t\\u00e9\":\"a\",\"secret\":{\"x\":[1]}},\"server_version\":2}";

static struct transaction *
make(enum change_kind kind, const char *json, const char *old)
{
	struct transaction *t = transaction_new(5);

	transaction_seal(t);
	free(t->changes);
	t->changes = memory_new(sizeof(*t->changes));
	t->count = 1;
	t->changes[0] = (struct stream_change){.table_id = 7, .sibling = -1, .kind = kind, .json_len = strlen(json)};
	t->changes[0].json = memory_string(json);
	t->changes[0].old = memory_string(old);
	t->changes[0].entity_id = memory_string("1");
	return t;
}

static struct projection *
columns(struct projections *all, const char *names)
{
	struct json *doc = json_parse(names, strlen(names), 10);
	struct projection *p = projection_get(all, 7, json_root(doc));

	json_free(doc);
	return p;
}

static void
what_may_not_be_read_is_left_out_of_the_row_and_of_what_it_was(void)
{
	struct projections all;
	struct transaction *t = make(CHANGE_ROW, row, "{\"id\":1,\"secret\":2}");
	struct projection *p;
	struct projection *other;
	const struct stream_change *less;

	projections_init(&all);
	p = columns(&all, "[\"id\",\"té\"]");
	other = columns(&all, "[\"id\"]");
	less = projection_of(&t->changes[0], p, false, NULL);
	CHECK_TEXT(less->json, "{\"operation\":\"update\",\"entity_type\":\"n\",\"entity_id\":\"1\",\"data\":{\"id\":1,\"t\\u00e9\":\"a\"},\"server_version\":2}");
	CHECK_TEXT(less->old, "{\"id\":1}");
	CHECK(projection_of(&t->changes[0], p, false, NULL) == less);
	CHECK(projection_of(&t->changes[0], other, false, NULL) != less);
	CHECK(projection_of(&t->changes[0], NULL, false, NULL) == &t->changes[0]);
	projection_release(&all, p);
	projection_release(&all, other);
	transaction_release(t);
	projections_free(&all);
}

static void
a_deletion_tells_no_more_than_the_row_would(void)
{
	struct projections all;
	struct transaction *t = make(CHANGE_TOMBSTONE, "{\"operation\":\"delete\",\"entity_id\":\"1\"}", "{\"id\":1,\"secret\":2}");
	struct transaction *plain = make(CHANGE_TOMBSTONE, "{\"operation\":\"delete\",\"entity_id\":\"1\"}", NULL);
	struct projection *p;

	projections_init(&all);
	p = columns(&all, "[\"id\"]");
	CHECK_TEXT(projection_of(&t->changes[0], p, false, NULL)->json, "{\"operation\":\"delete\",\"entity_id\":\"1\"}");
	CHECK_TEXT(projection_of(&t->changes[0], p, false, NULL)->old, "{\"id\":1}");
	CHECK(projection_of(&plain->changes[0], p, false, NULL) == &plain->changes[0]);
	projection_release(&all, p);
	transaction_release(t);
	transaction_release(plain);
	projections_free(&all);
}

int
main(void)
{
	what_may_not_be_read_is_left_out_of_the_row_and_of_what_it_was();
	a_deletion_tells_no_more_than_the_row_would();
	return CHECK_END();
}

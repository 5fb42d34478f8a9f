/* judge_fuzz.c - any answer about who sees what: what is not said to be seen is not shown, and an answer that does not fit shows nothing. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "judge.h"

#define CHANGES 4

static uint64_t asked;
static struct buffer question;

static void
ask(void *owner, uint64_t id, const char *json)
{
	(void) owner;
	asked = id;
	buffer_reset(&question);
	buffer_puts(&question, json);
	require_json_text(&question);
}

static void
wake(void *owner, int64_t delay_ms)
{
	(void) owner;
	(void) delay_ms;
}

/* Two rows and two deletions of two tables; the entity ids are the fuzzer's. */
static struct transaction *
make(const char *entity_id)
{
	struct transaction *t = transaction_new(5);

	transaction_seal(t);
	free(t->changes);
	t->changes = memory_new(CHANGES * sizeof(*t->changes));
	t->count = CHANGES;
	for (size_t i = 0; i < CHANGES; i++)
	{
		struct stream_change *c = &t->changes[i];

		*c = (struct stream_change) {.table_id = 7 + (int) (i / 2), .sibling = -1, .kind = i % 2 == 0 ? CHANGE_ROW : CHANGE_TOMBSTONE, .xid = 5, .json_len = 2};
		c->json = memory_string("{}");
		c->entity_id = memory_string(entity_id);
		c->route = memory_string("r");
		c->route_len = 1;
		c->old_values = i % 2 == 1 ? memory_string("{\"id\":\"1\"}") : NULL;
	}
	return t;
}

/* Claims, an entity id, answers; cut at NULs. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct judge_calls calls = {ask, wake};
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	char   *claims = input_text(&in);
	char   *entity_id = input_text(&in);
	struct judge *j;
	struct identity *who;
	struct transaction *t;
	struct ticket tickets[CHANGES];
	struct json *doc = text_is_utf8(claims, strlen(claims)) ? json_parse(claims, strlen(claims), 1000) : NULL;
	int64_t now_ms = 1;
	bool	speaks = false;

	if (doc != NULL && json_type(json_root(doc)) == JSON_OBJECT && text_is_utf8(entity_id, strlen(entity_id)))
	{
		j = judge_new(4, &calls, NULL);
		who = judge_identity(j, "app", claims);
		t = make(entity_id);
		for (size_t i = 0; i < CHANGES; i++)
			tickets[i] = judge_enter(j, who, t, &t->changes[i]);
		asked = 0;
		judge_go_on(j, now_ms);
		while (input_left(&in) > 0)
		{
			char   *text = input_text(&in);
			struct answer a = {.status = how % 8 == 7 ? ANSWER_REFUSED : ANSWER_OK, .json = text, .len = strlen(text), .sqlstate = "57014", .text = "x"};

			speaks = speaks || strstr(text, "seen") != NULL || strstr(text, "gone") != NULL || strchr(text, '\\') != NULL;
			if (asked != 0 && text_is_utf8(text, strlen(text)))
			{
				uint64_t id = asked;

				asked = 0;
				judge_answer(j, id, &a, now_ms);
				for (size_t i = 0; i < CHANGES; i++)
					REQUIRE(judge_verdict(tickets[i]) != VERDICT_SEEN || (speaks && a.status == ANSWER_OK));
			}
			now_ms += 3000;
			judge_go_on(j, now_ms);
			free(text);
		}
		/* whatever is still asked is answered before the end, as the pool of connections does */
		for (int i = 0; i < 50 && asked != 0; i++)
		{
			struct answer gone = {.status = ANSWER_UNAVAILABLE};
			uint64_t id = asked;

			asked = 0;
			judge_answer(j, id, &gone, now_ms);
		}
		for (size_t i = 0; i < CHANGES; i++)
			judge_drop(j, tickets[i]);
		judge_release_identity(j, who);
		judge_free(j);
		transaction_release(t);
	}
	json_free(doc);
	free(claims);
	free(entity_id);
	return 0;
}

/* judge_test.c - one question for many, no verdict before its transaction is shown, nobody harmed by another's trouble. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "judge.h"
#include "memory.h"

#include <stdlib.h>

/* What was asked and not answered yet. */
struct world
{
	struct judge *judge;
	uint64_t ids[16];
	char   *questions[16];
	int		count;
	int64_t wake_ms;
};

static void
ask(void *owner, uint64_t id, const char *json)
{
	struct world *w = owner;

	w->ids[w->count] = id;
	w->questions[w->count++] = memory_string(json);
}

static void
wake(void *owner, int64_t delay_ms)
{
	((struct world *) owner)->wake_ms = delay_ms;
}

static void
start(struct world *w)
{
	static const struct judge_calls calls = {.ask = ask, .wake = wake};

	*w = (struct world){0};
	w->judge = judge_new(4, &calls, w);
}

static void
forget(struct world *w, int at)
{
	free(w->questions[at]);
	w->count--;
	for (int i = at; i < w->count; i++)
	{
		w->ids[i] = w->ids[i + 1];
		w->questions[i] = w->questions[i + 1];
	}
}

static void
reply(struct world *w, int at, const char *json, int64_t now_ms)
{
	struct answer a = {.status = ANSWER_OK, .json = json, .len = strlen(json)};
	uint64_t id = w->ids[at];

	forget(w, at);
	judge_answer(w->judge, id, &a, now_ms);
}

static void
refuse(struct world *w, int at, enum answer_status status, const char *sqlstate, int64_t now_ms)
{
	struct answer a = {.status = status, .sqlstate = sqlstate};
	uint64_t id = w->ids[at];

	forget(w, at);
	judge_answer(w->judge, id, &a, now_ms);
}

static bool
asked(const struct world *w, int at, const char *text)
{
	return at < w->count && strstr(w->questions[at], text) != NULL;
}

/* A transaction of rows 1, 2, ... of table 7, all on one route; gone: the last is a tombstone. */
static struct transaction *
make(uint64_t xid, const char *route, size_t count, bool gone)
{
	struct transaction *t = transaction_new(xid);

	transaction_seal(t);
	free(t->changes);
	t->changes = memory_new(count * sizeof(*t->changes));
	t->count = count;
	for (size_t i = 0; i < count; i++)
	{
		char	id[2] = {(char) ('1' + i), '\0'};

		t->changes[i] = (struct stream_change){.table_id = 7, .sibling = -1, .xid = xid, .kind = CHANGE_ROW};
		t->changes[i].route = memory_string(route);
		t->changes[i].route_len = strlen(route);
		t->changes[i].json = memory_string("{}");
		t->changes[i].json_len = 2;
		t->changes[i].entity_id = memory_string(id);
	}
	if (gone)
	{
		t->changes[count - 1].kind = CHANGE_TOMBSTONE;
		t->changes[count - 1].old_values = memory_string("{\"owner\":\"ada\"}");
	}
	return t;
}

static void
end(struct world *w)
{
	while (w->count > 0)
		forget(w, 0);
	judge_free(w->judge);
}

static void
a_renewed_token_is_the_same_identity_and_another_session_is_not(void)
{
	struct world w;
	struct identity *a;
	struct identity *b;

	start(&w);
	a = judge_identity(w.judge, "app", "{\"sub\":\"ada\",\"exp\":1,\"iat\":1}");
	b = judge_identity(w.judge, "app", "{\"sub\":\"ada\",\"exp\":2,\"iat\":2,\"jti\":\"x\"}");
	CHECK(a == b);
	judge_release_identity(w.judge, b);
	b = judge_identity(w.judge, "app", "{\"sub\":\"ada\",\"exp\":1,\"amr\":[\"otp\"]}");
	CHECK(a != b);
	judge_release_identity(w.judge, b);
	b = judge_identity(w.judge, "other", "{\"sub\":\"ada\",\"exp\":1,\"iat\":1}");
	CHECK(a != b);
	judge_release_identity(w.judge, b);
	judge_release_identity(w.judge, a);
	end(&w);
}

static void
many_share_one_question_and_each_gets_its_own_answer(void)
{
	struct world w;
	struct transaction *t = make(100, "r", 3, true);
	struct identity *ada;
	struct identity *ben;
	struct ticket of_ada[3];
	struct ticket of_ben[3];

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	ben = judge_identity(w.judge, "app", "{\"sub\":\"ben \\u0000\"}");
	for (int i = 0; i < 3; i++)
	{
		of_ada[i] = judge_enter(w.judge, ada, t, &t->changes[i]);
		of_ben[i] = judge_enter(w.judge, ben, t, &t->changes[i]);
	}
	CHECK(judge_verdict(of_ada[0]) == VERDICT_OPEN);
	judge_go_on(w.judge, 1);
	CHECK(w.count == 1);
	CHECK(asked(&w, 0, "\"keys\":[\"1\",\"2\"],\"stamps\":[\"100\",\"100\"],\"gone\":[{\"owner\":\"ada\"}]"));
	CHECK(asked(&w, 0, "{\"role\":\"app\",\"claims\":\"{\\\"sub\\\":\\\"ada\\\"}\"}"));
	CHECK(asked(&w, 0, "\\\\u0000"));		/* a string: what jsonb cannot hold is one identity's own trouble */
	CHECK(judge_verdict(of_ada[0]) == VERDICT_OPEN);
	reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"12\",\"gone\":\"1\"}],\"us\":5},{\"tables\":[{\"id\":7}],\"us\":5}]}", 2);
	CHECK(judge_verdict(of_ada[0]) == VERDICT_SEEN);
	CHECK(judge_verdict(of_ada[1]) == VERDICT_NEWER);
	CHECK(judge_verdict(of_ada[2]) == VERDICT_SEEN);
	CHECK(judge_verdict(of_ben[0]) == VERDICT_HIDDEN);
	CHECK(judge_verdict(of_ben[2]) == VERDICT_HIDDEN);
	CHECK(w.count == 0);
	for (int i = 0; i < 3; i++)
	{
		judge_drop(w.judge, of_ada[i]);
		judge_drop(w.judge, of_ben[i]);
	}
	judge_release_identity(w.judge, ada);
	judge_release_identity(w.judge, ben);
	transaction_release(t);
	end(&w);
}

static void
what_the_answer_does_not_show_yet_is_asked_again(void)
{
	struct world w;
	struct transaction *early = make(100, "r", 1, false);
	struct transaction *late = make(105, "r", 1, false);
	struct identity *ada;
	struct ticket first;
	struct ticket second;

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	first = judge_enter(w.judge, ada, early, &early->changes[0]);
	second = judge_enter(w.judge, ada, late, &late->changes[0]);
	judge_go_on(w.judge, 1);
	reply(&w, 0, "{\"snapshot\":\"101:106:105\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"10\",\"gone\":\"\"}],\"us\":5}]}", 2);
	CHECK(judge_verdict(first) == VERDICT_SEEN);
	CHECK(judge_verdict(second) == VERDICT_OPEN);
	CHECK(w.count == 0 && w.wake_ms > 0);
	judge_go_on(w.judge, 2 + w.wake_ms);
	CHECK(w.count == 1 && asked(&w, 0, "\"stamps\":[\"105\"]"));
	reply(&w, 0, "{\"snapshot\":\"106:106:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 9);
	CHECK(judge_verdict(second) == VERDICT_SEEN);
	judge_drop(w.judge, first);
	judge_drop(w.judge, second);
	judge_release_identity(w.judge, ada);
	transaction_release(early);
	transaction_release(late);
	end(&w);
}

static void
the_error_of_one_is_nobody_elses(void)
{
	struct world w;
	struct transaction *t = make(100, "r", 1, false);
	struct identity *ada;
	struct identity *eve;
	struct ticket of_ada;
	struct ticket of_eve;

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	eve = judge_identity(w.judge, "app", "{\"sub\":\"eve\"}");
	of_eve = judge_enter(w.judge, eve, t, &t->changes[0]);
	of_ada = judge_enter(w.judge, ada, t, &t->changes[0]);
	judge_go_on(w.judge, 1);
	reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"error\":{\"code\":\"22012\",\"message\":\"division by zero\"},\"us\":5},{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 2);
	CHECK(judge_verdict(of_eve) == VERDICT_FAILED);
	CHECK(judge_verdict(of_ada) == VERDICT_SEEN);
	judge_drop(w.judge, of_ada);
	judge_drop(w.judge, of_eve);
	judge_release_identity(w.judge, ada);
	judge_release_identity(w.judge, eve);
	transaction_release(t);
	end(&w);
}

static void
a_timeout_of_the_whole_question_splits_it_until_it_is_clear_whose_it_was(void)
{
	struct world w;
	struct transaction *t = make(100, "r", 2, false);
	struct identity *ada;
	struct identity *eve;
	struct ticket of_ada[2];
	struct ticket of_eve[2];

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	eve = judge_identity(w.judge, "app", "{\"sub\":\"eve\"}");
	for (int i = 0; i < 2; i++)
	{
		of_ada[i] = judge_enter(w.judge, ada, t, &t->changes[i]);
		of_eve[i] = judge_enter(w.judge, eve, t, &t->changes[i]);
	}
	judge_go_on(w.judge, 1);
	refuse(&w, 0, ANSWER_REFUSED, "57014", 2);
	CHECK(w.count == 2);
	for (int i = w.count; i > 0; i--)		/* one of each identity; ada's is good */
		if (asked(&w, i - 1, "ada"))
			reply(&w, i - 1, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"11\",\"gone\":\"\"}],\"us\":5}]}", 3);
	CHECK(judge_verdict(of_ada[0]) == VERDICT_SEEN && judge_verdict(of_ada[1]) == VERDICT_SEEN);
	refuse(&w, 0, ANSWER_REFUSED, "57014", 4);
	CHECK(w.count == 2);					/* one of each row */
	refuse(&w, asked(&w, 0, "\"keys\":[\"1\"]") ? 0 : 1, ANSWER_REFUSED, "57014", 5);
	CHECK(judge_verdict(of_eve[0]) == VERDICT_FAILED && judge_verdict(of_eve[1]) == VERDICT_OPEN);
	reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 6);
	CHECK(judge_verdict(of_eve[1]) == VERDICT_SEEN);
	for (int i = 0; i < 2; i++)
	{
		judge_drop(w.judge, of_ada[i]);
		judge_drop(w.judge, of_eve[i]);
	}
	judge_release_identity(w.judge, ada);
	judge_release_identity(w.judge, eve);
	transaction_release(t);
	end(&w);
}

static void
who_is_slow_is_asked_about_alone_and_with_patience(void)
{
	struct world w;
	struct transaction *t = make(100, "r", 1, false);
	struct transaction *next = make(101, "r", 1, false);
	struct identity *ada;
	struct identity *sloth;
	struct ticket of_ada;
	struct ticket of_sloth;
	struct ticket next_of_ada;
	struct ticket next_of_sloth;

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	sloth = judge_identity(w.judge, "app", "{\"sub\":\"sloth\"}");
	of_sloth = judge_enter(w.judge, sloth, t, &t->changes[0]);
	of_ada = judge_enter(w.judge, ada, t, &t->changes[0]);
	judge_go_on(w.judge, 1);
	reply(&w, 0, "{\"snapshot\":\"102:102:\",\"identities\":[{\"error\":{\"code\":\"57014\",\"message\":\"\"},\"us\":500000},{\"later\":true}]}", 2);
	CHECK(w.count == 2);
	CHECK(asked(&w, 0, "\"identity_ms\":5000") != asked(&w, 1, "\"identity_ms\":5000"));
	next_of_ada = judge_enter(w.judge, ada, next, &next->changes[0]);
	next_of_sloth = judge_enter(w.judge, sloth, next, &next->changes[0]);
	CHECK(next_of_ada.docket != next_of_sloth.docket);
	judge_go_on(w.judge, 3);
	CHECK(w.count == 3);					/* the slow one's next waits for its first */
	for (int i = w.count; i > 0; i--)
		if (!asked(&w, i - 1, "sloth"))
			reply(&w, i - 1, "{\"snapshot\":\"102:102:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 3);
	CHECK(judge_verdict(of_ada) == VERDICT_SEEN && judge_verdict(next_of_ada) == VERDICT_SEEN);
	CHECK(judge_verdict(of_sloth) == VERDICT_OPEN && w.count == 1);
	reply(&w, 0, "{\"snapshot\":\"102:102:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":900000}]}", 900);
	CHECK(judge_verdict(of_sloth) == VERDICT_SEEN && w.count == 1);
	reply(&w, 0, "{\"snapshot\":\"102:102:\",\"identities\":[{\"error\":{\"code\":\"57014\",\"message\":\"\"},\"us\":5000000}]}", 6000);
	CHECK(judge_verdict(next_of_sloth) == VERDICT_FAILED);
	judge_drop(w.judge, of_ada);
	judge_drop(w.judge, of_sloth);
	judge_drop(w.judge, next_of_ada);
	judge_drop(w.judge, next_of_sloth);
	judge_release_identity(w.judge, ada);
	judge_release_identity(w.judge, sloth);
	transaction_release(t);
	transaction_release(next);
	end(&w);
}

static void
without_a_database_it_waits_and_what_cannot_be_read_fails(void)
{
	struct world w;
	struct transaction *t = make(100, "r", 1, false);
	struct identity *ada;
	struct ticket ticket;

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	ticket = judge_enter(w.judge, ada, t, &t->changes[0]);
	judge_go_on(w.judge, 1);
	refuse(&w, 0, ANSWER_UNAVAILABLE, NULL, 2);
	CHECK(w.count == 0 && w.wake_ms > 0 && judge_verdict(ticket) == VERDICT_OPEN);
	judge_go_on(w.judge, 2 + w.wake_ms);
	CHECK(w.count == 1);
	reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"11\",\"gone\":\"\"}],\"us\":5}]}", 3);
	CHECK(judge_verdict(ticket) == VERDICT_FAILED);
	judge_drop(w.judge, ticket);
	judge_release_identity(w.judge, ada);
	transaction_release(t);
	end(&w);
}

static void
few_questions_are_under_way_and_what_nobody_waits_for_is_not_asked(void)
{
	static const char *const routes[] = {"a", "b", "c", "d"};
	struct world w;
	struct transaction *t[4];
	struct identity *ada;
	struct ticket tickets[4];

	start(&w);
	ada = judge_identity(w.judge, "app", "{\"sub\":\"ada\"}");
	for (int i = 0; i < 4; i++)
	{
		t[i] = make(100, routes[i], 1, false);
		tickets[i] = judge_enter(w.judge, ada, t[i], &t[i]->changes[0]);
	}
	judge_go_on(w.judge, 1);
	CHECK(w.count == 2);
	judge_drop(w.judge, tickets[2]);
	reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 2);
	CHECK(w.count == 2);
	while (w.count > 0)
		reply(&w, 0, "{\"snapshot\":\"101:101:\",\"identities\":[{\"tables\":[{\"id\":7,\"seen\":\"1\",\"gone\":\"\"}],\"us\":5}]}", 3);
	for (int i = 0; i < 4; i++)
		if (i != 2)
		{
			CHECK(judge_verdict(tickets[i]) == VERDICT_SEEN);
			judge_drop(w.judge, tickets[i]);
		}
	judge_release_identity(w.judge, ada);
	for (int i = 0; i < 4; i++)
		transaction_release(t[i]);
	end(&w);
}

int
main(void)
{
	a_renewed_token_is_the_same_identity_and_another_session_is_not();
	many_share_one_question_and_each_gets_its_own_answer();
	what_the_answer_does_not_show_yet_is_asked_again();
	the_error_of_one_is_nobody_elses();
	a_timeout_of_the_whole_question_splits_it_until_it_is_clear_whose_it_was();
	who_is_slow_is_asked_about_alone_and_with_patience();
	without_a_database_it_waits_and_what_cannot_be_read_fails();
	few_questions_are_under_way_and_what_nobody_waits_for_is_not_asked();
	return CHECK_END();
}

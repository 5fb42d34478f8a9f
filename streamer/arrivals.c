/* arrivals.c - decoded transactions in commit order, held back until the rows that the WAL shows incompletely have been read again. */
/* SPDX-License-Identifier: PostgreSQL */
#include "arrivals.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "log.h"
#include "map.h"
#include "memory.h"
#include "text.h"

#define ROWS_MAX 500			/* keys in one question */
#define TRIES_MAX 100			/* for a row whose transaction is decoded but not visible yet */
#define TRY_AGAIN_MS 10
#define RELOAD_AGAIN_MS 50
#define FAILED_AGAIN_MS 200
#define ANSWER_VALUES_MAX 4000000

/* Either a transaction or a checkpoint. */
struct arrival
{
	struct arrival *next;
	struct transaction *transaction;	/* owned reference; NULL: checkpoint */
	int64_t nonce;
	uint64_t lsn;
	int		tries;
	bool	is_unsettled;		/* while an answer is looked at */
};

struct asked_row
{
	struct arrival *arrival;
	struct change *change;
};

struct arrivals
{
	struct arrivals_calls calls;
	void   *owner;
	struct arrival *first;
	struct arrival *last;
	size_t	bytes;
	size_t	bytes_max;
	bool	is_full;
	bool	is_releasing;		/* guards against going on from within a call */
	bool	is_waiting;			/* for a wake */
	bool	is_reloading;		/* asked for */
	bool	is_reloaded;		/* for the first */
	struct asked_row asked[ROWS_MAX];
	size_t	asked_count;		/* 0: no question under way */
	int		stale_answers;		/* to come, of questions that were forgotten */
	int		reloads;			/* arrivals that change the list of tables */
};

struct arrivals *
arrivals_new(size_t bytes_max, const struct arrivals_calls *calls, void *owner)
{
	struct arrivals *a = memory_new(sizeof(*a));

	a->calls = *calls;
	a->owner = owner;
	a->bytes_max = bytes_max;
	return a;
}

static void
remove_first(struct arrivals *a)
{
	struct arrival *arrival = a->first;

	a->first = arrival->next;
	if (a->first == NULL)
		a->last = NULL;
	if (arrival->transaction != NULL)
		transaction_release(arrival->transaction);
	free(arrival);
}

void
arrivals_clear(struct arrivals *a)
{
	while (a->first != NULL)
		remove_first(a);
	if (a->asked_count > 0)
		a->stale_answers++;
	a->bytes = 0;
	a->reloads = 0;
	a->is_full = a->is_waiting = a->is_reloading = a->is_reloaded = false;
	a->asked_count = 0;
}

void
arrivals_free(struct arrivals *a)
{
	arrivals_clear(a);
	free(a);
}

/* A change of the list of tables stops the decoding of what follows it: those records want the new list. */
static void
set_hold(struct arrivals *a)
{
	bool	is_full = a->reloads > 0 || a->bytes > (a->is_full ? a->bytes_max / 2 : a->bytes_max);

	if (is_full == a->is_full)
		return;
	a->is_full = is_full;
	a->calls.hold(a->owner, is_full);
}

static void
wait(struct arrivals *a, int64_t delay_ms)
{
	if (a->is_waiting)
		return;
	a->is_waiting = true;
	a->calls.wake(a->owner, delay_ms);
}

/* The first table that needs rows decides; its keys are gathered from all that waits, so that many small transactions cost one question. */
static void
gather(struct arrivals *a)
{
	int32_t table_id = 0;

	a->asked_count = 0;
	for (struct arrival *at = a->first; at != NULL && a->asked_count < ROWS_MAX; at = at->next)
	{
		size_t	place = 0;
		struct change *c;

		while (at->transaction != NULL && a->asked_count < ROWS_MAX && (c = transaction_next_unread(at->transaction, &place)) != NULL)
		{
			if (a->asked_count == 0)
				table_id = c->table->id;
			if (c->table->id == table_id)
				a->asked[a->asked_count++] = (struct asked_row){at, c};
		}
	}
}

static void
ask_rows(struct arrivals *a)
{
	const char *keys[ROWS_MAX];

	gather(a);
	for (size_t i = 0; i < a->asked_count; i++)
		keys[i] = a->asked[i].change->entity_id;
	a->calls.ask_rows(a->owner, a->asked[0].change->table->id, keys, a->asked_count);
}

static bool
has_unread(struct transaction *t)
{
	size_t	place = 0;

	return transaction_next_unread(t, &place) != NULL;
}

/* Releases the first arrival; false when it has to wait for an answer. */
static bool
release_first(struct arrivals *a)
{
	struct arrival *at = a->first;
	struct transaction *t = at->transaction;

	if (t == NULL)
	{
		a->calls.returned(a->owner, at->nonce, at->lsn);
		return true;
	}
	if (has_unread(t))
	{
		ask_rows(a);
		return false;
	}
	if (t->draft != NULL)		/* before a reload takes the tables away that it refers to */
	{
		a->bytes -= t->bytes;
		transaction_seal(t);
		a->bytes += t->bytes;
	}
	if (t->needs_reload && !a->is_reloaded)
	{
		if (!a->is_reloading)
		{
			a->is_reloading = true;
			a->calls.reload(a->owner);
		}
		return false;
	}
	a->is_reloaded = false;
	a->reloads -= t->needs_reload;
	a->bytes -= t->bytes;
	a->calls.released(a->owner, t);
	return true;
}

void
arrivals_go_on(struct arrivals *a)
{
	a->is_waiting = false;
	if (a->is_releasing)
		return;
	a->is_releasing = true;
	while (a->first != NULL && a->asked_count == 0 && !a->is_waiting && release_first(a))
		remove_first(a);
	a->is_releasing = false;
	set_hold(a);
}

static void
add(struct arrivals *a, struct arrival *arrival)
{
	if (a->last != NULL)
		a->last->next = arrival;
	else
		a->first = arrival;
	a->last = arrival;
	if (a->is_waiting || a->asked_count > 0)
		set_hold(a);
	else
		arrivals_go_on(a);
}

void
arrivals_add(struct arrivals *a, struct transaction *t)
{
	struct arrival *arrival = memory_new(sizeof(*arrival));

	arrival->transaction = t;
	a->reloads += t->needs_reload;
	a->bytes += t->bytes;
	add(a, arrival);
}

void
arrivals_add_checkpoint(struct arrivals *a, int64_t nonce, uint64_t lsn)
{
	struct arrival *arrival = memory_new(sizeof(*arrival));

	arrival->nonce = nonce;
	arrival->lsn = lsn;
	add(a, arrival);
}

bool
arrivals_may_reload(const struct arrivals *a, const struct snapshot *s)
{
	return a->is_reloading && a->first != NULL && a->first->transaction != NULL && snapshot_sees(s, a->first->transaction->xid);
}

void
arrivals_reloaded(struct arrivals *a, bool is_done)
{
	if (!a->is_reloading)
		return;
	a->is_reloading = false;
	a->is_reloaded = is_done;
	if (is_done)
		arrivals_go_on(a);
	else
		wait(a, RELOAD_AGAIN_MS);
}

static void
lose(struct arrivals *a, struct arrival *at)
{
	log_event(LOG_LEVEL_WARNING, "reread_given_up", "xid=%" PRIu64 " tries=%d", at->transaction->xid, at->tries);
	a->bytes -= at->transaction->bytes;
	transaction_lose(at->transaction);
	a->bytes += at->transaction->bytes;
}

/* What the answer says about one row: its own version, a newer one (whose transaction follows in the stream), not yet anything, or that there was
 * no room for it: then it is asked for again with what is left. */
static bool
settle(struct arrivals *a, struct asked_row *asked, struct json_value element, const struct snapshot *s)
{
	struct transaction *t = asked->arrival->transaction;
	uint64_t xid = 0;
	char	text[24];

	if (json_bool(json_member(element, "later"), false))
		return true;
	if (json_string(json_member(element, "xid"), text, sizeof(text)) && text_uint64(text, strlen(text), &xid) && xid == asked->change->xid &&
		change_set_json(asked->change, json_member(element, "change")))
	{
		t->bytes += asked->change->json_len;
		a->bytes += asked->change->json_len;
		return true;
	}
	if (!snapshot_sees(s, t->xid))
		return false;
	a->bytes -= t->bytes;
	transaction_drop(t, asked->change);
	a->bytes += t->bytes;
	return true;
}

static void
index_rows(struct map *rows, struct json_value *elements, struct json_value array)
{
	struct buffer id;
	size_t	count = 0;

	buffer_init(&id);
	for (struct json_value e = json_first(array); json_type(e) != JSON_ABSENT; e = json_next(e))
	{
		buffer_reset(&id);
		elements[count] = e;
		if (json_unescape(json_member(e, "entity_id"), &id) && id.data != NULL)
			map_put(rows, id.data, id.len, &elements[count]);
		count++;
	}
	buffer_free(&id);
}

/* What was read may be more than is kept of one transaction. */
static void
lose_the_large(struct arrivals *a)
{
	for (size_t i = 0; i < a->asked_count; i++)
	{
		struct transaction *t = a->asked[i].arrival->transaction;

		if (t->bytes <= a->bytes_max)
			continue;
		log_event(LOG_LEVEL_WARNING, "transaction_too_large", "xid=%" PRIu64 " bytes=%zu", t->xid, t->bytes);
		a->bytes -= t->bytes;
		transaction_lose(t);
		a->bytes += t->bytes;
	}
}

/* One try for each transaction and answer. */
static bool
count_tries(struct arrivals *a)
{
	bool	is_settled = true;

	for (size_t i = 0; i < a->asked_count; i++)
	{
		struct arrival *at = a->asked[i].arrival;

		if (!at->is_unsettled)
			continue;
		at->is_unsettled = false;
		is_settled = false;
		if (++at->tries >= TRIES_MAX)
			lose(a, at);
	}
	return is_settled;
}

static bool
settle_all(struct arrivals *a, struct json_value array, const struct snapshot *s)
{
	static const struct json_value absent = {.index = -1};
	struct json_value *elements = memory_new((size_t) json_size(array) * sizeof(*elements));
	struct map rows;

	map_init(&rows);
	index_rows(&rows, elements, array);
	for (size_t i = 0; i < a->asked_count; i++)
	{
		struct asked_row *asked = &a->asked[i];
		const struct json_value *e = map_get(&rows, asked->change->entity_id, strlen(asked->change->entity_id));

		if (!settle(a, asked, e != NULL ? *e : absent, s))
			asked->arrival->is_unsettled = true;
	}
	map_free(&rows);
	free(elements);
	lose_the_large(a);
	return count_tries(a);
}

void
arrivals_rows_answer(struct arrivals *a, const char *json, const char *snapshot)
{
	struct json *doc;
	struct snapshot s;
	bool	is_settled = false;
	bool	is_answer;

	if (a->stale_answers > 0)
	{
		a->stale_answers--;
		return;
	}
	doc = json != NULL ? json_parse(json, strlen(json), ANSWER_VALUES_MAX) : NULL;
	is_answer = doc != NULL && snapshot != NULL && snapshot_parse(&s, snapshot, strlen(snapshot));
	if (is_answer)
	{
		is_settled = settle_all(a, json_root(doc), &s);
		snapshot_free(&s);
	}
	json_free(doc);
	a->asked_count = 0;
	if (is_settled)
		arrivals_go_on(a);
	else
		wait(a, is_answer ? TRY_AGAIN_MS : FAILED_AGAIN_MS);
}

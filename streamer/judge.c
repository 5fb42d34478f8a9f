/* judge.c - who may see which change, where policies decide: asked of the database for many identities and many changes at once. */
/* SPDX-License-Identifier: PostgreSQL */
#include "judge.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "judge_parts.h"
#include "log.h"
#include "map.h"
#include "memory.h"
#include "metrics.h"
#include "snapshot.h"

#define AGAIN_LEAST_MS 2		/* the database's answer did not show the transaction yet */
#define AGAIN_MOST_MS 100
#define RETRY_MS 500			/* the database was not to be had */
#define SLOW_US 100000			/* an identity that takes so long is asked about alone, */
#define SLOW_EACH_US 1000			/* if it takes so long for each change: thousands of changes at once, or a busy machine, make nobody slow */

struct judge
{
	struct judge_calls calls;
	void   *owner;
	struct map identities;		/* role and claims → struct identity */
	struct map open;			/* route → the docket that still takes changes of it */
	struct docket *first;		/* dockets not asked about so far, in the order they were begun */
	struct docket *last;
	struct question *waiting;	/* to be asked again, each at its time */
	struct map asked;			/* id → struct question */
	uint64_t last_id;
	int		flying[2];			/* questions under way: about ordinary identities, about slow ones */
	int		most[2];
};

struct judge *
judge_new(int connections, const struct judge_calls *calls, void *owner)
{
	struct judge *j = memory_new(sizeof(*j));

	j->calls = *calls;
	j->owner = owner;
	j->most[0] = connections > 2 ? connections / 2 : 1;
	j->most[1] = 1;
	map_init(&j->identities);
	map_init(&j->open);
	map_init(&j->asked);
	return j;
}

/* ---- identities ---- */

/* Members of the claims that a renewed token has anew, and that no policy looks at. */
static bool
is_volatile(struct json_value name)
{
	return json_equals(name, "iat") || json_equals(name, "nbf") || json_equals(name, "exp") || json_equals(name, "jti");
}

static void
put_identity_key(struct buffer *key, const char *role, const char *claims)
{
	struct json *doc = json_parse(claims, strlen(claims), INT_MAX);

	buffer_put(key, role, strlen(role) + 1);
	if (doc == NULL || json_type(json_root(doc)) != JSON_OBJECT)
		buffer_puts(key, claims);
	else
		for (struct json_value name = json_first(json_root(doc)); json_type(name) != JSON_ABSENT; name = json_next(name))
			if (!is_volatile(name))
			{
				struct json_value value = json_member_value(name);

				buffer_put(key, name.raw, name.len);
				buffer_put(key, value.raw, value.len);
			}
	json_free(doc);
	memory_require(key->failed ? NULL : key->data);
}

struct identity *
judge_identity(struct judge *j, const char *role, const char *claims)
{
	struct buffer key;
	struct identity *who;

	buffer_init(&key);
	put_identity_key(&key, role, claims);
	who = map_get(&j->identities, key.data, key.len);
	if (who == NULL)
	{
		struct buffer json;

		buffer_init(&json);
		buffer_puts(&json, "{\"role\":");
		buffer_json_string(&json, role, strlen(role));
		buffer_puts(&json, ",\"claims\":");
		buffer_json_string(&json, claims, strlen(claims));		/* a string: what jsonb cannot hold then fails for this one alone */
		buffer_putc(&json, '}');
		who = memory_new(sizeof(*who));
		who->json = buffer_take(&json, &who->json_len);
		memory_require(who->json);
		who->key = buffer_take(&key, &who->key_len);
		map_put(&j->identities, who->key, who->key_len, who);
	}
	buffer_free(&key);
	who->refs++;
	return who;
}

void
judge_release_identity(struct judge *j, struct identity *who)
{
	if (who == NULL || --who->refs > 0)
		return;
	map_remove(&j->identities, who->key, who->key_len);
	free(who->json);
	free(who->key);
	free(who);
}

/* ---- dockets ---- */

static void
free_docket(struct judge *j, struct docket *d)
{
	for (size_t i = 0; i < d->change_count; i++)
		transaction_release(d->changes[i].transaction);
	for (size_t i = 0; i < d->identity_count; i++)
		judge_release_identity(j, d->identities[i]);
	free(d->changes);
	free(d->identities);
	free(d->verdicts);
	free(d->route);
	free(d);
}

static void
release_docket(struct judge *j, struct docket *d)
{
	if (--d->refs == 0)
		free_docket(j, d);
}

static void
close_docket(struct judge *j, struct docket *d)
{
	if (!d->is_open)
		return;
	d->is_open = false;
	if (d->slow != NULL)
		d->slow->docket = NULL;
	else
		map_remove(&j->open, d->route, d->route_len);
}

static struct docket *
open_docket(struct judge *j, struct identity *who, const struct stream_change *c)
{
	struct docket *d = memory_new(sizeof(*d));

	d->refs = 1;		/* the queue's */
	d->serial = ++j->last_id;
	d->is_open = true;
	if (who->is_slow)
	{
		d->slow = who;
		who->docket = d;
	}
	else
	{
		d->route = memory_text(c->route, c->route_len);
		d->route_len = c->route_len;
		map_put(&j->open, d->route, d->route_len, d);
	}
	if (j->last != NULL)
		j->last->next = d;
	else
		j->first = d;
	j->last = d;
	return d;
}

/* A change stands on one route's docket at a time, and knows its place there. On those of slow identities it is the newest or not there. */
static bool
is_entered(const struct docket *d, const struct stream_change *c)
{
	if (d->slow != NULL)
		return d->change_count > 0 && d->changes[d->change_count - 1].change == c;
	return c->docket == d->serial;
}

static bool
has_room(const struct docket *d, const struct identity *who, const struct stream_change *c)
{
	size_t	changes = d->change_count + !is_entered(d, c);
	size_t	identities = d->identity_count + (who->serial != d->serial);

	return changes <= JUDGE_CHANGES_MAX && identities <= JUDGE_IDENTITIES_MAX && changes * identities <= JUDGE_CELLS_MAX &&
		d->bytes_of_identities <= JUDGE_CLAIMS_MAX;
}

static void
add_identity(struct docket *d, struct identity *who)
{
	if (d->identity_count == d->identity_room)
	{
		d->identity_room = d->identity_room > 0 ? d->identity_room * 2 : 8;
		d->identities = memory_grow(d->identities, d->identity_room, sizeof(struct identity *));
	}
	who->serial = d->serial;
	who->place = (uint32_t) d->identity_count;
	who->refs++;
	d->bytes_of_identities += who->json_len;
	d->identities[d->identity_count++] = who;
}

static void
add_change(struct docket *d, struct transaction *t, struct stream_change *c)
{
	if (d->change_count == d->change_room)
	{
		d->change_room = d->change_room > 0 ? d->change_room * 2 : 8;
		d->changes = memory_grow(d->changes, d->change_room, sizeof(*d->changes));
	}
	if (d->slow == NULL)
	{
		c->docket = d->serial;
		c->docket_place = (uint32_t) d->change_count;
	}
	d->changes[d->change_count++] = (struct docket_change){.transaction = transaction_retain(t), .change = c};
}

struct ticket
judge_enter(struct judge *j, struct identity *who, struct transaction *t, struct stream_change *c)
{
	struct docket *d = who->is_slow ? who->docket : map_get(&j->open, c->route, c->route_len);

	if (d != NULL && !has_room(d, who, c))
	{
		close_docket(j, d);
		d = NULL;
	}
	if (d == NULL)
		d = open_docket(j, who, c);
	if (!is_entered(d, c))
		add_change(d, t, c);
	if (who->serial != d->serial)
		add_identity(d, who);
	d->refs++;
	return (struct ticket){.docket = d, .change = d->slow != NULL ? (uint32_t) d->change_count - 1 : c->docket_place, .identity = who->place};
}

enum verdict
judge_verdict(struct ticket ticket)
{
	const struct docket *d = ticket.docket;

	if (d == NULL)
		return VERDICT_SEEN;
	return d->verdicts != NULL ? (enum verdict) d->verdicts[ticket.identity * d->change_count + ticket.change] : VERDICT_OPEN;
}

void
judge_drop(struct judge *j, struct ticket ticket)
{
	if (ticket.docket != NULL)
		release_docket(j, ticket.docket);
}

/* ---- asking ---- */

static void
free_question(struct judge *j, struct question *q)
{
	release_docket(j, q->docket);
	free(q->identities);
	free(q->changes);
	free(q);
}

void
judge_free(struct judge *j)
{
	struct question *q;
	size_t	place = 0;

	if (j == NULL)
		return;
	while (j->first != NULL)
	{
		struct docket *d = j->first;

		j->first = d->next;
		close_docket(j, d);
		release_docket(j, d);
	}
	while ((q = j->waiting) != NULL)
	{
		j->waiting = q->next;
		free_question(j, q);
	}
	while ((q = map_next(&j->asked, &place)) != NULL)
		free_question(j, q);
	map_free(&j->asked);
	map_free(&j->open);
	map_free(&j->identities);
	free(j);
}

static struct question *
question_new(struct docket *d, const uint32_t *identities, size_t identity_count, const uint32_t *changes, size_t change_count)
{
	struct question *q = memory_new(sizeof(*q));

	d->refs++;
	q->docket = d;
	q->identities = memory_grow(NULL, identity_count, sizeof(*q->identities));
	q->changes = memory_grow(NULL, change_count, sizeof(*q->changes));
	memcpy(q->identities, identities, identity_count * sizeof(*identities));
	memcpy(q->changes, changes, change_count * sizeof(*changes));
	q->identity_count = identity_count;
	q->change_count = change_count;
	return q;
}

/* About all of a docket. */
static struct question *
first_question(struct docket *d)
{
	size_t	most = d->change_count > d->identity_count ? d->change_count : d->identity_count;
	uint32_t *all = memory_grow(NULL, most, sizeof(*all));
	struct question *q;

	for (size_t i = 0; i < most; i++)
		all[i] = (uint32_t) i;
	d->verdicts = memory_new(d->change_count * d->identity_count);
	q = question_new(d, all, d->identity_count, all, d->change_count);
	q->is_patient = d->slow != NULL;
	free(all);
	return q;
}

static void
ask(struct judge *j, struct question *q, int64_t now_ms)
{
	struct buffer json;

	buffer_init(&json);
	question_put(q, &json);
	memory_require(json.failed ? NULL : json.data);
	q->asked_ms = now_ms;
	q->id = ++j->last_id;
	map_put_id(&j->asked, q->id, q);
	j->flying[q->is_patient]++;
	metric_add(METRIC_POLICY_QUESTIONS, 1);
	metric_add(METRIC_POLICY_KEYS, q->change_count * q->identity_count);
	j->calls.ask(j->owner, q->id, json.data);
	buffer_free(&json);
}

static bool
may_fly(const struct judge *j, bool is_patient)
{
	return j->flying[is_patient] < j->most[is_patient];
}

/* Whoever asked may have gone meanwhile. */
static bool
is_wanted(const struct docket *d)
{
	return d->refs > 1;
}

/* What was asked before goes first. */
static void
ask_again(struct judge *j, int64_t now_ms)
{
	struct question **link = &j->waiting;
	int64_t next_ms = 0;

	while (*link != NULL)
	{
		struct question *q = *link;

		if (!is_wanted(q->docket))
		{
			*link = q->next;
			free_question(j, q);
		}
		else if (q->at_ms <= now_ms && may_fly(j, q->is_patient))
		{
			*link = q->next;
			ask(j, q, now_ms);
		}
		else
		{
			if (q->at_ms > now_ms && (next_ms == 0 || q->at_ms < next_ms))
				next_ms = q->at_ms;
			link = &q->next;
		}
	}
	if (next_ms != 0)
		j->calls.wake(j->owner, next_ms - now_ms);
}

static void
ask_first(struct judge *j, int64_t now_ms)
{
	struct docket **link = &j->first;
	struct docket *previous = NULL;

	while (*link != NULL)
	{
		struct docket *d = *link;

		if (is_wanted(d) && !may_fly(j, d->slow != NULL))
		{
			previous = d;
			link = &d->next;
			continue;
		}
		*link = d->next;
		if (j->last == d)
			j->last = previous;
		close_docket(j, d);
		if (is_wanted(d))
			ask(j, first_question(d), now_ms);
		release_docket(j, d);
	}
}

void
judge_go_on(struct judge *j, int64_t now_ms)
{
	ask_again(j, now_ms);
	ask_first(j, now_ms);
}

/* ---- answers ---- */

static void
set_verdicts(struct question *q, uint32_t identity, enum verdict verdict)
{
	for (size_t i = 0; i < q->change_count; i++)
		q->docket->verdicts[identity * q->docket->change_count + q->changes[i]] = (unsigned char) verdict;
}

static void
fail(struct question *q)
{
	for (size_t i = 0; i < q->identity_count; i++)
		set_verdicts(q, q->identities[i], VERDICT_FAILED);
}

static void
put_off(struct judge *j, struct question *q, int64_t at_ms)
{
	q->at_ms = at_ms;
	q->next = j->waiting;
	j->waiting = q;
}

/* In two halves, since nothing tells whose fault it was; of a single row and identity it is clear. */
static void
split(struct judge *j, struct question *q, int64_t now_ms)
{
	size_t	identities = q->identity_count / 2;
	size_t	changes = q->change_count / 2;

	if (identities > 0)
	{
		put_off(j, question_new(q->docket, q->identities, identities, q->changes, q->change_count), now_ms);
		put_off(j, question_new(q->docket, q->identities + identities, q->identity_count - identities, q->changes, q->change_count), now_ms);
	}
	else if (changes > 0)
	{
		put_off(j, question_new(q->docket, q->identities, 1, q->changes, changes), now_ms);
		put_off(j, question_new(q->docket, q->identities, 1, q->changes + changes, q->change_count - changes), now_ms);
	}
	else
		fail(q);
}

/* An identity is slow from then on: others do not wait for it. */
static void
note_time(struct identity *who, struct json_value answer, const struct question *q)
{
	int64_t us = 0;
	int64_t each_us = (int64_t) q->change_count * SLOW_EACH_US;

	if (!json_int64(json_member(answer, "us"), &us))
		return;
	if (us > SLOW_US && us > each_us)
		who->is_slow = true;
	else if (q->is_patient && us < SLOW_US / 4 && who->docket == NULL)
		who->is_slow = false;
}

/* Where one question leads to another. */
struct rest
{
	uint32_t *late;				/* identities whose turn did not come */
	size_t	late_count;
	uint32_t *slow;				/* identities that took too long among others */
	size_t	slow_count;
	uint32_t *unseen;			/* changes whose transaction the answer's snapshot does not show */
	size_t	unseen_count;
	uint32_t *judged;			/* identities that were judged */
	size_t	judged_count;
};

/* The identity is known as questions name it: its claims are a text in there. */
static char *
user_of(const struct identity *who)
{
	struct json *doc = json_parse(who->json, who->json_len, INT_MAX);
	char   *claims = json_strdup(json_member(json_root(doc), "claims"));
	struct json *inner = claims != NULL ? json_parse(claims, strlen(claims), INT_MAX) : NULL;
	char   *user = json_strdup(json_member(json_root(inner), "sub"));

	json_free(inner);
	free(claims);
	json_free(doc);
	return user;
}

static void
note_failure(const struct identity *who, struct json_value error)
{
	char	code[8] = "";
	char   *table = json_strdup(json_member(error, "table"));
	char   *reason = json_strdup(json_member(error, "message"));
	char   *user = user_of(who);

	if (json_string(json_member(error, "code"), code, sizeof(code)))
		log_event(LOG_LEVEL_WARNING, "policy_failed", "sqlstate=%s user=\"%.100s\" table=\"%.200s\" reason=\"%s\"", code, user != NULL ? user : "",
				  table != NULL ? table : "", reason != NULL ? reason : "");
	free(user);
	free(reason);
	free(table);
}

static void
take_identity(struct question *q, size_t i, struct json_value answer, const struct snapshot *s, struct rest *rest)
{
	uint32_t place = q->identities[i];
	struct identity *who = q->docket->identities[place];
	struct json_value error = json_member(answer, "error");

	note_time(who, answer, q);
	if (json_bool(json_member(answer, "later"), false))
		rest->late[rest->late_count++] = place;
	else if (!q->is_patient && json_equals(json_member(error, "code"), "57014"))
		rest->slow[rest->slow_count++] = place;
	else if (json_type(error) == JSON_OBJECT || !question_read(q, place, json_member(answer, "tables"), s))
	{
		note_failure(q->docket->identities[place], error);
		set_verdicts(q, place, VERDICT_FAILED);
	}
	else
		rest->judged[rest->judged_count++] = place;
}

/* The first identity has always had its turn, so this ends. */
static void
ask_rest(struct judge *j, struct question *q, const struct rest *rest, int64_t now_ms)
{
	struct question *next;

	if (rest->late_count > 0)
	{
		next = question_new(q->docket, rest->late, rest->late_count, q->changes, q->change_count);
		put_off(j, next, now_ms);
	}
	for (size_t i = 0; i < rest->slow_count; i++)
	{
		next = question_new(q->docket, &rest->slow[i], 1, q->changes, q->change_count);
		next->is_patient = true;
		put_off(j, next, now_ms);
	}
	if (rest->unseen_count > 0 && rest->judged_count > 0)
	{
		next = question_new(q->docket, rest->judged, rest->judged_count, rest->unseen, rest->unseen_count);
		next->is_patient = q->is_patient;
		next->delay_ms = q->delay_ms == 0 ? AGAIN_LEAST_MS : q->delay_ms * 2 > AGAIN_MOST_MS ? AGAIN_MOST_MS : q->delay_ms * 2;
		put_off(j, next, now_ms + next->delay_ms);
	}
}

static bool
take_answer(struct judge *j, struct question *q, struct json_value answer, int64_t now_ms)
{
	struct json_value list = json_member(answer, "identities");
	struct json_value one = json_first(list);
	char	text[24 * 1024];
	struct snapshot s;
	struct rest rest;

	if (json_size(list) != (int) q->identity_count || !json_string(json_member(answer, "snapshot"), text, sizeof(text)) || !snapshot_parse(&s, text, strlen(text)))
		return false;
	rest = (struct rest){.late = memory_grow(NULL, q->identity_count, sizeof(uint32_t)),
						 .slow = memory_grow(NULL, q->identity_count, sizeof(uint32_t)),
						 .judged = memory_grow(NULL, q->identity_count, sizeof(uint32_t)),
						 .unseen = memory_grow(NULL, q->change_count, sizeof(uint32_t))};
	for (size_t i = 0; i < q->identity_count; i++, one = json_next(one))
		take_identity(q, i, one, &s, &rest);
	for (size_t i = 0; i < q->change_count; i++)
		if (!transaction_is_seen(q->docket->changes[q->changes[i]].transaction, &s))
			rest.unseen[rest.unseen_count++] = q->changes[i];
	ask_rest(j, q, &rest, now_ms);
	free(rest.late);
	free(rest.slow);
	free(rest.judged);
	free(rest.unseen);
	snapshot_free(&s);
	return true;
}

static bool
is_too_much(const struct answer *a)
{
	return a->sqlstate != NULL && (strcmp(a->sqlstate, "57014") == 0 || strcmp(a->sqlstate, "53200") == 0 || strcmp(a->sqlstate, "54000") == 0);
}

void
judge_answer(struct judge *j, uint64_t id, const struct answer *a, int64_t now_ms)
{
	struct question *q = map_remove_id(&j->asked, id);
	struct json *doc = a->status == ANSWER_OK ? json_parse(a->json, a->len, INT_MAX) : NULL;

	if (q == NULL)
	{
		json_free(doc);
		return;
	}
	j->flying[q->is_patient]--;
	metric_observe(METRIC_POLICY_TIME, (now_ms - q->asked_ms) * 1000);
	if (a->status == ANSWER_BUSY || a->status == ANSWER_UNAVAILABLE)
		put_off(j, question_new(q->docket, q->identities, q->identity_count, q->changes, q->change_count), now_ms + RETRY_MS);
	else if (a->status == ANSWER_REFUSED && is_too_much(a))
		split(j, q, now_ms);
	else if (doc == NULL || !take_answer(j, q, json_root(doc), now_ms))
	{
		log_event(LOG_LEVEL_ERROR, "visible_keys_failed", "sqlstate=%s", a->sqlstate != NULL ? a->sqlstate : "");
		fail(q);
	}
	json_free(doc);
	free_question(j, q);
	judge_go_on(j, now_ms);
}

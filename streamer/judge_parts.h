/* judge_parts.h - the inside of a judge, shared by judge.c (what is asked when) and question.c (how it is written and its answer read). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_JUDGE_PARTS_H
#define SYNC_JUDGE_PARTS_H

#include "judge.h"

#include "json.h"
#include "snapshot.h"

struct identity
{
	size_t	refs;
	char   *key;			/* owned: what tells it from others */
	size_t	key_len;
	char   *json;			/* owned: as questions name it */
	size_t	json_len;
	uint64_t serial;		/* the docket it entered last, and its place there */
	uint32_t place;
	bool	is_slow;
	struct docket *docket;	/* of a slow one: its own, while it takes changes */
};

struct docket_change
{
	struct transaction *transaction;	/* owned reference */
	struct stream_change *change;
};

struct docket
{
	size_t	refs;			/* tickets, questions, the queue */
	uint64_t serial;
	struct docket *next;	/* in the queue */
	bool	is_open;
	struct identity *slow;	/* the one it is for, if that one is slow; else NULL, and it is for one route. Among its identities unless it is empty. */
	char   *route;			/* owned */
	size_t	route_len;
	struct docket_change *changes;		/* in commit order, but for what is replayed */
	size_t	change_count;
	size_t	change_room;
	struct identity **identities;		/* owned references */
	size_t	identity_count;
	size_t	identity_room;
	size_t	bytes_of_identities;
	unsigned char *verdicts;		/* owned, for each identity one of each change; NULL before it is asked */
};

/* Some identities and some changes of a docket. */
struct question
{
	struct question *next;	/* among those that wait */
	uint64_t id;
	struct docket *docket;	/* owned reference */
	uint32_t *identities;	/* owned: places in the docket */
	size_t	identity_count;
	uint32_t *changes;		/* owned, likewise */
	size_t	change_count;
	bool	is_patient;		/* about one identity that was too slow: in a lane of its own */
	int64_t at_ms;			/* not before */
	int64_t delay_ms;		/* how long it was put off last */
	int64_t asked_ms;
};

void	question_put(const struct question *q, struct buffer *out);		/* the request of sync.visible_keys */
/* Sets one identity's verdicts on what the snapshot shows. false: the answer does not fit. */
bool	question_read(struct question *q, uint32_t identity, struct json_value tables, const struct snapshot *s);

#endif

/* topics.h - who has joined which topic, and what is known of presence there. A private and a public topic of one name are two. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TOPICS_H
#define SYNC_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map.h"
#include "presence.h"

#define TOPIC_NAME_MAX 240		/* bytes; the same in the extension */
#define TOPIC_EVENT_MAX 255		/* bytes of a broadcast's event: frames count it in one byte */

struct topic
{
	char   *name;					/* owned; without realtime: before it */
	bool	is_private;
	struct topic_member **members;	/* in no order */
	size_t	count;
	size_t	room;
	struct presence presence;
	int64_t state_ms;				/* when the members were last told all of it */
	int64_t state_at_ms;			/* and when they are to be told; 0: need not */
	bool	is_changed;				/* in the list of those whose presence has news */
	struct topic *next_changed;
};

/* Part of whatever joins. */
struct topic_member
{
	struct topic *topic;	/* NULL: in none */
	size_t	place;			/* among its members */
	void   *owner;
};

struct topics
{
	struct map map;			/* p or b, then the name → topic */
	struct topic *changed;
};

void	topics_init(struct topics *t);
void	topics_free(struct topics *t);		/* all members have left */

struct topic *topics_find(const struct topics *t, const char *name, bool is_private);	/* NULL: nothing is known of it */
struct topic *topics_get(struct topics *t, const char *name, bool is_private);	/* makes it; topics_tidy when it turns out to be of no use */
void	topics_enter(struct topic *topic, struct topic_member *m);
void	topics_leave(struct topics *t, struct topic_member *m);		/* nothing if it is in none */
void	topics_tidy(struct topics *t, struct topic *topic);		/* forgets a topic that has neither members nor presences nor news of them */

void	topics_changed(struct topics *t, struct topic *topic);		/* its presence has news to tell */
struct topic *topics_take_changed(struct topics *t);		/* all of them, by next_changed; each is to be given back with is_changed false, and tidied */

#endif

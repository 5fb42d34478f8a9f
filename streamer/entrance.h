/* entrance.h - who may be in a realtime: topic and do what there: asked at the join, with a new token, and whenever it may have changed. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ENTRANCE_H
#define SYNC_ENTRANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

enum entrance
{
	ENTRANCE_GRANTED,		/* or, once it has joined, confirmed */
	ENTRANCE_ASKED,		/* the answer comes to entrance_answer */
	ENTRANCE_REFUSED,		/* the client was told, the session is closed */
};

enum entrance entrance_ask(struct session *s);		/* for the join, or again for a new token */
enum entrance entrance_answer(struct session *s, const struct answer *a);		/* of REQUEST_TOPIC */
void	entrance_enter(struct session *s);		/* the join was answered: now it is there */

void	entrance_recheck(struct session *s, int64_t at_ms);		/* its rights may have changed */
void	entrance_tick(struct session *s);

#endif

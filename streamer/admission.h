/* admission.h - who may be in a realtime: topic and do what there: asked at the join, with a new token, and whenever it may have changed. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ADMISSION_H
#define SYNC_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

enum admission
{
	ADMISSION_GRANTED,		/* or, once it has joined, confirmed */
	ADMISSION_ASKED,		/* the answer comes to admission_answer */
	ADMISSION_REFUSED,		/* the client was told, the session is closed */
};

enum admission admission_ask(struct session *s);		/* for the join, or again for a new token */
enum admission admission_answer(struct session *s, const struct answer *a);		/* of REQUEST_TOPIC */
void	admission_enter(struct session *s);		/* the join was answered: now it is there */

void	admission_recheck(struct session *s, int64_t at_ms);		/* its rights may have changed */
void	admission_tick(struct session *s);

#endif

/* resume.h - going on in the stream without a pull: after a reconnect, a gap that was bridged, or a moment of slowness; and whether scopes are still the same. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RESUME_H
#define SYNC_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "session.h"

/* A session that has pulled knows its standing: what sync.session_state said of it. While that is in force and the ring holds all that the session has not
 * got, it needs no query. Where the standing may have changed, sync.session_state alone is asked; only another answer than before asks for a pull. */

void	resume_recall(struct session *s);		/* a join: the standing of an earlier session, if the token given goes with it */
void	resume_remember(struct session *s, const char *state);		/* what the database has just said; the session has its part */
bool	resume_try(struct session *s);			/* true: it is live, by replay from the ring */
bool	resume_wants_look(struct session *s);	/* true: sync.session_state is what it needs now; resume_answer takes the answer */
void	resume_answer(struct session *s, const struct answer *a);

void	resume_quiet(struct session *s);		/* leaves the stream; what was put goes to the client, and there it will go on */
void	resume_look_again(struct session *s, int64_t at_ms);	/* its rights may have changed */

#endif

/* streamer.h - the parts of the streamer wired together: from the WAL to the clients, and from the clients to the database. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_STREAMER_H
#define SYNC_STREAMER_H

#include <stdbool.h>

#include "options.h"

struct streamer;

struct streamer *streamer_new(const struct options *o);		/* listening; NULL: the reason was logged */
void	streamer_free(struct streamer *s);
bool	streamer_turn(struct streamer *s);		/* false: the loop is broken */
void	streamer_say_goodbye(struct streamer *s);		/* closes all clients; takes a second or two at most */

#endif

/* rooms.h - the topics of realtime: sessions: who is in them, broadcasts and presence to them, and to the other streamers. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ROOMS_H
#define SYNC_ROOMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "json.h"
#include "relay.h"
#include "session.h"

struct rooms;

struct rooms_calls
{
	void	(*relay)(void *owner, const char *json);		/* to the other streamers; rooms_relayed says how it went */
	void	(*wake)(void *owner, int64_t delay_ms);			/* calls rooms_flush then */
};

struct rooms *rooms_new(uint64_t id, bool allows_public, const struct rooms_calls *calls, void *owner);
void	rooms_free(struct rooms *r);
bool	rooms_allow_public(const struct rooms *r);

/* A session that has joined and may; it leaves by itself when it is closed. */
void	rooms_enter(struct rooms *r, struct session *s);
void	rooms_leave(struct rooms *r, struct session *s);

/* To everybody in the topic, here and at the other streamers. sender: gets it too only if it asked to; NULL: none. from: for the metrics. */
void	rooms_broadcast(struct rooms *r, const struct session *sender, const struct relayed *b, const char *from);

/* NULL, or why not. */
const char *rooms_track(struct rooms *r, struct session *s, struct json_value meta);
void	rooms_untrack(struct rooms *r, struct session *s);
void	rooms_show_presence(struct rooms *r, struct session *s);		/* presence_state: from here on it gets what changes */

void	rooms_message(struct rooms *r, struct json_value message, int64_t now_ms);		/* a WAL message of ours, of whatever kind */
void	rooms_recheck(struct rooms *r, const char *user, int64_t now_ms);		/* the rights of this user's sessions, or with NULL of all, may have changed */
void	rooms_flush(struct rooms *r);
void	rooms_relayed(struct rooms *r, bool is_ok);
void	rooms_hear(struct rooms *r, bool is_hearing, int64_t now_ms);
void	rooms_tick(struct rooms *r, int64_t now_ms);		/* some 20 times a second: what is new in presence is told */
void	rooms_say_goodbye(struct rooms *r);

#endif

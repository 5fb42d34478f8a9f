/* realtime.h - a realtime: topic, as Supabase's client knows them: its config, the steps of its join, what its server says beside changes. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_REALTIME_H
#define SYNC_REALTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "bindings.h"
#include "presence.h"
#include "rights.h"
#include "session.h"
#include "topics.h"

#define REALTIME_TOPIC_PREFIX "realtime:"

/* What is left to do until the join is answered, or a new token in force. */
enum realtime_step
{
	REALTIME_RIGHTS,			/* may it join this topic: REQUEST_TOPIC */
	REALTIME_CHANGES,			/* what may it see: REQUEST_STATE, then the stream */
	REALTIME_READY,
};

#define REALTIME_JOIN_MS 8000		/* the client gives up after 10 s */

/* Hangs on a session of kind SESSION_REALTIME. */
struct realtime
{
	enum realtime_step step;
	bool	is_answered;			/* the join */
	int64_t begun_ms;
	bool	is_private;
	bool	acks_broadcasts;
	bool	hears_itself;			/* its own broadcasts too */
	bool	asks_readiness;			/* to be told when broadcasts from the database come */
	bool	is_supabase;			/* its client is Supabase's, by the looks of its config */
	bool	has_presence;			/* it wants to know who is there */
	bool	is_anonymous;			/* when it is present it shows a random key and nothing else */
	char	presence_key[PRESENCE_KEY_MAX + 1];		/* "": the server makes one */

	struct rights rights;			/* in the topic */
	bool	is_rights_due;			/* its next request asks for them */
	bool	has_asked_rights;		/* its request under way does */
	int64_t recheck_ms;				/* when they are asked for again */
	bool	is_recheck_doubled;		/* and once more after that */
	struct topic_member member;
	bool	sees_presence;			/* it has been shown presence_state */
	char	presence_ref[PRESENCE_REF_MAX + 1];		/* of its own presence; "": none */
	int64_t presence_ms;			/* limit of presence calls: thousandths of calls used, as of then */
	int64_t presence_calls;
	char   *list;					/* owned: postgres_changes of the config, a JSON array; NULL: none */
	int		binding_count;			/* in it */
	struct bindings *bindings;		/* owned reference; NULL: none, or not live yet */
	char   *state;					/* owned: the answer of sync.session_state that it lives by */
	bool	is_state_due;			/* its next request asks for it */
};

/* Takes the identity over; the join is answered now or later. */
void	realtime_join(struct session *s, const struct message *m, struct token *identity, int64_t now_ms);
void	realtime_renew(struct session *s, struct token *identity);		/* takes it over: whoever it is now, the rights are his from here on */
void	realtime_free(struct realtime *r);		/* NULL is fine */

/* For session.c. */
enum request_kind realtime_request(struct session *s, struct buffer *out);
void	realtime_answer(struct session *s, const struct answer *a);
void	realtime_tick(struct session *s);
void	realtime_deliver(struct session *s, struct batches *b, const struct stream_change *const *changes, size_t count);

/* {"reason": "Code: text"}, as the client shows it. */
void	realtime_put_reason(struct buffer *out, const char *code, const char *text);
void	realtime_refuse(struct session *s, const char *code, const char *text);		/* the join, then it is over */
void	realtime_system(struct session *s, const char *extension, bool is_ok, const char *text);		/* the event of that name */
/* Codes and texts of Supabase for a token that auth_verify refused. */
void	realtime_token_problem(const char *problem, const char **code, const char **text);
const char *realtime_name(const struct session *s);		/* its topic without the prefix */

#endif

/* work.h - what one client has asked of the database and not been answered yet: a bounded queue, served one by one. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_WORK_H
#define SYNC_WORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"
#include "message.h"
#include "request.h"

#define WORKS_MAX 16		/* requests of one client that wait; its sessions' own pulls come on top, one each */

/* What a reply repeats. */
struct message_refs
{
	char	join_ref[MESSAGE_REF_MAX + 1];
	char	ref[MESSAGE_REF_MAX + 1];
	char	topic[MESSAGE_TOPIC_MAX + 1];
};

enum work_kind
{
	WORK_CATCH_UP,		/* a session's own pull; its text is made when its turn comes */
	WORK_PUSH,
	WORK_ASK,			/* one call, named by `request` */
};

struct work
{
	struct work *next;
	enum work_kind kind;
	enum request_kind request;	/* of WORK_ASK */
	uint64_t session;
	struct message_refs refs;	/* not of WORK_CATCH_UP, like the next three */
	char   *json;			/* owned */
	char   *pull_json;		/* owned: the pull that follows a push; NULL: none */
	char   *pushed;			/* owned: the push's answer while that pull runs */
};

struct works
{
	struct work *first;		/* in flight if request_id is not 0 */
	struct work *last;
	size_t	count;			/* without WORK_CATCH_UP */
	size_t	bytes;
	uint64_t request_id;	/* 0: none in flight */
};

void	works_init(struct works *w);
void	works_free(struct works *w);
void	works_add(struct works *w, struct work work);		/* takes its strings over */
struct work *works_take_first(struct works *w);		/* there is one; the caller's to free */
void	work_free(struct work *w);
bool	works_are_full(const struct works *w, size_t more, size_t largest);		/* another request of so many bytes has no room */

/* The texts of a push or pull. device_id (a JSON string, or NULL) is put in where the client left it out. */
void	works_prepare(struct work *w, struct json_value payload, const char *device_id);
/* A push's answer with the pull's that followed; with a failed pull the push's alone, marked has_more. */
void	works_join(struct buffer *out, const char *pushed, const struct answer *pull);

#endif

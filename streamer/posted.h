/* posted.h - broadcasts posted over HTTP: one by its address, or a batch; whose rights must be asked, and what is to be sent. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_POSTED_H
#define SYNC_POSTED_H

#include <stdbool.h>
#include <stddef.h>

#include "json.h"
#include "relay.h"
#include "topics.h"

#define POSTED_MESSAGES_MAX 100		/* of one batch */

struct posted_message
{
	char   *topic;				/* owned */
	char   *event;				/* owned */
	bool	is_private;
	struct json_value payload;	/* absent: the body is the payload */
};

struct posted
{
	bool	is_batch;
	bool	is_binary;			/* the body is bytes */
	struct posted_message messages[POSTED_MESSAGES_MAX];
	size_t	count;
	size_t	asked;				/* rights in the topics of so many messages are known to be there */
	struct json *doc;			/* owned: the body as JSON; NULL if it is bytes */
	const char *body;			/* borrowed */
	size_t	len;
};

/* A refusal; text NULL: none. */
struct posted_problem
{
	unsigned int status;
	const char *code;
	const char *text;
};

bool	posted_is_address(const char *path);
/* path is decoded. NULL: it is not such an address. media: what Content-Type says. */
struct posted *posted_new(const char *path, bool is_private, const char *media, struct posted_problem *problem);
void	posted_free(struct posted *p);

struct posted_problem posted_read(struct posted *p, const char *body, size_t len, size_t max_payload, bool allows_public);
const char *posted_topic(struct posted *p);		/* the next private topic to ask rights in; NULL: all have been asked */
bool	posted_may(struct posted *p, struct json_value rights);		/* the answer; false: not allowed */
void	posted_send(const struct posted *p, void (*send)(void *owner, const struct relayed *b), void *owner);

#endif

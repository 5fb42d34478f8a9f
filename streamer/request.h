/* request.h - what a client asks of the database: its kinds, their answers and errors, and how push and pull are joined. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_REQUEST_H
#define SYNC_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"

#define REQUEST_ERROR_TEXT_MAX 512

enum request_kind
{
	REQUEST_PULL,		/* sync.pull */
	REQUEST_CATCH_UP,	/* sync.session_state and sync.pull in one snapshot */
	REQUEST_PUSH,		/* sync.push */
	REQUEST_DIGEST,		/* sync.digest */
	REQUEST_RESOLVE,	/* sync.resolve_conflict */
	REQUEST_LOCK,		/* sync.lock */
	REQUEST_UNLOCK,		/* sync.unlock */
	REQUEST_STATE,		/* sync.session_state alone, with its snapshot */
	REQUEST_TOPIC,		/* sync.topic_rights */
	REQUEST_VISIBLE,	/* sync.visible_keys; role "none": as the pool's own user, who takes on each role it names */
	REQUEST_NONE,		/* nothing to ask */
};

/* What clients may ask by name, on a channel as over HTTP. false: there is nothing of that name. */
bool	request_named(const char *name, enum request_kind *kind);

unsigned int request_status(const char *code);		/* the HTTP status of an error by this name */

/* Borrowed texts: the pool copies what it keeps. */
struct request
{
	enum request_kind kind;
	const char *role;
	const char *claims;
	const char *json;
};

enum answer_status
{
	ANSWER_OK,
	ANSWER_REFUSED,			/* the database raised an error: sqlstate, text */
	ANSWER_BUSY,			/* too many wait */
	ANSWER_UNAVAILABLE,		/* no connection, or it was lost meanwhile: whether a push happened is unknown, its repeat is safe */
};

struct answer
{
	enum answer_status status;
	const char *json;		/* NULL unless OK */
	size_t	len;
	const char *state;		/* of session_state; NULL unless REQUEST_CATCH_UP */
	const char *snapshot;	/* that json was read in; NULL unless REQUEST_STATE or REQUEST_CATCH_UP */
	const char *sqlstate;	/* refused only */
	const char *text;
	const char *hint;		/* NULL: none */
	const char *read;		/* what was read as the caller when the error came, as the database names it; NULL: it came elsewhere */
	size_t	read_len;
};

typedef void (*request_done)(void *owner, uint64_t id, const struct answer *a);

/* What the client is told about an answer that is not OK. */
struct request_error
{
	int		http_status;
	const char *code;
	const char *text;		/* may point into the answer; see request_error_text() */
	const char *hint;
	bool	is_passing;		/* the same request may succeed a little later */
	const char *sqlstate;	/* told with the text; NULL: not told */
};

struct request_error request_error(const struct answer *a);
void	request_error_text(const struct request_error *e, char out[REQUEST_ERROR_TEXT_MAX]);
const char *request_read(const char *context, size_t *len);		/* what an error's context says was read as the caller; NULL: nothing */

/* A copy of the object with some members left out and others put in front. without: names, NULL at the end; extra: `"name":value,...` or NULL. */
void	request_rewrite(struct buffer *out, struct json_value object, const char *const *without, const char *extra);

/* The pull that goes with a push: its sync_token, device_id, tables, priority, schema_version, limit. false: it carries no sync_token. */
bool	request_pull_of_push(struct buffer *out, struct json_value push);

/* One object of a push's answer and the pull's that followed: changes becomes pull_changes. */
void	request_join(struct buffer *out, struct json_value push, struct json_value pull);

#endif

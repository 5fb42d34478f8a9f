/* token.h - checks a token's signature and times and gives its claims. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TOKEN_H
#define SYNC_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "keys.h"

#define TOKEN_MAX 8192		/* bytes; longer tokens are refused unread */

struct token
{
	char   *claims;			/* owned: JSON text, as signed (the payload's own bytes) */
	char   *subject;		/* owned; "" if absent */
	char   *role;			/* owned; "" if absent */
	int64_t expires_at;		/* unix seconds */
};

/* What a token must satisfy; all borrowed. */
struct token_rules
{
	const struct keys *keys;
	const char *issuer;		/* its `iss`; "": not looked at */
	const char *audience;	/* its `aud`, or one of them; "": not looked at */
};

/* NULL on success, else a reason fit for clients ("token has expired", "bad signature", …) and nothing to free.
 * HS, RS and ES with 256, 384 or 512 as far as there are keys (keys.h); alg none and all others are refused, as is a header with `crit`.
 * `exp` is required: the token is good while now < exp; `nbf` is honoured: now >= nbf; no leeway. `sub` and `role` are strings if there. */
const char *token_verify(struct token *t, const struct token_rules *r, const char *text, size_t len, int64_t now) __attribute__((warn_unused_result));
void	token_free(struct token *t);

#endif

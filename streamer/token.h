/* token.h - checks a token's signature and times and gives its claims. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TOKEN_H
#define SYNC_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define TOKEN_MAX 8192		/* bytes; longer tokens are refused unread */

struct token
{
	char   *claims;			/* owned: JSON text, as signed (the payload's own bytes) */
	char   *subject;		/* owned; "" if absent */
	char   *role;			/* owned; "" if absent */
	int64_t expires_at;		/* unix seconds */
};

struct token_keys;

struct token_keys *token_keys_hs256(const uint8_t *secret, size_t len) __attribute__((warn_unused_result));	/* copied; NULL: shorter than 32 bytes, or no memory */
void	token_keys_free(struct token_keys *k);		/* wipes the secret; NULL is fine */

/* NULL on success, else a reason fit for clients ("token has expired", "bad signature", …) and nothing to free.
 * Only HS256; alg none and all others are refused, as is a header with `crit`. `exp` is required: the token is good while
 * now < exp; `nbf` is honoured: now >= nbf; no leeway. `sub` and `role` are strings if there. */
const char *token_verify(struct token *t, const struct token_keys *k, const char *text, size_t len, int64_t now) __attribute__((warn_unused_result));
void	token_free(struct token *t);

#endif

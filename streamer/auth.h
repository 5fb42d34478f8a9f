/* auth.h - who a token stands for: verified, with a role that may be taken on. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_AUTH_H
#define SYNC_AUTH_H

#include <stddef.h>
#include <stdint.h>

#include "token.h"

struct auth
{
	struct token_rules rules;
	const char *default_role;		/* "": a token must name its role */
};

/* NULL on success, then identity is to be freed with token_free; else a reason fit for clients. Its role is never "". */
const char *auth_verify(const struct auth *a, struct token *identity, const char *text, size_t len, int64_t unix_now) __attribute__((warn_unused_result));

/* The token of an `Authorization: Bearer …` header's value, NULL if it is none. */
const char *auth_bearer(const char *header);

#endif

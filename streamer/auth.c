/* auth.c - who a token stands for: verified, with a role that may be taken on. */
/* SPDX-License-Identifier: PostgreSQL */
#include "auth.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory.h"

const char *
auth_verify(const struct auth *a, struct token *identity, const char *text, size_t len, int64_t unix_now)
{
	const char *reason = token_verify(identity, &a->rules, text, len, unix_now);

	if (reason != NULL)
		return reason;
	if (identity->role[0] == '\0' && a->default_role[0] != '\0')
	{
		free(identity->role);
		identity->role = memory_string(a->default_role);
	}
	/* as a role, "none" means the connection's own: it must never be reached by a token */
	if (identity->role[0] != '\0' && strcasecmp(identity->role, "none") != 0)
		return NULL;
	token_free(identity);
	return "the token names no role";
}

const char *
auth_bearer(const char *header)
{
	static const char scheme[] = "bearer ";

	if (header == NULL || strncasecmp(header, scheme, sizeof(scheme) - 1) != 0)
		return NULL;
	header += sizeof(scheme) - 1;
	header += strspn(header, " ");
	return header[0] != '\0' ? header : NULL;
}

/* jwks_fuzz.c - any JWKS: what is taken can be found again under its name and algorithm, what is not leaves the old keys. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "keys.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const algorithms[] = {"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "none", ""};
	struct keys *k = keys_new();
	struct key found;
	const char *problem = NULL;
	size_t	skipped;
	bool	is_read = keys_read_jwks(k, (const char *) data, size, &skipped) == NULL;

	if (is_read != (keys_count(k) > 0))
		abort();
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
	{
		if (keys_find(k, algorithms[i], "a", &found, &problem) && (!is_read || found.len == 0 || i >= 9))
			abort();
		if (keys_find(k, algorithms[i], NULL, &found, &problem))
		{
			/* a public key is never handed out as a secret, nor the other way round */
			if (found.len == 0 || (i >= 3) != (found.len > 26 && memcmp(found.bytes, "-----BEGIN PUBLIC KEY-----", 26) == 0))
				abort();
		}
	}
	keys_free(k);
	return 0;
}

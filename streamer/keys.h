/* keys.h - the keys tokens may be signed with: a shared secret, those of a JWKS; and which one of them checks a token. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_KEYS_H
#define SYNC_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYS_ID_MAX 255			/* bytes of a kid */
#define KEYS_JWKS_MAX 262144	/* bytes of a JWKS, which may name 100 keys */

struct keys;

/* As libjwt takes it: the secret's bytes, or a public key as PEM. */
struct key
{
	const uint8_t *bytes;
	size_t	len;
};

struct keys *keys_new(void) __attribute__((warn_unused_result));
void	keys_free(struct keys *k);		/* wipes secrets; NULL is fine */

bool	keys_set_secret(struct keys *k, const uint8_t *secret, size_t len) __attribute__((warn_unused_result));	/* copied; false: shorter than 32 bytes, or longer than 64 KiB */

/* Takes the usable keys of {"keys": [..]} in place of those read before. NULL, or why not: then nothing has changed. Left out, as RFC 7517 asks,
 * are keys of other kinds, uses and algorithms, incomplete ones, RSA under 2048 or over 8192 bits; their number goes into *skipped. */
const char *keys_read_jwks(struct keys *k, const char *text, size_t len, size_t *skipped) __attribute__((warn_unused_result));
size_t	keys_count(const struct keys *k);		/* of the JWKS */

/* The one key for a token with this `alg` and `kid` (NULL: none). A key serves only the algorithms of its own kind, so a public key is never a secret.
 * With a kid: the JWKS's key of that name, else, for HS…, the secret. Without: the secret, else the only key of the JWKS that fits.
 * false: *problem says why, fit for clients. The key is good until keys_read_jwks or keys_free. */
bool	keys_find(const struct keys *k, const char *alg, const char *kid, struct key *found, const char **problem);

#endif

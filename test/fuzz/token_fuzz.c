/* token_fuzz.c - any token: nothing without our signature is accepted. The first byte chooses whether the fuzzer may sign:
 * an even one leaves the text as it is, an odd one takes the rest as claims and signs them. */
/* SPDX-License-Identifier: PostgreSQL */
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "token.h"

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t secret[] = "0123456789abcdef0123456789abcdef";

static char *
sign(const uint8_t *claims, size_t len)
{
	char   *text = strndup((const char *) claims, len);
	jwt_t  *jwt = NULL;
	char   *token = NULL;

	if (text != NULL && jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, text) == 0 && jwt_set_alg(jwt, JWT_ALG_HS256, secret, 32) == 0)
		token = jwt_encode_str(jwt);
	jwt_free(jwt);
	free(text);
	return token;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct keys *keys;
	static struct token_rules rules = {.issuer = "", .audience = ""};
	struct token t;
	char   *token;

	if (keys == NULL)
	{
		keys = keys_new();
		if (keys == NULL || !keys_set_secret(keys, secret, 32))
			abort();
		rules.keys = keys;
	}
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
	{
		if (token_verify(&t, &rules, (const char *) data + 1, size - 1, 1000) == NULL)
			token_free(&t);		/* only the signed seed can come here */
		return 0;
	}
	token = sign(data + 1, size - 1);
	if (token != NULL && token_verify(&t, &rules, token, strlen(token), 1000) == NULL)
	{
		if (t.expires_at <= 1000 || t.claims == NULL || t.subject == NULL || t.role == NULL)
			abort();
		token_free(&t);
	}
	free(token);
	return 0;
}

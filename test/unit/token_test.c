/* token_test.c - only a well-formed, well-signed token within its times, of the right issuer, gets through; other keys than secrets: keys_test.c. */
/* SPDX-License-Identifier: PostgreSQL */
#include <jwt.h>
#include <stdlib.h>

#include "buffer.h"
#include "check.h"
#include "token.h"

#define NOW 1000

static const uint8_t secret[] = "0123456789abcdef0123456789abcdef";
static struct token_rules rules = {.issuer = "", .audience = ""};

static struct keys *
keys_of(const uint8_t *bytes)
{
	struct keys *k = keys_new();

	CHECK(k != NULL && keys_set_secret(k, bytes, 32));
	return k;
}

/* The claims signed by libjwt; the caller frees. */
static char *
sign(const char *claims, jwt_alg_t alg)
{
	jwt_t  *jwt = NULL;
	char   *text = NULL;

	if (jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, claims) == 0 && jwt_set_alg(jwt, alg, secret, 32) == 0)
		text = jwt_encode_str(jwt);
	jwt_free(jwt);
	return text;
}

/* "" when accepted, else the reason. */
static const char *
verdict(const char *text)
{
	struct token t;
	const char *problem = token_verify(&t, &rules, text, strlen(text), NOW);

	token_free(&t);
	return problem != NULL ? problem : "";
}

static void
claims_verdict(const char *claims, const char *wanted)
{
	char   *text = sign(claims, JWT_ALG_HS256);

	if (CHECK(text != NULL))
		CHECK_TEXT(verdict(text), wanted);
	free(text);
}

static void
a_good_token_gives_its_claims(void)
{
	char   *text = sign("{\"exp\":2000,\"sub\":\"al\\\"ice\",\"role\":\"web\",\"n\":12345678901234567}", JWT_ALG_HS256);
	struct token t;

	CHECK(token_verify(&t, &rules, text, strlen(text), NOW) == NULL);
	CHECK_TEXT(t.subject, "al\"ice");
	CHECK_TEXT(t.role, "web");
	CHECK(t.expires_at == 2000 && t.claims != NULL && strstr(t.claims, "12345678901234567") != NULL && t.claims[0] == '{');
	token_free(&t);
	free(text);
	text = sign("{\"exp\":2000}", JWT_ALG_HS256);
	CHECK(token_verify(&t, &rules, text, strlen(text), NOW) == NULL);
	CHECK_TEXT(t.subject, "");
	CHECK_TEXT(t.role, "");
	token_free(&t);
	free(text);
}

static void
claims_are_judged(void)
{
	claims_verdict("{\"exp\":1001}", "");
	claims_verdict("{\"exp\":1000}", "token has expired");
	claims_verdict("{\"exp\":-5}", "token has expired");
	claims_verdict("{\"exp\":1000.9}", "token has expired");
	claims_verdict("{\"exp\":1001.5}", "");
	claims_verdict("{\"sub\":\"a\"}", "token has no expiry (exp)");
	claims_verdict("{\"exp\":\"2000\"}", "token has an invalid exp");
	claims_verdict("{\"exp\":null}", "token has an invalid exp");
	claims_verdict("{\"exp\":1e30}", "token has an invalid exp");
	claims_verdict("{\"exp\":2000,\"nbf\":1000}", "");
	claims_verdict("{\"exp\":2000,\"nbf\":1001}", "token is not valid yet");
	claims_verdict("{\"exp\":2000,\"nbf\":\"x\"}", "token has an invalid nbf");
	claims_verdict("{\"exp\":2000,\"sub\":1}", "token has an invalid sub or role");
	claims_verdict("{\"exp\":2000,\"role\":[\"a\"]}", "token has an invalid sub or role");
	claims_verdict("{\"exp\":2000,\"role\":null}", "token has an invalid sub or role");
}

/* The token's header replaced, its signature kept. */
static void
header_verdict(const char *header, const char *wanted)
{
	char   *text = sign("{\"exp\":2000}", JWT_ALG_HS256);
	struct buffer b;

	buffer_init(&b);
	buffer_base64url(&b, (const uint8_t *) header, strlen(header));
	buffer_puts(&b, strchr(text, '.'));
	CHECK_TEXT(verdict(b.data), wanted);
	buffer_free(&b);
	free(text);
}

static void
the_header_cannot_choose(void)
{
	char   *none = sign("{\"exp\":2000}", JWT_ALG_NONE);
	char   *longer = sign("{\"exp\":2000}", JWT_ALG_HS512);

	header_verdict("{\"alg\":\"none\"}", "token algorithm is not allowed");
	header_verdict("{\"alg\":\"None\"}", "token algorithm is not allowed");
	header_verdict("{\"alg\":\"hs256\"}", "token algorithm is not allowed");
	header_verdict("{\"alg\":\"RS256\"}", "token algorithm is not allowed");
	header_verdict("{\"alg\":256}", "token algorithm is not allowed");
	header_verdict("{}", "token algorithm is not allowed");
	header_verdict("{\"alg\":\"HS256\",\"alg\":\"none\"}", "token algorithm is not allowed");
	header_verdict("{\"alg\":\"none\",\"alg\":\"HS256\"}", "bad signature");
	header_verdict("{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", "token has critical extensions that are not understood");
	header_verdict("{\"alg\":\"HS256\",\"kid\":\"x\"}", "bad signature");
	header_verdict("[]", "malformed token");
	header_verdict("", "malformed token");
	CHECK_TEXT(verdict(none != NULL ? none : ""), "malformed token");
	CHECK_TEXT(verdict(longer), "token algorithm is not allowed");		/* the secret is shorter than the hash */
	header_verdict("{\"alg\":\"HS256\",\"kid\":7}", "token has an invalid kid");
	free(none);
	free(longer);
}

static void
any_altered_letter_is_noticed(void)
{
	char   *text = sign("{\"exp\":2000,\"sub\":\"alice\"}", JWT_ALG_HS256);
	size_t	len = strlen(text);
	int		accepted = 0;
	char   *longer = malloc(len + 10);
	struct token t;

	for (size_t i = 0; i < len; i++)
	{
		char	kept = text[i];

		text[i] = kept == 'A' ? 'B' : 'A';
		accepted += verdict(text)[0] == '\0';
		text[i] = '\0';
		accepted += token_verify(&t, &rules, text, len, NOW) == NULL;
		accepted += token_verify(&t, &rules, text, i, NOW) == NULL;
		text[i] = kept;
	}
	CHECK(accepted == 0);
	snprintf(longer, len + 10, "%s=", text);
	CHECK_TEXT(verdict(longer), "malformed token");
	snprintf(longer, len + 10, "%s.x", text);
	CHECK_TEXT(verdict(longer), "malformed token");
	snprintf(longer, len + 10, " %s", text);
	CHECK_TEXT(verdict(longer), "malformed token");
	CHECK_TEXT(verdict(text), "");
	CHECK_TEXT(verdict("."), "malformed token");
	CHECK_TEXT(verdict(".."), "malformed token");
	CHECK_TEXT(verdict(""), "malformed token");
	free(longer);
	free(text);
}

static void
keys_and_lengths(void)
{
	static const uint8_t other[] = "0123456789abcdef0123456789abcdeX";
	struct token_rules foreign = {.keys = keys_of(other), .issuer = "", .audience = ""};
	struct keys *empty = keys_new();
	char   *text = sign("{\"exp\":2000}", JWT_ALG_HS256);
	char	big[TOKEN_MAX + 2];
	struct token t;
	const char *problem;

	CHECK(!keys_set_secret(empty, secret, 31));
	keys_free(empty);
	problem = token_verify(&t, &foreign, text, strlen(text), NOW);
	CHECK_TEXT(problem, "bad signature");
	memset(big, 'A', sizeof(big));
	problem = token_verify(&t, &rules, big, TOKEN_MAX + 1, NOW);
	CHECK_TEXT(problem, "token is too long");
	problem = token_verify(&t, &rules, big, TOKEN_MAX, NOW);
	CHECK_TEXT(problem, "malformed token");
	keys_free((struct keys *) foreign.keys);
	keys_free(NULL);
	free(text);
}

static void
issuer_and_audience(void)
{
	static const char *const others[] = {"{\"exp\":2000}", "{\"exp\":2000,\"iss\":\"them\",\"aud\":\"app\"}", "{\"exp\":2000,\"iss\":[\"us\"],\"aud\":\"app\"}",
		"{\"exp\":2000,\"iss\":null,\"aud\":\"app\"}"};
	static const char *const elsewhere[] = {"{\"exp\":2000,\"iss\":\"us\"}", "{\"exp\":2000,\"iss\":\"us\",\"aud\":\"apps\"}", "{\"exp\":2000,\"iss\":\"us\",\"aud\":[]}",
		"{\"exp\":2000,\"iss\":\"us\",\"aud\":[\"a\",[\"app\"]]}", "{\"exp\":2000,\"iss\":\"us\",\"aud\":{\"app\":\"app\"}}"};

	rules.issuer = "us";
	rules.audience = "app";
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		claims_verdict(others[i], "token is of another issuer (iss)");
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++)
		claims_verdict(elsewhere[i], "token is for another audience (aud)");
	claims_verdict("{\"exp\":2000,\"iss\":\"us\",\"aud\":\"app\"}", "");
	claims_verdict("{\"exp\":2000,\"iss\":\"us\",\"aud\":[\"other\",\"app\"]}", "");
	claims_verdict("{\"exp\":900,\"iss\":\"us\",\"aud\":\"app\"}", "token has expired");
	rules.issuer = rules.audience = "";
}

int
main(void)
{
	struct keys *keys = keys_of(secret);

	rules.keys = keys;
	{
		a_good_token_gives_its_claims();
		claims_are_judged();
		the_header_cannot_choose();
		any_altered_letter_is_noticed();
		keys_and_lengths();
		issuer_and_audience();
	}
	keys_free(keys);
	return CHECK_END();
}

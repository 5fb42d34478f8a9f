/* keys_test.c - keys of a JWKS: which are taken, which one checks a token, and that none is used for what it is not. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>

#include <jwt.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "buffer.h"
#include "check.h"
#include "keys.h"
#include "token.h"

#define NOW 1000
#define CLAIMS "{\"exp\":2000,\"sub\":\"ada\",\"role\":\"app\"}"
#define UNKNOWN "the token's key (kid) is not known"
#define UNNAMED "the token does not name its key (kid)"
#define NOT_ALLOWED "token algorithm is not allowed"

static const uint8_t secret[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* A made key: what signs, and the members of its JWK without the braces. */
struct pair
{
	char   *private_pem;
	char   *public_pem;
	char   *jwk;
};

static char *
taken(BIO *bio)
{
	char   *text;
	long	len = BIO_get_mem_data(bio, &text);
	char   *copy = strndup(text, (size_t) len);

	BIO_free(bio);
	return copy;
}

static void
put_number(struct buffer *b, EVP_PKEY *key, const char *parameter, const char *name, int bytes)
{
	BIGNUM *n = NULL;
	uint8_t text[1024];
	int		len;

	CHECK(EVP_PKEY_get_bn_param(key, parameter, &n) == 1);
	len = bytes > 0 ? BN_bn2binpad(n, text, bytes) : BN_bn2bin(n, text);
	buffer_printf(b, ",\"%s\":\"", name);
	buffer_base64url(b, text, (size_t) len);
	buffer_puts(b, "\"");
	BN_free(n);
}

static struct pair
make(EVP_PKEY *key, const char *curve, int bytes)
{
	struct pair p;
	struct buffer b;
	BIO    *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	p.private_pem = taken(bio);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PUBKEY(bio, key);
	p.public_pem = taken(bio);
	buffer_init(&b);
	if (curve == NULL)
	{
		buffer_puts(&b, "\"kty\":\"RSA\"");
		put_number(&b, key, OSSL_PKEY_PARAM_RSA_N, "n", 0);
		put_number(&b, key, OSSL_PKEY_PARAM_RSA_E, "e", 0);
	}
	else
	{
		buffer_printf(&b, "\"kty\":\"EC\",\"crv\":\"%s\"", curve);
		put_number(&b, key, OSSL_PKEY_PARAM_EC_PUB_X, "x", bytes);
		put_number(&b, key, OSSL_PKEY_PARAM_EC_PUB_Y, "y", bytes);
	}
	p.jwk = buffer_take(&b, NULL);
	EVP_PKEY_free(key);
	return p;
}

static void
pair_free(struct pair *p)
{
	free(p->private_pem);
	free(p->public_pem);
	free(p->jwk);
}

/* The claims signed; kid NULL: none. The caller frees. */
static char *
sign(jwt_alg_t alg, const char *key, size_t len, const char *kid)
{
	jwt_t  *jwt = NULL;
	char   *text = NULL;

	if (jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, CLAIMS) == 0 && (kid == NULL || jwt_add_header(jwt, "kid", kid) == 0) &&
		jwt_set_alg(jwt, alg, (const unsigned char *) key, (int) len) == 0)
		text = jwt_encode_str(jwt);
	jwt_free(jwt);
	return text;
}

/* "" when accepted, else the reason. */
static const char *
verdict(const struct keys *k, const char *text)
{
	struct token_rules rules = {.keys = k, .issuer = "", .audience = ""};
	struct token t;
	const char *problem = text != NULL ? token_verify(&t, &rules, text, strlen(text), NOW) : "not signed";

	if (problem == NULL)
		token_free(&t);
	return problem != NULL ? problem : "";
}

static void
expect(const struct keys *k, jwt_alg_t alg, const char *key, const char *kid, const char *wanted)
{
	char   *text = sign(alg, key, strlen(key), kid);

	CHECK_TEXT(verdict(k, text), wanted);
	free(text);
}

/* A JWKS of these, each the members of a key. NULL: read. */
static const char *
read_keys(struct keys *k, const char *first, const char *second, size_t *skipped)
{
	struct buffer b;
	const char *problem;

	buffer_init(&b);
	buffer_printf(&b, "{\"keys\":[{%s}%s%s%s]}", first, second != NULL ? ",{" : "", second != NULL ? second : "", second != NULL ? "}" : "");
	problem = keys_read_jwks(k, b.data, b.len, skipped);
	buffer_free(&b);
	return problem;
}

/* One key with more members. */
static const char *
read_with(struct keys *k, const struct pair *p, const char *more)
{
	struct buffer b;
	const char *problem;
	size_t	skipped;

	buffer_init(&b);
	buffer_printf(&b, "%s%s", p->jwk, more);
	problem = read_keys(k, b.data, NULL, &skipped);
	buffer_free(&b);
	return problem;
}

static void
each_algorithm_checks(const struct pair *rsa, const struct pair *p256, const struct pair *p384, const struct pair *p521)
{
	struct keys *k = keys_new();

	CHECK(read_with(k, rsa, "") == NULL && keys_count(k) == 1);
	expect(k, JWT_ALG_RS256, rsa->private_pem, NULL, "");
	expect(k, JWT_ALG_RS384, rsa->private_pem, NULL, "");
	expect(k, JWT_ALG_RS512, rsa->private_pem, NULL, "");
	expect(k, JWT_ALG_ES256, p256->private_pem, NULL, NOT_ALLOWED);
	CHECK(read_with(k, p256, "") == NULL && keys_count(k) == 1);
	expect(k, JWT_ALG_ES256, p256->private_pem, NULL, "");
	expect(k, JWT_ALG_RS256, rsa->private_pem, NULL, NOT_ALLOWED);
	expect(k, JWT_ALG_ES384, p384->private_pem, NULL, NOT_ALLOWED);
	CHECK(read_with(k, p384, "") == NULL);
	expect(k, JWT_ALG_ES384, p384->private_pem, NULL, "");
	CHECK(read_with(k, p521, "") == NULL);
	expect(k, JWT_ALG_ES512, p521->private_pem, NULL, "");
	keys_free(k);
}

static void
secrets_of_a_length(void)
{
	struct keys *k = keys_new();
	struct pair oct = {.jwk = (char *) "\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY\""};

	CHECK(read_with(k, &oct, "") == NULL);
	expect(k, JWT_ALG_HS256, "0123456789abcdef0123456789abcdef", NULL, "");
	expect(k, JWT_ALG_HS256, "0123456789abcdef0123456789abcdeX", NULL, "bad signature");
	expect(k, JWT_ALG_HS384, "0123456789abcdef0123456789abcdef", NULL, NOT_ALLOWED);
	CHECK(read_with(k, &oct, ",\"alg\":\"HS512\"") != NULL);
	oct.jwk = (char *) "\"kty\":\"oct\",\"k\":\"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ\"";
	CHECK(read_with(k, &oct, "") != NULL);
	CHECK(keys_set_secret(k, secret + 16, 48));
	expect(k, JWT_ALG_HS384, (const char *) secret + 16, NULL, "");
	expect(k, JWT_ALG_HS512, (const char *) secret + 16, NULL, NOT_ALLOWED);
	keys_free(k);
}

/* The classic: a public key, which everybody has, taken for the secret of an HMAC. */
static void
no_key_is_taken_for_another_kind(const struct pair *rsa, const struct pair *p256)
{
	struct keys *k = keys_new();

	CHECK(read_with(k, rsa, ",\"kid\":\"a\"") == NULL);
	expect(k, JWT_ALG_HS256, rsa->public_pem, "a", NOT_ALLOWED);
	expect(k, JWT_ALG_HS256, rsa->public_pem, NULL, NOT_ALLOWED);
	CHECK(keys_set_secret(k, secret, 64));
	expect(k, JWT_ALG_HS256, rsa->public_pem, "a", "bad signature");
	expect(k, JWT_ALG_HS256, rsa->public_pem, NULL, "bad signature");
	expect(k, JWT_ALG_RS256, rsa->private_pem, "a", "");
	expect(k, JWT_ALG_ES256, p256->private_pem, "a", NOT_ALLOWED);
	CHECK_TEXT(verdict(k, "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDB9."), "malformed token");
	CHECK_TEXT(verdict(k, "eyJhbGciOiJub25lIn0.eyJleHAiOjIwMDB9.AAAA"), NOT_ALLOWED);
	keys_free(k);
}

static void
the_kid_chooses(const struct pair *rsa, const struct pair *other)
{
	struct keys *k = keys_new();
	struct buffer one;
	struct buffer two;
	size_t	skipped;

	buffer_init(&one);
	buffer_init(&two);
	buffer_printf(&one, "%s,\"kid\":\"one\"", rsa->jwk);
	buffer_printf(&two, "%s,\"kid\":\"two\"", other->jwk);
	CHECK(read_keys(k, one.data, two.data, &skipped) == NULL && keys_count(k) == 2);
	expect(k, JWT_ALG_RS256, rsa->private_pem, "one", "");
	expect(k, JWT_ALG_RS256, other->private_pem, "two", "");
	expect(k, JWT_ALG_RS256, rsa->private_pem, "two", "bad signature");
	expect(k, JWT_ALG_RS256, rsa->private_pem, "three", UNKNOWN);
	expect(k, JWT_ALG_RS256, rsa->private_pem, "", UNKNOWN);
	expect(k, JWT_ALG_RS256, rsa->private_pem, NULL, UNNAMED);
	CHECK(keys_set_secret(k, secret, 64));
	expect(k, JWT_ALG_RS256, rsa->private_pem, "three", UNKNOWN);
	expect(k, JWT_ALG_HS512, (const char *) secret, "three", "");		/* the secret has no name */
	CHECK(read_keys(k, one.data, NULL, &skipped) == NULL);
	expect(k, JWT_ALG_RS256, other->private_pem, "two", UNKNOWN);
	buffer_free(&one);
	buffer_free(&two);
	keys_free(k);
}

static void
what_a_key_is_for_counts(const struct pair *rsa)
{
	static const char *const refused[] = {",\"use\":\"enc\"", ",\"use\":7", ",\"key_ops\":[\"encrypt\"]", ",\"key_ops\":[]", ",\"alg\":\"PS256\"", ",\"alg\":\"ES256\"",
		",\"alg\":\"HS256\"", ",\"alg\":\"none\"", ",\"alg\":null", ",\"kid\":5", ",\"kid\":\"\\u0000\"", ",\"n\":\"\"", ",\"n\":\"AQAB\"", ",\"n\":\"a=\"", ",\"e\":\"AA\"",
		",\"e\":\"AQ\"", ",\"e\":\"Ag\"", ",\"kty\":\"OKP\"", ",\"kty\":\"oct\"", ",\"kty\":\"EC\""};
	struct keys *k = keys_new();

	CHECK(read_with(k, rsa, ",\"use\":\"sig\",\"key_ops\":[\"sign\",\"verify\"],\"alg\":\"RS256\",\"x5t\":\"whatever\"") == NULL);
	expect(k, JWT_ALG_RS256, rsa->private_pem, NULL, "");
	expect(k, JWT_ALG_RS512, rsa->private_pem, NULL, NOT_ALLOWED);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (!CHECK(read_with(k, rsa, refused[i]) != NULL))
			fprintf(stderr, "    %s\n", refused[i]);
	CHECK(keys_count(k) == 1);
	expect(k, JWT_ALG_RS256, rsa->private_pem, NULL, "");		/* what cannot be read leaves the old keys */
	keys_free(k);
}

static void
points_must_lie_on_their_curve(const struct pair *p256, const struct pair *p384)
{
	struct keys *k = keys_new();
	char   *bent = strdup(p256->jwk);
	char   *y = strstr(bent, "\"y\":\"") + 5;
	struct pair off = {.jwk = bent};

	y[0] = y[0] == 'A' ? 'B' : 'A';
	CHECK(read_with(k, &off, "") != NULL);
	CHECK(read_with(k, p256, ",\"crv\":\"P-384\"") != NULL);
	CHECK(read_with(k, p384, ",\"crv\":\"P-256\"") != NULL);
	CHECK(read_with(k, p256, ",\"crv\":\"secp256k1\"") != NULL);
	CHECK(read_with(k, p256, ",\"alg\":\"ES384\"") != NULL);
	free(bent);
	keys_free(k);
}

static void
sets_that_are_none(const struct pair *rsa)
{
	static const char *const texts[] = {"", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[1,null,\"x\",[]]}", "{\"keys\":[{}]}", "{\"keys\":[", "\xff", "{\"keys\":[{\"kty\":\"RSA\"}]}"};
	struct keys *k = keys_new();
	struct buffer many;
	size_t	skipped;

	CHECK(read_with(k, rsa, "") == NULL);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		CHECK(keys_read_jwks(k, texts[i], strlen(texts[i]), &skipped) != NULL);
	buffer_init(&many);
	buffer_puts(&many, "{\"keys\":[{}");
	for (int i = 0; i < 100; i++)
		buffer_puts(&many, ",{}");
	buffer_puts(&many, "]}");
	CHECK_TEXT(keys_read_jwks(k, many.data, many.len, &skipped), "no object with an array \"keys\" of at most 100");
	buffer_free(&many);
	CHECK(read_keys(k, "\"kty\":\"OKP\"", rsa->jwk, &skipped) == NULL && skipped == 1 && keys_count(k) == 1);
	keys_free(k);
}

int
main(void)
{
	struct pair rsa = make(EVP_RSA_gen(2048), NULL, 0);
	struct pair other = make(EVP_RSA_gen(2048), NULL, 0);
	struct pair p256 = make(EVP_EC_gen("P-256"), "P-256", 32);
	struct pair p384 = make(EVP_EC_gen("P-384"), "P-384", 48);
	struct pair p521 = make(EVP_EC_gen("P-521"), "P-521", 66);

	each_algorithm_checks(&rsa, &p256, &p384, &p521);
	secrets_of_a_length();
	no_key_is_taken_for_another_kind(&rsa, &p256);
	the_kid_chooses(&rsa, &other);
	what_a_key_is_for_counts(&rsa);
	points_must_lie_on_their_curve(&p256, &p384);
	sets_that_are_none(&rsa);
	pair_free(&rsa);
	pair_free(&other);
	pair_free(&p256);
	pair_free(&p384);
	pair_free(&p521);
	return CHECK_END();
}

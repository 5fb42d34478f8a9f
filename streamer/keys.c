/* keys.c - the keys tokens may be signed with: a shared secret, those of a JWKS; and which one of them checks a token. */
/* SPDX-License-Identifier: PostgreSQL */
#include "keys.h"

#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"
#include "memory.h"
#include "pem.h"
#include "text.h"

#define SECRET_MIN 32
#define SECRET_MAX 65536
#define KEYS_MAX 100
#define VALUES_MAX 8192

enum kind { SECRET, RSA_KEY, EC_KEY };

struct algorithm
{
	const char *name;
	enum kind kind;
	size_t	least;			/* bytes of a secret: no shorter than the hash, RFC 7518 */
	const char *curve;		/* of EC keys, as JWK names it */
};

static const struct algorithm algorithms[] = {
	{"HS256", SECRET, 32, NULL},
	{"HS384", SECRET, 48, NULL},
	{"HS512", SECRET, 64, NULL},
	{"RS256", RSA_KEY, 0, NULL},
	{"RS384", RSA_KEY, 0, NULL},
	{"RS512", RSA_KEY, 0, NULL},
	{"ES256", EC_KEY, 0, "P-256"},
	{"ES384", EC_KEY, 0, "P-384"},
	{"ES512", EC_KEY, 0, "P-521"},
};

#define ALGORITHMS (sizeof(algorithms) / sizeof(algorithms[0]))

/* One key; bytes is NULL where none is set. */
struct entry
{
	enum kind kind;
	const struct algorithm *only;	/* NULL: any of its kind */
	char	curve[8];				/* EC */
	char   *id;						/* owned; NULL: none */
	char   *bytes;					/* owned */
	size_t	len;
};

struct keys
{
	struct entry secret;
	struct entry *set;				/* owned: of the JWKS */
	size_t	count;
};

static void
free_entry(struct entry *e)
{
	if (e->bytes != NULL)
		explicit_bzero(e->bytes, e->len);
	free(e->bytes);
	free(e->id);
	*e = (struct entry) {0};
}

static void
free_set(struct entry *set, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free_entry(&set[i]);
	free(set);
}

struct keys *
keys_new(void)
{
	return memory_new(sizeof(struct keys));
}

void
keys_free(struct keys *k)
{
	if (k == NULL)
		return;
	free_entry(&k->secret);
	free_set(k->set, k->count);
	free(k);
}

bool
keys_set_secret(struct keys *k, const uint8_t *secret, size_t len)
{
	char   *copy;

	if (len < SECRET_MIN || len > SECRET_MAX)
		return false;
	copy = memory_text((const char *) secret, len);
	free_entry(&k->secret);
	k->secret = (struct entry) {.kind = SECRET, .bytes = copy, .len = len};
	return true;
}

static const struct algorithm *
find_algorithm(const char *name)
{
	for (size_t i = 0; i < ALGORITHMS; i++)
		if (strcmp(name, algorithms[i].name) == 0)
			return &algorithms[i];
	return NULL;
}

static bool
fits(const struct entry *e, const struct algorithm *a)
{
	if (e->bytes == NULL || e->kind != a->kind || (e->only != NULL && e->only != a))
		return false;
	return a->curve != NULL ? strcmp(e->curve, a->curve) == 0 : e->len >= a->least;
}

/* Absent, or a list that has it. */
static bool
lists(struct json_value list, const char *wanted)
{
	if (json_type(list) == JSON_ABSENT)
		return true;
	for (struct json_value v = json_first(list); json_type(v) != JSON_ABSENT; v = json_next(v))
		if (json_equals(v, wanted))
			return true;
	return false;
}

/* Is it meant for checking signatures, and by an algorithm of ours? */
static bool
read_purpose(struct entry *e, struct json_value jwk)
{
	struct json_value use = json_member(jwk, "use");
	struct json_value alg = json_member(jwk, "alg");
	struct json_value id = json_member(jwk, "kid");
	char	name[8];
	char	text[KEYS_ID_MAX + 1];

	if (json_type(use) != JSON_ABSENT && !json_equals(use, "sig"))
		return false;
	if (!lists(json_member(jwk, "key_ops"), "verify"))
		return false;
	if (json_type(alg) != JSON_ABSENT && (!json_string(alg, name, sizeof(name)) || (e->only = find_algorithm(name)) == NULL))
		return false;
	if (json_type(id) == JSON_ABSENT)
		return true;
	e->id = json_string(id, text, sizeof(text)) ? memory_string(text) : NULL;
	return e->id != NULL;
}

static bool
read_bytes(struct json_value jwk, const char *name, struct buffer *out)
{
	struct json_value v = json_member(jwk, name);

	/* base64url needs no escapes: the raw text within its quotes */
	return json_type(v) == JSON_STRING && v.len > 2 && buffer_unbase64url(out, v.raw + 1, v.len - 2);
}

static bool
read_secret(struct entry *e, struct json_value jwk)
{
	struct buffer k;

	buffer_init(&k);
	e->kind = SECRET;
	if (read_bytes(jwk, "k", &k) && k.len >= SECRET_MIN && k.len <= SECRET_MAX)
		e->bytes = buffer_take(&k, &e->len);
	if (k.data != NULL)
		explicit_bzero(k.data, k.len);
	buffer_free(&k);
	return e->bytes != NULL;
}

static bool
read_rsa(struct entry *e, struct json_value jwk)
{
	struct buffer n;
	struct buffer exponent;
	struct buffer pem;

	buffer_init(&n);
	buffer_init(&exponent);
	buffer_init(&pem);
	e->kind = RSA_KEY;
	if (read_bytes(jwk, "n", &n) && read_bytes(jwk, "e", &exponent) && pem_of_rsa(&pem, &n, &exponent))
		e->bytes = buffer_take(&pem, &e->len);
	buffer_free(&n);
	buffer_free(&exponent);
	buffer_free(&pem);
	return e->bytes != NULL;
}

static bool
read_ec(struct entry *e, struct json_value jwk)
{
	struct buffer x;
	struct buffer y;
	struct buffer pem;

	buffer_init(&x);
	buffer_init(&y);
	buffer_init(&pem);
	e->kind = EC_KEY;
	if (json_string(json_member(jwk, "crv"), e->curve, sizeof(e->curve)) && read_bytes(jwk, "x", &x) && read_bytes(jwk, "y", &y) &&
		pem_of_ec(&pem, e->curve, &x, &y))
		e->bytes = buffer_take(&pem, &e->len);
	buffer_free(&x);
	buffer_free(&y);
	buffer_free(&pem);
	return e->bytes != NULL;
}

static bool
read_jwk(struct entry *e, struct json_value jwk)
{
	struct json_value kind = json_member(jwk, "kty");
	bool	is_good = read_purpose(e, jwk);

	if (is_good && json_equals(kind, "oct"))
		is_good = read_secret(e, jwk);
	else if (is_good && json_equals(kind, "RSA"))
		is_good = read_rsa(e, jwk);
	else if (is_good && json_equals(kind, "EC"))
		is_good = read_ec(e, jwk);
	else
		is_good = false;
	/* an `alg` of another kind of key, or one that this key is too short for */
	if (is_good && e->only != NULL && !fits(e, e->only))
		is_good = false;
	if (!is_good)
		free_entry(e);
	return is_good;
}

/* The members of `keys`, one by one; set has room for all of them. */
static size_t
read_set(struct entry *set, struct json_value list, size_t *skipped)
{
	size_t	count = 0;

	*skipped = 0;
	for (struct json_value jwk = json_first(list); json_type(jwk) != JSON_ABSENT; jwk = json_next(jwk))
	{
		if (json_type(jwk) == JSON_OBJECT && read_jwk(&set[count], jwk))
			count++;
		else
			++*skipped;
	}
	return count;
}

const char *
keys_read_jwks(struct keys *k, const char *text, size_t len, size_t *skipped)
{
	struct json *doc = len <= KEYS_JWKS_MAX && text_is_utf8(text, len) ? json_parse(text, len, VALUES_MAX) : NULL;
	struct json_value list = json_member(json_root(doc), "keys");
	const char *problem = NULL;
	struct entry *set = NULL;
	size_t	count = 0;

	*skipped = 0;
	if (doc == NULL)
		problem = "not JSON, or over 256 KiB";
	else if (json_type(list) != JSON_ARRAY || json_size(list) > KEYS_MAX)
		problem = "no object with an array \"keys\" of at most 100";
	else
	{
		set = memory_new(KEYS_MAX * sizeof(*set));
		count = read_set(set, list, skipped);
		problem = count == 0 ? "none of its keys can be used" : NULL;
	}
	json_free(doc);
	if (problem != NULL)
	{
		free(set);
		return problem;
	}
	free_set(k->set, k->count);
	k->set = set;
	k->count = count;
	return NULL;
}

size_t
keys_count(const struct keys *k)
{
	return k->count;
}

/* How many of the JWKS fit; *first is one of them. */
static size_t
candidates(const struct keys *k, const struct algorithm *a, const char *id, const struct entry **first)
{
	size_t	count = 0;

	for (size_t i = 0; i < k->count; i++)
		if (fits(&k->set[i], a) && (id == NULL || (k->set[i].id != NULL && strcmp(k->set[i].id, id) == 0)) && count++ == 0)
			*first = &k->set[i];
	return count;
}

static bool
knows_algorithm(const struct keys *k, const struct algorithm *a)
{
	const struct entry *some;

	return a != NULL && (fits(&k->secret, a) || candidates(k, a, NULL, &some) > 0);
}

bool
keys_find(const struct keys *k, const char *alg, const char *kid, struct key *found, const char **problem)
{
	const struct algorithm *a = find_algorithm(alg);
	const struct entry *e = NULL;

	if (!knows_algorithm(k, a))
	{
		*problem = "token algorithm is not allowed";
		return false;
	}
	if (kid != NULL && candidates(k, a, kid, &e) == 0 && fits(&k->secret, a))
		e = &k->secret;
	else if (kid == NULL && fits(&k->secret, a))
		e = &k->secret;
	else if (kid == NULL && candidates(k, a, NULL, &e) > 1)
		e = NULL;
	if (e == NULL)
	{
		*problem = kid != NULL ? "the token's key (kid) is not known" : "the token does not name its key (kid)";
		return false;
	}
	*found = (struct key) {(const uint8_t *) e->bytes, e->len};
	return true;
}

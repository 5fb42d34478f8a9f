/* token.c - a JSON Web Token is taken apart and judged here; libjwt only answers whether the signature fits. */
/* SPDX-License-Identifier: PostgreSQL */
#include "token.h"

#include <errno.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "json.h"
#include "memory.h"
#include "text.h"

#define VALUES_MAX 4096

/* One of the first two parts, decoded and parsed; doc refers to plain. */
struct part
{
	struct buffer plain;
	struct json *doc;
};

static bool
part_read(struct part *p, const char *text, size_t len)
{
	buffer_init(&p->plain);
	p->doc = NULL;
	if (len == 0 || !buffer_unbase64url(&p->plain, text, len) || !text_is_utf8(p->plain.data, p->plain.len))
		return false;
	p->doc = json_parse(p->plain.data, p->plain.len, VALUES_MAX);
	return json_type(json_root(p->doc)) == JSON_OBJECT;
}

static void
part_free(struct part *p)
{
	json_free(p->doc);
	buffer_free(&p->plain);
}

/* What a header says of the signature. */
struct claimed
{
	char	alg[8];
	char	kid[KEYS_ID_MAX + 1];
	bool	has_kid;
};

static const char *
read_header(struct claimed *c, const char *text, size_t len)
{
	struct part header;
	const char *problem = NULL;
	bool	is_header = part_read(&header, text, len);
	struct json_value kid = json_member(json_root(header.doc), "kid");

	c->has_kid = json_type(kid) != JSON_ABSENT;
	if (!is_header)
		problem = "malformed token";
	else if (!json_string(json_member(json_root(header.doc), "alg"), c->alg, sizeof(c->alg)))
		problem = "token algorithm is not allowed";
	else if (json_type(json_member(json_root(header.doc), "crit")) != JSON_ABSENT)
		problem = "token has critical extensions that are not understood";
	else if (c->has_kid && !json_string(kid, c->kid, sizeof(c->kid)))
		problem = "token has an invalid kid";
	part_free(&header);
	return problem;
}

/* The key is chosen before the library sees the token, by an algorithm of the key's own kind: a token must not choose how it is checked. */
static const char *
check_signature(const struct keys *keys, const struct claimed *c, const char *text, size_t len)
{
	char	copy[TOKEN_MAX + 1];
	const char *problem = "bad signature";
	struct key key;
	jwt_t  *jwt = NULL;

	if (!keys_find(keys, c->alg, c->has_kid ? c->kid : NULL, &key, &problem))
		return problem;
	memcpy(copy, text, len);
	copy[len] = '\0';
	errno = 0;
	if (jwt_decode(&jwt, copy, key.bytes, (int) key.len) == 0 && strcmp(jwt_alg_str(jwt_get_alg(jwt)), c->alg) == 0)
		problem = NULL;
	memory_require(problem == NULL || errno != ENOMEM ? "" : NULL);		/* a good token must not be refused for it */
	jwt_free(jwt);
	return problem;
}

/* Seconds, a fraction cut off. */
static bool
read_time(struct json_value v, int64_t *out)
{
	size_t	whole = 0;

	if (json_type(v) != JSON_NUMBER || memchr(v.raw, 'e', v.len) != NULL || memchr(v.raw, 'E', v.len) != NULL)
		return false;
	while (whole < v.len && v.raw[whole] != '.')
		whole++;
	return text_int64(v.raw, whole, out);
}

static const char *
check_times(struct token *t, struct json_value claims, int64_t now)
{
	struct json_value nbf = json_member(claims, "nbf");
	struct json_value exp = json_member(claims, "exp");
	int64_t from;

	if (exp.index < 0)
		return "token has no expiry (exp)";
	if (!read_time(exp, &t->expires_at))
		return "token has an invalid exp";
	if (now >= t->expires_at)
		return "token has expired";
	if (nbf.index < 0)
		return NULL;
	if (!read_time(nbf, &from))
		return "token has an invalid nbf";
	return now < from ? "token is not valid yet" : NULL;
}

static bool
is_text(struct json_value v, const char *wanted)
{
	char   *text = json_strdup(v);
	bool	is_equal = text != NULL && strcmp(text, wanted) == 0;

	free(text);
	return is_equal;
}

/* RFC 7519: the audience is a string or an array of them. */
static const char *
check_parties(const struct token_rules *r, struct json_value claims)
{
	struct json_value audience = json_member(claims, "aud");

	if (r->issuer[0] != '\0' && !is_text(json_member(claims, "iss"), r->issuer))
		return "token is of another issuer (iss)";
	if (r->audience[0] == '\0' || is_text(audience, r->audience))
		return NULL;
	if (json_type(audience) == JSON_ARRAY)
		for (struct json_value v = json_first(audience); json_type(v) != JSON_ABSENT; v = json_next(v))
			if (is_text(v, r->audience))
				return NULL;
	return "token is for another audience (aud)";
}

static bool
read_text_claim(struct json_value claims, const char *name, char **out)
{
	struct json_value v = json_member(claims, name);

	*out = v.index < 0 ? memory_string("") : json_strdup(v);
	return *out != NULL;
}

static const char *
read_claims(struct token *t, const struct token_rules *r, const char *text, size_t len, int64_t now)
{
	struct part payload;
	const char *problem = "malformed token";

	if (part_read(&payload, text, len))
	{
		struct json_value claims = json_root(payload.doc);

		problem = check_times(t, claims, now);
		if (problem == NULL)
			problem = check_parties(r, claims);
		if (problem == NULL && (!read_text_claim(claims, "sub", &t->subject) || !read_text_claim(claims, "role", &t->role)))
			problem = "token has an invalid sub or role";
		if (problem == NULL)
		{
			t->claims = buffer_take(&payload.plain, NULL);
		}
	}
	part_free(&payload);
	return problem;
}

static const char *
verify(struct token *t, const struct token_rules *r, const char *text, size_t len, int64_t now)
{
	const char *dot = memchr(text, '.', len);
	const char *second = dot != NULL ? memchr(dot + 1, '.', len - (size_t) (dot + 1 - text)) : NULL;
	const char *problem;
	size_t	tail;
	struct buffer signature;
	struct claimed claimed = {0};

	if (second == NULL)
		return "malformed token";
	tail = len - (size_t) (second + 1 - text);
	/* Also keeps NUL, a third dot and other spellings of the same signature away from libjwt, which is lenient there. */
	buffer_init(&signature);
	problem = tail > 0 && buffer_unbase64url(&signature, second + 1, tail) ? NULL : "malformed token";
	buffer_free(&signature);
	if (problem == NULL)
		problem = read_header(&claimed, text, (size_t) (dot - text));
	if (problem == NULL)
		problem = check_signature(r->keys, &claimed, text, len);
	return problem != NULL ? problem : read_claims(t, r, dot + 1, (size_t) (second - dot - 1), now);
}

const char *
token_verify(struct token *t, const struct token_rules *r, const char *text, size_t len, int64_t now)
{
	const char *problem;

	*t = (struct token) {0};
	if (len > TOKEN_MAX)
		return "token is too long";
	problem = verify(t, r, text, len, now);
	if (problem != NULL)
		token_free(t);
	return problem;
}

void
token_free(struct token *t)
{
	free(t->claims);
	free(t->subject);
	free(t->role);
	*t = (struct token) {0};
}

/* conninfo.c - the same database for another role: replaces the user in a libpq connection string of either form. */
/* SPDX-License-Identifier: PostgreSQL */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

/* One name=value as written, and both parts in plain. */
struct setting
{
	const char *raw;
	size_t	raw_len;
	struct buffer name;
	struct buffer value;
	bool	is_open;		/* what is put behind it would be taken for its value: that is empty, or ends in a backslash */
};

/* What decides about a word, gathered in a first pass over all. */
struct change_of_user
{
	const char *user;
	bool	is_same;		/* the original names this very user: its password may stay */
};

static void
skip_space(const char **p)
{
	while (isspace((unsigned char) **p))
		(*p)++;
}

/* libpq's quoting: '…' with backslash escapes, or bare up to white space. */
static bool
read_value(const char **p, struct buffer *value)
{
	bool	quoted = **p == '\'';

	if (quoted)
		(*p)++;
	while (**p != '\0' && (quoted ? **p != '\'' : !isspace((unsigned char) **p)))
	{
		if (**p == '\\' && *++*p == '\0')
			break;
		buffer_putc(value, *(*p)++);
	}
	if (quoted && *(*p)++ != '\'')
		return false;
	return true;
}

/* The next word at *p; false at the end (then **p is 0) or at a malformed one. */
static bool
read_word(const char **p, struct setting *s)
{
	buffer_reset(&s->name);
	buffer_reset(&s->value);
	skip_space(p);
	s->raw = *p;
	while (**p != '\0' && **p != '=' && !isspace((unsigned char) **p))
		buffer_putc(&s->name, *(*p)++);
	if (s->name.len == 0)
		return false;
	skip_space(p);
	if (**p != '=')
	{
		*p = s->raw;
		return false;
	}
	(*p)++;
	skip_space(p);
	s->is_open = **p == '\0';
	if (!read_value(p, &s->value))
	{
		*p = s->raw;
		return false;
	}
	s->raw_len = (size_t) (*p - s->raw);
	s->is_open = s->is_open || (**p == '\0' && (*p)[-1] == '\\');
	return true;
}

static bool
is_text(const struct buffer *b, const char *text)
{
	return strcmp(b->data != NULL ? b->data : "", text) == 0;
}

static bool
is_kept(const struct setting *s, const struct change_of_user *c)
{
	if (is_text(&s->name, "password"))
		return c->is_same;
	return !is_text(&s->name, "user") && !is_text(&s->name, "replication");
}

static void
put_quoted(struct buffer *out, const char *text)
{
	buffer_putc(out, '\'');
	for (; *text != '\0'; text++)
	{
		if (*text == '\'' || *text == '\\')
			buffer_putc(out, '\\');
		buffer_putc(out, *text);
	}
	buffer_putc(out, '\'');
}

static void
put_setting(struct buffer *out, const struct setting *s)
{
	if (s->is_open)
	{
		buffer_put(out, s->name.data, s->name.len);
		buffer_putc(out, '=');
		put_quoted(out, s->value.len > 0 ? s->value.data : "");
	}
	else
		buffer_put(out, s->raw, s->raw_len);
	buffer_putc(out, ' ');
}

static bool
derive_words(const char *conninfo, struct change_of_user *c, struct setting *s, struct buffer *out)
{
	const char *p = conninfo;

	while (read_word(&p, s))
		if (is_text(&s->name, "user"))
			c->is_same = is_text(&s->value, c->user);
	if (*p != '\0')
		return false;
	p = conninfo;
	while (read_word(&p, s))
		if (is_kept(s, c))
			put_setting(out, s);
	buffer_puts(out, "user=");
	put_quoted(out, c->user);
	return true;
}

static void
put_decoded(struct buffer *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		char	hex[3] = {0};

		if (text[i] == '%' && i + 2 < len && isxdigit((unsigned char) text[i + 1]) && isxdigit((unsigned char) text[i + 2]))
		{
			memcpy(hex, text + i + 1, 2);
			buffer_putc(out, (char) strtol(hex, NULL, 16));
			i += 2;
		}
		else
			buffer_putc(out, text[i]);
	}
}

static void
put_encoded(struct buffer *out, const char *text)
{
	for (; *text != '\0'; text++)
	{
		if (isalnum((unsigned char) *text) || strchr("-._~", *text) != NULL)
			buffer_putc(out, *text);
		else
			buffer_printf(out, "%%%02X", (unsigned char) *text);
	}
}

/* The next name=value of a URI's query at *p; false at its end. */
static bool
read_parameter(const char **p, struct setting *s)
{
	const char *equals;

	if (**p == '\0')
		return false;
	s->raw = *p;
	s->raw_len = strcspn(*p, "&");
	*p += s->raw_len + ((*p)[s->raw_len] == '&');
	equals = memchr(s->raw, '=', s->raw_len);
	if (equals == NULL)
		equals = s->raw + s->raw_len;
	buffer_reset(&s->name);
	buffer_reset(&s->value);
	put_decoded(&s->name, s->raw, (size_t) (equals - s->raw));
	if (equals < s->raw + s->raw_len)
		put_decoded(&s->value, equals + 1, (size_t) (s->raw + s->raw_len - equals - 1));
	return true;
}

/* The places that matter in scheme://[user[:password]@]rest[?query]. */
struct uri
{
	const char *authority;
	const char *at;			/* NULL: no user */
	const char *rest;
	const char *query;		/* after the '?'; "" if none */
	size_t	rest_len;
};

static struct uri
split_uri(const char *text)
{
	struct uri u = {.authority = strstr(text, "://") + 3};

	u.at = u.authority + strcspn(u.authority, "@/");	/* libpq's own rule: the first @ before any slash */
	if (*u.at != '@')
		u.at = NULL;
	u.rest = u.at != NULL ? u.at + 1 : u.authority;
	u.rest_len = strcspn(u.rest, "?");
	u.query = u.rest[u.rest_len] == '?' ? u.rest + u.rest_len + 1 : "";
	return u;
}

/* A user in the query overrides the one before the @. */
static void
find_uri_user(const struct uri *u, struct change_of_user *c, struct setting *s)
{
	const char *p = u->query;

	if (u->at != NULL)
	{
		buffer_reset(&s->value);
		put_decoded(&s->value, u->authority, strcspn(u->authority, ":@"));
		c->is_same = is_text(&s->value, c->user);
	}
	while (read_parameter(&p, s))
		if (is_text(&s->name, "user"))
			c->is_same = is_text(&s->value, c->user);
}

static void
derive_uri(const char *text, struct change_of_user *c, struct setting *s, struct buffer *out)
{
	struct uri u = split_uri(text);
	const char *p = u.query;
	char	separator = '?';

	find_uri_user(&u, c, s);
	buffer_put(out, text, (size_t) (u.authority - text));
	put_encoded(out, c->user);
	if (u.at != NULL && c->is_same)
	{
		size_t	user_len = strcspn(u.authority, ":@");

		buffer_put(out, u.authority + user_len, (size_t) (u.at - u.authority) - user_len);
	}
	buffer_putc(out, '@');
	buffer_put(out, u.rest, u.rest_len);
	while (read_parameter(&p, s))
	{
		if (s->raw_len == 0 || !is_kept(s, c))
			continue;
		buffer_putc(out, separator);
		buffer_put(out, s->raw, s->raw_len);
		separator = '&';
	}
}

bool
options_derive(const char *conninfo, const char *user, struct buffer *out)
{
	struct change_of_user c = {user, false};
	struct setting s = {0};
	bool	ok = true;

	if (strncmp(conninfo, "postgres://", 11) == 0 || strncmp(conninfo, "postgresql://", 13) == 0)
		derive_uri(conninfo, &c, &s, out);
	else
		ok = derive_words(conninfo, &c, &s, out);
	buffer_free(&s.name);
	buffer_free(&s.value);
	return ok && !out->failed;
}

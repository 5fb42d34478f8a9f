/* json.c - jsmn's tokens, checked against the JSON grammar that jsmn itself takes lightly, as a tree of text slices. */
/* SPDX-License-Identifier: PostgreSQL */
#include "json.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define JSMN_STATIC
#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include <jsmn.h>

#include "memory.h"
#include "text.h"

#define DEPTH_MAX 64

struct json
{
	const char *text;
	size_t	len;
	int		count;
	jsmntok_t tokens[];		/* after parsing, `parent` holds the index after the token's subtree: see check_value */
};

struct extent
{
	size_t	depth;
	size_t	values;			/* never less than a valid text has */
};

/* jsmn walks up its parents at each closing bracket: only a limit on depth before it runs keeps that linear. */
static struct extent
measure(const char *text, size_t len)
{
	struct extent extent = {0, 1};
	size_t	depth = 0;
	bool	in_string = false;

	for (size_t i = 0; i < len; i++)
	{
		char	c = text[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
			continue;
		}
		if (c == '"')
			in_string = true;
		else if (c == '[' || c == '{')
		{
			extent.values++;
			if (++depth > extent.depth)
				extent.depth = depth;
		}
		else if (c == ',' || c == ':')
			extent.values++;
		else if ((c == ']' || c == '}') && depth > 0)
			depth--;
	}
	return extent;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *
skip_digits(const char *p, const char *end)
{
	while (p < end && is_digit(*p))
		p++;
	return p;
}

bool
json_is_number(const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;
	const char *from;

	if (p < end && *p == '-')
		p++;
	from = p;
	p = skip_digits(p, end);
	if (p == from || (*from == '0' && p - from > 1))
		return false;
	if (p < end && *p == '.')
	{
		from = ++p;
		p = skip_digits(p, end);
		if (p == from)
			return false;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		from = p;
		p = skip_digits(p, end);
		if (p == from)
			return false;
	}
	return p == end;
}

static bool
is_word(const char *text, size_t len, const char *word)
{
	return len == strlen(word) && memcmp(text, word, len) == 0;
}

static bool
primitive_ok(const char *text, size_t len)
{
	return is_word(text, len, "null") || is_word(text, len, "true") || is_word(text, len, "false") || json_is_number(text, len);
}

/* jsmn has looked at the escapes already. */
static bool
string_ok(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) text[i] < 0x20)
			return false;
	return true;
}

/* Where the check stands: the next token and the next byte must keep in step. */
struct check
{
	struct json *doc;
	int		token;
	size_t	pos;
};

static bool
is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static char
next_char(struct check *k)
{
	while (k->pos < k->doc->len && is_space(k->doc->text[k->pos]))
		k->pos++;
	return k->pos < k->doc->len ? k->doc->text[k->pos] : '\0';
}

static bool check_value(struct check *k);

static bool
check_members(struct check *k, bool is_object)
{
	char	close = is_object ? '}' : ']';
	char	c;

	k->pos++;
	if (next_char(k) == close)
	{
		k->pos++;
		return true;
	}
	do
	{
		c = next_char(k);
		if (is_object)
		{
			if (c != '"' || !check_value(k) || next_char(k) != ':')
				return false;
			k->pos++;
		}
		if (!check_value(k))
			return false;
		c = next_char(k);
		k->pos++;
	} while (c == ',');
	return c == close;
}

/* Recursion is bounded by DEPTH_MAX, measured before. */
static bool
check_value(struct check *k)
{
	char	c = next_char(k);
	jsmntok_t *t = &k->doc->tokens[k->token];
	const char *text;
	size_t	len;
	bool	ok;

	if (k->token >= k->doc->count || (size_t) t->start != k->pos + (t->type == JSMN_STRING))
		return false;
	k->token++;
	text = k->doc->text + t->start;
	len = (size_t) (t->end - t->start);
	switch (t->type)
	{
		case JSMN_STRING:
			ok = string_ok(text, len);
			k->pos = (size_t) t->end + 1;
			break;
		case JSMN_PRIMITIVE:
			ok = primitive_ok(text, len);
			k->pos = (size_t) t->end;
			break;
		default:
			ok = check_members(k, c == '{');
			break;
	}
	t->parent = k->token;
	return ok;
}

/* jsmn in strict mode wants something after a primitive, so a lone one is read here. */
static int
tokenise(struct json *doc, unsigned room)
{
	jsmn_parser parser;
	struct check k = {doc, 0, 0};
	char	c = next_char(&k);

	if (c == '{' || c == '[' || c == '"')
	{
		jsmn_init(&parser);
		return jsmn_parse(&parser, doc->text, doc->len, doc->tokens, room);
	}
	doc->tokens[0] = (jsmntok_t) {.type = JSMN_PRIMITIVE, .start = (int) k.pos};
	while (k.pos < doc->len && !is_space(doc->text[k.pos]))
		k.pos++;
	doc->tokens[0].end = (int) k.pos;
	return 1;
}

struct json *
json_parse(const char *text, size_t len, int max_values)
{
	struct extent extent;
	struct json *doc;
	struct check k;

	if (len == 0 || len > INT_MAX || max_values < 1)
		return NULL;
	extent = measure(text, len);
	if (extent.depth > DEPTH_MAX)
		return NULL;
	if (extent.values > (size_t) max_values)
		extent.values = (size_t) max_values;	/* may still fit: an empty array was counted twice */
	doc = memory_grow(NULL, 1, sizeof(struct json) + extent.values * sizeof(jsmntok_t));
	doc->text = text;
	doc->len = len;
	doc->count = tokenise(doc, (unsigned) extent.values);
	k = (struct check) {doc, 0, 0};
	if (doc->count < 1 || !check_value(&k) || k.token != doc->count || next_char(&k) != '\0' || k.pos != len)
	{
		free(doc);
		return NULL;
	}
	return doc;
}

void
json_free(struct json *doc)
{
	free(doc);
}

static const struct json_value absent = {NULL, -1, "", 0};

static struct json_value
value_at(const struct json *doc, int index)
{
	const jsmntok_t *t = &doc->tokens[index];
	int		quote = t->type == JSMN_STRING;

	return (struct json_value) {doc, index, doc->text + t->start - quote, (size_t) (t->end - t->start + 2 * quote)};
}

static const jsmntok_t *
token_of(struct json_value v)
{
	return &v.doc->tokens[v.index];
}

struct json_value
json_root(const struct json *doc)
{
	return doc == NULL ? absent : value_at(doc, 0);
}

enum json_type
json_type(struct json_value v)
{
	if (v.index < 0 || v.doc == NULL)
		return JSON_ABSENT;
	switch (v.raw[0])
	{
		case '{':
			return JSON_OBJECT;
		case '[':
			return JSON_ARRAY;
		case '"':
			return JSON_STRING;
		case 'n':
			return JSON_NULL;
		case 't':
		case 'f':
			return JSON_BOOL;
		default:
			return JSON_NUMBER;
	}
}

static bool
is_container(struct json_value v)
{
	enum json_type type = json_type(v);

	return type == JSON_ARRAY || type == JSON_OBJECT;
}

int
json_size(struct json_value v)
{
	return is_container(v) ? token_of(v)->size : 0;
}

struct json_value
json_first(struct json_value v)
{
	return json_size(v) > 0 ? value_at(v.doc, v.index + 1) : absent;
}

struct json_value
json_next(struct json_value v)
{
	const jsmntok_t *t;
	const char *gap;
	int		next;

	if (json_type(v) == JSON_ABSENT || v.index == 0)
		return absent;
	t = token_of(v);
	if (t->type == JSMN_STRING && t->size == 1)
		t++;					/* a member's name: its sibling comes after its value */
	next = t->parent;
	if (next >= v.doc->count)
		return absent;
	/* The token after the subtree is a sibling unless the container closes in between. */
	gap = v.doc->text + v.doc->tokens[next].start;
	for (const char *p = v.doc->text + t->end; p < gap; p++)
		if (*p == ']' || *p == '}')
			return absent;
	return value_at(v.doc, next);
}

struct json_value
json_member_value(struct json_value name)
{
	if (json_type(name) != JSON_STRING || token_of(name)->size != 1)
		return absent;
	return value_at(name.doc, name.index + 1);
}

bool
json_equals(struct json_value v, const char *text)
{
	size_t	len = strlen(text);
	char	plain[256];

	if (v.index < 0 || v.len < 2 || v.raw[0] != '"')
		return false;
	if (v.len - 2 == len)
		return memcmp(v.raw + 1, text, len) == 0;
	/* An escaped spelling is always longer than what it stands for. */
	if (v.len - 2 < len || memchr(v.raw + 1, '\\', v.len - 2) == NULL)
		return false;
	return json_string(v, plain, sizeof(plain)) && strcmp(plain, text) == 0;
}

struct json_value
json_member(struct json_value object, const char *name)
{
	struct json_value found = absent;

	if (json_type(object) != JSON_OBJECT)
		return absent;
	for (struct json_value m = json_first(object); m.index >= 0; m = json_next(m))
		if (json_equals(m, name))
			found = json_member_value(m);
	return found;
}

bool
json_int64(struct json_value v, int64_t *out)
{
	return json_type(v) == JSON_NUMBER && text_int64(v.raw, v.len, out);
}

bool
json_bool(struct json_value v, bool fallback)
{
	return json_type(v) == JSON_BOOL ? v.raw[0] == 't' : fallback;
}

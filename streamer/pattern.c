/* pattern.c - LIKE and regular expressions on texts, limited to what takes time linear in pattern times text. */
/* SPDX-License-Identifier: PostgreSQL */
#include "pattern.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "filter.h"
#include "memory.h"

struct pattern
{
	bool	is_regex;
	bool	ignores_case;
	regex_t regex;
	char	text[];			/* of LIKE */
};

/* Characters, not bytes, whatever the process's locale; made once, kept for good. */
static locale_t
utf8_locale(void)
{
	static locale_t locale;

	if (locale == (locale_t) 0)
	{
		locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0);
		memory_require(locale != (locale_t) 0 || errno != ENOMEM ? "" : NULL);
	}
	return locale;
}

static struct pattern *
create(const char *text, bool ignores_case, const char **trouble)
{
	size_t	len = strlen(text);
	struct pattern *p;

	if (len > FILTER_PATTERN_MAX)
	{
		*trouble = "it is longer than 255 bytes";
		return NULL;
	}
	p = memory_new(sizeof(*p) + len + 1);
	memcpy(p->text, text, len + 1);
	p->ignores_case = ignores_case;
	return p;
}

struct pattern *
pattern_like(const char *text, bool ignores_case, const char **trouble)
{
	size_t	slashes = 0;

	for (size_t len = strlen(text); len > slashes && text[len - 1 - slashes] == '\\';)
		slashes++;
	if (slashes % 2 == 1)
	{
		*trouble = "LIKE pattern must not end with escape character";
		return NULL;
	}
	return create(text, ignores_case, trouble);
}

static const char *
refused_part(const char *p)
{
	bool	is_behind_quantifier = false;

	for (; *p != '\0'; p++)
	{
		bool	is_quantifier = strchr("*+?", *p) != NULL;

		if (*p == '[')
		{
			p++;
			if (*p == '^')
				p++;
			if (*p == ']')
				p++;
			while (*p != '\0' && *p != ']')
			{
				if (*p == '[' && strchr(".=:", p[1]) != NULL && p[1] != '\0')
					return "classes by name are not served";
				if (*p == '\\')
					return "backslashes in brackets are not served";
				p++;
			}
			if (*p == '\0')
				return "brackets [] not balanced";
		}
		else if (*p == '\\')
		{
			p++;
			if (*p == '\0' || (isalnum((unsigned char) *p) && strchr("wWsS", *p) == NULL))
				return "of the escapes of letters and digits only \\w \\W \\s \\S are served";
		}
		else if (*p == '{')
			return "counts in braces are not served";
		else if ((*p == '(' && p[1] == '?') || (is_quantifier && is_behind_quantifier))
			return "(?, lazy and doubled quantifiers are not served";
		is_behind_quantifier = is_quantifier;
	}
	return NULL;
}

struct pattern *
pattern_regex(const char *text, bool ignores_case, const char **trouble)
{
	const char *part = refused_part(text);
	struct pattern *p = part == NULL ? create(text, ignores_case, trouble) : NULL;
	locale_t before;
	int		failure;

	if (p == NULL)
	{
		*trouble = part != NULL ? part : *trouble;
		return NULL;
	}
	before = uselocale(utf8_locale());
	failure = regcomp(&p->regex, text, REG_EXTENDED | REG_NOSUB | (ignores_case ? REG_ICASE : 0));
	uselocale(before);
	memory_require(failure != REG_ESPACE ? p : NULL);
	if (failure == 0)
	{
		p->is_regex = true;
		return p;
	}
	*trouble = "not a regular expression";
	free(p);
	return NULL;
}

void
pattern_free(struct pattern *p)
{
	if (p != NULL && p->is_regex)
		regfree(&p->regex);
	free(p);
}

/* The character at *p, which moves behind it. The text is UTF-8; a broken end stays within it. */
static uint32_t
next_char(const char **p, const char *end)
{
	unsigned char first = (unsigned char) *(*p)++;
	int		more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : first >= 0xc0 ? 1 : 0;
	uint32_t c = more == 0 ? first : first & (0x3fu >> more);

	for (; more > 0 && *p < end; more--)
		c = c << 6 | ((unsigned char) *(*p)++ & 0x3f);
	return c;
}

static uint32_t
folded(const struct pattern *p, uint32_t c)
{
	if (!p->ignores_case)
		return c;
	if (c < 0x80 || utf8_locale() == (locale_t) 0)
		return c < 0x80 ? (uint32_t) tolower((int) c) : c;
	return (uint32_t) towlower_l((wint_t) c, utf8_locale());
}

/* A % first stands for nothing, and takes one character more whenever what follows it fails; only the last one met can help. */
static bool
like(const struct pattern *p, const char *text, const char *end)
{
	const char *at = p->text;
	const char *pattern_end = at + strlen(at);
	const char *star = NULL;
	const char *star_text = NULL;

	while (text < end)
	{
		const char *next = at;
		const char *behind = text;
		uint32_t c = next_char(&behind, end);
		bool	fits = false;

		if (at < pattern_end && *at == '%')
		{
			star = ++at;
			star_text = text;
			continue;
		}
		if (at < pattern_end && *at == '_')
		{
			next = at + 1;
			fits = true;
		}
		else if (at < pattern_end)
		{
			if (*next == '\\')
				next++;
			fits = folded(p, next_char(&next, pattern_end)) == folded(p, c);
		}
		if (fits)
		{
			at = next;
			text = behind;
		}
		else if (star == NULL)
			return false;
		else
		{
			(void) next_char(&star_text, end);
			text = star_text;
			at = star;
		}
	}
	while (*at == '%')
		at++;
	return *at == '\0';
}

static bool
regex(const struct pattern *p, const char *text, size_t len)
{
	char	copy[FILTER_SUBJECT_MAX + 1];
	locale_t before;
	int		failure;

	if (len > FILTER_SUBJECT_MAX)
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	before = uselocale(utf8_locale());
	failure = regexec(&p->regex, copy, 0, NULL, 0);
	uselocale(before);
	memory_require(failure != REG_ESPACE ? p : NULL);	/* else it would pass for no match */
	return failure == 0;
}

bool
pattern_matches(const struct pattern *p, const char *text, size_t len)
{
	return p->is_regex ? regex(p, text, len) : like(p, text, text + len);
}

/* option_value.c - texts, addresses, levels, numbers with units; and which name was probably meant. */
/* SPDX-License-Identifier: PostgreSQL */
#include "option_value.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "plugin.h"
#include "text.h"

bool
option_set_text(char **dst, const char *value, size_t len)
{
	char   *copy = memory_text(value, len);

	free(*dst);
	*dst = copy;
	return true;
}

bool
option_add_text(char **dst, const char *value)
{
	struct buffer joined;
	char   *text;

	buffer_init(&joined);
	buffer_printf(&joined, "%s,%s", *dst, value);
	text = buffer_take(&joined, NULL);
	if (text == NULL)
		return false;
	free(*dst);
	*dst = text;
	return true;
}

static bool
read_port(const char *text, int *out)
{
	uint64_t port;

	if (!text_uint64(text, strlen(text), &port) || port < 1 || port > 65535)
		return false;
	*out = (int) port;
	return true;
}

bool
option_read_address(struct options *o, const char *value)
{
	const char *colon = strrchr(value, ':');
	size_t	host_len = colon != NULL ? (size_t) (colon - value) : 0;

	if (!read_port(colon != NULL ? colon + 1 : value, &o->listen_port))
		return false;
	if (colon == NULL)
		return option_set_text(&o->listen_host, "127.0.0.1", 9);
	if (host_len > 2 && value[0] == '[' && value[host_len - 1] == ']')
		return option_set_text(&o->listen_host, value + 1, host_len - 2);
	if (host_len == 0 || memchr(value, ':', host_len) != NULL || memchr(value, '[', host_len) != NULL)
		return false;
	return option_set_text(&o->listen_host, value, host_len);
}

bool
option_read_plugin(int *plugin, const char *value)
{
	for (int i = 0; i < PLUGIN_COUNT; i++)
		if (strcmp(value, plugin_name((enum plugin) i)) == 0)
		{
			*plugin = i;
			return true;
		}
	return false;
}

bool
option_read_level(int *level, const char *value)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	for (int i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++)
		if (strcmp(value, names[i]) == 0)
		{
			*level = i;
			return true;
		}
	return false;
}

bool
option_read_number(enum option_unit unit, const char *value, int64_t *out)
{
	size_t	len = strlen(value);
	int		shift = 0;
	int64_t number;

	if (len > 1 && unit == UNIT_SECONDS && value[len - 1] == 's')
		len--;
	else if (len > 1 && unit == UNIT_BYTES && !isdigit((unsigned char) value[len - 1]))
	{
		switch (value[--len])
		{
			case 'k':
			case 'K':
				shift = 10;
				break;
			case 'm':
			case 'M':
				shift = 20;
				break;
			case 'g':
			case 'G':
				shift = 30;
				break;
			default:
				return false;
		}
	}
	if (!text_int64(value, len, &number) || number < 0 || number > INT64_MAX >> shift)
		return false;
	*out = number << shift;
	return true;
}

bool
option_read_switch(bool *out, const char *value)
{
	*out = strcmp(value, "true") == 0 || strcmp(value, "on") == 0 || strcmp(value, "1") == 0;
	return *out || strcmp(value, "false") == 0 || strcmp(value, "off") == 0 || strcmp(value, "0") == 0;
}

/* Edit distance, for names short enough. */
size_t
option_distance(const char *a, size_t a_len, const char *b)
{
	size_t	row[64];
	size_t	b_len = strlen(b);

	if (a_len > 40 || b_len > 40)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++)
	{
		size_t	diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++)
		{
			size_t	best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

/* origin.c - whether a browser's page may talk to us. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#include "origin.h"

#include <string.h>
#include <strings.h>

static bool
is_listed(const char *list, const char *origin)
{
	size_t	len;

	for (; *list != '\0'; list += len)
	{
		size_t	end;

		list += strspn(list, ", \t");
		len = strcspn(list, ",");
		end = len;
		while (end > 0 && (list[end - 1] == ' ' || list[end - 1] == '\t' || list[end - 1] == '/'))
			end--;
		if ((end == 1 && list[0] == '*') || (end > 0 && strlen(origin) == end && strncasecmp(list, origin, end) == 0))
			return true;
	}
	return false;
}

bool
origin_is_allowed(const char *allowed, const char *origin, const char *host)
{
	const char *authority = strstr(origin, "://");

	if (origin[0] == '\0')
		return true;
	if (allowed[0] != '\0')
		return is_listed(allowed, origin);
	return authority != NULL && host[0] != '\0' && strcasecmp(authority + 3, host) == 0;
}

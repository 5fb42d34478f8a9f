/* address.c - where a client is: its socket's other end, or what proxies that are trusted say of it. */
/* SPDX-License-Identifier: PostgreSQL */
#include "address.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "memory.h"
#include "text.h"

#define CUSTOMER_BYTES 8		/* of an IPv6 address */

/* IPv4 as IPv6 has it, ::ffff:a.b.c.d, so that one comparison does. */
struct address
{
	unsigned char bytes[16];
};

static const unsigned char v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

struct network
{
	struct address address;
	unsigned int bits;
};

struct networks
{
	size_t	count;
	struct network list[];
};

static bool
is_v4(const struct address *a)
{
	return memcmp(a->bytes, v4_prefix, sizeof(v4_prefix)) == 0;
}

static bool
read_address(struct address *a, const char *text, size_t len)
{
	char	copy[ADDRESS_MAX];

	if (len == 0 || len >= sizeof(copy))
		return false;
	memcpy(copy, text, len);
	copy[len] = '\0';
	memcpy(a->bytes, v4_prefix, sizeof(v4_prefix));
	return inet_pton(AF_INET, copy, a->bytes + sizeof(v4_prefix)) == 1 || inet_pton(AF_INET6, copy, a->bytes) == 1;
}

static bool
read_network(struct network *n, const char *text, size_t len)
{
	const char *slash = memchr(text, '/', len);
	size_t	address_len = slash != NULL ? (size_t) (slash - text) : len;
	uint64_t bits = 128;
	unsigned int most;

	if (!read_address(&n->address, text, address_len))
		return false;
	most = is_v4(&n->address) && memchr(text, ':', address_len) == NULL ? 32 : 128;
	if (slash == NULL)
		bits = most;
	else if (!text_uint64(slash + 1, len - address_len - 1, &bits) || bits > most)
		return false;
	n->bits = (unsigned int) bits + 128 - most;
	return true;
}

static bool
contains(const struct network *n, const struct address *a)
{
	size_t	whole = n->bits / 8;
	unsigned int rest = n->bits % 8;

	return memcmp(n->address.bytes, a->bytes, whole) == 0 && (rest == 0 || ((n->address.bytes[whole] ^ a->bytes[whole]) >> (8 - rest)) == 0);
}

static bool
is_trusted(const struct networks *trusted, const struct address *a)
{
	for (size_t i = 0; i < trusted->count; i++)
		if (contains(&trusted->list[i], a))
			return true;
	return false;
}

bool
networks_have(const struct networks *n, const char *address)
{
	struct address a;

	return read_address(&a, address, strlen(address)) && is_trusted(n, &a);
}

static size_t
trim(const char **text, size_t len)
{
	while (len > 0 && (**text == ' ' || **text == '\t'))
	{
		++*text;
		len--;
	}
	while (len > 0 && ((*text)[len - 1] == ' ' || (*text)[len - 1] == '\t'))
		len--;
	return len;
}

struct networks *
networks_read(const char *list, const char **bad, size_t *bad_len)
{
	struct networks *n = memory_new(sizeof(*n) + (strlen(list) + 1) * sizeof(n->list[0]));

	for (const char *end; *list != '\0'; list = *end != '\0' ? end + 1 : end)
	{
		const char *item = list;
		size_t	len;

		end = list + strcspn(list, ",");
		len = trim(&item, (size_t) (end - list));
		if (len == 0)
			continue;
		if (read_network(&n->list[n->count], item, len))
			n->count++;
		else
		{
			*bad = item;
			*bad_len = len;
			free(n);
			return NULL;
		}
	}
	return n;
}

void
networks_free(struct networks *n)
{
	free(n);
}

/* [v6]:port, v6, v4:port, v4. */
static bool
read_node(struct address *a, const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	const char *end;

	if (len > 0 && text[0] == '[')
	{
		end = memchr(text, ']', len);
		return end != NULL && read_address(a, text + 1, (size_t) (end - text - 1));
	}
	if (colon != NULL && memchr(colon + 1, ':', len - (size_t) (colon + 1 - text)) == NULL)
		len = (size_t) (colon - text);
	return read_address(a, text, len);
}

/* One element of Forwarded: pairs by semicolons; the node may be quoted. */
static bool
read_for(struct address *a, const char *text, size_t len)
{
	for (const char *end = text + len, *next; text < end; text = next)
	{
		const char *pair = text;
		const char *semicolon = memchr(text, ';', (size_t) (end - text));
		size_t	pair_len;

		next = semicolon != NULL ? semicolon + 1 : end;
		pair_len = trim(&pair, (size_t) ((semicolon != NULL ? semicolon : end) - text));
		if (pair_len < 4 || strncasecmp(pair, "for=", 4) != 0)
			continue;
		pair += 4;
		pair_len -= 4;
		if (pair_len >= 2 && pair[0] == '"' && pair[pair_len - 1] == '"')
		{
			pair++;
			pair_len -= 2;
		}
		return read_node(a, pair, pair_len);
	}
	return false;
}

static void
put_name(const struct address *a, char client[ADDRESS_MAX])
{
	struct address network = *a;

	if (is_v4(a))
		inet_ntop(AF_INET, a->bytes + sizeof(v4_prefix), client, ADDRESS_MAX);
	else
	{
		memset(network.bytes + CUSTOMER_BYTES, 0, sizeof(network.bytes) - CUSTOMER_BYTES);
		inet_ntop(AF_INET6, network.bytes, client, ADDRESS_MAX);
	}
}

void
address_of_client(const struct networks *trusted, const char *peer, const char *forwarded, bool is_rfc7239, char client[ADDRESS_MAX])
{
	const char *end = forwarded + strlen(forwarded);
	struct address at;

	if (!read_address(&at, peer, strlen(peer)))
	{
		snprintf(client, ADDRESS_MAX, "unknown");
		return;
	}
	while (end > forwarded && is_trusted(trusted, &at))
	{
		const char *start = end;
		const char *item;
		size_t	len;
		struct address before;

		while (start > forwarded && start[-1] != ',')
			start--;
		item = start;
		len = trim(&item, (size_t) (end - start));
		if (is_rfc7239 ? !read_for(&before, item, len) : !read_node(&before, item, len))
			break;
		at = before;
		end = start > forwarded ? start - 1 : start;
	}
	put_name(&at, client);
}

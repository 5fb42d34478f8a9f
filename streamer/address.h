/* address.h - where a client is: its socket's other end, or what proxies that are trusted say of it. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ADDRESS_H
#define SYNC_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#define ADDRESS_MAX 48		/* bytes of an address as text, with its NUL */

struct networks;

/* From a comma list of addresses and networks such as 10.0.0.0/8, 2001:db8::/32. NULL: *bad (for the message) is one that is neither. */
struct networks *networks_read(const char *list, const char **bad, size_t *bad_len);
void	networks_free(struct networks *n);		/* NULL is fine */

bool	networks_have(const struct networks *n, const char *address);

/* The name under which the client is limited: an IPv4 address, or an IPv6 network of 64 bits, which is what one customer has. peer: the socket's other end.
 * forwarded: X-Forwarded-For's value, or Forwarded's if is_rfc7239; "" if there was none. From its end on, addresses of trusted proxies are passed over;
 * the first that is not theirs is the client. What a stranger sends in these headers stands before that, and does not count. */
void	address_of_client(const struct networks *trusted, const char *peer, const char *forwarded, bool is_rfc7239, char client[ADDRESS_MAX]);

#endif

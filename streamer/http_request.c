/* http_request.c - what the headers of a request say: who asks, from where, how often, and how long the body is. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "loop.h"
#include "origin.h"
#include "text.h"

#define FORWARDED_MAX 1024		/* a longer header counts for nothing */

void
exchange_header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t size)
{
	out[0] = '\0';
	if (lws_hdr_copy(wsi, out, (int) size, token) < 0)
		out[0] = '\0';
}

bool
exchange_check_origin(struct http *h, struct http_exchange *e)
{
	char	host[ORIGIN_MAX];

	exchange_header(e->wsi, WSI_TOKEN_ORIGIN, e->origin, sizeof(e->origin));
	exchange_header(e->wsi, WSI_TOKEN_HOST, host, sizeof(host));
	if (origin_is_allowed(h->options->allow_origin, e->origin, host))
		return true;
	e->origin[0] = '\0';
	return false;
}

/* Supabase's clients send their key twice; it counts when they have no token. */
const char *
exchange_api_key(struct http_exchange *e, char *out, size_t size)
{
	static const char name[] = "apikey:";

	if (lws_hdr_custom_copy(e->wsi, out, (int) size, name, sizeof(name) - 1) > 0)
		return out;
	return lws_get_urlarg_by_name(e->wsi, "apikey=", out, (int) size);
}

void
http_address(const struct http *h, struct lws *wsi, char address[ADDRESS_MAX])
{
	const char *name = admission_header(h->admission);
	char	peer[ADDRESS_MAX];
	char	forwarded[FORWARDED_MAX];
	int		len = lws_hdr_copy(wsi, forwarded, sizeof(forwarded), WSI_TOKEN_X_FORWARDED_FOR);

	if (name[0] != 'x')
		len = lws_hdr_custom_copy(wsi, forwarded, sizeof(forwarded), name, (int) strlen(name));
	if (len <= 0)
		forwarded[0] = '\0';
	if (lws_get_peer_simple(wsi, peer, sizeof(peer)) == NULL)
		peer[0] = '\0';
	admission_address(h->admission, peer, forwarded, address);
}

/* Whoever is known is counted as that user, all others by their address: also those whose tokens are no good. */
bool
exchange_is_within_rate(struct http *h, struct http_exchange *e)
{
	char	address[ADDRESS_MAX];

	http_address(h, e->wsi, address);
	e->retry_after_s = admission_request(h->admission, e->identity.subject, address, loop_now_ms());
	return e->retry_after_s == 0;
}

const char *
exchange_authenticate(struct http *h, struct http_exchange *e)
{
	char	value[TOKEN_MAX + 16];
	const char *token;

	exchange_header(e->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, value, sizeof(value));
	token = auth_bearer(value);
	if (token == NULL)
		token = exchange_api_key(e, value, sizeof(value));
	return token != NULL ? auth_verify(h->auth, &e->identity, token, strlen(token), time(NULL)) : "no access token was given";
}

/* How long the body is. If that cannot be told the connection is closed after the answer: nobody knows where the next request would begin. */
bool
exchange_measure_body(struct http_exchange *e)
{
	char	length[64];
	uint64_t expected = 0;
	bool	is_clear = lws_hdr_total_length(e->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) <= 0;
	bool	is_digits;

	exchange_header(e->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof(length));
	is_digits = length[0] != '\0' && length[strspn(length, "0123456789")] == '\0';
	if (lws_hdr_total_length(e->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
	{
		const char *digits = length + strspn(length, "0");

		is_clear = is_clear && is_digits;
		if (is_digits && *digits != '\0' && (!text_uint64(digits, strlen(digits), &expected) || expected > SIZE_MAX / 2))
			expected = SIZE_MAX / 2;		/* too large, whatever it is */
	}
	e->body_expected = (size_t) expected;
	e->must_close = !is_clear;
	return is_clear;
}

bool
exchange_takes_gzip(struct lws *wsi)
{
	char	value[128];
	const char *gzip;

	exchange_header(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, value, sizeof(value));
	gzip = strstr(value, "gzip");
	return gzip != NULL && strncmp(gzip + 4, ";q=0", 4) != 0;
}

/* http_page.c - one HTTP request for a page of pages.h, taken apart: where it comes from, its arguments, its token. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http_page.h"

#include <string.h>

#include <libwebsockets.h>

#include "auth.h"

/* A proxy on this machine that hides where its requests come from would make everybody local: see --metrics-token-file. */
static bool
is_local(struct lws *wsi)
{
	static const enum lws_token_indexes passed_on[] = {WSI_TOKEN_X_FORWARDED_FOR, WSI_TOKEN_HTTP_X_REAL_IP, WSI_TOKEN_HTTP_VIA};
	char	peer[64] = "";

	for (size_t i = 0; i < sizeof(passed_on) / sizeof(passed_on[0]); i++)
		if (lws_hdr_total_length(wsi, passed_on[i]) > 0)
			return false;
	if (lws_hdr_custom_length(wsi, "forwarded:", 10) >= 0)
		return false;
	lws_get_peer_simple(wsi, peer, sizeof(peer));
	return strncmp(peer, "127.", 4) == 0 || strcmp(peer, "::1") == 0 || strncmp(peer, "::ffff:127.", 11) == 0;
}

static void
argument(struct lws *wsi, const char *name, char *out, size_t size)
{
	const char *value = lws_get_urlarg_by_name(wsi, name, out, (int) size);

	if (value == NULL)
		out[0] = '\0';
	else if (value != out)
		memmove(out, value, strlen(value) + 1);
}

bool
http_page(struct pages *p, struct lws *wsi, const char *path, struct page_answer *a, struct buffer *out)
{
	char	user[256];
	char	since[32];
	char	authorization[512] = "";
	struct page_request r = {.path = path, .user = user, .since = since, .is_local = is_local(wsi)};

	argument(wsi, "user=", user, sizeof(user));
	argument(wsi, "since=", since, sizeof(since));
	if (lws_hdr_copy(wsi, authorization, sizeof(authorization), WSI_TOKEN_HTTP_AUTHORIZATION) < 0)
		authorization[0] = '\0';
	r.bearer = auth_bearer(authorization);
	return pages_answer(p, &r, a, out);
}

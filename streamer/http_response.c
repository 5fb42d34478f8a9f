/* http_response.c - an answer and its headers, written piece by piece as the socket takes them. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message.h"
#include "metrics.h"

#define RETRY_AFTER_S 2
#define HEADERS_MAX 4096

int
http_refuse(struct lws *wsi, unsigned int status)
{
	return lws_return_http_status(wsi, status, NULL) != 0 ? -1 : 1;
}

void
exchange_respond(struct http_exchange *e, unsigned int status)
{
	char	text[8];

	snprintf(text, sizeof(text), "%u", status);
	metric_add_for(METRIC_HTTP_REQUESTS, text, 1);
	e->status = status;
	lws_callback_on_writable(e->wsi);
}

/* As Supabase's clients read errors. */
static void
put_broadcast_error(struct buffer *out, const char *code, const char *text)
{
	buffer_printf(out, "{\"error\":\"%s: ", code);
	buffer_json_escaped(out, text, strlen(text));
	buffer_printf(out, "\",\"code\":\"%s\",\"message\":", code);
	buffer_json_string(out, text, strlen(text));
	buffer_putc(out, '}');
}

void
exchange_refuse(struct http_exchange *e, unsigned int status, const char *code, const char *text, const char *hint)
{
	struct buffer *out = &e->response;

	metric_add_for(METRIC_ERRORS, code, 1);
	buffer_reset(out);
	if (e->is_broadcast)
	{
		put_broadcast_error(out, code, text);
		exchange_respond(e, status);
		return;
	}
	buffer_printf(out, "{\"error\":{\"code\":\"%s\",\"message\":", code);
	buffer_json_string(out, text, strlen(text));
	if (hint != NULL)
	{
		buffer_puts(out, ",\"hint\":");
		buffer_json_string(out, hint, strlen(hint));
	}
	buffer_puts(out, "}}");
	exchange_respond(e, status);
}

static bool
add_header(struct http_exchange *e, const char *name, const char *value, unsigned char **at, unsigned char *end)
{
	return lws_add_http_header_by_name(e->wsi, (const unsigned char *) name, (const unsigned char *) value, (int) strlen(value), at, end) == 0;
}

static bool
add_cors(struct http_exchange *e, unsigned char **at, unsigned char *end)
{
	if (!add_header(e, "vary:", "Origin, Accept-Encoding", at, end))
		return false;
	if (e->origin[0] == '\0')
		return true;
	return add_header(e, "access-control-allow-origin:", e->origin, at, end) && add_header(e, "access-control-allow-methods:", "GET, POST, OPTIONS", at, end) &&
		add_header(e, "access-control-allow-headers:", "authorization, content-type, last-event-id, apikey, x-client-info", at, end) &&
		add_header(e, "access-control-expose-headers:", "retry-after", at, end) && add_header(e, "access-control-max-age:", "600", at, end);
}

int
exchange_send_headers(struct http_exchange *e)
{
	unsigned char buffer[LWS_PRE + HEADERS_MAX];
	unsigned char *start = buffer + LWS_PRE;
	unsigned char *at = start;
	unsigned char *end = buffer + sizeof(buffer) - 1;
	char	wait[16];
	bool	is_stream = e->stream != NULL;

	if (lws_add_http_common_headers(e->wsi, e->status, is_stream ? "text/event-stream" : e->type != NULL ? e->type : "application/json", is_stream ? LWS_ILLEGAL_HTTP_CONTENT_LEN : e->response.len, &at, end) != 0 ||
		(is_stream && !add_header(e, "x-accel-buffering:", "no", &at, end)) || !add_cors(e, &at, end) ||
		!add_header(e, "cache-control:", "no-store", &at, end) || !add_header(e, "x-content-type-options:", "nosniff", &at, end))
		return -1;
	if (e->policy != NULL && !add_header(e, "content-security-policy:", e->policy, &at, end))
		return -1;
	if (e->is_zipped && !add_header(e, "content-encoding:", "gzip", &at, end))
		return -1;
	snprintf(wait, sizeof(wait), "%d", e->retry_after_s > 0 ? e->retry_after_s : RETRY_AFTER_S);
	if ((e->status == 503 || e->status == 429) && !add_header(e, "retry-after:", wait, &at, end))
		return -1;
	e->must_close = e->must_close || e->body_seen < e->body_expected;
	if (e->must_close && !add_header(e, "connection:", "close", &at, end))
		return -1;
	if (lws_finalize_write_http_header(e->wsi, start, &at, end) != 0)
		return -1;
	e->has_sent_headers = true;
	return 0;
}

int
exchange_write(struct http *h, struct http_exchange **place)
{
	struct http_exchange *e = *place;
	unsigned char chunk[LWS_PRE + CHUNK];
	size_t	left = e->response.len - e->sent;
	size_t	len = left < CHUNK ? left : CHUNK;
	struct lws *wsi = e->wsi;

	if (!e->has_sent_headers)
	{
		if (exchange_send_headers(e) != 0)
			return -1;
		if (left > 0)
		{
			lws_callback_on_writable(wsi);
			return 0;
		}
	}
	if (len > 0)
	{
		memcpy(chunk + LWS_PRE, e->response.data + e->sent, len);
		if (lws_write(wsi, chunk + LWS_PRE, len, len == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
			return -1;
		e->sent += len;
	}
	if (e->sent < e->response.len)
	{
		lws_callback_on_writable(wsi);
		return 0;
	}
	if (e->must_close)
	{
		lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, LINGER_S);
		return 0;
	}
	exchange_free(h, place);
	return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

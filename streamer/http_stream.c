/* http_stream.c - server-sent events: an exchange that stays, and sends what its stream has. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "json.h"
#include "loop.h"
#include "memory.h"
#include "receiver.h"
#include "request.h"
#include "text.h"

#define ARGUMENT_MAX 4096		/* of the URL */

void
http_stream_writable(void *exchange)
{
	lws_callback_on_writable(((struct http_exchange *) exchange)->wsi);
}

void
http_stream_close(void *exchange, int code, const char *reason)
{
	struct http_exchange *e = exchange;

	(void) code;
	(void) reason;
	e->is_ending = true;
	if (e->stream != NULL)
		stream_end(e->stream);
	lws_set_timeout(e->wsi, PENDING_TIMEOUT_CLOSE_SEND, LINGER_S);		/* a client that takes nothing would never get there */
	lws_callback_on_writable(e->wsi);
}

/* Has the client gone, or sent something behind its request? */
static bool
has_input(struct lws *wsi)
{
	char	byte;
	ssize_t	n = recv(lws_get_socket_fd(wsi), &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

/*
 * Of a request without a body the library reads nothing more until it is answered, and a stream is never answered to its end: poll() then tells of the
 * client's end in vain, turn after turn. So it is looked for here.
 */
void
http_look(struct http *h)
{
	size_t	place = 0;
	struct http_exchange *e;

	while ((e = map_next(&h->exchanges, &place)) != NULL)
		if (e->is_stream && e->body_expected == 0 && has_input(e->wsi))
			lws_set_timeout(e->wsi, PENDING_TIMEOUT_CLOSE_ACK, LWS_TO_KILL_ASYNC);
}

/* payload: that of a join */
static void
start_stream(struct http *h, struct http_exchange *e, const struct buffer *payload)
{
	memory_require(payload->failed ? NULL : payload->data);
	if (!receiver_deafen((int) lws_get_socket_fd(e->wsi)))
	{
		e->must_close = true;
		exchange_refuse(e, 400, "bad_request", "nothing may follow the request of a stream", NULL);
		return;
	}
	lws_set_timeout(e->wsi, NO_PENDING_TIMEOUT, 0);
	e->stream = stream_new(h->connections, e, e->token, payload->data, loop_now_ms(), time(NULL));
	if (e->is_ending)
		stream_end(e->stream);
	lws_callback_on_writable(e->wsi);
}

/* Last-Event-ID is where the client stands: it wins over the body, which a client that connects again repeats. */
void
exchange_start_stream(struct http *h, struct http_exchange *e, struct json_value body)
{
	static const char *const without[] = {"access_token", NULL};
	static const char *const without_position[] = {"access_token", "sync_token", NULL};
	struct buffer position;
	struct buffer payload;

	buffer_init(&position);
	buffer_init(&payload);
	if (e->last_event != NULL)
	{
		buffer_puts(&position, "\"sync_token\":");
		buffer_json_string(&position, e->last_event, strlen(e->last_event));
	}
	request_rewrite(&payload, body, e->last_event != NULL ? without_position : without, position.data);
	start_stream(h, e, &payload);
	buffer_free(&position);
	buffer_free(&payload);
}

static void
put_argument(struct http_exchange *e, const char *name, struct buffer *out)
{
	char	value[ARGUMENT_MAX];
	const char *text = lws_get_urlarg_by_name(e->wsi, name, value, sizeof(value));
	bool	is_list = strcmp(name, "tables=") == 0;
	bool	is_number = text != NULL && strcmp(name, "device_id=") != 0 && json_is_number(text, strlen(text));

	if (text == NULL || !text_is_utf8(text, strlen(text)))
		return;
	buffer_printf(out, "%s\"%.*s\":%s", out->len > 1 ? "," : "", (int) strlen(name) - 1, name, is_list ? "[" : "");
	for (size_t len; is_list && text[len = strcspn(text, ",")] != '\0'; text += len + 1)
	{
		buffer_json_string(out, text, len);
		buffer_putc(out, ',');
	}
	if (is_number)
		buffer_puts(out, text);
	else if (!is_list || text[0] != '\0')
		buffer_json_string(out, text, strlen(text));
	buffer_puts(out, is_list ? "]" : "");
}

/* GET tells by the URL what POST tells in the body; but never a token. */
static void
start_stream_as_asked(struct http *h, struct http_exchange *e)
{
	static const char *const names[] = {"device_id=", "tables=", "priority=", "schema_version="};
	struct buffer text;
	struct json *doc;

	buffer_init(&text);
	buffer_putc(&text, '{');
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		put_argument(e, names[i], &text);
	buffer_putc(&text, '}');
	memory_require(text.failed ? NULL : text.data);
	doc = json_parse(text.data, text.len, BODY_VALUES_MAX);
	if (doc == NULL)
		exchange_refuse(e, 400, "bad_request", "the URL's arguments cannot be read", NULL);
	else
		exchange_start_stream(h, e, json_root(doc));
	json_free(doc);
	buffer_free(&text);
}

static void
refuse_stream(struct http_exchange *e)
{
	const char *refusal = stream_refusal(e->stream);
	struct json *doc = json_parse(refusal, strlen(refusal), BODY_VALUES_MAX);
	char   *code = json_strdup(json_member(json_root(doc), "code"));
	char   *text = json_strdup(json_member(json_root(doc), "message"));
	char   *hint = json_strdup(json_member(json_root(doc), "hint"));

	stream_free(e->stream);
	e->stream = NULL;
	receiver_hear((int) lws_get_socket_fd(e->wsi));
	buffer_reset(&e->response);
	exchange_refuse(e, request_status(code != NULL ? code : ""), code != NULL ? code : "internal", text != NULL ? text : "", hint);
	free(code);
	free(text);
	free(hint);
	json_free(doc);
}

/* What was taken waits in `response`, behind the library's headroom, until the headers are gone. */
int
exchange_write_stream(struct http_exchange *e)
{
	static const char headroom[LWS_PRE];
	struct buffer *out = &e->response;
	enum stream_state state = STREAM_OPEN;
	int		result = 0;

	if (lws_send_pipe_choked(e->wsi))
	{
		lws_callback_on_writable(e->wsi);
		return 0;
	}
	if (out->len == 0)
	{
		buffer_put(out, headroom, sizeof(headroom));
		state = stream_take(e->stream, out, sizeof(headroom) + CHUNK, loop_now_ms());
	}
	if (state == STREAM_REFUSED)
	{
		refuse_stream(e);
		return 0;
	}
	if (out->len > sizeof(headroom) && !e->has_sent_headers)
	{
		e->status = 200;
		lws_callback_on_writable(e->wsi);
		return exchange_send_headers(e);
	}
	if (out->len > sizeof(headroom))
	{
		result = lws_write(e->wsi, (unsigned char *) out->data + sizeof(headroom), out->len - sizeof(headroom), LWS_WRITE_HTTP) < 0 ? -1 : 0;
		if (lws_partial_buffered(e->wsi))
			stream_keep(e->stream, out->len - sizeof(headroom));		/* how much of it nobody tells */
		lws_callback_on_writable(e->wsi);
	}
	buffer_free(out);
	return state == STREAM_OVER ? -1 : result;
}

/* A stream takes the place of a client's connection: the same limits. */
void
exchange_begin_stream(struct http *h, struct http_exchange *e, bool is_get)
{
	char	value[TOKEN_MAX + 16];
	char	address[ADDRESS_MAX];

	e->is_stream = true;
	exchange_begin_api(h, e);
	http_address(h, e->wsi, address);
	if (e->status != 0)
		return;
	if (e->body_expected > h->options->max_frame)
		exchange_refuse(e, 413, "too_large", "the body is larger than a join may be", NULL);
	else if (connections_count(h->connections) >= (size_t) h->options->max_clients)
		exchange_refuse(e, 503, "busy", "there are as many clients as allowed", NULL);
	else if (!admission_client_has_room(h->admission, address, loop_now_ms()))
		exchange_refuse(e, 429, "too_many_clients", "this address has as many connections as allowed", NULL);
	if (e->status != 0)
		return;
	e->address = memory_string(address);
	admission_client_enter(h->admission, address);
	exchange_header(e->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, value, sizeof(value));
	e->token = memory_string(auth_bearer(value));
	if (lws_hdr_custom_copy(e->wsi, value, sizeof(value), "last-event-id:", 14) > 0)
		e->last_event = memory_string(value);
	if (is_get)
		start_stream_as_asked(h, e);
}

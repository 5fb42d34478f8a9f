/* http.c - plain HTTP: push and pull, broadcasts, health, the demo's files. Beside the sockets of server.c, in the same library. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libwebsockets.h>

#include "client_stats.h"
#include "files.h"
#include "http_page.h"
#include "log.h"
#include "loop.h"
#include "map.h"
#include "memory.h"
#include "message.h"
#include "metrics.h"
#include "origin.h"
#include "posted.h"
#include "stream.h"
#include "text.h"
#include "work.h"
#include "zip.h"

#define RETRY_AFTER_S 2
#define LINGER_S 3			/* after a refusal input is read on for so long: hanging up at once could hide the answer from the client */
#define CHUNK 65536
#define HEADERS_MAX 4096
#define ORIGIN_MAX 256
#define ARGUMENT_MAX 4096		/* of the URL */
#define MEDIA_MAX 128
#define RIGHTS_VALUES_MAX 100
#define FORWARDED_MAX 1024		/* a longer header counts for nothing */
#define BODY_VALUES_MAX 1000000

struct http
{
	const struct options *options;
	const struct auth *auth;
	struct pages *pages;
	struct admission *admission;
	struct connections *connections;
	struct http_calls calls;
	void   *owner;
	char   *demo;				/* owned: the demo's directory without links; NULL: off */
	struct map exchanges;		/* id of a request under way → exchange */
	uint64_t last_id;
};

/* One request and its response. */
struct http_exchange
{
	struct lws *wsi;
	uint64_t id;
	enum request_kind kind;
	bool	is_stats;				/* a client's statistics: kind says nothing */
	char	origin[ORIGIN_MAX];		/* to be allowed in the response; "" = no CORS headers */
	struct token identity;			/* owned */
	size_t	body_expected;
	size_t	body_seen;
	bool	must_close;				/* after the response: part of the request was not read */
	struct buffer body;
	bool	is_broadcast;
	struct posted *posted;			/* owned: what is to be broadcast; NULL: none */
	char   *pull_json;				/* owned: the pull that follows a push */
	char   *pushed;					/* owned: the push's answer meanwhile */
	int		retry_after_s;
	struct stream *stream;			/* owned; NULL: an ordinary exchange */
	char   *address;				/* owned: of a stream's client, as it is counted */
	bool	is_stream;				/* asked for, or there */
	bool	is_ending;				/* the stream */
	bool	takes_gzip;
	bool	is_zipped;				/* the response */
	char   *token;					/* owned: as the stream's client sent it, until it has joined; likewise where it stands */
	char   *last_event;
	unsigned int status;			/* of the response; 0: not known yet */
	const char *type;				/* of the response; NULL: JSON */
	const char *policy;				/* its content-security-policy; NULL: none */
	struct buffer response;
	size_t	sent;
	bool	has_sent_headers;
};

struct http *
http_new(const struct options *o, const struct auth *auth, struct admission *admission, struct pages *pages, const struct http_calls *calls, void *owner)
{
	struct http *h = memory_new(sizeof(*h));

	h->options = o;
	h->auth = auth;
	h->pages = pages;
	h->admission = admission;
	h->calls = *calls;
	h->owner = owner;
	map_init(&h->exchanges);
	if (o->demo[0] != '\0' && (h->demo = realpath(o->demo, NULL)) == NULL)
		log_event(LOG_LEVEL_ERROR, "demo_missing", "directory=\"%s\"", o->demo);
	return h;
}

void
http_serve(struct http *h, struct connections *connections)
{
	h->connections = connections;
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	map_free(&h->exchanges);
	free(h->demo);
	free(h);
}

static void
free_exchange(struct http *h, struct http_exchange **place)
{
	struct http_exchange *e = *place;

	if (e == NULL)
		return;
	map_remove_id(&h->exchanges, e->id);
	stream_free(e->stream);
	if (e->address != NULL)
		admission_client_leave(h->admission, e->address);
	free(e->address);
	free(e->token);
	free(e->last_event);
	token_free(&e->identity);
	posted_free(e->posted);
	buffer_free(&e->body);
	buffer_free(&e->response);
	free(e->pull_json);
	free(e->pushed);
	free(e);
	*place = NULL;
}

int
http_refuse(struct lws *wsi, unsigned int status)
{
	return lws_return_http_status(wsi, status, NULL) != 0 ? -1 : 1;
}

static void
respond(struct http_exchange *e, unsigned int status)
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

static void
respond_error(struct http_exchange *e, unsigned int status, const char *code, const char *text, const char *hint)
{
	struct buffer *out = &e->response;

	metric_add_for(METRIC_ERRORS, code, 1);
	buffer_reset(out);
	if (e->is_broadcast)
	{
		put_broadcast_error(out, code, text);
		respond(e, status);
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
	respond(e, status);
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

static int
send_headers(struct http_exchange *e)
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

static int
write_response(struct http *h, struct http_exchange **place)
{
	struct http_exchange *e = *place;
	unsigned char chunk[LWS_PRE + CHUNK];
	size_t	left = e->response.len - e->sent;
	size_t	len = left < CHUNK ? left : CHUNK;
	struct lws *wsi = e->wsi;

	if (!e->has_sent_headers)
	{
		if (send_headers(e) != 0)
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
	free_exchange(h, place);
	return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static void exchange_answer(void *owner, uint64_t id, const struct answer *a);

static void
submit(struct http *h, struct http_exchange *e, enum request_kind kind, const char *json)
{
	struct request r = {.kind = kind, .role = e->identity.role, .claims = e->identity.claims, .json = json};

	h->calls.submit(h->owner, &r, exchange_answer, h, e->id);
}

/* All or nothing: the rights in every private topic are known before the first message goes. */
static void
go_on_broadcasting(struct http *h, struct http_exchange *e)
{
	const char *topic = posted_topic(e->posted);

	if (topic != NULL)
	{
		submit(h, e, REQUEST_TOPIC, topic);
		return;
	}
	posted_send(e->posted, h->calls.broadcast, h->owner);
	respond(e, 202);
}

static void
take_rights(struct http *h, struct http_exchange *e, const struct answer *a)
{
	struct request_error error = request_error(a);
	struct json *rights = a->status == ANSWER_OK ? json_parse(a->json, a->len, RIGHTS_VALUES_MAX) : NULL;

	if (a->status != ANSWER_OK && error.is_passing)
		respond_error(e, (unsigned int) error.http_status, error.code, error.text, NULL);
	else if (posted_may(e->posted, json_root(rights)))
		go_on_broadcasting(h, e);
	else
		respond_error(e, 403, "Unauthorized", "You do not have permissions to write to this topic", NULL);
	json_free(rights);
}

static void
broadcast(struct http *h, struct http_exchange *e)
{
	struct posted_problem problem = posted_read(e->posted, e->body.data != NULL ? e->body.data : "", e->body.len, h->options->max_broadcast, h->options->public_topics);

	if (problem.text != NULL)
		respond_error(e, problem.status, problem.code, problem.text, NULL);
	else
		go_on_broadcasting(h, e);
}

/* Off unless asked for: it takes time of the one loop, and lengths of compressed answers can tell what is in them to one who may add to it. */
static void
compress(const struct http *h, struct http_exchange *e)
{
	struct buffer zipped;

	if (!h->options->compress || !e->takes_gzip || e->response.len < ZIP_LEAST)
		return;
	buffer_init(&zipped);
	zip_put(&zipped, ZIP_GZIP, e->response.data, e->response.len);
	buffer_free(&e->response);
	e->response = zipped;
	e->is_zipped = true;
}

static void
exchange_answer(void *owner, uint64_t id, const struct answer *a)
{
	struct http *h = owner;
	struct http_exchange *e = map_get_id(&h->exchanges, id);
	struct request_error error;

	if (e == NULL)
		return;
	if (e->posted != NULL)
	{
		take_rights(h, e, a);
		return;
	}
	if (e->pushed != NULL)
		works_join(&e->response, e->pushed, a);
	else if (a->status != ANSWER_OK)
	{
		error = request_error(a);
		respond_error(e, (unsigned int) error.http_status, error.code, error.text != NULL ? error.text : "", error.hint);
		return;
	}
	else if (e->pull_json != NULL)
	{
		e->pushed = memory_text(a->json, a->len);
		submit(h, e, REQUEST_PULL, e->pull_json);
		return;
	}
	else
		buffer_put(&e->response, a->json, a->len);
	memory_require(e->response.failed ? NULL : e->response.data);
	compress(h, e);
	respond(e, 200);
}

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

/* payload: that of a join */
static void
start_stream(struct http *h, struct http_exchange *e, const struct buffer *payload)
{
	memory_require(payload->failed ? NULL : payload->data);
	lws_set_timeout(e->wsi, NO_PENDING_TIMEOUT, 0);
	e->stream = stream_new(h->connections, e, e->token, payload->data, loop_now_ms(), time(NULL));
	if (e->is_ending)
		stream_end(e->stream);
	lws_callback_on_writable(e->wsi);
}

/* Last-Event-ID is where the client stands: it wins over the body, which a client that connects again repeats. */
static void
start_stream_as_told(struct http *h, struct http_exchange *e, struct json_value body)
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
		respond_error(e, 400, "bad_request", "the URL's arguments cannot be read", NULL);
	else
		start_stream_as_told(h, e, json_root(doc));
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
	buffer_reset(&e->response);
	respond_error(e, request_status(code != NULL ? code : ""), code != NULL ? code : "internal", text != NULL ? text : "", hint);
	free(code);
	free(text);
	free(hint);
	json_free(doc);
}

/* What was taken waits in `response`, behind the library's headroom, until the headers are gone. */
static int
write_stream(struct http_exchange *e)
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
		return send_headers(e);
	}
	if (out->len > sizeof(headroom))
	{
		result = lws_write(e->wsi, (unsigned char *) out->data + sizeof(headroom), out->len - sizeof(headroom), LWS_WRITE_HTTP) < 0 ? -1 : 0;
		lws_callback_on_writable(e->wsi);
	}
	buffer_free(out);
	return state == STREAM_OVER ? -1 : result;
}

static void
take_stats(struct http_exchange *e, struct json_value stats)
{
	const char *problem = client_stats_take(stats);

	if (problem != NULL)
	{
		respond_error(e, 400, "bad_request", problem, NULL);
		return;
	}
	buffer_puts(&e->response, "{\"success\":true}");
	respond(e, 200);
}

/* The body is complete: ask the database, unless the request has been refused before. */
static void
body_complete(struct http *h, struct http_exchange *e)
{
	struct work w = {.kind = e->kind == REQUEST_PUSH ? WORK_PUSH : WORK_ASK, .request = e->kind};
	struct json *doc;

	e->body_seen = e->body_expected;
	if (e->status != 0)
		return;
	lws_set_timeout(e->wsi, NO_PENDING_TIMEOUT, 0);
	if (e->posted != NULL)
	{
		broadcast(h, e);
		return;
	}
	doc = e->body.len > 0 && text_is_utf8(e->body.data, e->body.len) ? json_parse(e->body.data, e->body.len, BODY_VALUES_MAX) : NULL;
	if (doc == NULL || json_type(json_root(doc)) != JSON_OBJECT)
	{
		json_free(doc);
		respond_error(e, 400, "bad_request", "the body is not a JSON object", NULL);
		return;
	}
	if (e->is_stream)
	{
		start_stream_as_told(h, e, json_root(doc));
		json_free(doc);
		return;
	}
	if (e->is_stats)
	{
		take_stats(e, json_root(doc));
		json_free(doc);
		return;
	}
	works_prepare(&w, json_root(doc), NULL);
	json_free(doc);
	e->pull_json = w.pull_json;
	submit(h, e, e->kind, w.json);
	free(w.json);
}

static void
header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t size)
{
	out[0] = '\0';
	if (lws_hdr_copy(wsi, out, (int) size, token) < 0)
		out[0] = '\0';
}

static bool
check_origin(struct http *h, struct http_exchange *e)
{
	char	host[ORIGIN_MAX];

	header(e->wsi, WSI_TOKEN_ORIGIN, e->origin, sizeof(e->origin));
	header(e->wsi, WSI_TOKEN_HOST, host, sizeof(host));
	if (origin_is_allowed(h->options->allow_origin, e->origin, host))
		return true;
	e->origin[0] = '\0';
	return false;
}

/* Supabase's clients send their key twice; it counts when they have no token. */
static const char *
read_api_key(struct http_exchange *e, char *out, size_t size)
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
static bool
is_within_rate(struct http *h, struct http_exchange *e)
{
	char	address[ADDRESS_MAX];

	http_address(h, e->wsi, address);
	e->retry_after_s = admission_request(h->admission, e->identity.subject, address, loop_now_ms());
	return e->retry_after_s == 0;
}

static const char *
authenticate(struct http *h, struct http_exchange *e)
{
	char	value[TOKEN_MAX + 16];
	const char *token;

	header(e->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, value, sizeof(value));
	token = auth_bearer(value);
	if (token == NULL)
		token = read_api_key(e, value, sizeof(value));
	return token != NULL ? auth_verify(h->auth, &e->identity, token, strlen(token), time(NULL)) : "no access token was given";
}

/* How long the body is. If that cannot be told the connection is closed after the answer: nobody knows where the next request would begin. */
static bool
measure_body(struct http_exchange *e)
{
	char	length[64];
	uint64_t expected = 0;
	bool	is_clear = lws_hdr_total_length(e->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING) <= 0;
	bool	is_digits;

	header(e->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, length, sizeof(length));
	is_digits = length[0] != '\0' && length[strspn(length, "0123456789")] == '\0';
	if (lws_hdr_total_length(e->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0)
	{
		is_clear = is_clear && is_digits;
		if (is_digits && (!text_uint64(length, strlen(length), &expected) || expected > SIZE_MAX / 2))
			expected = SIZE_MAX / 2;		/* too large, whatever it is */
	}
	e->body_expected = (size_t) expected;
	e->must_close = !is_clear;
	return is_clear;
}

static bool
takes_gzip(struct lws *wsi)
{
	char	value[128];
	const char *gzip;

	header(wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, value, sizeof(value));
	gzip = strstr(value, "gzip");
	return gzip != NULL && strncmp(gzip + 4, ";q=0", 4) != 0;
}

static void
begin_api(struct http *h, struct http_exchange *e)
{
	const char *problem;

	if (!check_origin(h, e))
	{
		respond_error(e, 403, "forbidden", "this origin is not allowed", NULL);
		return;
	}
	if (e->body_expected > h->options->max_body)
	{
		respond_error(e, 413, "too_large", "the body is larger than the server takes", NULL);
		return;
	}
	e->takes_gzip = takes_gzip(e->wsi);
	problem = authenticate(h, e);
	if (!is_within_rate(h, e))
		respond_error(e, 429, "rate_limited", "too many requests", NULL);
	else if (problem != NULL)
		respond_error(e, 401, "unauthorized", problem, NULL);
}

static void
begin_broadcast(struct http *h, struct http_exchange *e, const char *path)
{
	struct posted_problem problem;
	char	media[MEDIA_MAX];
	char	is_private[32];		/* with its name */
	const char *given = lws_get_urlarg_by_name(e->wsi, "private=", is_private, sizeof(is_private));

	begin_api(h, e);
	if (e->status != 0)
		return;
	header(e->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, media, sizeof(media));
	e->posted = posted_new(path, given != NULL && strcmp(given, "true") == 0, media, &problem);
	if (problem.text != NULL)
		respond_error(e, problem.status, problem.code, problem.text, NULL);
}

static void
answer_ready(struct http *h, struct http_exchange *e)
{
	struct buffer missing;

	buffer_init(&missing);
	h->calls.missing(h->owner, &missing);
	if (missing.len == 0)
		buffer_puts(&e->response, "{\"status\":\"ok\"}");
	else
		buffer_printf(&e->response, "{\"status\":\"not ready\",\"missing\":[%s]}", missing.data);
	respond(e, missing.len == 0 ? 200 : 503);
	buffer_free(&missing);
}

/* false: no page of that name. */
static bool
answer_page(struct http *h, struct http_exchange *e, const char *path)
{
	struct page_answer a;

	if (!http_page(h->pages, e->wsi, path, &a, &e->response))
		return false;
	memory_require(e->response.failed ? NULL : e->response.data);
	e->type = a.type;
	e->policy = a.policy;
	respond(e, a.status);
	return true;
}

static void
answer_status(struct http *h, struct http_exchange *e)
{
	begin_api(h, e);
	if (e->status != 0)
		return;
	h->calls.status(h->owner, &e->identity, &e->response);
	memory_require(e->response.failed ? NULL : e->response.data);
	respond(e, 200);
}

static int
serve_file(struct http *h, struct lws *wsi, const char *path)
{
	static const char headers[] = "x-content-type-options: nosniff\r\ncache-control: no-cache\r\n";
	char	file[PATH_MAX];
	int		result;

	if (h->demo == NULL || !files_resolve(h->demo, path, file))
		return http_refuse(wsi, 404) < 0 ? -1 : lws_http_transaction_completed(wsi);
	result = lws_serve_http_file(wsi, file, files_type(file), headers, (int) sizeof(headers) - 1);
	return result < 0 || (result > 0 && lws_http_transaction_completed(wsi) != 0) ? -1 : 0;
}

static struct http_exchange *
new_exchange(struct http *h, struct lws *wsi)
{
	struct http_exchange *e = memory_new(sizeof(*e));

	e->wsi = wsi;
	e->id = ++h->last_id;
	buffer_init(&e->body);
	buffer_init(&e->response);
	map_put_id(&h->exchanges, e->id, e);
	return e;
}

/* A stream takes the place of a client's connection: the same limits. */
static void
begin_stream(struct http *h, struct http_exchange *e, bool is_get)
{
	char	value[TOKEN_MAX + 16];
	char	address[ADDRESS_MAX];

	e->is_stream = true;
	begin_api(h, e);
	http_address(h, e->wsi, address);
	if (e->status != 0)
		return;
	if (e->body_expected > h->options->max_frame)
		respond_error(e, 413, "too_large", "the body is larger than a join may be", NULL);
	else if (connections_count(h->connections) >= (size_t) h->options->max_clients)
		respond_error(e, 503, "busy", "there are as many clients as allowed", NULL);
	else if (!admission_client_has_room(h->admission, address, loop_now_ms()))
		respond_error(e, 429, "too_many_clients", "this address has as many connections as allowed", NULL);
	if (e->status != 0)
		return;
	e->address = memory_string(address);
	admission_client_enter(h->admission, address);
	header(e->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, value, sizeof(value));
	e->token = memory_string(auth_bearer(value));
	if (lws_hdr_custom_copy(e->wsi, value, sizeof(value), "last-event-id:", 14) > 0)
		e->last_event = memory_string(value);
	if (is_get)
		start_stream_as_asked(h, e);
}

/* Does the path name one of the requests that go to the database? */
static bool
request_of(const char *path, enum request_kind *kind)
{
	static const char api[] = "/api/v1/sync/";

	return strncmp(path, api, sizeof(api) - 1) == 0 && request_named(path + sizeof(api) - 1, kind);
}

static int
begin(struct http *h, struct lws *wsi, struct http_exchange **place, const char *path)
{
	bool	is_get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
	bool	is_post = lws_hdr_total_length(wsi, WSI_TOKEN_POST_URI) > 0;
	bool	is_options = lws_hdr_total_length(wsi, WSI_TOKEN_OPTIONS_URI) > 0;
	bool	is_stream = strcmp(path, "/api/v1/sync/stream") == 0;
	bool	is_broadcast = posted_is_address(path);
	bool	is_api;
	bool	is_status;
	struct http_exchange *e;

	free_exchange(h, place);
	*place = e = new_exchange(h, wsi);
	e->is_broadcast = is_broadcast;
	e->is_stats = strcmp(path, "/api/v1/sync/stats") == 0;
	is_status = strcmp(path, "/api/v1/sync/status") == 0;
	is_api = request_of(path, &e->kind) || e->is_stats;
	if (!measure_body(e) || (!is_post && e->body_expected > 0 && (e->must_close = true)))
		respond_error(e, 400, "bad_request", "the length of the body must be given, and only POST has one", NULL);
	else if (is_get && strncmp(path, "/demo/", 6) == 0)
	{
		free_exchange(h, place);
		return serve_file(h, wsi, path + 6);
	}
	else if (is_post && is_broadcast)
		begin_broadcast(h, e, path);
	else if (is_post && is_api)
		begin_api(h, e);
	else if ((is_post || is_get) && is_stream)
		begin_stream(h, e, is_get);
	else if (is_get && is_status)
		answer_status(h, e);
	else if (is_options && (is_api || is_stream || is_status || is_broadcast))
		respond(e, check_origin(h, e) ? 204 : 403);
	else if (is_get && strcmp(path, "/healthz") == 0)
	{
		buffer_puts(&e->response, "{\"status\":\"ok\"}");
		respond(e, 200);
	}
	else if (is_get && strcmp(path, "/readyz") == 0)
		answer_ready(h, e);
	else if (is_get && answer_page(h, e, path))
		return 0;
	else if (is_api || is_stream || is_broadcast)
		respond_error(e, 405, "method_not_allowed", "use POST", NULL);
	else
		respond_error(e, 404, "not_found", "there is nothing here", NULL);
	return 0;
}

static void
take_body(struct http *h, struct http_exchange *e, const void *data, size_t len)
{
	e->body_seen += len;
	if (e->status == 0 && e->body_seen > h->options->max_body)
		respond_error(e, 413, "too_large", "the body is larger than the server takes", NULL);
	if (e->status == 0)
		buffer_put(&e->body, data, len);
}

int
http_event(struct http *h, struct lws *wsi, int reason, struct http_exchange **exchange, const void *in, size_t len)
{
	switch (reason)
	{
		case LWS_CALLBACK_HTTP:
			return begin(h, wsi, exchange, in);
		case LWS_CALLBACK_HTTP_BODY:
			if (*exchange != NULL)
				take_body(h, *exchange, in, len);
			return 0;
		case LWS_CALLBACK_HTTP_BODY_COMPLETION:
			if (*exchange != NULL)
				body_complete(h, *exchange);
			return 0;
		case LWS_CALLBACK_HTTP_WRITEABLE:
			if (*exchange != NULL && (*exchange)->stream != NULL)
				return write_stream(*exchange);
			return *exchange != NULL && (*exchange)->status != 0 ? write_response(h, exchange) : 0;
		case LWS_CALLBACK_HTTP_FILE_COMPLETION:
			return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
		default:
			free_exchange(h, exchange);
			return 0;
	}
}

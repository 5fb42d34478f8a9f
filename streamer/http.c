/* http.c - plain HTTP: push and pull, broadcasts, health, the demo's files. Beside the sockets of server.c, in the same library. */
/* SPDX-License-Identifier: PostgreSQL */
#include "http_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client_stats.h"
#include "files.h"
#include "http_page.h"
#include "log.h"
#include "loop.h"
#include "memory.h"
#include "message.h"
#include "text.h"
#include "work.h"
#include "zip.h"

#define MEDIA_MAX 128
#define RIGHTS_VALUES_MAX 100

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

void
exchange_free(struct http *h, struct http_exchange **place)
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
	exchange_respond(e, 202);
}

static void
take_rights(struct http *h, struct http_exchange *e, const struct answer *a)
{
	struct request_error error = request_error(a);
	struct json *rights = a->status == ANSWER_OK ? json_parse(a->json, a->len, RIGHTS_VALUES_MAX) : NULL;

	if (a->status != ANSWER_OK && error.is_passing)
		exchange_refuse(e, (unsigned int) error.http_status, error.code, error.text, NULL);
	else if (posted_may(e->posted, json_root(rights)))
		go_on_broadcasting(h, e);
	else
		exchange_refuse(e, 403, "Unauthorized", "You do not have permissions to write to this topic", NULL);
	json_free(rights);
}

static void
broadcast(struct http *h, struct http_exchange *e)
{
	struct posted_problem problem = posted_read(e->posted, e->body.data != NULL ? e->body.data : "", e->body.len, h->options->max_broadcast, h->options->public_topics);

	if (problem.text != NULL)
		exchange_refuse(e, problem.status, problem.code, problem.text, NULL);
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
	char	text[REQUEST_ERROR_TEXT_MAX];

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
		request_error_text(&error, text);
		exchange_refuse(e, (unsigned int) error.http_status, error.code, text, error.hint);
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
	exchange_respond(e, 200);
}

static void
take_stats(struct http_exchange *e, struct json_value stats)
{
	const char *problem = client_stats_take(stats);

	if (problem != NULL)
	{
		exchange_refuse(e, 400, "bad_request", problem, NULL);
		return;
	}
	buffer_puts(&e->response, "{\"success\":true}");
	exchange_respond(e, 200);
}

/* The body is complete: ask the database, unless the request has been refused before. */
static void
body_complete(struct http *h, struct http_exchange *e)
{
	struct work w = {.kind = e->kind == REQUEST_PUSH ? WORK_PUSH : WORK_ASK, .request = e->kind};
	struct json *doc;

	e->is_read = true;
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
		exchange_refuse(e, 400, "bad_request", "the body is not a JSON object", NULL);
		return;
	}
	if (e->is_stream)
	{
		exchange_start_stream(h, e, json_root(doc));
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

void
exchange_begin_api(struct http *h, struct http_exchange *e)
{
	const char *problem;

	if (!exchange_check_origin(h, e))
	{
		exchange_refuse(e, 403, "forbidden", "this origin is not allowed", NULL);
		return;
	}
	if (e->body_expected > h->options->max_body)
	{
		exchange_refuse(e, 413, "too_large", "the body is larger than the server takes", NULL);
		return;
	}
	e->takes_gzip = exchange_takes_gzip(e->wsi);
	problem = exchange_authenticate(h, e);
	if (!exchange_is_within_rate(h, e))
		exchange_refuse(e, 429, "rate_limited", "too many requests", NULL);
	else if (problem != NULL)
		exchange_refuse(e, 401, "unauthorized", problem, NULL);
}

static void
begin_broadcast(struct http *h, struct http_exchange *e, const char *path)
{
	struct posted_problem problem;
	char	media[MEDIA_MAX];
	char	is_private[32];		/* with its name */
	const char *given = lws_get_urlarg_by_name(e->wsi, "private=", is_private, sizeof(is_private));

	exchange_begin_api(h, e);
	if (e->status != 0)
		return;
	exchange_header(e->wsi, WSI_TOKEN_HTTP_CONTENT_TYPE, media, sizeof(media));
	e->posted = posted_new(path, given != NULL && strcmp(given, "true") == 0, media, &problem);
	if (problem.text != NULL)
		exchange_refuse(e, problem.status, problem.code, problem.text, NULL);
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
	exchange_respond(e, missing.len == 0 ? 200 : 503);
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
	exchange_respond(e, a.status);
	return true;
}

static void
answer_status(struct http *h, struct http_exchange *e)
{
	exchange_begin_api(h, e);
	if (e->status != 0)
		return;
	h->calls.status(h->owner, &e->identity, &e->response);
	memory_require(e->response.failed ? NULL : e->response.data);
	exchange_respond(e, 200);
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

	if (*place != NULL)
		return -1;
	*place = e = new_exchange(h, wsi);
	e->is_broadcast = is_broadcast;
	e->is_stats = strcmp(path, "/api/v1/sync/stats") == 0;
	is_status = strcmp(path, "/api/v1/sync/status") == 0;
	is_api = request_of(path, &e->kind) || e->is_stats;
	if (!exchange_measure_body(e) || (is_post ? lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH) <= 0 : e->body_expected > 0))
	{
		e->must_close = true;
		exchange_refuse(e, 400, "bad_request", "the length of the body must be given, and only POST has one", NULL);
	}
	else if (is_get && strncmp(path, "/demo/", 6) == 0)
	{
		exchange_free(h, place);
		return serve_file(h, wsi, path + 6);
	}
	else if (is_post && is_broadcast)
		begin_broadcast(h, e, path);
	else if (is_post && is_api)
		exchange_begin_api(h, e);
	else if ((is_post || is_get) && is_stream)
		exchange_begin_stream(h, e, is_get);
	else if (is_get && is_status)
		answer_status(h, e);
	else if (is_options && (is_api || is_stream || is_status || is_broadcast))
		exchange_respond(e, exchange_check_origin(h, e) ? 204 : 403);
	else if (is_get && strcmp(path, "/healthz") == 0)
	{
		buffer_puts(&e->response, "{\"status\":\"ok\"}");
		exchange_respond(e, 200);
	}
	else if (is_get && strcmp(path, "/readyz") == 0)
		answer_ready(h, e);
	else if (is_get && answer_page(h, e, path))
		return 0;
	else if (is_api || is_stream || is_broadcast)
		exchange_refuse(e, 405, "method_not_allowed", "use POST", NULL);
	else
		exchange_refuse(e, 404, "not_found", "there is nothing here", NULL);
	return 0;
}

static void
take_body(struct http *h, struct http_exchange *e, const void *data, size_t len)
{
	e->body_seen += len;
	if (e->status == 0 && e->body_seen > h->options->max_body)
		exchange_refuse(e, 413, "too_large", "the body is larger than the server takes", NULL);
	if (e->status == 0)
		buffer_put(&e->body, data, len);
}

/*
 * A request may not be sent before the one in front of it is answered. The library asks what to do with it as if the first body were complete once more,
 * again and again in one turn for as long as it is told to wait (its flow control does not stop that): so the connection ends.
 */
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
			if (*exchange == NULL || (*exchange)->is_read)
				return -1;
			body_complete(h, *exchange);
			return 0;
		case LWS_CALLBACK_HTTP_WRITEABLE:
			if (*exchange != NULL && (*exchange)->stream != NULL)
				return exchange_write_stream(*exchange);
			return *exchange != NULL && (*exchange)->status != 0 ? exchange_write(h, exchange) : 0;
		case LWS_CALLBACK_HTTP_FILE_COMPLETION:
			return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
		default:
			exchange_free(h, exchange);
			return 0;
	}
}

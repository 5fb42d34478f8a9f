/* http_parts.h - the inside of an HTTP exchange, shared by http.c (what is asked), http_request.c (reading it), http_response.c and http_stream.c (answering). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_HTTP_PARTS_H
#define SYNC_HTTP_PARTS_H

#include <libwebsockets.h>

#include "http.h"
#include "map.h"
#include "posted.h"
#include "stream.h"

#define LINGER_S 3			/* after a refusal input is read on for so long: hanging up at once could hide the answer from the client */
#define CHUNK 65536
#define ORIGIN_MAX 256
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
	bool	is_read;				/* the request, to its end */
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

/* http.c */
void	exchange_free(struct http *h, struct http_exchange **place);
void	exchange_begin_api(struct http *h, struct http_exchange *e);

/* http_request.c: while the headers are there */
void	exchange_header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t size);
bool	exchange_check_origin(struct http *h, struct http_exchange *e);
bool	exchange_is_within_rate(struct http *h, struct http_exchange *e);
const char *exchange_authenticate(struct http *h, struct http_exchange *e);
bool	exchange_measure_body(struct http_exchange *e);
bool	exchange_takes_gzip(struct lws *wsi);
const char *exchange_api_key(struct http_exchange *e, char *out, size_t size);

/* http_response.c */
void	exchange_respond(struct http_exchange *e, unsigned int status);
void	exchange_refuse(struct http_exchange *e, unsigned int status, const char *code, const char *text, const char *hint);
int		exchange_send_headers(struct http_exchange *e);
int		exchange_write(struct http *h, struct http_exchange **place);

/* http_stream.c */
void	exchange_begin_stream(struct http *h, struct http_exchange *e, bool is_get);
void	exchange_start_stream(struct http *h, struct http_exchange *e, struct json_value body);
int		exchange_write_stream(struct http_exchange *e);

#endif

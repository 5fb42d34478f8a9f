/* server.c - the listening socket and its WebSocket clients: handshakes checked, messages whole, closes in order. */
/* SPDX-License-Identifier: PostgreSQL */
#include "server.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libwebsockets.h>

#include "admission.h"
#include "files.h"
#include "log.h"
#include "memory.h"
#include "origin.h"
#include "tls.h"
#include "poller.h"
#include "receiver.h"
#include "writer.h"

#define KEEPALIVE_S 60
#define CLOSE_LIMIT_S 5				/* for the closing handshake */
#define RECEIVE_ROOM 1024			/* the library keeps so much for each client; longer messages come in pieces */
#define REASON_MAX 64
#define ARGUMENT_MAX (TOKEN_MAX + 64)	/* of the URL's query, name and value */

struct server
{
	struct loop *loop;
	const struct options *options;
	struct http *http;
	struct connections *connections;
	struct admission *admission;
	struct lws_vhost *vhost;
	struct writer writer;
	struct stat seen_cert;			/* when TLS was set up last */
	struct stat seen_key;
	bool	is_stopping;
};

/* libwebsockets' memory for each connection: zeroed at first, gone after the last callback. */
struct socket
{
	struct server *server;
	struct lws *wsi;
	struct connection *connection;		/* NULL before the handshake is done and after the end */
	struct outlet outlet;
	struct http_exchange *exchange;
	struct buffer message;				/* fragments so far */
	char   *address;					/* owned: of the client, as it is counted; NULL: it is not */
	int		close_code;					/* 0: stay; else it ends as soon as what waits has been written */
	bool	is_drained;
	bool	has_sent_close;				/* the client's is waited for */
	char   *close_reason;		/* owned; NULL until it closes */
};

static void
header(struct lws *wsi, enum lws_token_indexes token, char *out, size_t size)
{
	out[0] = '\0';
	if (lws_hdr_copy(wsi, out, (int) size, token) < 0)
		out[0] = '\0';
}

static bool
is_socket_path(const char *path)
{
	return strcmp(path, "/realtime/v1/websocket") == 0 || strcmp(path, "/socket/websocket") == 0;
}

/* Phoenix takes its absence for 1.0.0. The library stops looking at the first argument that does not fit: there is room for a token. */
static bool
read_version(struct lws *wsi, enum message_format *format)
{
	char	version[ARGUMENT_MAX];
	const char *vsn = lws_get_urlarg_by_name(wsi, "vsn=", version, sizeof(version));

	*format = vsn != NULL && strncmp(vsn, "2.0.", 4) == 0 ? MESSAGE_ARRAYS : MESSAGE_OBJECTS;
	return vsn == NULL || strncmp(vsn, "2.0.", 4) == 0 || strncmp(vsn, "1.0.", 4) == 0;
}

/* Of Supabase's clients: a gateway may have put a token into the header. NULL: none. */
static const char *
read_api_key(struct lws *wsi, char *out, size_t size)
{
	static const char name[] = "x-api-key:";

	if (lws_hdr_custom_copy(wsi, out, (int) size, name, sizeof(name) - 1) > 0)
		return out;
	return lws_get_urlarg_by_name(wsi, "apikey=", out, (int) size);
}

/* Only WebSockets are upgraded to (HTTP/2 on this library has an open hole), only for us, only for pages that may. The protocol's name is
 * read from the headers: what the library passes here has been freed in some versions. */
static int
confirm_upgrade(struct server *s, struct lws *wsi)
{
	char	upgrade[32];
	char	path[64];
	char	origin[256];
	char	host[256];
	char	address[ADDRESS_MAX];
	enum message_format format;

	header(wsi, WSI_TOKEN_UPGRADE, upgrade, sizeof(upgrade));
	header(wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
	header(wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin));
	header(wsi, WSI_TOKEN_HOST, host, sizeof(host));
	if (strcasecmp(upgrade, "websocket") != 0)
		return http_refuse(wsi, 403);
	if (!is_socket_path(path))
		return http_refuse(wsi, 404);
	if (!read_version(wsi, &format))
		return http_refuse(wsi, 400);
	if (!origin_is_allowed(s->options->allow_origin, origin, host))
		return http_refuse(wsi, 403);
	http_address(s->http, wsi, address);
	if (!admission_client_has_room(s->admission, address, loop_now_ms()))
		return http_refuse(wsi, 429);
	if (s->is_stopping || connections_count(s->connections) >= (size_t) s->options->max_clients)
		return http_refuse(wsi, 503);
	return 0;
}

static int
established(struct server *s, struct lws *wsi, struct socket *socket)
{
	char	authorization[TOKEN_MAX + 16];
	char	api_key[ARGUMENT_MAX];
	char	address[ADDRESS_MAX];
	struct handshake h;

	header(wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization, sizeof(authorization));
	http_address(s->http, wsi, address);
	socket->server = s;
	socket->wsi = wsi;
	socket->address = memory_string(address);
	admission_client_enter(s->admission, address);
	buffer_init(&socket->message);
	h.bearer = auth_bearer(authorization);
	h.api_key = read_api_key(wsi, api_key, sizeof(api_key));
	if (!read_version(wsi, &h.format))
		return -1;
	socket->connection = connection_new(s->connections, socket, &h, loop_now_ms(), time(NULL));
	outlet_open(&socket->outlet, wsi, socket->connection);
	return receiver_upgrade((int) lws_get_socket_fd(wsi)) ? 0 : -1;
}

static void
closed(struct socket *socket)
{
	if (socket->connection != NULL)
		connection_free(socket->connection);
	socket->connection = NULL;
	if (socket->server != NULL)
		outlet_close(&socket->server->writer, &socket->outlet);
	if (socket->address != NULL)
		admission_client_leave(socket->server->admission, socket->address);
	free(socket->address);
	socket->address = NULL;
	free(socket->close_reason);
	socket->close_reason = NULL;
	buffer_free(&socket->message);
	socket->wsi = NULL;
}

/* The close frame is ours, and what the client still sends is read and thrown away until its own comes: the library would hang up in the middle of a
 * flood, and the reset that follows takes the reason away from the client before it has read it. */
static int
send_close(struct socket *socket)
{
	unsigned char bytes[LWS_PRE + 4 + REASON_MAX] = {0};
	unsigned char *frame = bytes + LWS_PRE;
	size_t	len = strnlen(socket->close_reason, REASON_MAX);

	frame[0] = 0x88;		/* final, close */
	frame[1] = (unsigned char) (2 + len);
	frame[2] = (unsigned char) (socket->close_code >> 8);
	frame[3] = (unsigned char) (socket->close_code & 0xff);
	memcpy(frame + 4, socket->close_reason, len);
	socket->has_sent_close = true;
	lws_set_timeout(socket->wsi, PENDING_TIMEOUT_CLOSE_ACK, CLOSE_LIMIT_S);
	return lws_write(socket->wsi, frame, 4 + len, LWS_WRITE_HTTP) < 0 ? -1 : 0;
}

static int
refuse_message(struct socket *socket, int code, const char *reason)
{
	log_event(LOG_LEVEL_DEBUG, "message_refused", "code=%d reason=\"%s\"", code, reason);
	buffer_free(&socket->message);
	server_close(socket, code, reason);
	return 0;
}

/* The library sets no limit to a message and passes it on in pieces: they are counted here. */
static int
receive(struct server *s, struct socket *socket, const char *data, size_t len)
{
	struct buffer *message = &socket->message;
	bool	is_binary = lws_frame_is_binary(socket->wsi);

	if (socket->close_code != 0)
		return 0;
	if (lws_is_first_fragment(socket->wsi))
		buffer_reset(message);
	buffer_put(message, data, len);
	if (message->failed)
		return refuse_message(socket, CLOSE_TOO_BIG, "message too big");
	if (message->len > s->options->max_frame && message->len > connection_frame_limit(socket->connection, message->data, message->len, is_binary))
		return refuse_message(socket, CLOSE_TOO_BIG, "message too big");
	if (!lws_is_final_fragment(socket->wsi) || lws_remaining_packet_payload(socket->wsi) > 0)
		return 0;
	connection_message(socket->connection, message->data != NULL ? message->data : "", message->len, is_binary, loop_now_ms(), time(NULL));
	buffer_free(message);		/* most clients are silent most of the time */
	return 0;
}

/* The close goes out once nothing waits before it. */
static int
write_out(struct server *s, struct socket *socket)
{
	if (socket->has_sent_close)
		return 0;
	if (socket->close_code != 0 && socket->is_drained && !lws_send_pipe_choked(socket->wsi))
		return send_close(socket);
	if (writer_writable(&s->writer, &socket->outlet, &socket->is_drained) != 0)
		return -1;
	if (socket->close_code != 0)
		lws_callback_on_writable(socket->wsi);
	return 0;
}

/* What is known of a TCP connection before a byte was read; kept in the library's place for such things. */
struct peer
{
	int		descriptor;
	char	address[ADDRESS_MAX];	/* as the kernel knows it: headers come later */
};

static bool
has_room_for(struct server *s, int descriptor)
{
	char	peer[ADDRESS_MAX];

	return lws_get_peer_simple_fd(descriptor, peer, sizeof(peer)) == NULL || admission_socket_has_room(s->admission, peer);
}

static void
count_in(struct server *s, struct lws *wsi)
{
	char	address[ADDRESS_MAX];
	struct peer *peer;

	if (lws_get_opaque_user_data(wsi) != NULL || lws_get_peer_simple(wsi, address, sizeof(address)) == NULL)
		return;
	peer = memory_new(sizeof(*peer));
	peer->descriptor = (int) lws_get_socket_fd(wsi);
	memcpy(peer->address, address, sizeof(address));
	lws_set_opaque_user_data(wsi, peer);
	admission_socket_enter(s->admission, peer->address);
	receiver_begin(peer->descriptor);
}

static void
count_out(struct server *s, struct lws *wsi)
{
	struct peer *peer = lws_get_opaque_user_data(wsi);

	if (peer == NULL)
		return;
	lws_set_opaque_user_data(wsi, NULL);
	admission_socket_leave(s->admission, peer->address);
	receiver_end(peer->descriptor);
	free(peer);
}

static int
socket_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct server *s = lws_get_vhost(wsi) != NULL ? lws_get_vhost_user(lws_get_vhost(wsi)) : NULL;
	struct socket *socket = user;

	switch ((int) reason)
	{
		case LWS_CALLBACK_FILTER_NETWORK_CONNECTION:
			poller_forget((int) (intptr_t) in);
			return has_room_for(s, (int) (intptr_t) in) ? 0 : 1;
		case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
			count_in(s, wsi);
			return 0;
		case LWS_CALLBACK_WSI_DESTROY:
			count_out(s, wsi);
			return 0;
		case LWS_CALLBACK_HTTP_CONFIRM_UPGRADE:
			return confirm_upgrade(s, wsi);
		case LWS_CALLBACK_ESTABLISHED:
			return established(s, wsi, socket);
		case LWS_CALLBACK_RECEIVE:
			return receive(s, socket, in, len);
		case LWS_CALLBACK_RECEIVE_PONG:
			connection_heard(socket->connection, loop_now_ms());
			return 0;
		case LWS_CALLBACK_SERVER_WRITEABLE:
			return write_out(s, socket);
		case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
			outlet_end(&socket->server->writer, &socket->outlet);
			return socket->has_sent_close ? -1 : 0;
		case LWS_CALLBACK_CLOSED:
			closed(socket);
			return 0;
		case LWS_CALLBACK_HTTP:
			receiver_request((int) lws_get_socket_fd(wsi));
			return socket != NULL ? http_event(s->http, wsi, (int) reason, &socket->exchange, in, len) : 0;
		case LWS_CALLBACK_HTTP_BODY:
		case LWS_CALLBACK_HTTP_BODY_COMPLETION:
		case LWS_CALLBACK_HTTP_WRITEABLE:
		case LWS_CALLBACK_HTTP_FILE_COMPLETION:
		case LWS_CALLBACK_CLOSED_HTTP:
		case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
			return socket != NULL ? http_event(s->http, wsi, (int) reason, &socket->exchange, in, len) : 0;
		default:
			return 0;
	}
}

static const struct lws_protocols protocols[] = {
	{.name = "sync", .callback = socket_event, .per_session_data_size = sizeof(struct socket), .rx_buffer_size = RECEIVE_ROOM, .tx_packet_size = OUTGOING_BYTES_MAX},
	{0},
};

static bool
set_up_tls(struct server *s, struct lws_context_creation_info *info)
{
	const struct options *o = s->options;
	char	reason[128];

	files_changed(&s->seen_cert, o->tls_cert);
	files_changed(&s->seen_key, o->tls_key);
	info->options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	info->ssl_cert_filepath = o->tls_cert;
	info->ssl_private_key_filepath = o->tls_key;
	info->ssl_options_set = tls_options();
	info->alpn = "http/1.1";
	if (tls_is_usable(o->tls_cert, o->tls_key, reason, sizeof(reason)))
		return true;
	log_event(LOG_LEVEL_ERROR, "tls_unusable", "certificate=\"%s\" key=\"%s\" reason=\"%s\"", o->tls_cert, o->tls_key, reason);
	return false;
}

/* Once a second. New connections get the new certificate; one that does not fit its key, as between two files being written, is let be. */
void
server_look(struct server *s)
{
	const struct options *o = s->options;
	char	reason[128];
	bool	has_changed;

	if (o->tls_cert[0] == '\0')
		return;
	has_changed = files_changed(&s->seen_cert, o->tls_cert);
	has_changed = files_changed(&s->seen_key, o->tls_key) || has_changed;
	if (!has_changed)
		return;
	if (!tls_is_usable(o->tls_cert, o->tls_key, reason, sizeof(reason)))
		log_event(LOG_LEVEL_ERROR, "tls_unusable", "certificate=\"%s\" key=\"%s\" reason=\"%s\" kept=yes", o->tls_cert, o->tls_key, reason);
	else if (lws_tls_cert_updated(loop_context(s->loop), o->tls_cert, o->tls_key, NULL, 0, NULL, 0) == 0)
		log_event(LOG_LEVEL_INFO, "tls_read", "certificate=\"%s\"", o->tls_cert);
}

struct server *
server_new(struct loop *l, const struct options *o, struct http *http, struct admission *admission)
{
	struct server *s = memory_new(sizeof(*s));
	struct lws_context_creation_info info = {0};

	s->loop = l;
	s->options = o;
	s->http = http;
	s->admission = admission;
	writer_init(&s->writer);
	info.vhost_name = "clients";
	info.port = o->listen_port;
	info.iface = o->listen_host;
	info.protocols = protocols;
	info.user = s;
	info.options = LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND;
	info.timeout_secs = 10;
	info.keepalive_timeout = 30;
	info.server_string = "sync-streamer";
	info.ka_time = KEEPALIVE_S;		/* finds the other end gone where nobody pings: plain requests, streams of events */
	info.ka_probes = 3;
	info.ka_interval = 10;
	if (strchr(o->listen_host, ':') == NULL)
		info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;		/* else the library binds an IPv4 address as "::", on all of the machine's */
	if (o->tls_cert[0] != '\0' && !set_up_tls(s, &info))
	{
		free(s);
		return NULL;
	}
	s->vhost = lws_create_vhost(loop_context(l), &info);
	if (s->vhost != NULL)
		return s;
	log_event(LOG_LEVEL_ERROR, "listen_failed", "host=%s port=%d", o->listen_host, o->listen_port);
	free(s);
	return NULL;
}

void
server_free(struct server *s)
{
	if (s == NULL)
		return;
	writer_free(&s->writer);
	free(s);
}

void
server_serve(struct server *s, struct connections *connections)
{
	s->connections = connections;
}

/* The library cannot close one listener alone; new handshakes are refused instead. */
void
server_stop_listening(struct server *s)
{
	s->is_stopping = true;
}

void
server_writable(void *at)
{
	struct socket *socket = at;

	writer_want(&socket->server->writer, &socket->outlet);
}

void
server_turn_end(struct server *s)
{
	writer_flush(&s->writer);
}

/* Closed from its own WRITEABLE. A client that takes nothing more would never get there: it is cut off after a while. */
void
server_close(void *at, int code, const char *reason)
{
	struct socket *socket = at;

	if (socket->close_code != 0)
		return;
	socket->close_code = code;
	socket->is_drained = false;
	socket->close_reason = memory_string(reason);
	outlet_end(&socket->server->writer, &socket->outlet);
	lws_set_timeout(socket->wsi, PENDING_TIMEOUT_CLOSE_SEND, CLOSE_LIMIT_S);
	lws_callback_on_writable(socket->wsi);
}

/* message.h - Phoenix channel frames, serializers 1.0.0 and 2.0.0: reading the client's and writing ours. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_MESSAGE_H
#define SYNC_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "json.h"

#define MESSAGE_REF_MAX 64
#define MESSAGE_TOPIC_MAX 256
#define MESSAGE_EVENT_MAX 64
#define MESSAGE_USER_EVENT_MAX 510	/* 255 bytes, each at most two in UTF-8 */

/* The serializer that a client chose with vsn: its text frames are objects or arrays of five. */
enum message_format
{
	MESSAGE_ARRAYS,				/* 2.0.0: [join_ref, ref, topic, event, payload] */
	MESSAGE_OBJECTS,			/* 1.0.0: {"topic", "event", "payload", "ref", "join_ref"?} */
	MESSAGE_DEFLATED,			/* as arrays, but large batches of changes are compressed, in binary frames */
	MESSAGE_EVENTS,				/* outwards server-sent events: event and payload alone; inwards like arrays */
};

/* A broadcast as a binary frame carries it (2.0.0 only): slices of the frame. */
struct message_broadcast
{
	char	event[MESSAGE_USER_EVENT_MAX + 1];	/* the application's; UTF-8, any characters but NUL */
	const char *metadata;		/* JSON text as it came, unchecked */
	size_t	metadata_len;
	const char *payload;		/* JSON text, unchecked, or any bytes */
	size_t	payload_len;
	bool	is_json;
};

/* A client's frame. */
struct message
{
	char	join_ref[MESSAGE_REF_MAX + 1];	/* "" = null; only [0-9A-Za-z_-] accepted, so that they can be echoed as they are */
	char	ref[MESSAGE_REF_MAX + 1];
	char	topic[MESSAGE_TOPIC_MAX + 1];	/* printable UTF-8 without quotes, backslash, control characters; never empty */
	char	event[MESSAGE_EVENT_MAX + 1];	/* likewise; "broadcast" if is_binary */
	struct json *doc;						/* owned: message_free; refers to the frame's text */
	struct json_value payload;				/* an object; absent if is_binary */
	bool	is_binary;
	struct message_broadcast broadcast;		/* only if is_binary */
};

/* NULL when the frame was read, else a short reason for the log (nothing to free then). The text must be UTF-8 and may hold
 * up to 262144 JSON values; its length is limited by the caller. */
const char *message_parse(struct message *m, enum message_format format, const char *text, size_t len) __attribute__((warn_unused_result));
/* A binary frame of kind 3: lengths of join_ref, ref, topic, event, metadata (a byte each), encoding (0 bytes, 1 JSON), then these five and the payload.
 * Clients before 2.119 write the low byte of each UTF-16 unit where newer ones write UTF-8: what is no UTF-8 is read as Latin-1. */
const char *message_parse_binary(struct message *m, const char *data, size_t len) __attribute__((warn_unused_result));
void	message_free(struct message *m);

/* The event of a frame that is not whole yet, to limit its size: false if it cannot be told (yet). Whatever it says is no check. */
bool	message_peek_event(enum message_format format, const char *text, size_t len, char *event, size_t size);

/* Writers append one text frame's payload. payload_json must be valid JSON, never null. NULL and empty refs are written as null.
 * A reply is the event phx_reply with {"status":"ok"|"error","response":response_json}. */
void	message_put(struct buffer *out, enum message_format format, const char *join_ref, const char *ref, const char *topic, const char *event,
					const char *payload_json, size_t payload_len);
void	message_put_reply(struct buffer *out, enum message_format format, const char *join_ref, const char *ref, const char *topic, bool ok,
						  const char *response_json, size_t response_len);
/* A binary frame of kind 4, for clients of 2.0.0: payload and metadata (JSON, may be empty) as they are. false: topic, event or metadata over 255 bytes
 * (nothing is appended then). */
bool	message_put_broadcast(struct buffer *out, const char *topic, const struct message_broadcast *b) __attribute__((warn_unused_result));
/* {"reason":"code: message","code":…,"message":…,"hint":…}; hint may be NULL */
void	message_error_object(struct buffer *out, const char *code, const char *text, const char *hint);

/* An RFC 6455 server frame header for a text (or binary) payload of len bytes: 2, 4 or 10 bytes into out. Returns its size. */
size_t	message_frame_header(unsigned char out[10], size_t len, bool is_binary);

#endif

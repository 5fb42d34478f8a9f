/* message.h - Phoenix channel frames, serializer 2.0.0: reading the client's and writing ours. */
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

/* A client's text frame: [join_ref, ref, topic, event, payload]. */
struct message
{
	char	join_ref[MESSAGE_REF_MAX + 1];	/* "" = null; only [0-9A-Za-z_-] accepted, so that they can be echoed as they are */
	char	ref[MESSAGE_REF_MAX + 1];
	char	topic[MESSAGE_TOPIC_MAX + 1];	/* printable UTF-8 without quotes, backslash, control characters; never empty */
	char	event[MESSAGE_EVENT_MAX + 1];	/* likewise */
	struct json *doc;						/* owned: message_free; refers to the frame's text */
	struct json_value payload;				/* an object */
};

/* NULL when the frame was read, else a short reason for the log (nothing to free then). The text must be UTF-8 and may hold
 * up to 262144 JSON values; its length is limited by the caller. */
const char *message_parse(struct message *m, const char *text, size_t len) __attribute__((warn_unused_result));
void	message_free(struct message *m);

/* Writers append one text frame's payload: [join_ref,ref,topic,event,payload]. payload_json must be valid JSON. NULL and empty
 * refs are written as null. A reply is the event phx_reply with {"status":"ok"|"error","response":response_json}. */
void	message_put(struct buffer *out, const char *join_ref, const char *ref, const char *topic, const char *event, const char *payload_json, size_t payload_len);
void	message_put_reply(struct buffer *out, const char *join_ref, const char *ref, const char *topic, bool ok, const char *response_json, size_t response_len);
/* {"reason":"code: message","code":…,"message":…,"hint":…}; hint may be NULL */
void	message_error_object(struct buffer *out, const char *code, const char *text, const char *hint);

/* An RFC 6455 server text frame header for a payload of len bytes: 2, 4 or 10 bytes into out. Returns its size. */
size_t	message_frame_header(unsigned char out[10], size_t len);

#endif

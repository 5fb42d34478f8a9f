/* message.c - Phoenix frames: five-element arrays in, the same out. */
/* SPDX-License-Identifier: PostgreSQL */
#include "message.h"

#include <stdint.h>
#include <string.h>

#include "text.h"

#define VALUES_MAX 262144

static bool
is_ref_text(const char *text)
{
	static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-";

	return text[0] != '\0' && text[strspn(text, letters)] == '\0';
}

static bool
read_ref(struct json_value v, char ref[MESSAGE_REF_MAX + 1])
{
	ref[0] = '\0';
	if (json_type(v) == JSON_NULL)
		return true;
	return json_string(v, ref, MESSAGE_REF_MAX + 1) && is_ref_text(ref);
}

static bool
read_name(struct json_value v, char *name, size_t size)
{
	if (!json_string(v, name, size) || name[0] == '\0')
		return false;
	return strpbrk(name, "\"\\") == NULL && text_is_printable(name, strlen(name));
}

static const char *
read_frame(struct message *m)
{
	struct json_value v = json_root(m->doc);

	if (json_type(v) != JSON_ARRAY || json_size(v) != 5)
		return "frame is not an array of five";
	v = json_first(v);
	if (!read_ref(v, m->join_ref))
		return "invalid join_ref";
	v = json_next(v);
	if (!read_ref(v, m->ref))
		return "invalid ref";
	v = json_next(v);
	if (!read_name(v, m->topic, sizeof(m->topic)))
		return "invalid topic";
	v = json_next(v);
	if (!read_name(v, m->event, sizeof(m->event)))
		return "invalid event";
	m->payload = json_next(v);
	return json_type(m->payload) == JSON_OBJECT ? NULL : "payload is not an object";
}

const char *
message_parse(struct message *m, const char *text, size_t len)
{
	const char *problem;

	memset(m, 0, sizeof(*m));
	m->payload.index = -1;
	if (!text_is_utf8(text, len))
		return "frame is not UTF-8";
	m->doc = json_parse(text, len, VALUES_MAX);
	if (m->doc == NULL)
		return "frame is not JSON";
	problem = read_frame(m);
	if (problem != NULL)
		message_free(m);
	return problem;
}

void
message_free(struct message *m)
{
	json_free(m->doc);
	m->doc = NULL;
	m->payload = (struct json_value) {NULL, -1, "", 0};
}

static void
put_text(struct buffer *out, const char *text)
{
	buffer_json_string(out, text, strlen(text));
}

static void
put_ref(struct buffer *out, const char *ref)
{
	if (ref == NULL || ref[0] == '\0')
		buffer_puts(out, "null");
	else
		put_text(out, ref);
}

/* All of a frame up to its payload. */
static void
put_head(struct buffer *out, const char *join_ref, const char *ref, const char *topic, const char *event)
{
	buffer_putc(out, '[');
	put_ref(out, join_ref);
	buffer_putc(out, ',');
	put_ref(out, ref);
	buffer_putc(out, ',');
	put_text(out, topic);
	buffer_putc(out, ',');
	put_text(out, event);
	buffer_putc(out, ',');
}

void
message_put(struct buffer *out, const char *join_ref, const char *ref, const char *topic, const char *event,
			const char *payload_json, size_t payload_len)
{
	put_head(out, join_ref, ref, topic, event);
	buffer_put(out, payload_json, payload_len);
	buffer_putc(out, ']');
}

void
message_put_reply(struct buffer *out, const char *join_ref, const char *ref, const char *topic, bool ok,
				  const char *response_json, size_t response_len)
{
	put_head(out, join_ref, ref, topic, "phx_reply");
	buffer_puts(out, ok ? "{\"status\":\"ok\",\"response\":" : "{\"status\":\"error\",\"response\":");
	buffer_put(out, response_json, response_len);
	buffer_puts(out, "}]");
}

void
message_error_object(struct buffer *out, const char *code, const char *text, const char *hint)
{
	buffer_puts(out, "{\"reason\":\"");
	buffer_json_escaped(out, code, strlen(code));
	buffer_puts(out, ": ");
	buffer_json_escaped(out, text, strlen(text));
	buffer_puts(out, "\",\"code\":");
	put_text(out, code);
	buffer_puts(out, ",\"message\":");
	put_text(out, text);
	if (hint != NULL)
	{
		buffer_puts(out, ",\"hint\":");
		put_text(out, hint);
	}
	buffer_putc(out, '}');
}

size_t
message_frame_header(unsigned char out[10], size_t len)
{
	size_t	extra = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

	out[0] = 0x81;				/* the last fragment of a text message */
	out[1] = (unsigned char) (extra == 0 ? len : extra == 2 ? 126 : 127);
	for (size_t i = 0; i < extra; i++)
		out[2 + i] = (unsigned char) ((uint64_t) len >> (8 * (extra - 1 - i)) & 0xff);
	return 2 + extra;
}

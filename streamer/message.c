/* message.c - Phoenix frames: arrays of five, objects, or binary broadcasts in, the same out. */
/* SPDX-License-Identifier: PostgreSQL */
#include "message.h"

#include <stdint.h>
#include <string.h>

#include "text.h"

#define VALUES_MAX 262144
#define BINARY_PUSH 3			/* kinds of binary frames */
#define BINARY_BROADCAST 4
#define BINARY_HEAD 7			/* kind, five lengths, encoding */

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
is_name(const char *name)
{
	return name[0] != '\0' && strpbrk(name, "\"\\") == NULL && text_is_printable(name, strlen(name));
}

static bool
read_name(struct json_value v, char *name, size_t size)
{
	return json_string(v, name, size) && is_name(name);
}

static const char *
read_array(struct message *m, struct json_value v)
{
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
	return NULL;
}

/* Members it does not know are let be, refs may be missing. */
static const char *
read_object(struct message *m, struct json_value v)
{
	struct json_value join_ref = json_member(v, "join_ref");
	struct json_value ref = json_member(v, "ref");

	if (json_type(v) != JSON_OBJECT)
		return "frame is not an object";
	if (json_type(join_ref) != JSON_ABSENT && !read_ref(join_ref, m->join_ref))
		return "invalid join_ref";
	if (json_type(ref) != JSON_ABSENT && !read_ref(ref, m->ref))
		return "invalid ref";
	if (!read_name(json_member(v, "topic"), m->topic, sizeof(m->topic)))
		return "invalid topic";
	if (!read_name(json_member(v, "event"), m->event, sizeof(m->event)))
		return "invalid event";
	m->payload = json_member(v, "payload");
	return NULL;
}

static const char *
read_frame(struct message *m, enum message_format format)
{
	const char *problem = format != MESSAGE_OBJECTS ? read_array(m, json_root(m->doc)) : read_object(m, json_root(m->doc));

	if (problem != NULL)
		return problem;
	return json_type(m->payload) == JSON_OBJECT ? NULL : "payload is not an object";
}

static void
clear(struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->payload.index = -1;
}

const char *
message_parse(struct message *m, enum message_format format, const char *text, size_t len)
{
	const char *problem;

	clear(m);
	if (!text_is_utf8(text, len))
		return "frame is not UTF-8";
	m->doc = json_parse(text, len, VALUES_MAX);
	if (m->doc == NULL)
		return "frame is not JSON";
	problem = read_frame(m, format);
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

/* The next len bytes of a binary frame as text; Latin-1 if they are no UTF-8. false: too long, or a NUL in it. */
static bool
take_text(const char **at, size_t len, char *out, size_t size)
{
	const char *from = *at;
	bool	is_utf8 = text_is_utf8(from, len);
	size_t	n = 0;

	*at += len;
	if (memchr(from, '\0', len) != NULL)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) from[i];

		if (n + 3 > size)
			return false;
		if (is_utf8 || c < 0x80)
			out[n++] = (char) c;
		else
		{
			out[n++] = (char) (0xc0 | c >> 6);
			out[n++] = (char) (0x80 | (c & 0x3f));
		}
	}
	out[n] = '\0';
	return true;
}

static bool
take_ref(const char **at, size_t len, char ref[MESSAGE_REF_MAX + 1])
{
	if (len > MESSAGE_REF_MAX)
		return false;
	memcpy(ref, *at, len);
	ref[len] = '\0';
	*at += len;
	return len == 0 || (strlen(ref) == len && is_ref_text(ref));
}

const char *
message_parse_binary(struct message *m, const char *data, size_t len)
{
	const unsigned char *sizes = (const unsigned char *) data + 1;
	const char *at = data + BINARY_HEAD;
	struct message_broadcast *b = &m->broadcast;

	clear(m);
	if (len < BINARY_HEAD || data[0] != BINARY_PUSH)
		return "binary frame of an unknown kind";
	if (len - BINARY_HEAD < (size_t) sizes[0] + sizes[1] + sizes[2] + sizes[3] + sizes[4] || sizes[5] > 1)
		return "binary frame with a wrong head";
	if (!take_ref(&at, sizes[0], m->join_ref) || !take_ref(&at, sizes[1], m->ref))
		return "invalid ref";
	if (!take_text(&at, sizes[2], m->topic, sizeof(m->topic)) || !is_name(m->topic))
		return "invalid topic";
	if (!take_text(&at, sizes[3], b->event, sizeof(b->event)))
		return "invalid event";
	m->is_binary = true;
	memcpy(m->event, "broadcast", sizeof("broadcast"));
	b->metadata = at;
	b->metadata_len = sizes[4];
	b->is_json = sizes[5] == 1;
	b->payload = at + sizes[4];
	b->payload_len = (size_t) (data + len - b->payload);
	return NULL;
}

static const char *
skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* Behind a string or null that begins at p; NULL: it does not end here, or is something else. */
static const char *
skip_scalar(const char *p, const char *end)
{
	p = skip_space(p, end);
	if (p < end && *p == '"')
	{
		for (p++; p < end && *p != '"'; p++)
			if (*p == '\\')
				return NULL;
		return p < end ? p + 1 : NULL;
	}
	return end - p >= 4 && memcmp(p, "null", 4) == 0 ? p + 4 : NULL;
}

static bool
copy_string(const char *from, const char *behind, const char *end, char *out, size_t size)
{
	const char *p = skip_space(from, end);
	size_t	len = (size_t) (behind - p);

	if (*p != '"' || len - 2 >= size)
		return false;
	memcpy(out, p + 1, len - 2);
	out[len - 2] = '\0';
	return true;
}

static const char *
skip_sign(const char *p, const char *end, char sign)
{
	p = skip_space(p, end);
	return p < end && *p == sign ? p + 1 : NULL;
}

/* The event stands before the payload, behind strings and nulls only: every client writes it so. */
bool
message_peek_event(enum message_format format, const char *text, size_t len, char *event, size_t size)
{
	const char *end = text + len;
	const char *p = skip_sign(text, end, format != MESSAGE_OBJECTS ? '[' : '{');

	for (int i = 0; p != NULL && i < 5; i++)
	{
		char	name[16] = "";
		const char *value = p;
		const char *behind;

		if (format == MESSAGE_OBJECTS)
		{
			behind = skip_scalar(p, end);
			if (behind == NULL || !copy_string(p, behind, end, name, sizeof(name)))
				return false;
			value = skip_sign(behind, end, ':');
		}
		behind = value != NULL ? skip_scalar(value, end) : NULL;
		if (behind == NULL)
			return false;
		if (format != MESSAGE_OBJECTS ? i == 3 : strcmp(name, "event") == 0)
			return copy_string(value, behind, end, event, size);
		p = skip_sign(behind, end, ',');
	}
	return false;
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
put_head(struct buffer *out, enum message_format format, const char *join_ref, const char *ref, const char *topic, const char *event)
{
	bool	is_object = format == MESSAGE_OBJECTS;

	buffer_puts(out, is_object ? "{\"join_ref\":" : "[");
	put_ref(out, join_ref);
	buffer_puts(out, is_object ? ",\"ref\":" : ",");
	put_ref(out, ref);
	buffer_puts(out, is_object ? ",\"topic\":" : ",");
	put_text(out, topic);
	buffer_puts(out, is_object ? ",\"event\":" : ",");
	put_text(out, event);
	buffer_puts(out, is_object ? ",\"payload\":" : ",");
}

/* A line of data for each line of the payload: JSON as it was stored may have several, ended in any of the three ways that end a line here. */
static void
put_event_of_stream(struct buffer *out, const char *event, const char *payload, size_t len)
{
	const char *end = payload + len;

	buffer_printf(out, "event: %s\ndata: ", event);
	for (const char *p = payload, *stop; p < end; p = stop + 1)
	{
		for (stop = p; stop < end && *stop != '\n' && *stop != '\r'; stop++)
			;
		buffer_put(out, p, (size_t) (stop - p));
		if (stop < end)
			buffer_puts(out, "\ndata: ");
	}
	buffer_puts(out, "\n\n");
}

void
message_put(struct buffer *out, enum message_format format, const char *join_ref, const char *ref, const char *topic, const char *event,
			const char *payload_json, size_t payload_len)
{
	if (format == MESSAGE_EVENTS)
	{
		put_event_of_stream(out, event, payload_json, payload_len);
		return;
	}
	put_head(out, format, join_ref, ref, topic, event);
	buffer_put(out, payload_json, payload_len);
	buffer_putc(out, format == MESSAGE_OBJECTS ? '}' : ']');
}

void
message_put_reply(struct buffer *out, enum message_format format, const char *join_ref, const char *ref, const char *topic, bool ok,
				  const char *response_json, size_t response_len)
{
	if (format == MESSAGE_EVENTS)
		buffer_puts(out, "event: phx_reply\ndata: ");
	else
		put_head(out, format, join_ref, ref, topic, "phx_reply");
	buffer_puts(out, ok ? "{\"status\":\"ok\",\"response\":" : "{\"status\":\"error\",\"response\":");
	buffer_put(out, response_json, response_len);
	if (format == MESSAGE_EVENTS)
	{
		buffer_puts(out, "}\n\n");
		return;
	}
	buffer_puts(out, format == MESSAGE_OBJECTS ? "}}" : "}]");
}

bool
message_put_broadcast(struct buffer *out, const char *topic, const struct message_broadcast *b)
{
	size_t	topic_len = strlen(topic);
	size_t	event_len = strlen(b->event);

	if (topic_len > UINT8_MAX || event_len > UINT8_MAX || b->metadata_len > UINT8_MAX)
		return false;
	buffer_putc(out, BINARY_BROADCAST);
	buffer_putc(out, (char) topic_len);
	buffer_putc(out, (char) event_len);
	buffer_putc(out, (char) b->metadata_len);
	buffer_putc(out, b->is_json ? 1 : 0);
	buffer_put(out, topic, topic_len);
	buffer_put(out, b->event, event_len);
	buffer_put(out, b->metadata, b->metadata_len);
	buffer_put(out, b->payload, b->payload_len);
	return true;
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
message_frame_header(unsigned char out[10], size_t len, bool is_binary)
{
	size_t	extra = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

	out[0] = is_binary ? 0x82 : 0x81;		/* the last fragment of a message */
	out[1] = (unsigned char) (extra == 0 ? len : extra == 2 ? 126 : 127);
	for (size_t i = 0; i < extra; i++)
		out[2 + i] = (unsigned char) ((uint64_t) len >> (8 * (extra - 1 - i)) & 0xff);
	return 2 + extra;
}

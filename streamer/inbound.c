/* inbound.c - what a client sends, looked at before the library has it: requests that could be read in two ways, frames without a mask, bytes where none may come. */
/* SPDX-License-Identifier: PostgreSQL */
#include "inbound.h"

#include <ctype.h>
#include <string.h>

#define LENGTH_MAX (UINT64_MAX / 32)

static void
begin_request(struct inbound *in)
{
	*in = (struct inbound) {.state = INBOUND_LINE, .is_blank = true, .heads = in->heads};
}

void
inbound_init(struct inbound *in)
{
	in->heads = 0;
	begin_request(in);
}

bool
inbound_is_between(const struct inbound *in)
{
	return in->state == INBOUND_LINE && in->is_blank;
}

static bool
is_named(const struct inbound *in, const char *name)
{
	return in->name_len == strlen(name) && memcmp(in->name, name, in->name_len) == 0;
}

/* RFC 9110's tchar */
static bool
is_of_name(unsigned char c)
{
	return isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool
is_control(unsigned char c)
{
	return (c < 0x20 && c != '\t') || c == 0x7f;
}

/* The blank line. A request whose length is not clear is refused by http.c, which then hangs up. */
static void
end_head(struct inbound *in)
{
	in->heads++;
	if (in->is_untold)
		in->state = INBOUND_UNTOLD;
	else if (in->length == 0)
		begin_request(in);
	else
	{
		in->state = INBOUND_BODY;
		in->left = in->length;
	}
}

static bool
take_line(struct inbound *in, unsigned char c)
{
	if (c == '\r')
	{
		in->state = INBOUND_LF;
		in->after = in->is_blank ? INBOUND_LINE : INBOUND_NAME;
		return true;
	}
	in->is_blank = false;
	return !is_control(c) && c != '\t';
}

static bool
take_name(struct inbound *in, unsigned char c)
{
	if (in->name_len == 0 && c == '\r')
	{
		in->state = INBOUND_LF;
		in->after = INBOUND_BODY;
		return true;
	}
	if (c == ':' && in->name_len > 0)
	{
		in->state = INBOUND_VALUE;
		in->has_digit = false;
		if (is_named(in, "transfer-encoding"))
			in->is_untold = true;
		if (is_named(in, "content-length"))
		{
			in->is_untold = in->is_untold || in->has_length;
			in->has_length = true;
		}
		return true;
	}
	if (in->name_len < INBOUND_NAME_MAX)
		in->name[in->name_len] = (char) tolower(c);
	in->name_len++;
	return is_of_name(c);
}

/* Blanks may stand around the digits, nothing else. */
static void
take_digit(struct inbound *in, unsigned char c)
{
	if (c == ' ' || c == '\t')
		return;
	if (!isdigit(c) || in->length > LENGTH_MAX)
	{
		in->is_untold = true;
		return;
	}
	in->length = in->length * 10 + (uint64_t) (c - '0');
	in->has_digit = true;
}

static bool
take_value(struct inbound *in, unsigned char c)
{
	bool	is_length = is_named(in, "content-length");

	if (c == '\r')
	{
		in->is_untold = in->is_untold || (is_length && !in->has_digit);
		in->state = INBOUND_LF;
		in->after = INBOUND_NAME;
		in->name_len = 0;
		return true;
	}
	if (is_length)
		take_digit(in, c);
	return !is_control(c);
}

static bool
take_line_feed(struct inbound *in, unsigned char c)
{
	in->state = in->after;
	if (in->after == INBOUND_BODY)
		end_head(in);
	return c == '\n';
}

static void
begin_payload(struct inbound *in)
{
	in->state = in->length > 0 ? INBOUND_PAYLOAD : INBOUND_FRAME;
	in->left = in->length;
}

static bool
take_frame(struct inbound *in, unsigned char c)
{
	switch (in->state)
	{
		case INBOUND_FRAME:
			in->state = INBOUND_LENGTH;
			in->left = 0;
			return true;
		case INBOUND_LENGTH:
			if (in->left == 0)		/* the byte with the mask's bit */
			{
				in->left = (c & 0x7f) == 126 ? 2 : (c & 0x7f) == 127 ? 8 : 0;
				in->length = in->left > 0 ? 0 : c & 0x7f;
				if ((c & 0x80) == 0)
					return false;
			}
			else
			{
				in->length = in->length << 8 | c;
				in->left--;
			}
			if (in->left == 0)
			{
				in->state = INBOUND_MASK;
				in->left = 4;
			}
			return true;
		default:
			if (--in->left == 0)
				begin_payload(in);
			return true;
	}
}

static bool
take_byte(struct inbound *in, unsigned char c)
{
	switch (in->state)
	{
		case INBOUND_LINE:
			return take_line(in, c);
		case INBOUND_NAME:
			return take_name(in, c);
		case INBOUND_VALUE:
			return take_value(in, c);
		case INBOUND_LF:
			return take_line_feed(in, c);
		case INBOUND_DEAF:
			return false;
		default:
			return take_frame(in, c);
	}
}

bool
inbound_take(struct inbound *in, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;
	const unsigned char *end = at + len;

	while (at < end)
	{
		size_t	here = in->left < (uint64_t) (end - at) ? (size_t) in->left : (size_t) (end - at);

		if (in->state == INBOUND_UNTOLD)
			return true;
		if (in->state == INBOUND_BODY || in->state == INBOUND_PAYLOAD)
		{
			at += here;
			in->left -= here;
			if (in->left > 0)
				return true;
			if (in->state == INBOUND_BODY)
				begin_request(in);
			else
				in->state = INBOUND_FRAME;
		}
		else if (!take_byte(in, *at++))
			return false;
	}
	return true;
}

void
inbound_upgrade(struct inbound *in)
{
	*in = (struct inbound) {.state = INBOUND_FRAME};
}

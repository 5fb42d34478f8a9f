/* inbound.h - what a client sends, looked at before the library has it: requests that could be read in two ways, frames without a mask, bytes where none may come. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_INBOUND_H
#define SYNC_INBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The library reads on over a bare CR, a NUL or a line without a colon, as if the next request were headers of this one; it takes frames without a mask, and does
 * not tell. A proxy in front may see the same bytes otherwise: they are refused here. */
enum inbound_state
{
	INBOUND_LINE,			/* the request line, or blank lines before it */
	INBOUND_NAME,			/* of a header, or the blank line that ends them */
	INBOUND_VALUE,
	INBOUND_LF,				/* after a CR */
	INBOUND_BODY,			/* `left` bytes of it */
	INBOUND_UNTOLD,			/* how long the body is was not told as it should be: the request is refused, and the connection ends behind it */
	INBOUND_DEAF,			/* nothing may come any more */
	INBOUND_FRAME,			/* first byte of a WebSocket frame; second; length and mask; payload */
	INBOUND_LENGTH,
	INBOUND_MASK,
	INBOUND_PAYLOAD,
};

#define INBOUND_NAME_MAX 20

struct inbound
{
	enum inbound_state state;
	enum inbound_state after;		/* the line feed */
	uint64_t left;				/* of the body, the payload, or bytes of a length or mask */
	uint64_t length;				/* of the body, or of a payload while it is read */
	char	name[INBOUND_NAME_MAX];	/* of a header, in lower case, as far as it matters */
	size_t	name_len;
	bool	has_length;
	bool	has_digit;
	bool	is_untold;
	bool	is_blank;				/* of the line so far */
	uint64_t heads;					/* that have ended */
};

void	inbound_init(struct inbound *in);
bool	inbound_take(struct inbound *in, const void *bytes, size_t len);		/* false: no more of it */
void	inbound_upgrade(struct inbound *in);		/* from here on frames come */
bool	inbound_is_between(const struct inbound *in);		/* nothing of a further request has come */

#endif

/* inbound_test.c - what is refused before the library has it: heads that could be read in two ways, frames without a mask, bytes where none may come. */
/* SPDX-License-Identifier: PostgreSQL */
#include "check.h"
#include "inbound.h"

/* At once, and a byte at a time: the same verdict. */
static bool
takes(const char *bytes, size_t len)
{
	struct inbound whole;
	struct inbound bytewise;
	bool	is_good = true;

	inbound_init(&whole);
	inbound_init(&bytewise);
	for (size_t i = 0; i < len && is_good; i++)
		is_good = inbound_take(&bytewise, bytes + i, 1);
	CHECK(inbound_take(&whole, bytes, len) == is_good);
	return is_good;
}

#define TAKES(text) CHECK(takes(text, sizeof(text) - 1))
#define REFUSES(text) CHECK(!takes(text, sizeof(text) - 1))

static void
heads(void)
{
	TAKES("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	TAKES("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nEmpty:\r\nTab:\ta\xe4\r\n\r\nPOST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\n\0\1\2GET / HTTP/1.1\r\n\r\n");
	TAKES("POST /a HTTP/1.1\r\ncontent-length: 0003 \r\n\r\nabcGET / HTTP/1.1\r\n\r\n");
	REFUSES("GET / HTTP/1.1\nHost: x\n\n");
	REFUSES("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n");
	REFUSES("GET / HTTP/1.1\r\nX: a\0b\r\n\r\n");
	REFUSES("GET /\0 HTTP/1.1\r\n\r\n");
	REFUSES("GET / HTTP/1.1\r\nno colon\r\n\r\n");
	REFUSES("GET / HTTP/1.1\r\nX : a\r\n\r\n");
	REFUSES("GET / HTTP/1.1\r\n: a\r\n\r\n");
	REFUSES("GET / HTTP/1.1\r\nX: a\r\n folded\r\n\r\n");
	REFUSES("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\x01");
	/* what http.c refuses by itself, and hangs up: nothing behind it is read as a request */
	TAKES("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\0");
	TAKES("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc\0");
	TAKES("POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc\0");
	TAKES("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\nabc\0");
}

static void
between_requests(void)
{
	struct inbound in;

	inbound_init(&in);
	CHECK(inbound_is_between(&in));
	CHECK(inbound_take(&in, "GET / HTTP/1.1\r\n\r\n", 18) && inbound_is_between(&in));
	CHECK(inbound_take(&in, "G", 1) && !inbound_is_between(&in));
	in.state = INBOUND_DEAF;
	CHECK(inbound_take(&in, "", 0) && !inbound_take(&in, "E", 1));
}

static void
frames(void)
{
	struct inbound in;

	inbound_upgrade(&in);
	CHECK(inbound_take(&in, "\x81\x83" "maskabc" "\x89\x80" "mask", 15) && in.state == INBOUND_FRAME);
	CHECK(inbound_take(&in, "\x82\xfe\x00\x03" "maskabc", 11) && inbound_take(&in, "\x82\xff\0\0\0\0\0\0\0\x02" "maskab", 16) && in.state == INBOUND_FRAME);
	CHECK(!inbound_take(&in, "\x81\x03" "abc", 5));
}

int
main(void)
{
	heads();
	between_requests();
	frames();
	return CHECK_END();
}

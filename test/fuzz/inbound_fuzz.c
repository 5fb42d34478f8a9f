/* inbound_fuzz.c - any bytes in any pieces: the verdict does not depend on how they were cut, and no control character is in a head that passed. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "inbound.h"

/* Bytes of heads that were taken hold no NUL: the state tells whether a byte is of a head. */
static bool
bytewise(struct inbound *in, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		bool	is_of_head = in->state <= INBOUND_LF;

		if (!inbound_take(in, bytes + i, 1))
			return false;
		REQUIRE(!is_of_head || bytes[i] != '\0');
		REQUIRE(in->state != INBOUND_BODY || in->left > 0);
	}
	return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	unsigned how = input_byte(&in);
	size_t	len;
	char   *bytes = input_rest(&in, &len);
	size_t	cut = len > 0 ? how / 4 % (len + 1) : 0;
	struct inbound one;
	struct inbound two;
	bool	is_good;

	inbound_init(&one);
	inbound_init(&two);
	if (how % 4 == 3)
	{
		inbound_upgrade(&one);
		inbound_upgrade(&two);
	}
	is_good = bytewise(&one, bytes, len);
	REQUIRE((inbound_take(&two, bytes, cut) && inbound_take(&two, bytes + cut, len - cut)) == is_good);
	if (is_good)
		REQUIRE(one.state == two.state && one.left == two.left && inbound_is_between(&one) == inbound_is_between(&two));
	free(bytes);
	return 0;
}

/* address_fuzz.c - any forwarding header of a trusted proxy: the client is an address or network, of a length that fits. */
/* SPDX-License-Identifier: PostgreSQL */
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "memory.h"

#include <stdint.h>

int		LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct networks *trusted;
	const char *bad;
	size_t	len;
	char	client[ADDRESS_MAX];
	char   *text = memory_text((const char *) data, size);
	struct networks *any;

	if (trusted == NULL)
		trusted = networks_read("10.0.0.0/8,::/16", &bad, &len);
	for (int form = 0; form < 2; form++)
	{
		memset(client, 'x', sizeof(client));
		address_of_client(trusted, "10.0.0.1", text, form == 1, client);
		if (memchr(client, '\0', sizeof(client)) == NULL || client[strspn(client, "0123456789abcdef:.")] != '\0')
			abort();
	}
	any = networks_read(text, &bad, &len);
	networks_free(any);
	free(text);
	return 0;
}

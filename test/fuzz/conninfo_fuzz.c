/* conninfo_fuzz.c - any connection string: for another role it has that user, no password and no replication; for the same twice it stays as it is. */
/* SPDX-License-Identifier: PostgreSQL */
#include "fuzz.h"
#include "options.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *user = input_text(&in);
	char   *conninfo = input_text(&in);
	struct buffer once;
	struct buffer twice;

	buffer_init(&once);
	buffer_init(&twice);
	/* an address that is not at the start is a word, which no server takes */
	if (strstr(conninfo, "postgres") > conninfo)
		conninfo[0] = '\0';
	if (options_derive(conninfo, user, &once))
	{
		REQUIRE(!once.failed && once.data != NULL && strlen(once.data) == once.len);
		REQUIRE(options_derive(once.data, user, &twice));
		REQUIRE(once.len == twice.len && strcmp(once.data, twice.data) == 0);
		buffer_reset(&twice);
		REQUIRE(options_derive(once.data, "somebody-else", &twice));
		REQUIRE(strstr(conninfo, "password") != NULL || strchr(conninfo, '%') != NULL || strchr(conninfo, '\\') != NULL || strstr(twice.data, "password") == NULL);
	}
	else
		REQUIRE(once.len == 0);
	buffer_free(&once);
	buffer_free(&twice);
	free(user);
	free(conninfo);
	return 0;
}

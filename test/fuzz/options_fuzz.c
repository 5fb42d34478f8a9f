/* options_fuzz.c - any flags, environment and file: every setting is within its limits afterwards, or one sentence says what is wrong. */
/* SPDX-License-Identifier: PostgreSQL */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "options.h"
#include "plugin.h"

#define WORDS 12

static void
look_at(const struct options *o)
{
	const char *const texts[] = {o->config, o->database, o->query_database, o->upkeep_database, o->listen_host, o->jwt_secret_file, o->jwks_file, o->jwt_issuer, o->jwt_audience,
		o->allow_origin, o->default_role, o->demo, o->tls_cert, o->tls_key, o->trusted_proxies, o->proxy_header, o->metrics_token_file};
	struct buffer limits;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		REQUIRE(texts[i] != NULL);
	REQUIRE(o->listen_port >= 0 && o->listen_port <= 65535);
	REQUIRE(o->max_frame >= 1024 && o->max_frame <= (size_t) 64 << 20 && o->max_clients >= 1 && o->ring_size >= (size_t) 1 << 20 && o->max_queue <= (size_t) 1 << 30);
	REQUIRE(o->plugin == PLUGIN_WAL2JSON || o->plugin == PLUGIN_PGOUTPUT);
	REQUIRE(o->auth_timeout_s >= 1 && o->auth_timeout_s <= 3600 && o->query_connections >= 1 && o->query_connections <= 1000);
	REQUIRE(o->help || o->version || (o->database[0] != '\0' && (o->jwt_secret_file[0] != '\0' || o->jwks_file[0] != '\0')));
	buffer_init(&limits);
	options_limits(o, &limits);
	REQUIRE(!limits.failed && limits.len > 0);
	buffer_free(&limits);
}

/* The file's text, then words that are flags or, with a letter before the first =, of the environment. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int file = -1;
	static char path[64];
	struct input in = input_of(data, size);
	char   *text = input_text(&in);
	char   *flags[WORDS + 3] = {"sync-streamer"};
	char   *environment[WORDS + 1] = {NULL};
	int		flag_count = 1;
	int		environment_count = 0;
	struct options o;
	struct buffer error;

	if (file < 0)
	{
		file = memfd_create("options", 0);
		REQUIRE(file >= 0);
		snprintf(path, sizeof(path), "--config=/proc/self/fd/%d", file);
	}
	REQUIRE(ftruncate(file, 0) == 0 && pwrite(file, text, strlen(text), 0) == (ssize_t) strlen(text));
	for (int i = 0; i < WORDS && input_left(&in) > 0; i++)
	{
		char   *word = input_text(&in);

		if (word[0] == '-' || strchr(word, '=') == NULL)
			flags[flag_count++] = word;
		else
			environment[environment_count++] = word;
	}
	if (text[0] != '\0')
		flags[flag_count++] = path;
	buffer_init(&error);
	if (options_read(&o, flag_count, flags, environment, &error))
		look_at(&o);
	else
		REQUIRE(error.len > 0);
	options_free(&o);
	buffer_free(&error);
	for (int i = 1; i < flag_count; i++)
		if (flags[i] != path)
			free(flags[i]);
	for (int i = 0; i < environment_count; i++)
		free(environment[i]);
	free(text);
	return 0;
}

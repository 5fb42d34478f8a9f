/* keyfiles.c - reads the files with the keys of tokens, and the JWKS again when it has changed. */
/* SPDX-License-Identifier: PostgreSQL */
#include "keyfiles.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "log.h"
#include "memory.h"

struct keyfiles
{
	const struct options *options;
	struct keys *keys;		/* owned */
	struct stat seen;		/* the JWKS file when it was last tried; zero: it was not there */
};

/* At most KEYS_JWKS_MAX + 1 bytes. NULL: the reason was logged. The caller wipes and frees. */
static char *
read_file(const char *path, size_t *len)
{
	FILE   *f = fopen(path, "re");
	char   *text = memory_new(KEYS_JWKS_MAX + 1);
	bool	is_good = f != NULL;

	*len = is_good ? fread(text, 1, KEYS_JWKS_MAX + 1, f) : 0;
	if (f == NULL || ferror(f))
	{
		log_event(LOG_LEVEL_ERROR, "keys_unreadable", "file=\"%s\" reason=\"%s\"", path, strerror(errno));
		is_good = false;
	}
	if (f != NULL)
		fclose(f);
	if (is_good)
		return text;
	free(text);
	return NULL;
}

static void
forget(char *text, size_t len)
{
	explicit_bzero(text, len);
	free(text);
}

/* White space at the end goes: files written by shells end in a newline. */
static bool
read_secret(struct keyfiles *f, const char *path)
{
	size_t	len;
	size_t	read;
	char   *text = read_file(path, &read);
	bool	is_good;

	if (text == NULL)
		return false;
	for (len = read; len > 0 && strchr("\n\r ", text[len - 1]) != NULL; len--)
		;
	is_good = keys_set_secret(f->keys, (const uint8_t *) text, len);
	forget(text, read);
	if (!is_good)
		log_event(LOG_LEVEL_ERROR, "secret_unusable", "file=\"%s\" bytes=%zu least=32 most=65536", path, len);
	return is_good;
}

static bool
read_jwks(struct keyfiles *f, const char *path)
{
	size_t	len;
	size_t	skipped;
	char   *text;
	const char *problem;

	text = read_file(path, &len);
	if (text == NULL)
		return false;
	problem = keys_read_jwks(f->keys, text, len, &skipped);
	forget(text, len);
	if (problem != NULL)
		log_event(LOG_LEVEL_ERROR, "jwks_unusable", "file=\"%s\" reason=\"%s\" skipped=%zu keys_kept=%zu", path, problem, skipped, keys_count(f->keys));
	else
		log_event(LOG_LEVEL_INFO, "jwks_read", "file=\"%s\" keys=%zu skipped=%zu", path, keys_count(f->keys), skipped);
	return problem == NULL;
}

void
keyfiles_look(struct keyfiles *f)
{
	const char *path = f->options->jwks_file;

	if (path[0] != '\0' && files_changed(&f->seen, path))
		read_jwks(f, path);
}

struct keyfiles *
keyfiles_new(const struct options *o)
{
	struct keyfiles *f = memory_new(sizeof(*f));

	f->options = o;
	f->keys = keys_new();
	if ((o->jwt_secret_file[0] == '\0' || read_secret(f, o->jwt_secret_file)) && (o->jwks_file[0] == '\0' || (files_changed(&f->seen, o->jwks_file), read_jwks(f, o->jwks_file))))
		return f;
	keyfiles_free(f);
	return NULL;
}

void
keyfiles_free(struct keyfiles *f)
{
	if (f == NULL)
		return;
	keys_free(f->keys);
	free(f);
}

const struct keys *
keyfiles_keys(const struct keyfiles *f)
{
	return f->keys;
}

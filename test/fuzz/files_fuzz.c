/* files_fuzz.c - any path of a URL: no file outside the directory is ever named, through dots, links or NULs; and what the server says of its plugins is told in full sentences. */
/* SPDX-License-Identifier: PostgreSQL */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "fuzz.h"
#include "plugin.h"

static char root[PATH_MAX];

/* open/ is what is served: a file, a directory with one, and links that lead out. */
static void
build(void)
{
	char	name[PATH_MAX];
	char	path[PATH_MAX + 32];

	snprintf(name, sizeof(name), "%s/sync-fuzz.XXXXXX", getenv("TMPDIR") != NULL ? getenv("TMPDIR") : P_tmpdir);
	REQUIRE(mkdtemp(name) != NULL && realpath(name, root) != NULL);
	for (const char *const *p = (const char *const[]) {"/open", "/open/a", "/secret", NULL}; *p != NULL; p++)
	{
		snprintf(path, sizeof(path), "%s%s", root, *p);
		REQUIRE(mkdir(path, 0700) == 0);
	}
	for (const char *const *p = (const char *const[]) {"/open/index.html", "/open/a/index.html", "/open/b.js", "/secret/c.js", NULL}; *p != NULL; p++)
	{
		snprintf(path, sizeof(path), "%s%s", root, *p);
		close(open(path, O_CREAT | O_WRONLY, 0600));
	}
	snprintf(path, sizeof(path), "%s/open/l", root);
	REQUIRE(symlink("../secret", path) == 0);
	strcat(root, "/open");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = input_of(data, size);
	char   *path = input_text(&in);
	char   *words = input_text(&in);
	char	file[PATH_MAX];
	struct buffer out;

	if (root[0] == '\0')
		build();
	if (files_resolve(root, path, file))
		REQUIRE(strncmp(file, root, strlen(root)) == 0 && file[strlen(root)] == '/' && strstr(file, "/secret") == NULL && strstr(file, "..") == NULL);
	(void) files_type(path);
	buffer_init(&out);
	REQUIRE((plugin_check(150019, words, "wal2json", &out) == PLUGIN_LISTED) == (out.len == 0));
	buffer_free(&out);
	(void) plugin_cure(PLUGIN_PGOUTPUT, words);
	free(path);
	free(words);
	return 0;
}

/* files.c - which file below a directory a path of a URL names, if any, and its type; whether a file has changed. */
/* SPDX-License-Identifier: PostgreSQL */
#include "files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *
files_type(const char *path)
{
	static const char *const types[][2] = {
		{".html", "text/html; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"}, {".mjs", "text/javascript; charset=utf-8"},
		{".css", "text/css; charset=utf-8"}, {".json", "application/json"}, {".svg", "image/svg+xml"}, {".png", "image/png"}, {".ico", "image/x-icon"},
		{".txt", "text/plain; charset=utf-8"}, {".map", "application/json"}, {".woff2", "font/woff2"},
	};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(dot, types[i][0]) == 0)
			return types[i][1];
	return NULL;
}

/* Names of plain characters only, none that begins with a dot; then the file must really lie below the directory. */
bool
files_resolve(const char *directory, const char *path, char resolved[PATH_MAX])
{
	char	wanted[PATH_MAX];
	size_t	len = strlen(directory);
	bool	is_directory = path[0] == '\0' || path[strlen(path) - 1] == '/';

	if (strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != strlen(path) || path[0] == '.' || strstr(path, "/.") != NULL)
		return false;
	if (snprintf(wanted, sizeof(wanted), "%s/%s%s", directory, path, is_directory ? "index.html" : "") >= (int) sizeof(wanted))
		return false;
	return realpath(wanted, resolved) != NULL && strncmp(resolved, directory, len) == 0 && resolved[len] == '/' && files_type(resolved) != NULL;
}

bool
files_changed(struct stat *seen, const char *path)
{
	struct stat now;
	bool	is_same;

	if (stat(path, &now) != 0)
		now = (struct stat) {0};
	is_same = now.st_dev == seen->st_dev && now.st_ino == seen->st_ino && now.st_size == seen->st_size && now.st_mtim.tv_sec == seen->st_mtim.tv_sec &&
		now.st_mtim.tv_nsec == seen->st_mtim.tv_nsec && now.st_ctim.tv_sec == seen->st_ctim.tv_sec && now.st_ctim.tv_nsec == seen->st_ctim.tv_nsec;
	*seen = now;
	return !is_same;
}

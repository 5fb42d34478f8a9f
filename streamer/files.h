/* files.h - which file below a directory a path of a URL names, if any, and its type; whether a file has changed. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FILES_H
#define SYNC_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

/* directory: without links (realpath). A path that ends in / means its index.html. false: nothing to be served. */
bool	files_resolve(const char *directory, const char *path, char resolved[PATH_MAX]);
bool	files_changed(struct stat *seen, const char *path);		/* another file, or other contents, than when asked last; seen: zero at first */
const char *files_type(const char *path);		/* NULL: not a type that is served */

#endif

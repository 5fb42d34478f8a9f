/* origin.h - whether a browser's page may talk to us. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ORIGIN_H
#define SYNC_ORIGIN_H

#include <stdbool.h>

/* allowed: comma list of origins, "*" for any, "" for the same host only. No origin ("") means no browser: allowed. */
bool	origin_is_allowed(const char *allowed, const char *origin, const char *host);

#endif

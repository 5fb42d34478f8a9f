/* keyfiles.h - reads the files with the keys of tokens, and the JWKS again when it has changed. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_KEYFILES_H
#define SYNC_KEYFILES_H

#include "keys.h"
#include "options.h"

struct keyfiles;

struct keyfiles *keyfiles_new(const struct options *o);		/* NULL: a file cannot be used, the reason was logged */
void	keyfiles_free(struct keyfiles *f);		/* NULL is fine */
const struct keys *keyfiles_keys(const struct keyfiles *f);

/* Once a second or so. A changed JWKS file is read; a broken one is logged, once, and the keys stay as they were. */
void	keyfiles_look(struct keyfiles *f);

#endif

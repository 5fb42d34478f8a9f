/* concern.h - whose rights a transaction may have changed: users named by `watch` messages, and those whose device was written. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_CONCERN_H
#define SYNC_CONCERN_H

#include <stdbool.h>
#include <stddef.h>

#include "buffer.h"
#include "transaction.h"

#define CONCERN_DEVICES 11		/* table id of sync.device */

/* A message of our own that came with t, if it is a `watch`: raises BARRIER_WATCH. */
void	concern_message(struct transaction *t, const char *message);
/* t is sealed: users whose devices it changed, as one that was revoked. They have no barrier: their rights are only looked at again. */
void	concern_devices(struct transaction *t);
bool	concern_has(const struct transaction *t, const char *user);		/* the user's rights may be others than before */
/* The form in which users are kept and compared: ASCII letters in lower case, as a column may write what a token holds in another case. */
void	concern_fold(struct buffer *out, const char *user);

#endif

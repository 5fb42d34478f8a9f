/* log.h - one line per event on stderr: time, level, event, key=value. Never a token or a row. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_LOG_H
#define SYNC_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void	log_set_level(enum log_level level);		/* what is less urgent is dropped; at first INFO */
/* format gives the key=value part; control characters in the result are replaced by '?', what is beyond 2000 bytes is cut off.
 * Written with one write(2): lines of several processes do not mix. errno is kept. */
void	log_event(enum log_level level, const char *event, const char *format,...) __attribute__((format(printf, 3, 4)));

#endif

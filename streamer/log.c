/* log.c - formats a log line in one fixed buffer and writes it at once. */
/* SPDX-License-Identifier: PostgreSQL */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 2048

/* The one setting that is not passed around: every module logs. Set once, before anything runs. */
static enum log_level highest = LOG_LEVEL_INFO;

void
log_set_level(enum log_level level)
{
	highest = level;
}

/* "2026-11-21T08:00:00.123Z info  event " */
static size_t
put_head(char *line, enum log_level level, const char *event)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};
	struct timespec now;
	struct tm utc;
	size_t	len;
	int		added;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	len = strftime(line, LINE_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
	added = snprintf(line + len, LINE_SIZE - len, ".%03ldZ %s %.100s ", now.tv_nsec / 1000000, names[level], event);
	return added > 0 ? len + (size_t) added : len;
}

void
log_event(enum log_level level, const char *event, const char *format,...)
{
	int		saved = errno;
	char	line[LINE_SIZE];
	size_t	len;
	va_list args;
	int		added;
	ssize_t written;

	if (level > highest)
		return;
	len = put_head(line, level, event);
	va_start(args, format);
	added = vsnprintf(line + len, sizeof(line) - 1 - len, format, args);
	va_end(args);
	if (added > 0)
		len = len + (size_t) added < sizeof(line) - 2 ? len + (size_t) added : sizeof(line) - 2;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len] = '\n';
	written = write(STDERR_FILENO, line, len + 1);
	(void) written;				/* there is nowhere to report a log that cannot be written */
	errno = saved;
}

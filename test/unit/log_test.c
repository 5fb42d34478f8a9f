/* log_test.c - one event is one line, whatever is in it. */
/* SPDX-License-Identifier: PostgreSQL */
#include <errno.h>
#include <unistd.h>

#include "check.h"
#include "log.h"

static char text[10000];

/* What one event writes, with stderr turned aside. */
static size_t
capture(enum log_level level, const char *value)
{
	int		ends[2];
	int		saved = dup(STDERR_FILENO);
	ssize_t len;

	if (saved < 0 || pipe(ends) != 0)
		return 0;
	dup2(ends[1], STDERR_FILENO);
	errno = EPIPE;
	log_event(level, "event", "key=%s", value);
	dup2(saved, STDERR_FILENO);
	CHECK(errno == EPIPE || errno == 0);
	close(ends[1]);
	len = read(ends[0], text, sizeof(text) - 1);
	close(ends[0]);
	close(saved);
	text[len > 0 ? len : 0] = '\0';
	return len > 0 ? (size_t) len : 0;
}

int
main(void)
{
	char	big[5000];
	size_t	len;

	CHECK(capture(LOG_LEVEL_INFO, "a\nb\x1b[2J\x7f\xc3\xa9") > 0);
	CHECK(strstr(text, "Z info event key=a?b?[2J?\xc3\xa9\n") != NULL && strchr(text, '\n') == text + strlen(text) - 1);
	CHECK(capture(LOG_LEVEL_DEBUG, "x") == 0);
	log_set_level(LOG_LEVEL_DEBUG);
	CHECK(capture(LOG_LEVEL_DEBUG, "x") > 0);
	log_set_level(LOG_LEVEL_ERROR);
	CHECK(capture(LOG_LEVEL_WARNING, "x") == 0);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	len = capture(LOG_LEVEL_ERROR, big);
	CHECK(len > 1900 && len < 2100 && text[len - 1] == '\n');
	return CHECK_END();
}

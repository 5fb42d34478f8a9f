/* main.c - sync-streamer: options, limits, signals, and the loop that turns until it is told to stop. */
/* SPDX-License-Identifier: PostgreSQL */
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"
#include "library_memory.h"
#include "log.h"
#include "options.h"
#include "plugin.h"
#include "streamer.h"

#define SPARE_DESCRIPTORS 512		/* beside the clients: the database, plain HTTP, files */

extern char **environ;

static volatile sig_atomic_t stop_signal;

static void
stop(int number)
{
	stop_signal = number;
}

/* Before the loop is made: libwebsockets takes its table's size from this limit. */
static void
raise_descriptor_limit(const struct options *o)
{
	struct rlimit limit;
	rlim_t	wanted = (rlim_t) o->max_clients + (rlim_t) o->query_connections + SPARE_DESCRIPTORS;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
		log_event(LOG_LEVEL_WARNING, "few_descriptors", "wanted=%lu have=%lu cure=\"raise the limit of open files, or lower --max-clients\"",
				  (unsigned long) wanted, (unsigned long) limit.rlim_cur);
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, NULL);
}

static void
log_start(const struct options *o)
{
	struct buffer limits;

	buffer_init(&limits);
	options_limits(o, &limits);
	log_event(LOG_LEVEL_INFO, "listening", "host=%s port=%d pid=%d plugin=%s %s", o->listen_host, o->listen_port, (int) getpid(),
			  plugin_name((enum plugin) o->plugin), limits.data);
	buffer_free(&limits);
}

static int
serve(const struct options *o)
{
	struct streamer *s;
	bool	is_good = true;

	raise_descriptor_limit(o);
	catch_signals();
	s = streamer_new(o);
	if (s == NULL)
		return 1;
	log_start(o);
	while (stop_signal == 0 && is_good)
		is_good = streamer_turn(s);
	log_event(LOG_LEVEL_INFO, "stopping", "signal=%d", (int) stop_signal);
	streamer_say_goodbye(s);
	streamer_free(s);
	log_event(LOG_LEVEL_INFO, "stopped", "clean=%s", is_good ? "yes" : "no");
	return is_good ? 0 : 1;
}

static int
run(const struct options *o)
{
	struct buffer text;
	int		status = 0;

	buffer_init(&text);
	if (o->help)
	{
		options_help(&text);
		fputs(text.data, stdout);
	}
	else if (o->version)
		puts("sync-streamer " SYNC_VERSION);
	else if (o->check)
		status = check_run(o, stdout) > 0 ? 1 : 0;
	else
		status = serve(o);
	buffer_free(&text);
	return status;
}

int
main(int argc, char **argv)
{
	struct options options = {0};
	struct buffer error;
	int		status = 2;

	library_memory_set();
	buffer_init(&error);
	if (options_read(&options, argc, argv, environ, &error))
	{
		log_set_level((enum log_level) options.log_level);
		status = run(&options);
	}
	else
		fprintf(stderr, "sync-streamer: %s\n", error.data);
	buffer_free(&error);
	options_free(&options);
	return status;
}

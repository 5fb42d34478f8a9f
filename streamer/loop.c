/* loop.c - the one event loop: descriptors of other libraries, timers, turns. It is libwebsockets' own poll loop. */
/* SPDX-License-Identifier: PostgreSQL */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libwebsockets.h>

#include "log.h"
#include "memory.h"
#include "poller.h"

#define HEADER_ROOM 16384		/* bytes of request headers kept: bearer tokens with many claims are long */

struct loop
{
	struct lws_context *context;
	struct lws_vhost *vhost;	/* of the descriptors; listens nowhere */
	struct loop_watch *watches;
};

struct loop_watch
{
	struct loop *loop;
	struct loop_watch *next;
	struct lws *wsi;
	bool	wants_output;	/* asked of the library before the next turn, not at once */
	void	(*ready)(void *owner);
	void   *owner;
	bool	is_busy;		/* ready is running: free when it returns */
	bool	is_dead;
};

struct loop_timer
{
	lws_sorted_usec_list_t sul;		/* first: libwebsockets hands it back to fire() */
	struct loop *loop;
	void	(*fired)(void *owner);
	void   *owner;
};

static int
ready(struct lws *wsi)
{
	struct loop_watch *w = lws_get_opaque_user_data(wsi);

	if (w == NULL)
		return -1;
	w->is_busy = true;
	w->ready(w->owner);
	w->is_busy = false;
	if (!w->is_dead)
		return 0;
	free(w);
	return -1;
}

static int
descriptor_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	(void) user;
	(void) in;
	(void) len;
	switch ((int) reason)
	{
		case LWS_CALLBACK_RAW_RX_FILE:
		case LWS_CALLBACK_RAW_WRITEABLE_FILE:
			return ready(wsi);
		case LWS_CALLBACK_RAW_CLOSE_FILE:
			{
				struct loop_watch *w = lws_get_opaque_user_data(wsi);

				if (w != NULL)
					w->wsi = NULL;
				poller_forget((int) lws_get_socket_fd(wsi));
				return 0;
			}
		default:
			return 0;
	}
}

static const struct lws_protocols descriptor_protocols[] = {
	{.name = "descriptor", .callback = descriptor_event},
	{0},
};

static void
library_log(int level, const char *line)
{
	size_t	len = strcspn(line, "\n");

	log_event(level == LLL_ERR ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG, "libwebsockets", "text=\"%.*s\"", (int) len, line);
}

struct loop *
loop_new(void)
{
	struct lws_context_creation_info info = {0};
	struct loop *l = memory_new(sizeof(*l));

	lws_set_log_level(LLL_ERR | LLL_WARN, library_log);
	info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_VALIDATE_UTF8 | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
	info.port = CONTEXT_PORT_NO_LISTEN;
	info.max_http_header_data = HEADER_ROOM;
	info.timeout_secs = 10;
	l->context = lws_create_context(&info);
	if (l->context != NULL)
	{
		info.vhost_name = "descriptors";
		info.protocols = descriptor_protocols;
		l->vhost = lws_create_vhost(l->context, &info);
	}
	if (l->vhost != NULL)
		return l;
	log_event(LOG_LEVEL_ERROR, "loop_failed", "reason=\"libwebsockets could not be set up\"");
	loop_free(l);
	return NULL;
}

void
loop_free(struct loop *l)
{
	if (l->context != NULL)
		lws_context_destroy(l->context);
	free(l);
}

/* What is asked for from within the library's own output callback it forgets when that returns: so it is asked for here. */
bool
loop_turn(struct loop *l)
{
	for (struct loop_watch *w = l->watches; w != NULL; w = w->next)
		if (w->wants_output && w->wsi != NULL)
		{
			w->wants_output = false;
			lws_callback_on_writable(w->wsi);
		}
	return lws_service(l->context, 0) >= 0;
}

struct lws_context *
loop_context(struct loop *l)
{
	return l->context;
}

struct loop_watch *
loop_watch_new(struct loop *l, int fd, void (*ready_now)(void *owner), void *owner)
{
	struct loop_watch *w = memory_new(sizeof(*w));
	lws_adopt_desc_t adopt = {.vh = l->vhost, .type = LWS_ADOPT_RAW_FILE_DESC, .vh_prot_name = "descriptor", .opaque = w};

	w->ready = ready_now;
	w->owner = owner;
	adopt.fd.filefd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	poller_forget(adopt.fd.filefd);
	if (adopt.fd.filefd >= 0)
		w->wsi = lws_adopt_descriptor_vhost_via_info(&adopt);
	if (w->wsi != NULL)
	{
		w->loop = l;
		w->next = l->watches;
		l->watches = w;
		return w;
	}
	log_event(LOG_LEVEL_ERROR, "watch_failed", "reason=\"%s\"", strerror(errno));
	free(w);
	return NULL;
}

void
loop_watch_output(struct loop_watch *w)
{
	w->wants_output = true;
}

/* Inside ready() the library still needs the wsi until its callback returns -1; elsewhere it is told to close it in its next turn. */
void
loop_watch_free(struct loop_watch *w)
{
	struct loop_watch **link;

	if (w == NULL)
		return;
	for (link = &w->loop->watches; *link != w; link = &(*link)->next)
		;
	*link = w->next;
	w->is_dead = true;
	if (w->wsi != NULL)
		lws_set_opaque_user_data(w->wsi, NULL);
	if (w->is_busy)
		return;
	if (w->wsi != NULL)
		lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
	free(w);
}

static void
fire(lws_sorted_usec_list_t *sul)
{
	struct loop_timer *t = lws_container_of(sul, struct loop_timer, sul);

	t->fired(t->owner);
}

struct loop_timer *
loop_timer_new(struct loop *l, void (*fired)(void *owner), void *owner)
{
	struct loop_timer *t = memory_new(sizeof(*t));

	t->loop = l;
	t->fired = fired;
	t->owner = owner;
	return t;
}

void
loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
	lws_sul_schedule(t->loop->context, 0, &t->sul, fire, delay_ms > 0 ? delay_ms * LWS_US_PER_MS : 1);
}

void
loop_timer_stop(struct loop_timer *t)
{
	lws_sul_cancel(&t->sul);
}

void
loop_timer_free(struct loop_timer *t)
{
	if (t == NULL)
		return;
	loop_timer_stop(t);
	free(t);
}

int64_t
loop_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

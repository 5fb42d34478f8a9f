/* poller.c - poll() for libwebsockets when it watches many descriptors: the same answers, from epoll. */
/* SPDX-License-Identifier: PostgreSQL */
/*
 * The library's loop calls poll() with all its descriptors each turn, and the kernel then looks at every socket: with 10,000 idle clients that is
 * 5-10 ms a turn (measured). Its epoll loops cost more again for each client that is written to, and own the turn. So this program has a poll() of its own, which
 * the dynamic linker gives to the library: it keeps an epoll in step with the array and asks that. Where it is not taken (another C library, a
 * library linked statically) all works as before, slower.
 */
#include "poller.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

#define FEW 128					/* with fewer the kernel's poll() is as fast */
#define EVENTS_MAX 512			/* of one turn; the rest come in the next */

_Static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLERR == EPOLLERR && POLLHUP == EPOLLHUP, "poll and epoll name events alike");

struct slot
{
	bool	is_known;			/* the epoll has it, with these events */
	short	events;
	unsigned place;				/* in the array of the last call */
};

static struct slot *slots;		/* by descriptor */
static int	slot_count;
static int	epoll_fd = -1;

void
poller_forget(int fd)
{
	if (fd < 0 || fd >= slot_count || !slots[fd].is_known)
		return;
	slots[fd].is_known = false;
	epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* A number may outlive its descriptor in the epoll when a dup() of it lives on; nothing but a new epoll gets rid of it. */
static void
start_again(void)
{
	if (epoll_fd >= 0)
		close(epoll_fd);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < slot_count; i++)
		slots[i].is_known = false;
}

static void
make_room(int fd)
{
	int		count = slot_count > 0 ? slot_count : 1024;

	while (count <= fd)
		count *= 2;
	slots = memory_grow(slots, (size_t) count, sizeof(*slots));
	for (int i = slot_count; i < count; i++)
		slots[i] = (struct slot){0};
	slot_count = count;
}

static bool
put_in_step(struct slot *s, const struct pollfd *p)
{
	struct epoll_event e = {.events = (uint32_t) p->events, .data.fd = p->fd};

	if (epoll_ctl(epoll_fd, s->is_known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &e) != 0 &&
		epoll_ctl(epoll_fd, s->is_known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, p->fd, &e) != 0)
		return false;
	s->is_known = true;
	s->events = p->events;
	return true;
}

/* false: epoll does not take one of them. */
static bool
follow(struct pollfd *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
	{
		struct pollfd *p = &fds[i];
		struct slot *s;

		if (p->revents != 0)
			p->revents = 0;
		if (p->fd < 0)
			continue;
		if (p->fd >= slot_count)
			make_room(p->fd);
		s = &slots[p->fd];
		if ((!s->is_known || s->events != p->events) && !put_in_step(s, p))
			return false;
		s->place = i;
	}
	return true;
}

static int
answer(struct pollfd *fds, unsigned count, const struct epoll_event *events, int ready)
{
	int		answered = 0;

	for (int i = 0; i < ready; i++)
	{
		int		fd = events[i].data.fd;
		const struct slot *s = &slots[fd];

		if (!s->is_known || s->place >= count || fds[s->place].fd != fd)
		{
			start_again();
			break;
		}
		fds[s->place].revents = (short) events[i].events;
		answered++;
	}
	return answered;
}

static int
ask_each(struct pollfd *fds, nfds_t count, int timeout_ms)
{
	struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};

	return ppoll(fds, count, timeout_ms < 0 ? NULL : &limit, NULL);
}


__attribute__((visibility("default"))) int
poll(struct pollfd *fds, nfds_t count, int timeout)
{
	struct epoll_event events[EVENTS_MAX];
	int		ready;

	if (count < FEW)
		return ask_each(fds, count, timeout);
	if (epoll_fd < 0)
		start_again();
	if (epoll_fd < 0 || !follow(fds, (unsigned) count))
		return ask_each(fds, count, timeout);
	ready = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout);
	return ready <= 0 ? ready : answer(fds, (unsigned) count, events, ready);
}

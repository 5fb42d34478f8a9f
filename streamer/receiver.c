/* receiver.c - looks at what clients send before libwebsockets has it, and has them cut off where inbound.c says so. */
/* SPDX-License-Identifier: PostgreSQL */
/*
 * The library hands on requests and messages, not bytes, and does not say whether a frame was masked. As with poll() in poller.c the dynamic linker gives it
 * functions of this program in place of the two that it reads sockets with. A client whose bytes are refused looks to the library as if it had hung up. Where
 * they are not taken (a library linked statically) all works as before, without these checks.
 */
#include "receiver.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "inbound.h"
#include "log.h"
#include "memory.h"

struct place
{
	struct inbound *inbound;	/* owned; NULL: not a client's */
	bool	is_refused;
	uint64_t requests;			/* that the library has read */
};

static struct place *places;	/* by descriptor */
static int	place_count;

static struct place *
place_of(int fd)
{
	return fd >= 0 && fd < place_count && places[fd].inbound != NULL ? &places[fd] : NULL;
}

void
receiver_begin(int fd)
{
	int		count = place_count > 0 ? place_count : 1024;

	if (fd < 0)
		return;
	while (count <= fd)
		count *= 2;
	if (count > place_count)
	{
		places = memory_grow(places, (size_t) count, sizeof(*places));
		for (int i = place_count; i < count; i++)
			places[i] = (struct place) {0};
		place_count = count;
	}
	if (places[fd].inbound == NULL)
		places[fd].inbound = memory_new(sizeof(*places[fd].inbound));
	places[fd].is_refused = false;
	places[fd].requests = 0;
	inbound_init(places[fd].inbound);
}

void
receiver_end(int fd)
{
	struct place *p = place_of(fd);

	if (p == NULL)
		return;
	free(p->inbound);
	*p = (struct place) {0};
}

/* No head has ended but those of the requests that the library knows, and nothing of a next one is there. */
static bool
is_silent(const struct place *p)
{
	return inbound_is_between(p->inbound) && p->inbound->heads <= p->requests;
}

bool
receiver_upgrade(int fd)
{
	struct place *p = place_of(fd);
	bool	is_good;

	if (p == NULL)
		return true;
	p->requests++;
	is_good = is_silent(p);
	inbound_upgrade(p->inbound);
	return is_good;
}

void
receiver_request(int fd)
{
	struct place *p = place_of(fd);

	if (p != NULL)
		p->requests++;
}

bool
receiver_deafen(int fd)
{
	struct place *p = place_of(fd);
	bool	is_good = p == NULL || is_silent(p);

	if (p != NULL)
		p->inbound->state = INBOUND_DEAF;
	return is_good;
}

void
receiver_hear(int fd)
{
	struct place *p = place_of(fd);

	if (p == NULL || p->inbound->state != INBOUND_DEAF)
		return;
	inbound_init(p->inbound);
	p->requests = 0;
}

/* How many of the bytes the library gets: all, or none, which it takes for the end. */
static bool
look(int fd, const void *bytes, size_t len)
{
	struct place *p = place_of(fd);

	if (p == NULL || (!p->is_refused && inbound_take(p->inbound, bytes, len)))
		return true;
	if (!p->is_refused)
		log_event(LOG_LEVEL_DEBUG, "bytes_refused", "state=%d", (int) p->inbound->state);
	p->is_refused = true;
	return false;
}

__attribute__((visibility("default"))) ssize_t
recv(int fd, void *buffer, size_t size, int flags)
{
	ssize_t len = recvfrom(fd, buffer, size, flags, NULL, NULL);

	return len <= 0 || (flags & MSG_PEEK) != 0 || look(fd, buffer, (size_t) len) ? len : 0;
}

__attribute__((visibility("default"))) int
SSL_read(SSL *ssl, void *buffer, int size)
{
	static int (*read_next)(SSL *, void *, int);
	int		len;

	if (read_next == NULL)
		*(void **) &read_next = dlsym(RTLD_NEXT, "SSL_read");
	memory_require(*(void **) &read_next);
	len = read_next(ssl, buffer, size);
	return len <= 0 || look(SSL_get_fd(ssl), buffer, (size_t) len) ? len : 0;
}

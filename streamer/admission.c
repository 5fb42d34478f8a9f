/* admission.c - who may come in, and how often: connections and requests by address and by user. */
/* SPDX-License-Identifier: PostgreSQL */
#include "admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "rates.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"

#define PLAIN_REQUESTS 100		/* connections of an address beside its clients */
#define NAMES_MAX 200000		/* users and addresses with a bucket of their own */
#define NAME_MAX_BYTES 1024
#define LOG_EVERY_MS 10000

struct admission
{
	const struct options *options;
	struct networks *trusted;
	struct counts sockets;
	struct counts clients;
	struct counts users;
	struct rates requests;
	int64_t logged_ms;
};

static bool
knows_header(const char *name)
{
	return strcasecmp(name, "x-forwarded-for") == 0 || strcasecmp(name, "forwarded") == 0;
}

struct admission *
admission_new(const struct options *o)
{
	struct admission *a = memory_new(sizeof(*a));
	const char *bad;
	size_t	len;

	a->options = o;
	a->logged_ms = -LOG_EVERY_MS;
	counts_init(&a->sockets, o->max_clients_per_address > 0 ? o->max_clients_per_address + PLAIN_REQUESTS : 0);
	counts_init(&a->clients, o->max_clients_per_address);
	counts_init(&a->users, o->max_clients_per_user);
	rates_init(&a->requests, o->max_requests_per_second, NAMES_MAX);
	a->trusted = networks_read(o->trusted_proxies, &bad, &len);
	if (a->trusted != NULL && knows_header(o->proxy_header))
		return a;
	if (a->trusted == NULL)
		log_event(LOG_LEVEL_ERROR, "bad_option", "option=--trusted-proxies value=\"%.*s\" takes=\"addresses and networks such as 10.0.0.0/8\"", (int) len, bad);
	else
		log_event(LOG_LEVEL_ERROR, "bad_option", "option=--proxy-header takes=\"x-forwarded-for or forwarded\"");
	admission_free(a);
	return NULL;
}

void
admission_free(struct admission *a)
{
	if (a == NULL)
		return;
	networks_free(a->trusted);
	counts_free(&a->sockets);
	counts_free(&a->clients);
	counts_free(&a->users);
	rates_free(&a->requests);
	free(a);
}

void
admission_tick(struct admission *a, int64_t now_ms)
{
	rates_sweep(&a->requests, now_ms);
}

static bool
is_rfc7239(const struct admission *a)
{
	return strcasecmp(a->options->proxy_header, "forwarded") == 0;
}

const char *
admission_header(const struct admission *a)
{
	return is_rfc7239(a) ? "forwarded:" : "x-forwarded-for:";
}

void
admission_address(const struct admission *a, const char *peer, const char *forwarded, char client[ADDRESS_MAX])
{
	address_of_client(a->trusted, peer, forwarded, is_rfc7239(a), client);
}

/* As it is counted: whole networks of one IPv6 customer alike. */
static void
name_of(const struct admission *a, const char *peer, char name[ADDRESS_MAX])
{
	admission_address(a, peer, "", name);
}

bool
admission_socket_has_room(const struct admission *a, const char *peer)
{
	char	name[ADDRESS_MAX];

	name_of(a, peer, name);
	return networks_have(a->trusted, peer) || counts_has_room(&a->sockets, name);
}

void
admission_socket_enter(struct admission *a, const char *peer)
{
	char	name[ADDRESS_MAX];

	name_of(a, peer, name);
	counts_enter(&a->sockets, name);
}

void
admission_socket_leave(struct admission *a, const char *peer)
{
	char	name[ADDRESS_MAX];

	name_of(a, peer, name);
	counts_leave(&a->sockets, name);
}

bool
admission_client_has_room(struct admission *a, const char *address, int64_t now_ms)
{
	if (counts_has_room(&a->clients, address))
		return true;
	metric_add_for(METRIC_LIMITED, "max-clients-per-address", 1);
	if (now_ms - a->logged_ms >= LOG_EVERY_MS)
		log_event(LOG_LEVEL_WARNING, "address_full", "address=%s connections=%d cure=\"raise --max-clients-per-address; behind a proxy name it in --trusted-proxies\"",
				  address, a->clients.most);
	a->logged_ms = now_ms - a->logged_ms >= LOG_EVERY_MS ? now_ms : a->logged_ms;
	return false;
}

void
admission_client_enter(struct admission *a, const char *address)
{
	counts_enter(&a->clients, address);
}

void
admission_client_leave(struct admission *a, const char *address)
{
	counts_leave(&a->clients, address);
}

bool
admission_user_has_room(const struct admission *a, const char *user)
{
	return user[0] == '\0' || counts_has_room(&a->users, user);
}

void
admission_user_enter(struct admission *a, const char *user)
{
	if (user[0] != '\0')
		counts_enter(&a->users, user);
}

void
admission_user_leave(struct admission *a, const char *user)
{
	if (user[0] != '\0')
		counts_leave(&a->users, user);
}

int
admission_request(struct admission *a, const char *user, const char *address, int64_t now_ms)
{
	char	name[NAME_MAX_BYTES];
	bool	is_user = user != NULL && user[0] != '\0';
	int		wait_s;

	snprintf(name, sizeof(name), "%s %s", is_user ? "user" : "address", is_user ? user : address);
	wait_s = rates_take(&a->requests, name, now_ms);
	if (wait_s > 0)
		metric_add_for(METRIC_LIMITED, "max-requests-per-second", 1);
	return wait_s;
}

/* admission.h - who may come in, and how often: connections and requests by address and by user. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_ADMISSION_H
#define SYNC_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "options.h"

struct admission;

struct admission *admission_new(const struct options *o);		/* NULL: an option cannot be used, the reason was logged */
void	admission_free(struct admission *a);	/* NULL is fine */
void	admission_tick(struct admission *a, int64_t now_ms);		/* once a second */

/* forwarded: the header that the option names, or "". */
void	admission_address(const struct admission *a, const char *peer, const char *forwarded, char client[ADDRESS_MAX]);
const char *admission_header(const struct admission *a);		/* its name, in lower case with a colon */

/* TCP connections by the address they come from; trusted proxies may have any number. Plain requests have some room beside the clients. */
bool	admission_socket_has_room(const struct admission *a, const char *peer);
void	admission_socket_enter(struct admission *a, const char *peer);
void	admission_socket_leave(struct admission *a, const char *peer);

/* WebSockets and streams of events, by the client's address. */
bool	admission_client_has_room(struct admission *a, const char *address, int64_t now_ms);		/* false is logged, now and then */
void	admission_client_enter(struct admission *a, const char *address);
void	admission_client_leave(struct admission *a, const char *address);

/* Connections of a user: those with at least one channel joined in the user's name. Nobody ("") is not counted. */
bool	admission_user_has_room(const struct admission *a, const char *user);
void	admission_user_enter(struct admission *a, const char *user);
void	admission_user_leave(struct admission *a, const char *user);

/* A request over HTTP: of a user, or of an address where nobody is known. 0, or refused: seconds to wait. */
int		admission_request(struct admission *a, const char *user, const char *address, int64_t now_ms);

#endif

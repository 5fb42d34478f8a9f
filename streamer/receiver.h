/* receiver.h - looks at what clients send before libwebsockets has it, and has them cut off where inbound.c says so. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RECEIVER_H
#define SYNC_RECEIVER_H

#include <stdbool.h>

void	receiver_begin(int fd);			/* a client's socket, from its first byte on */
void	receiver_end(int fd);			/* it is closed; the number may come again, for anything */
bool	receiver_upgrade(int fd);		/* from here on frames come. false: bytes have come already, which must wait for the answer */
void	receiver_request(int fd);		/* the library has read the head of a request */
bool	receiver_deafen(int fd);		/* behind the request read last nothing may come. false: something has */
void	receiver_hear(int fd);			/* but the next request may, after all */

#endif

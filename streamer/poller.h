/* poller.h - poll() for libwebsockets when it watches many descriptors: the same answers, from epoll. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_POLLER_H
#define SYNC_POLLER_H

/* The number now stands for another descriptor, or soon will: to be told of each one that is opened for the library, and of a dup() before it is closed. */
void	poller_forget(int fd);

#endif

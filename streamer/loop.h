/* loop.h - the one event loop: descriptors of other libraries, timers, turns. It is libwebsockets' own poll loop. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_LOOP_H
#define SYNC_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;
struct lws_context;

struct loop *loop_new(void);		/* NULL: the reason was logged */
void	loop_free(struct loop *l);		/* every watch and timer must be gone before */
bool	loop_turn(struct loop *l);		/* waits for events and serves them; false: the loop is broken */
struct lws_context *loop_context(struct loop *l);		/* for the server, which lives in the same loop */

/* Watches a descriptor that its library keeps: the loop works on a dup() and closes only that. ready is called while there is input. */
struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*ready)(void *owner), void *owner);	/* NULL: the reason was logged */
void	loop_watch_output(struct loop_watch *w);		/* calls ready once when output is possible */
void	loop_watch_free(struct loop_watch *w);		/* may be called from within ready; NULL is fine */

/* A timer fires once for each time it is set. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fired)(void *owner), void *owner);
void	loop_timer_set(struct loop_timer *t, int64_t delay_ms);		/* 0: in the next turn; replaces what was set */
void	loop_timer_stop(struct loop_timer *t);
void	loop_timer_free(struct loop_timer *t);		/* NULL is fine */

int64_t loop_now_ms(void);				/* monotonic */

#endif

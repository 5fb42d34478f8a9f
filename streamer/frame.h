/* frame.h - ready WebSocket frames, built once and shared, and the queue of those waiting for one client. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_FRAME_H
#define SYNC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

/* The position a client stands at once it has the frame. Shared, because live batches of all sessions carry the same. */
struct cursor
{
	size_t	refs;
	uint64_t reaches;			/* known to stand no earlier in the WAL than this */
	struct cursor *later;		/* owned reference; the same further on, see cursor_at; NULL: none yet */
	char	text[];
};

struct cursor *cursor_new(const char *text, size_t len);		/* one reference */
struct cursor *cursor_retain(struct cursor *c);		/* NULL stays NULL */
/* The same position, but no earlier in the WAL than the record that ends at lsn: whoever was sent that commit must not pass for one who was not, should a
 * failover or an older copy of the storage take it back. Borrowed from c, and the same for all who ask with that lsn. */
struct cursor *cursor_at(struct cursor *c, uint64_t lsn);
void	cursor_release(struct cursor *c);

struct frame
{
	size_t	refs;
	size_t	len;
	int64_t committed_us;		/* of the oldest change in it, when that is live; else 0 */
	unsigned char bytes[];		/* RFC 6455 header and payload */
};

struct frame *frame_text(const char *payload, size_t len);		/* one reference */
struct frame *frame_binary(const char *payload, size_t len);		/* likewise */
struct frame *frame_ping(void);
bool	frame_is_ping(const struct frame *f);
const char *frame_payload(const struct frame *f, size_t *len);		/* without the header */
struct frame *frame_retain(struct frame *f);
void	frame_release(struct frame *f);

struct outbox_entry
{
	struct frame *frame;		/* owned reference */
	struct cursor *cursor;		/* owned reference; NULL: moves nobody */
	uint64_t session;			/* 0: nobody's */
	bool	is_live;			/* may be dropped: the session then pulls again */
};

struct outbox
{
	struct outbox_entry *entries;	/* a ring */
	size_t	room;
	size_t	head;
	size_t	count;
	size_t	bytes;
};

#define OUTGOING_FRAMES_MAX 128
#define OUTGOING_BYTES_MAX ((size_t) 1 << 18)	/* unless the first frame alone is larger */

/* What goes to a socket at once. */
struct outgoing
{
	struct frame *frames[OUTGOING_FRAMES_MAX];		/* owned references */
	size_t	count;
	size_t	bytes;
};

bool	outgoing_has_room(const struct outgoing *out, size_t next);		/* for a frame of so many bytes */
void	outgoing_put(struct outgoing *out, struct frame *f);			/* takes the reference over */
void	outgoing_release(struct outgoing *out);

void	outbox_init(struct outbox *o);
void	outbox_free(struct outbox *o);
void	outbox_put(struct outbox *o, struct outbox_entry entry);		/* takes the references over */
bool	outbox_take(struct outbox *o, struct outbox_entry *entry);		/* gives them to the caller; false: empty */
size_t	outbox_next_size(const struct outbox *o);		/* of the frame that is taken next; 0: empty */
void	outbox_drop_live(struct outbox *o, uint64_t session);

#endif

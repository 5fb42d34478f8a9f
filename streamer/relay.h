/* relay.h - what the streamers of one database tell each other: broadcasts and presences of their clients, and that they are there. Pure. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_RELAY_H
#define SYNC_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buffer.h"
#include "json.h"

#define RELAY_GATHER_MS 10						/* what comes in this time travels together */
#define RELAY_MESSAGE_MAX ((size_t) 128 << 10)	/* bytes of one message, unless one item alone is larger */
#define RELAY_QUEUE_MAX ((size_t) 8 << 20)		/* bytes that wait; broadcasts over it are lost to the other streamers, presences are told again later */
#define RELAY_BEAT_MS 5000						/* at least this often a streamer is heard of while it knows another */
#define RELAY_ALONE_MS 30000					/* and while it knows none: two that lost sight of each other find together again */
#define RELAY_SILENT_MS 16000					/* who is silent for so long is gone */
#define RELAY_OTHERS_MAX 64						/* other streamers */

struct relay;

/* A broadcast on its way. Borrowed texts. */
struct relayed
{
	const char *topic;
	bool	is_private;
	const char *event;
	bool	is_binary;
	const char *payload;	/* JSON text, or bytes */
	size_t	len;
};

/* A presence; key NULL: it has ended. */
struct relayed_presence
{
	const char *topic;
	bool	is_private;
	const char *ref;
	const char *key;
	const char *previous;		/* "": none */
	struct json_value meta;
};

struct relay_calls
{
	void	(*send)(void *owner, const char *json);		/* by sync.relay(); relay_sent says how it went, maybe from within */
	void	(*wake)(void *owner, int64_t delay_ms);		/* calls relay_flush then */
	void	(*broadcast)(void *owner, const struct relayed *b);
	void	(*presence)(void *owner, uint64_t from, const struct relayed_presence *p);
	void	(*tell_presences)(void *owner);				/* puts all of our own clients' in, by relay_put_presence */
	void	(*doubt)(void *owner, uint64_t from);		/* its presences come again; those that do not are gone at settle */
	void	(*settle)(void *owner, uint64_t from);
	void	(*gone)(void *owner, uint64_t from);		/* with all its clients */
};

struct relay *relay_new(uint64_t id, const struct relay_calls *calls, void *owner);
void	relay_free(struct relay *r);
uint64_t relay_id(const struct relay *r);
size_t	relay_others(const struct relay *r);

/* Nothing is kept or sent while no other streamer is known. */
void	relay_put_broadcast(struct relay *r, const struct relayed *b);
void	relay_put_presence(struct relay *r, const char *topic, bool is_private, const char *key, const char *ref, const char *previous, const char *members);
void	relay_put_end(struct relay *r, const char *topic, bool is_private, const char *ref);

void	relay_flush(struct relay *r);
void	relay_sent(struct relay *r, bool is_ok);
void	relay_take(struct relay *r, struct json_value message, int64_t now_ms);	/* the member "relay" of a WAL message */

void	relay_hears(struct relay *r, bool is_hearing, int64_t now_ms);		/* the stream has begun, or is lost: who is deaf cannot tell who is silent */
void	relay_tick(struct relay *r, int64_t now_ms);
void	relay_say_goodbye(struct relay *r);

#endif

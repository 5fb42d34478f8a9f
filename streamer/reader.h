/* reader.h - what the two decoders' parsers share with record.c; for nobody else. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_READER_H
#define SYNC_READER_H

#include "record.h"

/* A list of fields that keeps its memory. */
struct fields
{
	struct field *items;
	size_t	count;
	size_t	room;
};

struct field *fields_add(struct fields *f);		/* the new last one, not set */

/* Where a message is in the stream, and who takes its records. */
struct delivery
{
	uint64_t lsn;
	record_take take;
	void   *owner;
};

struct wal2json;
struct wal2json *wal2json_new(void);
void	wal2json_free(struct wal2json *w);
bool	wal2json_read(struct wal2json *w, const char *line, size_t len, const struct delivery *d);

struct pgoutput;
struct pgoutput *pgoutput_new(void);
void	pgoutput_free(struct pgoutput *p);
void	pgoutput_reset(struct pgoutput *p);
bool	pgoutput_read(struct pgoutput *p, const char *message, size_t len, const struct delivery *d);

/* Sorts a message's content into nonce or content; text must be NUL-terminated. */
void	record_set_content(struct record *r, const char *text, size_t len);

#endif

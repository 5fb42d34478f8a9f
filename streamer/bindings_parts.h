/* bindings_parts.h - the inside of bindings, shared by bindings.c (what is wanted) and offer.c (what becomes of a change). */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_BINDINGS_PARTS_H
#define SYNC_BINDINGS_PARTS_H

#include <stdio.h>

#include "bindings.h"
#include "clock.h"
#include "filter.h"
#include "request.h"

#define NAME_SIZE 256			/* of a schema or table in a binding */
#define EVENT_INSERT 1
#define EVENT_UPDATE 2
#define EVENT_DELETE 4

/* A binding as it was asked for. */
struct wish
{
	uint32_t id;
	int		events;
	bool	is_named;
	bool	keeps_int8;
	char	schema[NAME_SIZE];
	char	table[NAME_SIZE];
	struct json_value filter;
	struct json_value select;
};

/* What of a row is shown. */
struct shape
{
	uint8_t *columns;		/* owned set, the key among them; NULL: all */
	bool	keeps_int8;
};

/* A binding met with a table. */
struct bound
{
	uint32_t id;
	int		events;
	size_t	shape;
	struct filter *filter;	/* owned; NULL: every row */
};

struct wanted_table
{
	int32_t id;
	struct bound *bounds;		/* owned */
	size_t	bound_count;
	struct shape *shapes;		/* owned; of the bounds, without repeats */
	size_t	shape_count;
	bool	is_judged;			/* row by row: what a row was like before may be none of the user's business */
};

struct bindings
{
	size_t	refs;
	char   *key;				/* owned */
	size_t	key_len;
	enum message_format format;
	char   *topic;				/* owned */
	struct wanted_table *tables;	/* owned */
	size_t	table_count;
	int		pattern_count;
	char  **problems;			/* owned */
	size_t	problem_count;
};

#endif

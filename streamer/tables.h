/* tables.h - what sync.feed_tables() says about the synced tables, read once and looked up by name or id. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_TABLES_H
#define SYNC_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLES_OWN_END 100			/* ids below are the extension's own tables */
#define TABLES_COLUMN_MAX 1600		/* PostgreSQL's own limit of columns in a table */

struct sync_column
{
	char   *name;
	size_t	name_len;
	char   *type;		/* pg_type.typname: int8, _text, ... */
	char   *base;		/* likewise of what is below a domain; "enum" for enums */
	uint32_t name_hash;	/* what sync_clock knows it by */
	bool	follows;	/* generated, or set at each write: it may change with any other, and sync_clock does not say */
	char	kind;		/* how its values become JSON: one letter of n f s d b j y t z x, listed in render.h */
	bool	is_key;
};

struct sync_table
{
	int32_t id;
	char   *schema;
	char   *table;
	char   *entity_type;
	char   *scope;			/* scope name; NULL: none */
	char   *scope_column;	/* NULL: none */
	char   *deleted_at;		/* NULL: hard deletes */
	int		priority;
	int		column_count;
	struct sync_column *columns;	/* attnum order */
	int		key_count;		/* at least 1 */
	int	   *key;			/* indexes into columns, in key order */
	int		scope_index;	/* scope_column's index in columns; column_count: it is sync_scope, which is not among them; -1: none */
	int		deleted_at_index;	/* likewise, but always among them */
};

/* What a change of a table means to the stream: send its rows (SYNCED), send its inserts as deletions (TOMBSTONE), read the
 * list of tables again (REGISTRY). */
enum table_role { TABLE_OTHER, TABLE_SYNCED, TABLE_TOMBSTONE, TABLE_REGISTRY };

struct sync_tables
{
	char   *system_id;
	char   *incarnation;
	char   *unpublished;	/* what pgoutput would not decode although it should; NULL: nothing */
	char   *message_key;	/* what our own WAL messages begin with */
	uint32_t timeline;
	int		count;
	struct sync_table *tables;	/* ascending by id */
	struct table_names *names;	/* private: the look-up by name */
};

/* The answer of sync.feed_tables():
 * {"unpublished":text|null,"system_id","timeline","incarnation","message_key","tombstone":{"schema","table"},"registry":[["schema","table"],...],
 *  "tables":[{"id","schema","table","entity_type","scope":text|null,"scope_column":text|null,"deleted_at":text|null,"priority",
 *             "key":["column",...],"partitions":[["schema","table"],...],"columns":[{"name","kind","type","base","hash","follows"},...]},...]}
 * (The columns' type, base, hash and follows may be missing.) The WAL names the partition that a row is in: it is found as the table.
 * NULL if malformed: a member missing or of another type, a column named that is not in columns, an id or a table twice. */
struct sync_tables *tables_parse(const char *json, size_t len) __attribute__((warn_unused_result));
void	tables_free(struct sync_tables *t);		/* NULL is fine */
/* *found is set (else NULL) for TABLE_SYNCED; found may be NULL. Hashed: called for every WAL record. */
enum table_role tables_find(const struct sync_tables *t, const char *schema, const char *table, const struct sync_table **found);
const struct sync_table *tables_by_id(const struct sync_tables *t, int32_t id);		/* NULL: unknown */

#endif

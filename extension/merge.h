/*
 * merge.h - merging JSON values, between merge.c (columns) and json_merge.c (lists, objects and their members).
 *
 * SPDX-License-Identifier: PostgreSQL
 */
#ifndef SYNC_MERGE_H
#define SYNC_MERGE_H

#include "change.h"

/* json NULL: the column is NULL, or the member is not there. A base that is not known says nothing at all. */
typedef struct JsonValue
{
	bool		is_known;
	Jsonb	   *json;
} JsonValue;

typedef struct JsonMerge
{
	Push	   *push;
	List	   *rules;			/* of SyncColumnRule: for members */
	bool		local_is_later;
} JsonMerge;

extern Winner json_merge(const JsonMerge *merge, SyncRule rule, Oid resolver, JsonValue local, JsonValue server, JsonValue base,
						 JsonValue *result);
extern void json_as_value(Jsonb *json, JsonbValue *out);	/* NULL becomes null */

#endif

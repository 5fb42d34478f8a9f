// list.js - what `make mutations` breaks, per row of REQUIREMENTS §1, and the test that must see it.
// SPDX-License-Identifier: PostgreSQL
//
// find must occur exactly once in file. test: a make target and the names it takes.

export const MUTATIONS = [
  { row: 'X1', what: 'disable leaves the triggers behind', file: 'extension/sql/enable.sql', find: "        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, target);", replace: '        NULL;', test: 'regress disable' },
  { row: 'X2', what: 'a statement may set the stamp itself', file: 'extension/stamp.c', find: '\t\ts->values[c] = s->old_values[c];\n', replace: '', test: 'regress stamp' },
  { row: 'X2', what: 'updates do not count the version', file: 'extension/stamp.c', find: 's->old_values[table->version_att - 1]) + 1;', replace: 's->old_values[table->version_att - 1]);', test: 'regress stamp' },
  { row: 'X3', what: 'a key that comes back starts counting at 1', file: 'extension/stamp.c', find: 'version = version_of_key(s, table, entity_id_of(s, table)) + 1;', replace: 'version = 1;', test: 'regress reborn' },
  { row: 'X4', what: 'what comes after a bad change is not tried', file: 'extension/push.c', find: '\tapply_range(push, was_decided, failed_at + 1, to);\n', replace: '', test: 'regress push_batch' },
  { row: 'X4', what: 'an atomic batch keeps its good half', file: 'extension/push.c', find: '\t\t\tif (first_failure(push) < 0)\n\t\t\t{\n\t\t\t\tattempt_keep', replace: '\t\t\tif (true)\n\t\t\t{\n\t\t\t\tattempt_keep', test: 'regress push_batch' },
  { row: 'X5', what: 'an equal time lets the local value win', file: 'extension/decide.c', find: 'd->change->edited_at > d->last[field->column].edited_at', replace: 'd->change->edited_at >= d->last[field->column].edited_at', test: 'e2e property' },
  { row: 'X6', what: 'only the newest version frees a column', file: 'extension/decide.c', find: '\treturn known_version(d->change, d->row) >= last->version;', replace: '\treturn false;', test: 'e2e examples' },
  { row: 'X6', what: 'every column counts as free', file: 'extension/decide.c', find: '\treturn known_version(d->change, d->row) >= last->version;', replace: '\treturn true;', test: 'regress push_conflict' },
  { row: 'X7', what: 'union brings back what the client removed', file: 'extension/json_merge.c', find: '\t\tif (!is_removed && !has_item(&result, result.n, server->items[i]))', replace: '\t\tif (!has_item(&result, result.n, server->items[i]))', test: 'e2e property' },
  { row: 'X7', what: 'a counter takes the local value as the difference', file: 'extension/json_merge.c', find: 'DirectFunctionCall2(numeric_sub, NumericGetDatum(l.val.numeric), NumericGetDatum(b.val.numeric))', replace: 'NumericGetDatum(l.val.numeric)', test: 'e2e property' },
  { row: 'X8', what: 'edits are logged as another kind', file: 'extension/decide.c', find: 'conflict_record(d->push, d->change, "edit",', replace: 'conflict_record(d->push, d->change, "delete",', test: 'regress push_conflict' },
  { row: 'X9', what: 'the outcome in the log is always the local one', file: 'extension/decide.c', find: 'd->merge.decision == DECIDE_LOSE ? "server" :', replace: 'd->merge.decision == DECIDE_LOSE ? "local" :', test: 'e2e property' },
  { row: 'X10', what: 'another body under a queue_id passes for a repeat', file: 'extension/ledger.c', find: '\tif (body_hash != change->body_hash)', replace: '\tif (false)', test: 'regress push_batch' },
  { row: 'X11', what: 'what ran when the cursor was taken is never asked for', file: 'extension/part.c', find: '\tif (range == RANGE_RUNNING)\n\t{\n\t\tfinished_since(token, &n);\n\t\treturn n > 0;', replace: '\tif (range == RANGE_RUNNING)\n\t{\n\t\tfinished_since(token, &n);\n\t\treturn false;', test: 'isolation late_commit' },
  { row: 'X11', what: 'pull does not flush the log', file: 'extension/snapshot.c', find: '\tif (!sync_test_skip_flush)\n', replace: '\tif (false)\n', test: 'e2e crash' },
  { row: 'X12', what: 'priority leaves no table out', file: 'extension/pull.c', find: '\tif (table->priority > pull->priority)', replace: '\tif (false)', test: 'regress pull' },
  { row: 'X12', what: 'a page never ends', file: 'extension/page.c', find: '\treturn pull->sent >= pull->limit ||', replace: '\treturn pull->sent >= 1000000 ||', test: 'regress pull_pages' },
  { row: 'X13', what: 'a push reaches rows of scopes not held', file: 'extension/row.c', find: '\treturn !isnull && sync_scope_has(row_scope_held(push, table), sync_value_text(column, value));', replace: '\treturn !isnull || value;', test: 'regress push_hidden' },
  { row: 'X13', what: 'a lost scope is not withdrawn', file: 'extension/round.c', find: '\t\tif (!p->is_whole && p->scope && has_lost(', replace: '\t\tif (false && has_lost(', test: 'regress pull_scope' },
  { row: 'X16', what: 'no edit is too old', file: 'extension/read_change.c', find: '\tif (change->edited_at < DatumGetTimestampTz(oldest))', replace: '\tif (false)', test: 'regress push_bad_input' },
  { row: 'X21', what: 'the digest forgets versions', file: 'extension/digest.c', find: '(version && pg_cryptohash_update(ctx, (const uint8 *) version, strlen(version)) < 0)', replace: '(version && false)', test: 'regress digest' },
  { row: 'X22', what: 'columns of the server may be pushed', file: 'extension/read_change.c', find: '\tif (change->edited_at > limit)', replace: '\tif (false)', test: 'regress push_bad_input' },
];

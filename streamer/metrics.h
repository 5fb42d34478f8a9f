/* metrics.h - what happened, counted in one place: one global table of counters, gauges and histograms, written as Prometheus reads them. */
/* SPDX-License-Identifier: PostgreSQL */
#ifndef SYNC_METRICS_H
#define SYNC_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "buffer.h"

/* A counter only grows, a gauge is set; a TIMES histogram is given microseconds and shown in seconds, a SIZES one is given and shows plain numbers. */
enum metric_type
{
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_TIMES,
	METRIC_SIZES,
};

#define METRIC_LABEL_MAX 48			/* bytes of a label's value with its NUL */
#define METRIC_LABELS_MAX 40		/* distinct values of one metric's label; the rest counts as "other" */

/* METRIC_<constant>, name as shown, type, its one label or NULL, help. Values of labels are short codes (letters, digits, _ - . :), never what names a user. */
#define METRICS(X) \
	X(CONNECTIONS, "sync_connections", GAUGE, NULL, "Client connections open.") \
	X(CONNECTIONS_OPENED, "sync_connections_opened_total", COUNTER, "transport", "Client connections taken, by transport.") \
	X(CONNECTIONS_CLOSED, "sync_connections_closed_total", COUNTER, "reason", "Client connections closed, by reason.") \
	X(CHANNELS, "sync_channels", GAUGE, "kind", "Channels joined, by kind.") \
	X(SESSIONS, "sync_sessions", GAUGE, "state", "Sessions of the sync channel, by state.") \
	X(JOINS, "sync_joins_total", COUNTER, "kind", "Joins that succeeded, by kind of channel.") \
	X(JOINS_REFUSED, "sync_joins_refused_total", COUNTER, "kind", "Joins refused, by kind of channel.") \
	X(LIMITED, "sync_limited_total", COUNTER, "limit", "Messages, requests and connections refused by a limit, by limit.") \
	X(MESSAGES_IN, "sync_messages_received_total", COUNTER, NULL, "Messages from clients.") \
	X(BYTES_IN, "sync_bytes_received_total", COUNTER, NULL, "Bytes of messages from clients.") \
	X(MESSAGES_OUT, "sync_messages_sent_total", COUNTER, NULL, "Messages to clients.") \
	X(BYTES_OUT, "sync_bytes_sent_total", COUNTER, NULL, "Bytes of messages to clients.") \
	X(BATCHES, "sync_batches_sent_total", COUNTER, NULL, "Batches of changes put out to clients.") \
	X(CHANGES, "sync_changes_sent_total", COUNTER, NULL, "Changes put out to clients, each counted for each client.") \
	X(COMMIT_TO_SEND, "sync_commit_to_send_seconds", TIMES, NULL, "From the commit (the server's clock; with wal2json from when the server had decoded it) to the handing of its frame to the socket (our clock).") \
	X(WAL_RECORDS, "sync_wal_records_total", COUNTER, NULL, "Records decoded from the slot.") \
	X(WAL_BYTES, "sync_wal_bytes_total", COUNTER, NULL, "Bytes received from the slot.") \
	X(TRANSACTIONS, "sync_transactions_total", COUNTER, NULL, "Transactions with changes decoded.") \
	X(CHANGES_DECODED, "sync_changes_decoded_total", COUNTER, NULL, "Changes decoded, each counted once.") \
	X(OUTBOX_BYTES, "sync_outbox_bytes", GAUGE, NULL, "Bytes waiting to go out to clients.") \
	X(OUTBOX_BYTES_MAX, "sync_outbox_bytes_max", GAUGE, NULL, "Bytes waiting for the client with the most.") \
	X(WORKS_WAITING, "sync_works_waiting", GAUGE, NULL, "Messages of clients that wait for the database.") \
	X(QUERIES_WAITING, "sync_queries_waiting", GAUGE, NULL, "Requests that wait for a query connection.") \
	X(QUERIES_BUSY, "sync_queries_busy", GAUGE, NULL, "Query connections at work.") \
	X(QUERY_CONNECTIONS, "sync_query_connections", GAUGE, NULL, "Query connections up.") \
	X(RESYNCS, "sync_resyncs_total", COUNTER, "cause", "Sessions told to catch up by pull, by cause.") \
	X(CATCH_UPS, "sync_catch_ups_total", COUNTER, "way", "Sessions that caught up, by way: pull or replay from memory.") \
	X(GAPS, "sync_gaps_total", COUNTER, "outcome", "Gaps in the stream, by outcome.") \
	X(READY, "sync_stream_ready", GAUGE, NULL, "1 when the stream is complete and all connections are up.") \
	X(DATABASE_CONNECTS, "sync_database_connects_total", COUNTER, "connection", "Connections made to the database, by use; more than one of a use is a reconnect.") \
	X(SLOT_LAG_BYTES, "sync_slot_lag_bytes", GAUGE, NULL, "WAL the server has written and the slot has not confirmed.") \
	X(SLOT_LAG_SECONDS, "sync_slot_lag_seconds", GAUGE, NULL, "For how long a mark put into the WAL has been on its way to us; 0: none is.") \
	X(RING_BYTES, "sync_ring_bytes", GAUGE, NULL, "Bytes of the changes kept in memory.") \
	X(RING_TRANSACTIONS, "sync_ring_transactions", GAUGE, NULL, "Transactions kept in memory.") \
	X(ROWS_REREAD, "sync_rows_reread_total", COUNTER, NULL, "Rows read again from their table because the stream did not tell all of their values.") \
	X(POLICY_QUESTIONS, "sync_policy_questions_total", COUNTER, NULL, "Times that the database was asked which rows an identity may see.") \
	X(POLICY_KEYS, "sync_policy_keys_total", COUNTER, NULL, "Keys in those questions.") \
	X(POLICY_TIME, "sync_policy_seconds", TIMES, NULL, "Time to the answer of such a question, waiting included.") \
	X(NUDGES, "sync_nudges_total", COUNTER, NULL, "Sessions told to pull a table instead of being sent a storm of changes.") \
	X(VERDICTS, "sync_push_verdicts_total", COUNTER, "status", "Changes pushed, by status of the verdict.") \
	X(OUTCOMES, "sync_push_outcomes_total", COUNTER, "outcome", "Changes pushed, by outcome of the verdict.") \
	X(CONFLICTS, "sync_push_conflicts_total", COUNTER, "kind", "Conflicts in pushed changes, by kind.") \
	X(REJECTS, "sync_push_rejects_total", COUNTER, "reason", "Changes rejected, by reason.") \
	X(OPEN_CONFLICTS, "sync_open_conflicts", GAUGE, NULL, "Conflicts that wait for a person.") \
	X(OLDEST_CONFLICT, "sync_oldest_open_conflict_seconds", GAUGE, NULL, "Age of the oldest of them.") \
	X(REQUEST_TIME, "sync_request_seconds", TIMES, "kind", "Time from a client's request to the database's answer, waiting included, by kind.") \
	X(ERRORS, "sync_errors_total", COUNTER, "code", "Errors told to clients, by code.") \
	X(HTTP_REQUESTS, "sync_http_requests_total", COUNTER, "status", "HTTP requests answered, by status.") \
	X(BROADCASTS, "sync_broadcasts_total", COUNTER, "from", "Broadcasts taken, by where they came from.") \
	X(PRESENCES, "sync_presences", GAUGE, NULL, "Presences known here.") \
	X(RELAYED, "sync_relayed_total", COUNTER, "direction", "Messages relayed between streamers, by direction.") \
	X(CLIENT_QUEUE, "sync_client_queue_length", SIZES, NULL, "Changes waiting on a device, as clients report it.") \
	X(CLIENT_OFFLINE, "sync_client_offline_seconds", TIMES, NULL, "Time a device was offline, as clients report it.") \
	X(CLIENT_STORAGE, "sync_client_storage_bytes", SIZES, NULL, "Storage used on a device, as clients report it.") \
	X(OLDEST_TRANSACTION, "sync_oldest_transaction_seconds", GAUGE, NULL, "Age of the oldest writing transaction: cursors and new slots wait for it.") \
	X(PREPARED, "sync_prepared_transactions", GAUGE, NULL, "Prepared transactions of the database: a new slot waits for each.") \
	X(TOMBSTONES, "sync_tombstones", GAUGE, NULL, "Tombstones kept.") \
	X(LEDGER_BYTES, "sync_ledger_bytes", GAUGE, NULL, "Size of the ledger of verdicts.") \
	X(UPKEEP_RUNS, "sync_upkeep_runs_total", COUNTER, "task", "Calls of upkeep made by this streamer, by task.") \
	X(UPKEEP_FAILURES, "sync_upkeep_failures_total", COUNTER, "task", "Those that failed, by task.") \
	X(UPKEEP_REMOVED, "sync_upkeep_removed_total", COUNTER, "what", "What upkeep removed, by what.") \
	X(UPKEEP_LEADER, "sync_upkeep_leader", GAUGE, NULL, "1 when this streamer does the upkeep.") \
	X(UPKEEP_LAST, "sync_upkeep_last_success_timestamp_seconds", GAUGE, NULL, "When this streamer last finished a purge; absent before.") \
	X(PROCESS_MEMORY, "process_resident_memory_bytes", GAUGE, NULL, "Memory of the process.") \
	X(PROCESS_CPU, "process_cpu_seconds_total", COUNTER, NULL, "Processor time used.") \
	X(PROCESS_FDS, "process_open_fds", GAUGE, NULL, "Descriptors open.") \
	X(PROCESS_MAX_FDS, "process_max_fds", GAUGE, NULL, "Descriptors allowed.") \
	X(PROCESS_START, "process_start_time_seconds", GAUGE, NULL, "When the process started.")

enum metric
{
#define METRIC_ITEM(constant, name, type, label, help) METRIC_##constant,
	METRICS(METRIC_ITEM)
#undef METRIC_ITEM
	METRIC_COUNT
};

void	metric_add(enum metric m, uint64_t n);		/* a counter */
void	metric_set(enum metric m, double value);	/* a gauge; a counter that somebody else keeps too */
void	metric_observe(enum metric m, int64_t microseconds);	/* a histogram; of sizes: the plain number. Less than 0 counts as 0. */

void	metric_clear(enum metric m);				/* as if never set: nobody here knows it any more */

/* The same for one value of the metric's label. What is no code, NULL or too much counts as "other". */
void	metric_add_for(enum metric m, const char *label, uint64_t n);
void	metric_set_for(enum metric m, const char *label, double value);
void	metric_observe_for(enum metric m, const char *label, int64_t microseconds);

void	metric_label(const char *text, char label[METRIC_LABEL_MAX]);		/* a sentence as a label: letters and digits kept, all else _ , cut off */

double	metric_sum(enum metric m);			/* of all labels; of a histogram: how many were observed */
bool	metric_is_set(enum metric m);		/* some value of it is known */
double	metric_value_for(enum metric m, const char *label);		/* 0 if there is none */
double	metric_quantile(const uint64_t *earlier, const uint64_t *later, enum metric_type type, double quantile);	/* see metric_buckets; -1: nothing between them */
#define METRIC_BUCKETS_MAX 20
void	metric_buckets(enum metric m, uint64_t counts[METRIC_BUCKETS_MAX]);		/* of a histogram, all labels together: how many fell into each bucket so far */

void	metrics_write(struct buffer *out);	/* Prometheus text format 0.0.4 */
void	metrics_reset(void);				/* for tests */

#endif

/*
 * metrics - what run counts, as text that Prometheus reads.
 *
 * The daemon writes it into a file, for node_exporter's textfile collector or
 * whoever reads files; it opens no socket for it.
 */
#ifndef HEARSAY_COMMANDS_METRICS_H
#define HEARSAY_COMMANDS_METRICS_H

#include <stddef.h>
#include <stdint.h>

struct buf;

/* Of each log; the comments are in the table of metrics.c. */
enum {
	METRIC_READ_BYTES,
	METRIC_BEHIND_BYTES,
	METRIC_LOST_BYTES,
	METRIC_GAPS,
	METRIC_ROTATIONS,
	METRIC_MISSING,
	METRIC_LONG_LINES,
	METRIC_EVENTS,
	METRIC_DOUBTED_LINES,
	METRIC_FORGOTTEN,
	METRIC_UNKNOWN_LINES,
	METRIC_SENTINEL_MS,
	METRIC_DEGRADED,
	METRICS_OF_LOG
};

/* Of each appservice's queue. */
enum {
	METRIC_WAITING,
	METRIC_OLDEST_MS,
	METRIC_DEAD_LETTERS,
	METRIC_ON_HOLD,
	METRIC_ACCEPTED,
	METRIC_ODD_ANSWERS,
	METRIC_DISCARDED,
	METRIC_TRIES,
	METRIC_LAST_SUCCESS_MS,
	METRICS_OF_QUEUE
};

/* Of all. */
enum {
	METRIC_BLOCKED,
	METRIC_STORE_BYTES,
	METRIC_STORE_FREE_BYTES,
	METRIC_STORE_KEPT,
	METRIC_NOW_MS,
	METRICS_OF_ALL
};

struct metrics_log {
	const char *server, *path;
	uint64_t values[METRICS_OF_LOG];
};

struct metrics_queue {
	const char *appservice;
	uint64_t values[METRICS_OF_QUEUE];
};

struct metrics {
	struct metrics_log *logs;
	size_t log_count;
	struct metrics_queue *queues;
	size_t queue_count;
	uint64_t values[METRICS_OF_ALL];
};

/* Append m as text.  Values ending in _MS become seconds. */
void metrics_text(const struct metrics *m, struct buf *out);

#endif

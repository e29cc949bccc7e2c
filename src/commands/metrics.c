#include "commands/metrics.h"

#include <inttypes.h>
#include <stdbool.h>

#include "base/mem.h"
#include "base/utf8.h"

/* A name that ends in _total counts; the others are gauges. */
struct row {
	const char *name;
	const char *type;
	bool ms; /* the value is in milliseconds, and told in seconds */
	const char *help;
};

static const struct row log_rows[METRICS_OF_LOG] = {
    [METRIC_READ_BYTES] = {"log_read_bytes_total", "counter", false,
	"Bytes read since the start."},
    [METRIC_BEHIND_BYTES] = {"log_behind_bytes", "gauge", false,
	"Bytes written and not yet read."},
    [METRIC_LOST_BYTES] = {"log_lost_bytes_total", "counter", false,
	"Bytes known to be gone unread."},
    [METRIC_GAPS] = {"log_gaps_total", "counter", false,
	"Times that bytes were gone unread."},
    [METRIC_ROTATIONS] = {"log_rotations_total", "counter", false, "Rotations seen."},
    [METRIC_MISSING] = {"log_missing", "gauge", false,
	"1: there is no file at the path."},
    [METRIC_LONG_LINES] = {"log_long_lines_total", "counter", false,
	"Lines passed over for their length."},
    [METRIC_EVENTS] = {"log_events_total", "counter", false, "Events ever told."},
    [METRIC_DOUBTED_LINES] = {"log_doubted_lines_total", "counter", false,
	"Lines held back, as a user may have written them."},
    [METRIC_FORGOTTEN] = {"log_forgotten_total", "counter", false,
	"Lines of requests that never ended, forgotten for their age or number."},
    [METRIC_UNKNOWN_LINES] = {"log_unknown_lines_total", "counter", false,
	"Lines with the words of a rule in a form that the pack does not know."},
    [METRIC_SENTINEL_MS] = {"log_sentinel_timestamp_seconds", "gauge", true,
	"When the log last showed what a healthy one keeps showing; 0: never, or the pack "
	"knows of no such line."},
    [METRIC_DEGRADED] = {"log_degraded", "gauge", false,
	"1: something is wrong; hearsay status says what."},
};

static const struct row queue_rows[METRICS_OF_QUEUE] = {
    [METRIC_WAITING] = {"queue_waiting", "gauge", false, "Events not yet accepted."},
    [METRIC_OLDEST_MS] = {"queue_oldest_timestamp_seconds", "gauge", true,
	"When the oldest of them was queued; 0: none waits."},
    [METRIC_DEAD_LETTERS] = {"queue_dead_letters", "gauge", false,
	"Transactions set aside."},
    [METRIC_ON_HOLD] = {"queue_on_hold", "gauge", false, "1: nothing is sent."},
    [METRIC_ACCEPTED] = {"queue_accepted_total", "counter", false,
	"Events ever accepted."},
    [METRIC_ODD_ANSWERS] = {"queue_odd_answers_total", "counter", false,
	"Transactions accepted by another 2xx than 200."},
    [METRIC_DISCARDED] = {"queue_discarded_total", "counter", false,
	"Events discarded by hand."},
    [METRIC_TRIES] = {"queue_failed_tries", "gauge", false,
	"Attempts at the transaction that waits."},
    [METRIC_LAST_SUCCESS_MS] = {"queue_last_success_timestamp_seconds", "gauge", true,
	"When a transaction was last accepted; 0: never."},
};

static const struct row all_rows[METRICS_OF_ALL] = {
    [METRIC_BLOCKED] = {"reading_blocked", "gauge", false,
	"1: no log is read, as the store failed or the queue is full."},
    [METRIC_STORE_BYTES] = {"store_bytes", "gauge", false, "Size of the store."},
    [METRIC_STORE_FREE_BYTES] = {"store_free_bytes", "gauge", false,
	"Of these, not in use."},
    [METRIC_STORE_KEPT] = {"store_kept_transactions", "gauge", false,
	"Accepted transactions that are kept."},
    [METRIC_NOW_MS] = {"written_timestamp_seconds", "gauge", true,
	"When this was written."},
};

static void
add_head(const struct row *row, struct buf *out)
{
	buf_addf(out, "# HELP hearsay_%s %s\n# TYPE hearsay_%s %s\n", row->name,
	    row->help, row->name, row->type);
}

static void
add_label(const char *name, const char *text, struct buf *out)
{
	struct buf shown = {0};
	size_t i;

	utf8_show(&shown, slice_of(text));
	buf_addf(out, "%s=\"", name);
	for (i = 0; i < shown.len; i++) {
		if (shown.p[i] == '\n') {
			buf_adds(out, "\\n");
			continue;
		}
		if (shown.p[i] == '"' || shown.p[i] == '\\')
			buf_addc(out, '\\');
		buf_addc(out, shown.p[i]);
	}
	buf_addc(out, '"');
	buf_free(&shown);
}

static void
add_value(const struct row *row, uint64_t value, struct buf *out)
{
	if (row->ms)
		buf_addf(
		    out, " %" PRIu64 ".%03u\n", value / 1000, (unsigned)(value % 1000));
	else
		buf_addf(out, " %" PRIu64 "\n", value);
}

static void
add_logs(const struct metrics *m, unsigned which, struct buf *out)
{
	const struct row *row = &log_rows[which];
	size_t i;

	if (m->log_count > 0)
		add_head(row, out);
	for (i = 0; i < m->log_count; i++) {
		buf_addf(out, "hearsay_%s{", row->name);
		add_label("server", m->logs[i].server, out);
		buf_addc(out, ',');
		add_label("log", m->logs[i].path, out);
		buf_addc(out, '}');
		add_value(row, m->logs[i].values[which], out);
	}
}

static void
add_queues(const struct metrics *m, unsigned which, struct buf *out)
{
	const struct row *row = &queue_rows[which];
	size_t i;

	if (m->queue_count > 0)
		add_head(row, out);
	for (i = 0; i < m->queue_count; i++) {
		buf_addf(out, "hearsay_%s{", row->name);
		add_label("appservice", m->queues[i].appservice, out);
		buf_addc(out, '}');
		add_value(row, m->queues[i].values[which], out);
	}
}

void
metrics_text(const struct metrics *m, struct buf *out)
{
	unsigned i;

	for (i = 0; i < METRICS_OF_LOG; i++)
		add_logs(m, i, out);
	for (i = 0; i < METRICS_OF_QUEUE; i++)
		add_queues(m, i, out);
	for (i = 0; i < METRICS_OF_ALL; i++) {
		add_head(&all_rows[i], out);
		buf_addf(out, "hearsay_%s", all_rows[i].name);
		add_value(&all_rows[i], m->values[i], out);
	}
}

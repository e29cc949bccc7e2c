#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "commands/metrics.h"
#include "commands/run.h"
#include "commands/teller.h"
#include "config/config.h"
#include "extract/extract.h"
#include "store/store.h"
#include "tail/source.h"
#include "tail/tail.h"

#define METRICS_MS 15000 /* as often as such files are read, mostly */

static uint64_t
ms_value(int64_t ms)
{
	return ms < 0 ? 0 : (uint64_t)ms;
}

/* ---- gathering ------------------------------------------------------------- */

static void
gather_log(const struct log *log, struct metrics_log *m)
{
	struct extract_stats extract = {0};
	struct tail_stats tail = {0};
	uint64_t *v = m->values;

	m->server = log->server->name;
	m->path = log->path;
	if (log->tail_log != NULL)
		tail_log_stats(log->tail_log, &tail);
	if (log->source != NULL) {
		tail.bytes = source_stats(log->source)->bytes;
		tail.long_lines = source_stats(log->source)->long_lines;
	}
	v[METRIC_READ_BYTES] = tail.bytes;
	v[METRIC_BEHIND_BYTES] = tail.behind;
	v[METRIC_LOST_BYTES] = tail.lost_bytes;
	v[METRIC_ROTATIONS] = tail.rotations;
	v[METRIC_MISSING] = tail.missing;
	v[METRIC_LONG_LINES] = tail.long_lines;
	v[METRIC_GAPS] = log->gaps;
	v[METRIC_DEGRADED] = log->health != NULL && log->health[0] != '\0';
	if (log->teller_log == NULL)
		return;
	teller_log_stats(log->teller_log, &extract);
	v[METRIC_LONG_LINES] += teller_log_long_lines(log->teller_log);
	v[METRIC_DOUBTED_LINES] = extract.doubted;
	v[METRIC_FORGOTTEN] = extract.timed_out + extract.crowded;
	v[METRIC_UNKNOWN_LINES] = teller_log_unknown(log->teller_log);
	v[METRIC_SENTINEL_MS] = ms_value(teller_log_sentinel(log->teller_log));
}

static void
gather_queue(const struct store_queue_status *q, struct metrics_queue *m)
{
	uint64_t *v = m->values;

	m->appservice = q->appservice;
	v[METRIC_WAITING] = q->queued;
	v[METRIC_OLDEST_MS] = ms_value(q->oldest_ms);
	v[METRIC_DEAD_LETTERS] = q->dead;
	v[METRIC_ON_HOLD] = q->held_ms != 0;
	v[METRIC_ACCEPTED] = q->accepted;
	v[METRIC_ODD_ANSWERS] = q->odd;
	v[METRIC_DISCARDED] = q->discarded;
	v[METRIC_TRIES] = q->attempts;
	v[METRIC_LAST_SUCCESS_MS] = ms_value(q->last_success_ms);
}

static void
put_events(struct metrics *m, const struct store_log_status *logs, size_t count)
{
	size_t i, j;

	for (i = 0; i < m->log_count; i++)
		for (j = 0; j < count; j++)
			if (strcmp(logs[j].log, m->logs[i].path) == 0)
				m->logs[i].values[METRIC_EVENTS] = logs[j].events;
}

/* What the store knows; all of it is in the arena. */
static int
gather_store(struct run *r, struct metrics *m, struct arena *a, struct err *e)
{
	struct store_queue_status *queues;
	struct store_log_status *logs;
	struct store_size size;
	size_t count, i;

	if (store_log_statuses(r->store, a, &logs, &count, e) == -1)
		return -1;
	put_events(m, logs, count);
	if (store_queue_statuses(r->store, a, &queues, &count, e) == -1 ||
	    store_size(r->store, &size, e) == -1)
		return -1;
	m->queues = memset(arena_alloc(a, (count + 1) * sizeof(*m->queues)), 0,
	    (count + 1) * sizeof(*m->queues));
	for (i = 0; i < count; i++)
		gather_queue(&queues[i], &m->queues[i]);
	m->queue_count = count;
	m->values[METRIC_STORE_BYTES] = size.bytes;
	m->values[METRIC_STORE_FREE_BYTES] = size.free_bytes;
	m->values[METRIC_STORE_KEPT] = size.kept;
	return 0;
}

static int
gather(struct run *r, struct metrics *m, struct arena *a, struct err *e)
{
	const struct log *log;
	size_t count = 1;

	for (log = r->logs; log != NULL; log = log->next)
		count++;
	*m = (struct metrics){0};
	m->logs =
	    memset(arena_alloc(a, count * sizeof(*m->logs)), 0, count * sizeof(*m->logs));
	for (log = r->logs; log != NULL; log = log->next)
		gather_log(log, &m->logs[m->log_count++]);
	m->values[METRIC_BLOCKED] = r->blocked;
	m->values[METRIC_NOW_MS] = ms_value(clock_utc_ms());
	return gather_store(r, m, a, e);
}

/* ---- writing ------------------------------------------------------------------ */

static int
write_whole(int fd, const char *p, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Whoever reads the file sees the old one or the new one, whole. */
static int
put_file(const char *path, const struct buf *text, struct err *e)
{
	char *made = xasprintf("%s.new", path);
	int fd = open(made, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	int ok = -1;

	if (fd == -1) {
		(void)err_errno(e, "%s", made);
		goto free_name;
	}
	ok = write_whole(fd, text->p, text->len);
	if (close(fd) == -1)
		ok = -1;
	if (ok == 0)
		ok = rename(made, path);
	if (ok == -1) {
		(void)err_errno(e, "%s", made);
		(void)unlink(made);
	}

free_name:
	free(made);
	return ok;
}

static int
write_metrics(struct run *r, struct err *e)
{
	struct arena *a = arena_new();
	struct buf text = {0};
	struct metrics m;
	int ok;

	ok = gather(r, &m, a, e);
	if (ok == 0) {
		metrics_text(&m, &text);
		ok = put_file(r->config->metrics, &text, e);
	}
	buf_free(&text);
	arena_free(a);
	return ok;
}

/* Failures are said once: a folder that is full is for hours. */
static void
metrics_due(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	struct err e;
	bool failed;

	(void)fd;
	(void)what;
	failed = write_metrics(r, &e) == -1;
	if (failed && !r->metrics_failed)
		say(LOG_WARNING, "cannot write the metrics: %s", e.text);
	r->metrics_failed = failed;
	clock_timer(r->metrics, METRICS_MS);
}

int
run_metrics_begin(struct run *r, struct err *e)
{
	if (r->config->metrics == NULL)
		return 0;
	r->metrics = evtimer_new(r->base, metrics_due, r);
	if (r->metrics == NULL)
		return err_set(e, "cannot make the loop's timers");
	clock_timer(r->metrics, 0);
	return 0;
}

void
run_metrics_end(struct run *r)
{
	if (r->metrics == NULL)
		return;
	event_free(r->metrics);
	/* What nobody writes any more would look like a daemon that runs. */
	if (unlink(r->config->metrics) == -1 && errno != ENOENT)
		say(LOG_WARNING, "%s: %s", r->config->metrics, strerror(errno));
}

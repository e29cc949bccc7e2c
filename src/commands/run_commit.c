#include <event2/event.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "commands/run.h"
#include "commands/teller.h"
#include "config/config.h"
#include "route/route.h"
#include "send/send.h"
#include "store/store.h"
#include "tail/source.h"
#include "tail/tail.h"

#define RETRY_MS 1000   /* a store that failed, a queue that is full */
#define WAITING_MS 1000 /* while events wait for their log to go on */

/* How many of the files, oldest first, have lines that were handed to us. */
static size_t
files_begun(const struct log *log, const struct checkpoint *cps, size_t count)
{
	size_t n = count;

	while (n > 0 && cps[n - 1].file != log->file)
		n--;
	return n;
}

/*
 * The oldest place that the last run still needed, and that is not read again
 * yet.  What its lines told is not remembered yet, so that a position without
 * it would lose them, were we killed now.
 */
static bool
needed_before(const struct log *log, const struct checkpoint *cps, size_t count,
    uint64_t *file_r, uint64_t *offset_r)
{
	size_t begun = files_begun(log, cps, count), i;

	for (i = begun == 0 ? 0 : begun - 1; i < count; i++) {
		if (cps[i].resume >= cps[i].offset ||
		    (i + 1 == begun && log->end >= cps[i].offset))
			continue;
		*file_r = cps[i].file;
		*offset_r = cps[i].resume;
		return true;
	}
	return false;
}

/*
 * A restart reads from the oldest line that an open request needs; every file
 * behind that one is read from its beginning, as it was.
 */
static void
set_resume(const struct log *log, struct checkpoint *cps, size_t count)
{
	uint64_t file = 0, offset = 0;
	bool needed = false, behind = false;
	int64_t last_ts = log->last_ts;
	size_t i;

	if (log->teller_log != NULL) {
		needed = teller_log_needs(log->teller_log, &file, &offset);
		last_ts = teller_log_last_ts(log->teller_log);
	}
	if (!needed)
		needed = needed_before(log, cps, count, &file, &offset);
	for (i = 0; i < count; i++) {
		if (behind)
			cps[i].resume = 0;
		cps[i].last_ts = last_ts;
		if (needed && cps[i].file == file) {
			if (offset < cps[i].resume)
				cps[i].resume = offset;
			behind = true;
		}
	}
	if (log->tail_log != NULL)
		tail_log_needs(log->tail_log, needed ? file : 0);
}

/* What is wrong with it is stored when it changes: status tells it, too. */
static int
put_health(struct log *log, int64_t now, struct err *e)
{
	const char *why = "no pack knows its lines";

	if (log->teller_log != NULL)
		why = teller_log_trouble(log->teller_log, log->run->arena);
	else if (!log->foreign)
		return 0;
	if (log->health != NULL && strcmp(log->health, why) == 0)
		return 0;
	free(log->found);
	log->found = xstrdup(why);
	return store_put_health(log->run->store, log->path, why, now, e);
}

/* It is stored: say it once.  That no pack knows the lines was said before. */
static void
say_health(struct log *log)
{
	if (log->found == NULL)
		return;
	if (log->found[0] != '\0' && log->teller_log != NULL)
		say(LOG_WARNING, "log=%s degraded: %s", log->path, log->found);
	else if (log->found[0] == '\0' && log->health != NULL)
		say(LOG_NOTICE, "log=%s is well again", log->path);
	free(log->health);
	log->health = log->found;
	log->found = NULL;
}

/* The checkpoints of log, as tail_checkpoints tells them; false: it has no positions. */
static bool
positions_of(const struct log *log, struct checkpoint **cps_r, size_t *count_r)
{
	struct checkpoint cp;

	if (log->tail_log != NULL) {
		tail_checkpoints(log->tail_log, cps_r, count_r);
		return true;
	}
	if (log->source == NULL || !source_checkpoint(log->source, &cp))
		return false;
	*cps_r = xmalloc(sizeof(cp));
	**cps_r = cp;
	*count_r = 1;
	return true;
}

static int
put_positions(struct run *r, int64_t now, struct err *e)
{
	struct checkpoint *cps;
	struct log *log;
	size_t count;
	int ok = 0;

	for (log = r->logs; log != NULL && ok == 0; log = log->next) {
		if (!log->dirty || !positions_of(log, &cps, &count))
			continue;
		set_resume(log, cps, count);
		ok = store_put_checkpoints(r->store, log->path, cps, count, now, e);
		checkpoints_free(cps, count);
		if (ok == 0)
			ok = put_health(log, now, e);
	}
	return ok;
}

/*
 * With the positions of all that stood there at the first look: were it stored
 * earlier, what of that has no position yet would be taken for new.
 */
static int
put_followed(struct run *r, struct err *e)
{
	const struct config_server *server = r->config->servers;
	size_t s, l;

	if (r->since_ms == 0)
		return 0;
	for (s = 0; s < r->config->server_count; s++, server++)
		for (l = 0; l < server->log_count; l++)
			if (server->logs[l].kind == LOG_FILE &&
			    store_put_followed(
				r->store, server->logs[l].path, r->since_ms, e) == -1)
				return -1;
	return 0;
}

/* Is all read that is written? */
static bool
is_at_end(const struct log *log)
{
	struct tail_stats st = {0};

	if (log->source != NULL)
		return true;
	if (log->tail_log == NULL)
		return false;
	tail_log_stats(log->tail_log, &st);
	return st.behind == 0;
}

/*
 * What the logs of a server share waits for the slowest of them; one in which
 * nothing is written is not slow.
 */
static void
tell_clocks(struct run *r, int64_t now)
{
	struct log *log;

	for (log = r->logs; log != NULL; log = log->next)
		if (log->server->log_count >= 2 && log->teller_log != NULL &&
		    is_at_end(log))
			teller_log_clock(log->teller_log, now);
}

/* Events may wait for their log to go on, and it may have said all. */
static void
tell_waiting(struct run *r)
{
	int64_t now = clock_utc_ms();
	struct log *log;

	for (log = r->logs; log != NULL; log = log->next)
		if (log->teller_log != NULL && teller_log_waits(log->teller_log) &&
		    is_at_end(log))
			run_lines_idle(log, now);
}

static void
wait_on(struct run *r)
{
	struct log *log;

	for (log = r->logs; log != NULL; log = log->next)
		if (log->teller_log != NULL && teller_log_waits(log->teller_log))
			run_commit_within(log, WAITING_MS);
}

/* A pattern that was too slow is told of: it never counts as one that did not match. */
static void
say_given_up(struct run *r)
{
	const char *who = NULL;
	uint64_t routed = route_errors(r->route, &who), matched;
	struct log *log;

	if (routed > r->route_errors)
		say(LOG_WARNING,
		    "appservice=%s its pattern took too long on %" PRIu64
		    " users; simplify the regex in its registration",
		    who, routed - r->route_errors);
	r->route_errors = routed;
	for (log = r->logs; log != NULL; log = log->next) {
		if (log->teller_log == NULL)
			continue;
		matched = teller_log_errors(log->teller_log, &who);
		if (matched > log->errors)
			say(LOG_WARNING,
			    "log=%s rule=%s a pattern took too long on %" PRIu64
			    " lines; what they tell is not known",
			    log->path, who, matched - log->errors);
		log->errors = matched;
	}
}

static int
put_batch(struct run *r, struct err *e)
{
	int64_t now = clock_utc_ms();
	size_t i;

	if (store_begin(r->store, e) == -1)
		return -1;
	for (i = 0; i < r->batch_count; i++) {
		const struct batch_event *b = &r->batch[i];

		if (store_put_event(r->store, b->log->path, b->event, b->to, b->to_count,
			now, NULL, e) == -1)
			goto undo;
	}
	if (put_positions(r, now, e) == -1 || put_followed(r, e) == -1 ||
	    store_commit(r->store, e) == -1)
		goto undo;
	r->since_ms = 0;
	tell_clocks(r, now);
	return 0;

undo:
	store_rollback(r->store);
	return -1;
}

/* Stop reading and look again in a while; said once. */
static void
block(struct run *r, const char *why)
{
	if (!r->blocked)
		say(LOG_WARNING, "reading stops until this is over, nothing is lost: %s",
		    why);
	r->blocked = true;
	clock_timer(r->retry, RETRY_MS);
}

static void
go_on(struct run *r)
{
	struct log *log;

	if (!r->blocked)
		return;
	r->blocked = false;
	say(LOG_NOTICE, "reading goes on");
	if (!r->refused)
		return;
	r->refused = false;
	tail_go_on(r->tail);
	for (log = r->logs; log != NULL; log = log->next)
		if (log->source != NULL)
			source_go_on(log->source);
}

void
run_block_or_go_on(struct run *r)
{
	struct err e;
	uint64_t waiting;

	if (store_waiting(r->store, &waiting, &e) == -1)
		block(r, e.text);
	else if (waiting >= r->config->queue_max)
		block(r, "the queue is full");
	else
		go_on(r);
}

/* 0, or -1: the batch waits for a retry. */
int
run_commit(struct run *r)
{
	size_t events;
	struct log *log;
	struct err e;

	(void)event_del(r->commit);
	tell_waiting(r);
	events = r->batch_count;
	if (put_batch(r, &e) == -1) {
		block(r, e.text);
		return -1;
	}
	for (log = r->logs; log != NULL; log = log->next) {
		log->dirty = false;
		say_health(log);
	}
	r->batch_count = 0;
	r->batch_bytes = 0;
	arena_reset(r->arena);
	say_given_up(r);
	if (!r->ending)
		wait_on(r);
	if (events > 0 && !r->ending)
		send_wake(r->send);
	run_block_or_go_on(r);
	return 0;
}

/* Both timers: what waits is due, or what failed is tried again. */
void
run_commit_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)run_commit(arg);
}

void
run_commit_within(struct log *log, int64_t within_ms)
{
	struct run *r = log->run;
	struct timeval due, now;

	log->dirty = true;
	/* A sooner commit that is scheduled already stays. */
	if (event_pending(r->commit, EV_TIMEOUT, &due)) {
		(void)gettimeofday(&now, NULL);
		if ((due.tv_sec - now.tv_sec) * 1000 +
			(due.tv_usec - now.tv_usec) / 1000 <=
		    within_ms)
			return;
	}
	clock_timer(r->commit, within_ms);
}

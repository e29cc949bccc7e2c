#include "tail/tail.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/err.h"
#include "tail/state.h"
#include "tail/watch.h"

#define LOG_SHARE (1024 * 1024)      /* bytes of one log before others get their turn */
#define TURN_SHARE (4 * 1024 * 1024) /* of all before the loop goes round */
#define TURN_LOGS 256

static const struct tail_timing usual_timing = {.hold_ms = 60 * 1000,
    .slow_ms = 300 * 1000,
    .rest_ms = 2,
    .over_ms = 3600 * 1000,
    .poll_ms = 1000};

/* ---- time and turns -------------------------------------------------------------- */

/* The next round of the loop, not this one: others have events too. */
static void
schedule(struct tail *t)
{
	if (t->started && !event_pending(t->turn, EV_TIMEOUT, NULL))
		clock_timer(t->turn, 0);
}

void
tail_queue(struct tail_log *log, bool look)
{
	struct tail *t = log->tail;

	log->look = log->look || look;
	log->wake = true;
	/* While nothing is taken it stays queued, and is looked at all the same. */
	if (log->queued && !look)
		return;
	if (!log->queued)
		DL_APPEND2(t->queue, log, queue_prev, queue_next);
	log->queued = true;
	schedule(t);
}

static struct tail_log *
unqueue(struct tail *t)
{
	struct tail_log *log = t->queue;

	DL_DELETE2(t->queue, log, queue_prev, queue_next);
	log->queued = false;
	return log;
}

static void
requeue(struct tail_log *log, bool first)
{
	struct tail *t = log->tail;

	if (log->queued)
		return;
	log->queued = true;
	if (first)
		DL_PREPEND2(t->queue, log, queue_prev, queue_next);
	else
		DL_APPEND2(t->queue, log, queue_prev, queue_next);
}

void
tail_hold_until(struct tail *t, int64_t ms)
{
	if (!event_pending(t->hold, EV_TIMEOUT, NULL))
		clock_timer(t->hold, ms);
}

/* ---- news -------------------------------------------------------------------------- */

/*
 * A file of which nothing was told so far: whether others came before it, a look
 * tells.  And what is written where we have nothing open is none that we know.
 */
static bool
needs_look(const struct tail_log *log)
{
	const struct file *f = log_newest(log);

	if (log->again)
		return false; /* not at each write, while it can't be read */
	return f == NULL || f->blank || !f->live;
}

static void
on_file_news(void *arg, const char *dir, const char *name, enum watch_news news)
{
	struct tail *t = arg;
	char *path = xasprintf("%s/%s", dir, name);
	const struct place *p = places_find(t, path);
	size_t i;

	free(path);
	for (i = 0; p != NULL && i < p->count; i++) {
		p->logs[i]->stirred = true;
		tail_queue(p->logs[i], news == WATCH_NAMED || needs_look(p->logs[i]));
	}
	if (p != NULL)
		return;
	t->late = t->late || t->held > 0;
	if (t->late)
		schedule(t);
	follow_news(t, dir, name, news == WATCH_NAMED);
}

bool
tail_writes_in(const struct tail_log *log, const char *dir)
{
	size_t i;

	for (i = 0; i < log->spot_count; i++)
		if (strcmp(log->spots[i].dir, dir) == 0)
			return true;
	return false;
}

static void
on_look(void *arg, const char *dir)
{
	struct tail *t = arg;
	struct tail_log *log;

	DL_FOREACH(t->logs, log)
	if (dir == NULL || tail_writes_in(log, dir))
		tail_queue(log, true);
	follow_look(t, dir);
}

/* ---- the turn ------------------------------------------------------------------------ */

static bool
has_held(const struct tail_log *log)
{
	const struct file *f;

	DL_FOREACH(log->files, f)
	if (f->held)
		return true;
	return false;
}

/* What was written late to a name that is no log's is found by reading what is held. */
static void
queue_held(struct tail *t)
{
	struct tail_log *log;

	if (!t->late)
		return;
	t->late = false;
	DL_FOREACH(t->logs, log)
	if (has_held(log))
		tail_queue(log, false);
}

/* While nothing is taken, files are still opened, lest rotation take them away. */
static void
look_only(struct tail *t)
{
	struct tail_log *log;

	DL_FOREACH2(t->queue, log, queue_next)
	if (log->look)
		sight_look(log);
}

static void
run_turn(struct tail *t)
{
	uint64_t before;
	size_t logs = 0;
	uint64_t bytes = 0;

	while (
	    t->queue != NULL && !t->blocked && bytes < TURN_SHARE && logs++ < TURN_LOGS) {
		struct tail_log *log = unqueue(t);

		before = log->stats.bytes;
		switch (log_turn(log, LOG_SHARE)) {
		case LOG_DONE:
			break;
		case LOG_MORE:
			requeue(log, false);
			break;
		case LOG_BLOCKED:
			requeue(log, true);
			break;
		}
		bytes += log->stats.bytes - before;
	}
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct tail *t = arg;

	(void)fd;
	(void)what;
	queue_held(t);
	if (!t->blocked)
		run_turn(t);
	/* It may be this turn that was refused: the logs behind are not forgotten. */
	if (t->blocked)
		look_only(t);
	else if (t->queue != NULL)
		schedule(t);
}

static void
on_hold(evutil_socket_t fd, short what, void *arg)
{
	struct tail *t = arg;
	struct tail_log *log;
	struct file *f;
	int64_t now = clock_steady_ms(), next = INT64_MAX;

	(void)fd;
	(void)what;
	DL_FOREACH(t->logs, log)
	{
		DL_FOREACH(log->files, f)
		{
			if (f->held && f->deadline_ms <= now)
				tail_queue(log, false);
			else if (f->held && f->deadline_ms < next)
				next = f->deadline_ms;
		}
	}
	if (next != INT64_MAX)
		clock_timer(t->hold, next - now);
}

void
tail_look_again(struct tail_log *log)
{
	struct tail *t = log->tail;

	log->again = true;
	if (!event_pending(t->again, EV_TIMEOUT, NULL))
		clock_timer(t->again, t->timing.poll_ms);
}

static void
on_again(evutil_socket_t fd, short what, void *arg)
{
	struct tail *t = arg;
	struct tail_log *log;

	(void)fd;
	(void)what;
	DL_FOREACH(t->logs, log)
	{
		if (log->again)
			tail_queue(log, true);
		log->again = false;
	}
}

static bool
is_over(const struct tail_log *log)
{
	const struct file *f;
	struct file_facts facts;

	if (!log->matched || !log->stats.missing || log->unsure || log->queued ||
	    identity_stat(log->path, false, &facts) == 0 || errno != ENOENT)
		return false;
	DL_FOREACH(log->files, f)
	{
		if ((file_unread(f) && !file_awaited(f)) || sight_stands(f))
			return false;
	}
	return true;
}

/* What might have come back did not. */
static void
await_no_more(struct tail_log *log)
{
	struct file *f;

	DL_FOREACH(log->files, f)
	{
		if (!file_awaited(f))
			continue;
		if (!f->blank)
			log_gap(log, 0,
			    "the file was removed while nobody looked, maybe before all "
			    "of it was read");
		file_finish(f);
		log->tail->hooks.moved(log->tail->arg, log);
	}
}

/* Pods come and go; what is known of one stays with whoever answers to found. */
static void
let_go(struct tail *t)
{
	struct tail_log *log, *next;
	int64_t now = clock_steady_ms();

	DL_FOREACH_SAFE(t->logs, log, next)
	{
		if (!is_over(log)) {
			log->over_ms = 0;
			continue;
		}
		if (log->over_ms == 0)
			log->over_ms = now;
		if (now - log->over_ms < t->timing.over_ms)
			continue;
		await_no_more(log);
		if (t->hooks.over == NULL || !t->hooks.over(t->arg, log))
			continue;
		HASH_DEL(t->by_path, log);
		DL_DELETE(t->logs, log);
		log_free(log);
	}
}

static void
on_slow(evutil_socket_t fd, short what, void *arg)
{
	struct tail *t = arg;

	(void)fd;
	(void)what;
	watch_check(t->watch);
	let_go(t);
	on_look(t, NULL);
	clock_timer(t->slow, t->timing.slow_ms);
}

/* ---- life ------------------------------------------------------------------------------ */

struct tail *
tail_new_timed(struct event_base *base, const struct tail_hooks *hooks, void *arg,
    const struct tail_timing *timing, struct err *e)
{
	const struct watch_hooks watch_hooks = {.news = on_file_news, .look = on_look};
	const struct watch_timing watch_timing = {
	    .rest_ms = timing->rest_ms, .poll_ms = timing->poll_ms};
	struct tail *t = xcalloc(1, sizeof(*t));

	t->base = base;
	t->hooks = *hooks;
	t->arg = arg;
	t->timing = *timing;
	t->turn = evtimer_new(base, on_turn, t);
	t->hold = evtimer_new(base, on_hold, t);
	t->slow = evtimer_new(base, on_slow, t);
	t->again = evtimer_new(base, on_again, t);
	if (t->turn == NULL || t->hold == NULL || t->slow == NULL || t->again == NULL) {
		(void)err_set(e, "cannot follow logs: the event loop refuses a timer");
		goto free;
	}
	t->watch = watch_new(base, &watch_hooks, t, &watch_timing, e);
	if (t->watch == NULL)
		goto free;
	return t;

free:
	tail_free(t);
	return NULL;
}

struct tail *
tail_new(
    struct event_base *base, const struct tail_hooks *hooks, void *arg, struct err *e)
{
	return tail_new_timed(base, hooks, arg, &usual_timing, e);
}

void
tail_free(struct tail *t)
{
	struct tail_log *log, *next;
	struct event *events[4];
	size_t i;

	if (t == NULL)
		return;
	HASH_CLEAR(hh, t->by_path);
	DL_FOREACH_SAFE(t->logs, log, next)
	log_free(log);
	follow_free_all(t);
	listing_forget(t);
	watch_free(t->watch);
	events[0] = t->turn;
	events[1] = t->hold;
	events[2] = t->slow;
	events[3] = t->again;
	for (i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i] != NULL)
			event_free(events[i]);
	free(t);
}

struct tail_log *
tail_find(const struct tail *t, const char *path)
{
	struct tail_log *log;

	HASH_FIND_STR(t->by_path, path, log);
	return log;
}

struct tail_log *
tail_add_log(struct tail *t, const char *path, struct tail_how how,
    const struct checkpoint *cps, size_t count, void *cookie)
{
	struct tail_log *log = xcalloc(1, sizeof(*log));
	size_t i;

	log->tail = t;
	log->path = xstrdup(path);
	log->cookie = cookie;
	log->how = how;
	log->first_sight = count == 0;
	log->stats.missing = true;
	for (i = 0; i < count; i++) {
		log_append(log, file_of(&cps[i]));
		if (cps[i].generation > log->generation)
			log->generation = cps[i].generation;
	}
	inodes_note(log);
	DL_APPEND(t->logs, log);
	HASH_ADD_KEYPTR(hh, t->by_path, log->path, strlen(log->path), log);
	tail_queue(log, true);
	return log;
}

struct tail_log *
tail_follow(struct tail *t, const char *path, struct tail_how how,
    const struct checkpoint *cps, size_t count, void *cookie, struct err *e)
{
	size_t len = strlen(path);

	if (len == 0 || path[len - 1] == '/') {
		(void)err_set(
		    e, "cannot follow \"%s\": it is not the path of a file", path);
		return NULL;
	}
	if (tail_find(t, path) != NULL) {
		(void)err_set(e, "cannot follow %s twice", path);
		return NULL;
	}
	return tail_add_log(t, path, how, cps, count, cookie);
}

/*
 * Where a log begins at its end, the end is where it is now, and not at the first
 * turn; and what is needed of the line that stands there is known before that.
 * What a glob matches may be a piece of a log that is known: these come first.
 */
int
tail_start(struct tail *t, struct err *e)
{
	struct tail_log *log;

	(void)e;
	t->started = true;
	DL_FOREACH(t->logs, log)
	sight_look(log);
	follow_look(t, NULL);
	DL_FOREACH(t->logs, log)
	log_begin(log);
	if (t->timing.slow_ms > 0)
		clock_timer(t->slow, t->timing.slow_ms);
	schedule(t);
	return 0;
}

void
tail_go_on(struct tail *t)
{
	t->blocked = false;
	schedule(t);
}

void
tail_drain(struct tail *t, int64_t limit_ms)
{
	int64_t until = clock_steady_ms() + limit_ms;

	watch_read(t->watch);
	on_look(t, NULL);
	queue_held(t);
	while (t->queue != NULL && !t->blocked && clock_steady_ms() < until)
		run_turn(t);
}

/* ---- looking --------------------------------------------------------------------------- */

const char *
tail_log_path(const struct tail_log *log)
{
	return log->path;
}

void *
tail_log_cookie(const struct tail_log *log)
{
	return log->cookie;
}

void
tail_log_stats(const struct tail_log *log, struct tail_stats *st_r)
{
	const struct file *f;
	struct file_facts facts;
	uint64_t size;

	*st_r = log->stats;
	DL_FOREACH(log->files, f)
	{
		size = f->size;
		if (f->source != FILE_PLAIN)
			continue;
		if (identity_fstat(f->fd, &facts) == 0)
			size = facts.size;
		if (size > f->pos)
			st_r->behind += size - f->pos;
	}
}

void
tail_checkpoints(const struct tail_log *log, struct checkpoint **cps_r, size_t *count_r)
{
	const struct file *f;
	size_t count = 0;

	DL_FOREACH(log->files, f)
	count++;
	*cps_r = xcalloc(count, sizeof(**cps_r));
	*count_r = 0;
	DL_FOREACH(log->files, f)
	{
		struct checkpoint *cp = &(*cps_r)[*count_r];

		/* Lost before a line of it was read: nothing is known by it. */
		if (f->blank && f->gone && f != log_newest(log))
			continue;
		(*count_r)++;
		*cp = f->cp;
		cp->path = xstrdup(f->cp.path);
		/* Killed before it is read again, it must be read again all the same. */
		cp->resume = f->pos < f->cp.offset ? f->pos : f->cp.offset;
	}
}

void
checkpoints_free(struct checkpoint *cps, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		free(cps[i].path);
	free(cps);
}

/*
 * What is still there is remembered, so that it is not taken for something new;
 * and the newest file of which something was told is, whatever happens: what
 * comes after it is known by it.
 */
void
tail_log_needs(struct tail_log *log, uint64_t file)
{
	struct file *f, *next, *anchor = NULL, *needed = NULL;

	DL_FOREACH(log->files, f)
	{
		if (!f->blank)
			anchor = f;
		if (f->cp.file == file)
			needed = f;
	}
	if (file != 0 && needed == NULL)
		return;
	DL_FOREACH_SAFE(log->files, f, next)
	{
		if (f == needed)
			return;
		if (f == anchor || f == log_newest(log) || file_unread(f) || !f->gone)
			continue;
		DL_DELETE(log->files, f);
		file_free(f);
	}
}

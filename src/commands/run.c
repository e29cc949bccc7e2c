#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/zone.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/patterns.h"
#include "commands/teller.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "route/route.h"
#include "send/send.h"
#include "store/store.h"
#include "tail/pipe.h"
#include "tail/tail.h"

#define BATCH_EVENTS 500               /* then commit without waiting for more */
#define BATCH_BYTES (16 * 1024 * 1024) /* read since the last commit; likewise */
#define HEAD_BYTES (32 * 1024)         /* of a log, to find its envelope */
#define POSITION_MS 5000               /* positions alone may wait this long */
#define RETRY_MS 1000                  /* a store that failed, a queue that is full */
#define DRAIN_MS 3000                  /* at the end: for what is written already */

/* One followed log. */
struct log {
	struct log *next;
	struct run *run;
	const struct config_server *server;
	const struct config_log *config;
	char *path;
	struct tail_log *tail_log;     /* NULL until tail told of it */
	struct pipe *pipe;             /* instead, where it is no file */
	struct teller *teller;         /* its server's */
	struct teller_log *teller_log; /* NULL until its pack is known */
	struct zone *zone;
	int64_t last_ts; /* of the last run */
	uint64_t file;   /* of the last chunk; 0: there was none yet */
	uint64_t end;    /* of that chunk */
	char *health;    /* what is wrong with it, as stored; NULL: not known yet */
	char *found;     /* the same, of now, while it is being stored; or NULL */
	bool dirty;      /* its position is not committed */
	uint64_t errors; /* patterns given up on its lines, as far as it was said */
	bool foreign;    /* it was said that no pack knows it */
	bool looked;     /* at what it begins with */
	bool fresh;      /* nothing of it was read before */
	bool gap;        /* what stands before the next chunk was not read */
};

/* A glob of the configuration; each path that it matches becomes a log. */
struct glob {
	struct glob *next;
	const struct config_server *server;
	const struct config_log *config;
};

/* Events that wait for the next commit; in the arena. */
struct batch_event {
	struct log *log;
	const struct account_event *event;
	struct store_delivery *to;
	size_t to_count;
};

struct run {
	struct event_base *base;
	struct config *config;
	struct pack_set packs;
	struct route *route;
	struct store *store;
	struct send *send;
	struct tail *tail;
	struct glob *globs;
	struct log *logs;
	struct teller **tellers; /* one for each server of the configuration */

	struct arena *arena;
	struct batch_event *batch;
	size_t batch_count;
	uint64_t batch_bytes;
	bool blocked; /* the store failed or the queue is full: nothing is read */
	bool refused; /* tail holds a chunk back */
	bool ending;
	uint64_t route_errors; /* as far as it was said */
	struct event *commit;  /* soon, or when positions alone have waited */
	struct event *retry;
	struct event *signals[2];
	struct route_delivery *deliveries; /* room for one event's */
};

static const char usage_text[] =
    "usage: hearsay run [OPTION...]\n"
    "Follow the logs, tell, deliver; in the foreground, until SIGTERM.\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "  -h, --help             this text\n";

static int64_t
now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
schedule(struct event *ev, int64_t ms)
{
	struct timeval tv = {
	    .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	(void)event_add(ev, &tv);
}

/* ---- committing --------------------------------------------------------------- */

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

static int
put_positions(struct run *r, int64_t now, struct err *e)
{
	struct checkpoint *cps;
	struct log *log;
	size_t count;
	int ok = 0;

	for (log = r->logs; log != NULL && ok == 0; log = log->next) {
		if (!log->dirty || log->tail_log == NULL)
			continue;
		tail_checkpoints(log->tail_log, &cps, &count);
		set_resume(log, cps, count);
		ok = store_put_checkpoints(r->store, log->path, cps, count, now, e);
		checkpoints_free(cps, count);
		if (ok == 0)
			ok = put_health(log, now, e);
	}
	return ok;
}

/*
 * What the logs of a server share waits for the slowest of them; one in which
 * nothing is written is not slow.
 */
static void
tell_clocks(struct run *r, int64_t now)
{
	struct tail_stats st = {0};
	struct log *log;

	for (log = r->logs; log != NULL; log = log->next) {
		if (log->server->log_count < 2 || log->teller_log == NULL ||
		    (log->tail_log == NULL && log->pipe == NULL))
			continue;
		if (log->tail_log != NULL)
			tail_log_stats(log->tail_log, &st);
		if (log->pipe != NULL || st.behind == 0)
			teller_log_clock(log->teller_log, now);
	}
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
	int64_t now = now_ms();
	size_t i;

	if (store_begin(r->store, e) == -1)
		return -1;
	for (i = 0; i < r->batch_count; i++) {
		const struct batch_event *b = &r->batch[i];

		if (store_put_event(r->store, b->log->path, b->event, b->to, b->to_count,
			now, NULL, e) == -1)
			goto undo;
	}
	if (put_positions(r, now, e) == -1 || store_commit(r->store, e) == -1)
		goto undo;
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
	schedule(r->retry, RETRY_MS);
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
		if (log->pipe != NULL)
			pipe_go_on(log->pipe);
}

static void
block_or_go_on(struct run *r)
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
static int
commit(struct run *r)
{
	size_t events = r->batch_count;
	struct log *log;
	struct err e;

	(void)event_del(r->commit);
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
	if (events > 0 && !r->ending)
		send_wake(r->send);
	block_or_go_on(r);
	return 0;
}

/* Both timers: what waits is due, or what failed is tried again. */
static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)commit(arg);
}

/* ---- taking lines ---------------------------------------------------------------- */

static void
mark_dirty(struct log *log, int64_t within_ms)
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
	schedule(r->commit, within_ms);
}

static void
put_event(struct run *r, struct log *log, struct account_event *ev)
{
	struct batch_event *b;
	size_t i, count;

	count = route_event(r->route, log->server->name, ev, r->deliveries);
	if (r->config->source)
		ev->content = account_event_with_source(ev, r->arena);
	if ((r->batch_count & (r->batch_count - 1)) == 0)
		r->batch = xreallocarray(r->batch,
		    r->batch_count == 0 ? 1 : r->batch_count * 2, sizeof(*r->batch));
	b = &r->batch[r->batch_count++];
	*b = (struct batch_event){log, ev, NULL, count};
	b->to = arena_alloc(r->arena, (count + 1) * sizeof(*b->to));
	for (i = 0; i < count; i++)
		b->to[i] = (struct store_delivery){r->deliveries[i].appservice->id,
		    r->deliveries[i].key, r->deliveries[i].type};
}

static void
use_pack(struct log *log, const struct pack *pack)
{
	log->teller_log = teller_log_new(log->teller, pack, log->zone);
	teller_log_envelope(log->teller_log, log->config->envelope);
	teller_log_set_last_ts(log->teller_log, log->last_ts);
	say(LOG_INFO, "log=%s server=%s pack=%s", log->path, log->server->name,
	    pack->name);
}

/* A log whose pack is not configured shows it by its lines. */
static bool
find_pack(struct log *log, const struct tail_chunk *c)
{
	const struct pack *found;

	if (log->teller_log != NULL)
		return true;
	found = patterns_find_in(&log->run->packs, c->data, c->len);
	if (found != NULL) {
		use_pack(log, found);
		return true;
	}
	if (!log->foreign)
		say(LOG_WARNING,
		    "log=%s no pack knows its lines; name one with \"pack\" in %s:%u",
		    log->path, log->run->config->path, log->config->line);
	log->foreign = true;
	return false;
}

/*
 * What begins in the middle of a log may be what a user got into it; what the
 * file begins with shows whose lines they are.
 */
static void
look_at_head(struct log *log)
{
	char head[HEAD_BYTES];
	struct stat st;
	ssize_t n = -1;
	int fd;

	/* It may have become anything: nothing here may wait. */
	fd = open(log->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd == -1)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = pread(fd, head, sizeof(head), 0);
	(void)close(fd);
	while (n > 0 && head[n - 1] != '\n')
		n--;
	if (n > 0)
		teller_log_look(log->teller_log, head, (size_t)n, log->run->arena);
}

static int
take_chunk(struct log *log, const struct tail_chunk *c)
{
	struct run *r = log->run;
	struct account_events events = {.last = &events.first};
	struct account_event *ev, *next;

	if (r->blocked) {
		r->refused = true;
		return 1;
	}
	log->file = c->file;
	log->end = c->offset + c->len;
	if (find_pack(log, c)) {
		const struct teller_chunk chunk = {.file = c->file,
		    .offset = c->offset,
		    .data = c->data,
		    .len = c->len,
		    .again = c->again,
		    .fallback_ms = c->mtime_ms,
		    .gap = log->gap || (log->fresh && c->offset > 0)};

		if (!log->looked && c->offset > 0 && log->pipe == NULL)
			look_at_head(log);
		log->looked = true;
		teller_chunk(log->teller_log, &chunk, r->arena, &events, NULL);
		log->gap = log->fresh = false;
	} else {
		log->gap = true;
	}
	for (ev = events.first; ev != NULL; ev = next) {
		next = ev->next;
		put_event(r, log, ev);
	}
	r->batch_bytes += c->len;
	/*
	 * Events at once, but behind what the loop has ready now, so that a burst
	 * shares one commit.  The arena must not grow without one either.
	 */
	if (r->batch_count >= BATCH_EVENTS || r->batch_bytes >= BATCH_BYTES)
		mark_dirty(log, 0);
	else
		mark_dirty(log, r->batch_count > 0 ? 0 : POSITION_MS);
	if (r->batch_count == 0)
		arena_reset(r->arena);
	return 0;
}

static int
take_lines(void *arg, const struct tail_chunk *c)
{
	struct log *log = tail_log_cookie(c->log);

	(void)arg;
	log->tail_log = c->log;
	return take_chunk(log, c);
}

static int
take_from_pipe(void *arg, const struct tail_chunk *c)
{
	return take_chunk(arg, c);
}

static void
file_moved(void *arg, struct tail_log *tail_log)
{
	struct log *log = tail_log_cookie(tail_log);

	(void)arg;
	log->tail_log = tail_log;
	mark_dirty(log, 0);
}

static void
bytes_lost(void *arg, struct tail_log *tail_log, uint64_t bytes, const char *why)
{
	struct log *log = tail_log_cookie(tail_log);

	(void)arg;
	log->gap = true;
	say(LOG_WARNING, "log=%s gap=%" PRIu64 " bytes: %s", tail_log_path(tail_log),
	    bytes, why);
}

/* ---- getting ready ------------------------------------------------------------- */

static struct log *
new_log(struct run *r, const struct config_server *server,
    const struct config_log *config, const char *path, struct err *e)
{
	const struct pack *pack = NULL;
	struct log *log;

	if (config->pack != NULL) {
		pack = pack_set_find(&r->packs, config->pack);
		if (pack == NULL) {
			(void)err_set(e, "%s:%u: there is no pack \"%s\"",
			    r->config->path, config->line, config->pack);
			return NULL;
		}
	}
	log = xcalloc(1, sizeof(*log));
	log->zone = zone_open(config->timezone, e);
	if (log->zone == NULL) {
		(void)err_add(e, "%s:%u", r->config->path, config->line);
		free(log);
		return NULL;
	}
	log->run = r;
	log->server = server;
	log->config = config;
	log->path = xstrdup(path);
	log->teller = r->tellers[server - r->config->servers];
	log->last_ts = INT64_MIN;
	log->fresh = true;
	log->next = r->logs;
	r->logs = log;
	if (pack != NULL)
		use_pack(log, pack);
	return log;
}

static int
known_of(struct log *log, struct checkpoint **cps_r, size_t *count_r, struct err *e)
{
	if (store_checkpoints(log->run->store, log->path, cps_r, count_r, e) == -1)
		return -1;
	if (*count_r > 0) {
		log->last_ts = (*cps_r)[*count_r - 1].last_ts;
		log->fresh = false;
	}
	if (log->teller_log != NULL)
		teller_log_set_last_ts(log->teller_log, log->last_ts);
	return 0;
}

static void *
log_found(
    void *arg, void *cookie, const char *path, struct checkpoint **cps_r, size_t *count_r)
{
	struct run *r = arg;
	const struct glob *g = cookie;
	struct log *log;
	struct err e;

	*cps_r = NULL;
	*count_r = 0;
	log = new_log(r, g->server, g->config, path, &e);
	/* Pack and zone are those of the glob, which were checked at the start. */
	if (log == NULL || known_of(log, cps_r, count_r, &e) == -1) {
		say(LOG_ERR, "log=%s cannot be followed: %s", path, e.text);
		exit(EXIT_FAILED);
	}
	return log;
}

static bool
log_known(void *arg, const char *path)
{
	struct run *r = arg;
	struct checkpoint *cps;
	struct err e;
	size_t count;

	if (store_checkpoints(r->store, path, &cps, &count, &e) == -1) {
		say(LOG_ERR, "log=%s cannot be followed: %s", path, e.text);
		exit(EXIT_FAILED);
	}
	checkpoints_free(cps, count);
	return count > 0;
}

static bool
is_glob(const char *path)
{
	return strpbrk(path, "*?[") != NULL;
}

static int
follow_glob(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	struct glob *g = xmalloc(sizeof(*g));

	*g = (struct glob){r->globs, server, config};
	r->globs = g;
	return tail_follow_glob(r->tail, config->path, config->start, g, e);
}

static int
follow_path(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	struct checkpoint *cps = NULL;
	struct log *log;
	size_t count;

	log = new_log(r, server, config, config->path, e);
	if (log == NULL || known_of(log, &cps, &count, e) == -1)
		return -1;
	log->tail_log =
	    tail_follow(r->tail, log->path, config->start, cps, count, log, e);
	checkpoints_free(cps, count);
	return log->tail_log == NULL ? -1 : 0;
}

static int
follow_pipe(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	struct log *log = new_log(r, server, config, config->path, e);

	if (log == NULL)
		return -1;
	say(LOG_WARNING,
	    "log=%s is a pipe, in which nothing can be read twice: lines are lost that were "
	    "read just before hearsay is killed, or written while it does not run",
	    log->path);
	log->pipe = pipe_open(r->base, log->path, take_from_pipe, log, e);
	return log->pipe == NULL ? -1 : 0;
}

static int
follow_log(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	if (config->kind == LOG_FIFO)
		return follow_pipe(r, server, config, e);
	return is_glob(config->path) ? follow_glob(r, server, config, e)
				     : follow_path(r, server, config, e);
}

static int
follow_logs(struct run *r, struct err *e)
{
	size_t s, l;

	r->tellers = xcalloc(r->config->server_count, sizeof(struct teller *));
	for (s = 0; s < r->config->server_count; s++) {
		const struct config_server *server = &r->config->servers[s];
		const struct extract_limits limits = {
		    r->config->request_timeout_ms, r->config->request_max};

		r->tellers[s] = teller_new(server->name, &limits);
		for (l = 0; l < server->log_count; l++)
			if (follow_log(r, server, &server->logs[l], e) == -1)
				return -1;
	}
	return 0;
}

/* ---- ending ----------------------------------------------------------------------- */

static void
on_idle(void *arg)
{
	struct run *r = arg;

	(void)event_base_loopbreak(r->base);
}

/* What is written already is told and committed; what is sent is brought to its end. */
static void
on_signal(evutil_socket_t number, short what, void *arg)
{
	struct run *r = arg;
	struct log *log;

	(void)what;
	if (r->ending) {
		(void)event_base_loopbreak(r->base);
		return;
	}
	say(LOG_NOTICE, "ending on %s", number == SIGINT ? "SIGINT" : "SIGTERM");
	r->ending = true;
	tail_drain(r->tail, DRAIN_MS);
	for (log = r->logs; log != NULL; log = log->next)
		if (log->pipe != NULL)
			pipe_drain(log->pipe, DRAIN_MS);
	(void)commit(r);
	send_stop(r->send, on_idle, r);
}

/* ---- the command --------------------------------------------------------------------- */

static int
load_all(struct run *r, const char *path)
{
	struct err_list errs = {0};

	r->config = config_load(path, &errs);
	if (r->config == NULL) {
		(void)errors_print(&errs);
		return -1;
	}
	(void)pack_set_load(
	    &r->packs, r->config->pattern_dirs, r->config->pattern_dir_count, &errs);
	r->route = route_load(r->config, &errs);
	r->deliveries = xcalloc(route_count(r->route) + 1, sizeof(*r->deliveries));
	return errors_print(&errs) > route_disabling(r->route) ? -1 : 0;
}

static const int end_signals[] = {SIGTERM, SIGINT};

/* A signal that comes while we start is kept until the loop can take it. */
static void
hold_signals(int how)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(how, &set, NULL);
}

static int
add_events(struct run *r, struct err *e)
{
	size_t i;

	r->commit = evtimer_new(r->base, on_due, r);
	r->retry = evtimer_new(r->base, on_due, r);
	if (r->commit == NULL || r->retry == NULL)
		return err_set(e, "cannot make the loop's timers");
	for (i = 0; i < 2; i++) {
		r->signals[i] = evsignal_new(r->base, end_signals[i], on_signal, r);
		if (r->signals[i] == NULL || event_add(r->signals[i], NULL) == -1)
			return err_set(e, "cannot catch signals");
	}
	hold_signals(SIG_UNBLOCK);
	return 0;
}

/* Each followed file is held open: take as many as the system lets us have. */
static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == -1 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) == -1)
		say(LOG_WARNING, "cannot hold more than the usual number of files open");
}

static int
start(struct run *r, struct err *e)
{
	const struct tail_hooks hooks = {.lines = take_lines,
	    .found = log_found,
	    .known = log_known,
	    .moved = file_moved,
	    .gap = bytes_lost};

	raise_file_limit();
	r->arena = arena_new();
	r->base = event_base_new();
	if (r->base == NULL)
		return err_set(e, "cannot make an event loop");
	r->store = store_open_as(r->config->store, r->config->instance, STORE_OWN, e);
	if (r->store == NULL || add_events(r, e) == -1)
		return -1;
	r->tail = tail_new(r->base, &hooks, r, e);
	if (r->tail == NULL || follow_logs(r, e) == -1)
		return -1;
	r->send = send_new(r->base, r->config, r->route, r->store, e);
	if (r->send == NULL)
		return -1;
	block_or_go_on(r);
	return tail_start(r->tail, e);
}

static void
stop(struct run *r)
{
	struct log *log;
	struct glob *g;
	size_t i;

	tail_free(r->tail);
	send_free(r->send);
	store_close(r->store);
	for (i = 0; r->tellers != NULL && i < r->config->server_count; i++)
		teller_free(r->tellers[i]);
	free(r->tellers);
	while ((log = r->logs) != NULL) {
		r->logs = log->next;
		pipe_close(log->pipe);
		zone_close(log->zone);
		free(log->path);
		free(log->health);
		free(log->found);
		free(log);
	}
	while ((g = r->globs) != NULL) {
		r->globs = g->next;
		free(g);
	}
	for (i = 0; i < 2; i++)
		if (r->signals[i] != NULL)
			event_free(r->signals[i]);
	if (r->commit != NULL)
		event_free(r->commit);
	if (r->retry != NULL)
		event_free(r->retry);
	if (r->base != NULL)
		event_base_free(r->base);
	free(r->batch);
	free(r->deliveries);
	arena_free(r->arena);
	route_free(r->route);
	pack_set_clear(&r->packs);
	config_free(r->config);
}

static int
run(const char *path)
{
	struct run r = {0};
	struct err e;
	int status = EXIT_FAILED;
	char *store;

	hold_signals(SIG_BLOCK);
	if (load_all(&r, path) == -1)
		goto done;
	if (start(&r, &e) == -1) {
		say(LOG_ERR, "%s", e.text);
		goto done;
	}
	store = store_shown(r.config->store);
	say(LOG_NOTICE, "started, config=%s store=%s appservices=%zu", r.config->path,
	    store, route_count(r.route));
	free(store);
	if (event_base_dispatch(r.base) == -1)
		say(LOG_ERR, "the event loop failed");
	else if (r.batch_count == 0 || commit(&r) == 0)
		status = EXIT_DONE; /* with what was read while the last answers came */
	say(LOG_NOTICE, "ended");

done:
	stop(&r);
	return status;
}

int
cmd_run(int argc, char **argv)
{
	return configured_command(argc, argv, usage_text, run);
}

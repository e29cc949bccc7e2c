#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <syslog.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/patterns.h"
#include "commands/run.h"
#include "config/config.h"
#include "route/route.h"
#include "send/send.h"
#include "store/store.h"
#include "tail/source.h"
#include "tail/tail.h"

#define DRAIN_MS 3000     /* at the end: for what is written already */
#define AWAY_MS 1000      /* at the start: until a store that is away is tried again */
#define AWAY_MAX_MS 10000 /* the same, after it doubled a few times */

static const char usage_text[] =
    "usage: hearsay run [OPTION...]\n"
    "Follow the logs, tell, deliver; in the foreground, until SIGTERM.\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "  -h, --help             this text\n";

/* ---- ending ----------------------------------------------------------------------- */

static void
on_idle(void *arg)
{
	struct run *r = arg;

	(void)event_base_loopbreak(r->base);
}

/*
 * SIGTERM and SIGINT are blocked for good and read from a descriptor: they are
 * kept while we start, and the store sees one that comes while it waits.
 */
static int
catch_signals(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void
say_ending(int fd)
{
	struct signalfd_siginfo info = {0};

	(void)!read(fd, &info, sizeof(info));
	say(LOG_NOTICE, "ending on %s", info.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
}

/* What is written already is told and committed; what is sent is brought to its end. */
static void
on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;
	struct log *log;

	(void)what;
	if (r->ending) {
		(void)event_base_loopbreak(r->base);
		return;
	}
	say_ending(fd);
	r->ending = true;
	tail_drain(r->tail, DRAIN_MS);
	for (log = r->logs; log != NULL; log = log->next)
		if (log->source != NULL)
			source_drain(log->source, DRAIN_MS);
	(void)run_commit(r);
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

static int
add_events(struct run *r, struct err *e)
{
	r->commit = evtimer_new(r->base, run_commit_due, r);
	r->retry = evtimer_new(r->base, run_commit_due, r);
	if (r->commit == NULL || r->retry == NULL)
		return err_set(e, "cannot make the loop's timers");
	r->signal = event_new(r->base, r->signal_fd, EV_READ | EV_PERSIST, on_signal, r);
	if (r->signal == NULL || event_add(r->signal, NULL) == -1)
		return err_set(e, "cannot catch signals");
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

/*
 * Open the store, as soon as its server is there, or nobody holds its file: a
 * service that is started meanwhile must come up by itself.  What waiting does not
 * mend is an error at once; a signal ends the wait.
 */
static int
open_store(struct run *r, struct err *e)
{
	struct pollfd signal = {.fd = r->signal_fd, .events = POLLIN};
	struct err said = {0};
	int wait = AWAY_MS;

	while ((r->store = store_open_own(
		    r->config->store, r->config->instance, r->signal_fd, e)) == NULL &&
	    e->passes) {
		if (strcmp(said.text, e->text) != 0)
			say(LOG_WARNING,
			    "waiting for the store, nothing is read until then: %s",
			    e->text);
		said = *e;
		if (poll(&signal, 1, wait) == 1) {
			say_ending(r->signal_fd);
			r->ending = true;
			return 0;
		}
		wait = 2 * wait < AWAY_MAX_MS ? 2 * wait : AWAY_MAX_MS;
	}
	return r->store == NULL ? -1 : 0;
}

static int
start(struct run *r, struct err *e)
{
	raise_file_limit();
	r->arena = arena_new();
	r->base = event_base_new();
	if (r->base == NULL)
		return err_set(e, "cannot make an event loop");
	if (open_store(r, e) == -1)
		return -1;
	if (r->ending)
		return 0;
	if (add_events(r, e) == -1 || run_follow_logs(r, e) == -1)
		return -1;
	r->send = send_new(r->base, r->config, r->route, r->store, e);
	if (r->send == NULL)
		return -1;
	run_block_or_go_on(r);
	if (run_metrics_begin(r, e) == -1 || tail_start(r->tail, e) == -1)
		return -1;
	/* Killed behind this, what a first start saw is known to the next. */
	if (r->since_ms != 0)
		(void)run_commit(r);
	return 0;
}

static void
stop(struct run *r)
{
	run_metrics_end(r);
	send_free(r->send);
	store_close(r->store);
	run_close_logs(r);
	if (r->signal != NULL)
		event_free(r->signal);
	if (r->commit != NULL)
		event_free(r->commit);
	if (r->retry != NULL)
		event_free(r->retry);
	if (r->base != NULL)
		event_base_free(r->base);
	if (r->signal_fd != -1)
		(void)close(r->signal_fd);
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

	r.signal_fd = catch_signals();
	if (r.signal_fd == -1) {
		say(LOG_ERR, "cannot catch signals: %s", strerror(errno));
		goto done;
	}
	if (load_all(&r, path) == -1)
		goto done;
	if (start(&r, &e) == -1) {
		say(LOG_ERR, "%s", e.text);
		goto done;
	}
	if (r.ending) {
		status = EXIT_DONE;
		goto done;
	}
	store = store_shown(r.config->store);
	say(LOG_NOTICE, "started, config=%s store=%s appservices=%zu", r.config->path,
	    store, route_count(r.route));
	free(store);
	if (event_base_dispatch(r.base) == -1)
		say(LOG_ERR, "the event loop failed");
	else if (r.batch_count == 0 || run_commit(&r) == 0)
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

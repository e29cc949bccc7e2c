#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/say.h"
#include "commands/patterns.h"
#include "commands/run.h"
#include "commands/teller.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "route/route.h"
#include "store/store.h"
#include "tail/tail.h"

#define BATCH_EVENTS 500               /* then commit without waiting for more */
#define BATCH_BYTES (16 * 1024 * 1024) /* read since the last commit; likewise */
#define HEAD_BYTES (32 * 1024)         /* of a log, to find its envelope */
#define POSITION_MS 5000               /* positions alone may wait this long */

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
put_events(struct log *log, const struct account_events *events)
{
	struct account_event *ev, *next;

	for (ev = events->first; ev != NULL; ev = next) {
		next = ev->next;
		put_event(log->run, log, ev);
	}
}

void
run_use_pack(struct log *log, const struct pack *pack)
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
	if (c->len == 0)
		return false;
	found =
	    patterns_find_in(&log->run->packs, log->config->envelope, c->data, c->len);
	if (found != NULL) {
		run_use_pack(log, found);
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

static void
tell(struct log *log, const struct tail_chunk *c, struct account_events *events)
{
	const struct teller_chunk chunk = {.file = c->file,
	    .offset = c->offset,
	    .data = c->data,
	    .len = c->len,
	    .again = c->again,
	    .fallback_ms = c->mtime_ms,
	    .before = c->before,
	    .gap = log->gap || c->gap};

	if (!log->looked && c->offset > 0 && log->source == NULL)
		look_at_head(log);
	log->looked = true;
	teller_chunk(log->teller_log, &chunk, log->run->arena, events, NULL);
	log->gap = false;
}

int
run_lines(struct log *log, const struct tail_chunk *c)
{
	struct run *r = log->run;
	struct account_events events = {.last = &events.first};

	if (c->before) {
		if (find_pack(log, c))
			tell(log, c, &events);
		else
			log->gap = true;
		/* The line that goes on there may be needed after the next rotation. */
		if (log->teller_log != NULL && teller_log_cut(log->teller_log))
			run_commit_within(log, 0);
		return 0;
	}
	if (r->blocked) {
		r->refused = true;
		return 1;
	}
	log->file = c->file;
	log->end = c->offset + (log->source == NULL ? c->len : 1);
	if (find_pack(log, c))
		tell(log, c, &events);
	else
		log->gap = true;
	put_events(log, &events);
	r->batch_bytes += c->len;
	/*
	 * Events at once, but behind what the loop has ready now, so that a burst
	 * shares one commit.  The arena must not grow without one either.
	 */
	if (r->batch_count >= BATCH_EVENTS || r->batch_bytes >= BATCH_BYTES)
		run_commit_within(log, 0);
	else
		run_commit_within(log, r->batch_count > 0 ? 0 : POSITION_MS);
	if (r->batch_count == 0)
		arena_reset(r->arena);
	return 0;
}

void
run_lines_idle(struct log *log, int64_t now)
{
	struct account_events events = {.last = &events.first};

	teller_log_idle(log->teller_log, now, log->run->arena, &events);
	put_events(log, &events);
}

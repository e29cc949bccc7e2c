#include "commands/logs.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/patterns.h"
#include "commands/pieces.h"
#include "commands/teller.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "tail/reader.h"

/* As in hearsay.conf's limits: what a request may take, how many may be open. */
static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

/* One log: its pieces, oldest first, and how to read them. */
struct log {
	char **paths;
	size_t path_count;
	struct logs_settings settings;
	const struct pack *pack;
	struct zone *zone;
	struct teller_log *teller_log;
	struct reader *reader; /* of the piece that is being read */
	size_t piece;          /* how many pieces were begun */
	uint64_t key;          /* of the piece that is being read */
	bool gap;              /* a line was passed over before the next chunk */
	bool ended;
};

/* One homeserver: logs of the same server name. */
struct server {
	const char *name;
	struct teller *teller;
};

struct logs {
	struct log *logs;
	size_t log_count;
	struct server *servers;
	size_t server_count;
	const struct reader *reading;  /* the newest piece that was read from */
	struct logs_progress progress; /* done: of the files read to their end */
};

struct logs *
logs_new(void)
{
	return xcalloc(1, sizeof(struct logs));
}

void
logs_free(struct logs *l)
{
	size_t i, p;

	if (l == NULL)
		return;
	for (i = 0; i < l->server_count; i++)
		teller_free(l->servers[i].teller);
	free(l->servers);
	for (i = 0; i < l->log_count; i++) {
		for (p = 0; p < l->logs[i].path_count; p++)
			free(l->logs[i].paths[p]);
		free(l->logs[i].paths);
		reader_close(l->logs[i].reader);
		zone_close(l->logs[i].zone);
	}
	free(l->logs);
	free(l);
}

static bool
same(const char *a, const char *b)
{
	return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

void
logs_add(struct logs *l, const char *path, const struct logs_settings *settings)
{
	struct log *log = NULL;
	size_t i;

	for (i = 0; i < l->log_count && log == NULL; i++) {
		struct log *known = &l->logs[i];

		if (slice_eq(pieces_stem(known->paths[0]), pieces_stem(path)) &&
		    same(known->settings.pack, settings->pack) &&
		    same(known->settings.server, settings->server) &&
		    same(known->settings.zone, settings->zone) &&
		    known->settings.envelope == settings->envelope)
			log = known;
	}
	if (log == NULL) {
		l->logs = xreallocarray(l->logs, l->log_count + 1, sizeof(*l->logs));
		log = &l->logs[l->log_count++];
		*log = (struct log){.settings = *settings};
	}
	log->paths = xreallocarray(log->paths, log->path_count + 1, sizeof(*log->paths));
	log->paths[log->path_count++] = xstrdup(path);
}

size_t
logs_count(const struct logs *l)
{
	return l->log_count;
}

/* ---- getting ready -------------------------------------------------------------- */

static int
by_age(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return pieces_compare(*x, *y);
}

static struct teller *
teller_of(struct logs *l, const char *name)
{
	size_t i;

	for (i = 0; i < l->server_count; i++)
		if (same(l->servers[i].name, name))
			return l->servers[i].teller;
	l->servers = xreallocarray(l->servers, l->server_count + 1, sizeof(*l->servers));
	l->servers[l->server_count] = (struct server){name, teller_new(name, &limits)};
	return l->servers[l->server_count++].teller;
}

static int
find_pack(const struct pack_set *packs, struct log *log, struct err *e)
{
	if (log->settings.pack != NULL) {
		log->pack = pack_set_find(packs, log->settings.pack);
		if (log->pack == NULL)
			return err_set(e,
			    "there is no pack \"%s\"; `hearsay packs' lists them",
			    log->settings.pack);
		return 0;
	}
	if (strcmp(log->paths[0], "-") == 0)
		return err_set(e, "standard input is read once; name its pack with -p");
	log->pack = patterns_find(
	    packs, log->settings.envelope, log->paths[log->path_count - 1], e);
	return log->pack == NULL ? -1 : 0;
}

static int
open_log(struct logs *l, const struct pack_set *packs, struct log *log, struct err *e)
{
	struct stat st;
	size_t i;

	qsort(log->paths, log->path_count, sizeof(*log->paths), by_age);
	for (i = 0; i < log->path_count; i++)
		if (stat(log->paths[i], &st) == 0 && S_ISREG(st.st_mode))
			l->progress.size += (uint64_t)st.st_size;
	if (find_pack(packs, log, e) == -1)
		return -1;
	log->zone = zone_open(log->settings.zone, e);
	if (log->zone == NULL)
		return -1;
	log->teller_log =
	    teller_log_new(teller_of(l, log->settings.server), log->pack, log->zone);
	teller_log_envelope(log->teller_log, log->settings.envelope);
	return 0;
}

int
logs_open(struct logs *l, const struct pack_set *packs, struct err *e)
{
	size_t i;

	for (i = 0; i < l->log_count; i++)
		if (open_log(l, packs, &l->logs[i], e) == -1)
			return -1;
	return 0;
}

/* ---- reading ---------------------------------------------------------------------- */

/* One reading on its way. */
struct reading {
	struct logs *logs;
	const struct logs_hooks *hooks;
	void *arg;
	struct arena *arena;
};

/* Open the log's next piece: 1; 0 where there is none; -1 on error. */
static int
next_piece(const struct reading *r, struct log *log, struct err *e)
{
	if (log->reader != NULL)
		return 1;
	if (log->piece == log->path_count)
		return 0;
	log->reader = reader_open(log->paths[log->piece++], e);
	if (log->reader == NULL)
		return -1;
	if (r->hooks->file != NULL &&
	    r->hooks->file(r->arg, log->paths[log->piece - 1], &log->key, e) == -1)
		return -1;
	return 1;
}

static void
end_piece(struct logs *l, struct log *log)
{
	l->progress.done += reader_size(log->reader);
	l->progress.long_lines += reader_long_lines(log->reader);
	reader_close(log->reader);
	log->reader = NULL;
	l->reading = NULL;
}

/*
 * What is written now may be read before its end is: half a line can be a whole one
 * of another user.  In a piece that was rotated away nothing goes on.
 */
static bool
may_go_on(const struct log *log, const struct teller_chunk *c)
{
	return log->piece == log->path_count && c->data[c->len - 1] != '\n';
}

/* One chunk of a log: 1; 0 at the log's end; -1 on error. */
static int
read_chunk(const struct reading *r, struct log *log, struct err *e)
{
	struct account_events events = {.last = &events.first};
	struct teller_chunk c = {0};
	struct logs_told told = {.events = &events, .server = log->settings.server};
	int got;

	while ((got = next_piece(r, log, e)) == 1) {
		got = reader_next(log->reader, &c.data, &c.len, &c.offset, e);
		if (got != -1)
			log->gap = log->gap || reader_gap(log->reader);
		if (got == 1 && may_go_on(log, &c))
			r->logs->progress.unfinished++;
		else if (got != 0)
			break;
		else
			end_piece(r->logs, log);
	}
	if (got != 1)
		return got;
	c.file = log->key == 0 ? log->piece : log->key;
	c.fallback_ms = reader_mtime_ms(log->reader);
	c.gap = log->gap;
	log->gap = false;
	teller_chunk(log->teller_log, &c, r->arena, &events, NULL);
	r->logs->progress.bytes += c.len;
	r->logs->reading = log->reader;
	told.fallback_ms = c.fallback_ms;
	if (r->hooks->told(r->arg, &told, e) == -1)
		return -1;
	arena_reset(r->arena);
	return 1;
}

/* What waited for the log to go on is told.  0, or -1 on error. */
static int
end_log(const struct reading *r, struct log *log, struct err *e)
{
	struct account_events events = {.last = &events.first};
	const struct logs_told told = {.events = &events, .server = log->settings.server};

	log->ended = true;
	teller_log_clock(log->teller_log, INT64_MAX);
	teller_log_idle(log->teller_log, INT64_MAX, r->arena, &events);
	if (r->hooks->told(r->arg, &told, e) == -1)
		return -1;
	arena_reset(r->arena);
	return 0;
}

/* The log that is furthest behind in time; NULL where all are read. */
static struct log *
slowest(struct logs *l)
{
	struct log *found = NULL;
	size_t i;

	for (i = 0; i < l->log_count; i++)
		if (!l->logs[i].ended &&
		    (found == NULL ||
			teller_log_last_ts(l->logs[i].teller_log) <
			    teller_log_last_ts(found->teller_log)))
			found = &l->logs[i];
	return found;
}

int
logs_read(struct logs *l, const struct logs_hooks *hooks, void *arg, struct arena *a,
    struct err *e)
{
	const struct reading r = {l, hooks, arg, a};
	struct log *log;
	int got;

	while ((log = slowest(l)) != NULL) {
		got = read_chunk(&r, log, e);
		if (got == -1)
			return -1;
		if (got == 0 && end_log(&r, log, e) == -1)
			return -1;
	}
	return 0;
}

/* ---- looking ------------------------------------------------------------------------ */

void
logs_progress(const struct logs *l, struct logs_progress *p_r)
{
	size_t i;

	*p_r = l->progress;
	if (l->reading != NULL)
		p_r->done += reader_consumed(l->reading);
	for (i = 0; i < l->log_count; i++)
		if (l->logs[i].teller_log != NULL)
			p_r->long_lines += teller_log_long_lines(l->logs[i].teller_log);
}

void
logs_about(const struct logs *l, size_t i, struct logs_about *about_r,
    struct extract_stats *st_r)
{
	const struct log *log = &l->logs[i];

	*about_r = (struct logs_about){
	    log->paths[log->path_count - 1], log->pack->name, log->path_count};
	teller_log_stats(log->teller_log, st_r);
}

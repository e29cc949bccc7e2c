#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "base/zone.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/patterns.h"
#include "commands/run.h"
#include "commands/teller.h"
#include "config/config.h"
#include "store/store.h"
#include "tail/journal.h"
#include "tail/pipe.h"
#include "tail/source.h"
#include "tail/tail.h"

/* Memory that runs out ends the process, as everywhere. */
#define uthash_fatal(msg) mem_exhausted()
#include <uthash.h>
#include <utlist.h>

#define LOOK_ENTRIES 200 /* of a unit, to find its pack */

static int
take_lines(void *arg, const struct tail_chunk *c)
{
	struct log *log = tail_log_cookie(c->log);

	(void)arg;
	log->tail_log = c->log;
	return run_lines(log, c);
}

static int
take_from_source(void *arg, const struct tail_chunk *c)
{
	return run_lines(arg, c);
}

static void
file_moved(void *arg, struct tail_log *tail_log)
{
	struct log *log = tail_log_cookie(tail_log);

	(void)arg;
	log->tail_log = tail_log;
	run_commit_within(log, 0);
}

static void
bytes_lost(void *arg, struct tail_log *tail_log, uint64_t bytes, const char *why)
{
	struct log *log = tail_log_cookie(tail_log);

	(void)arg;
	log->gap = true;
	log->gaps++;
	say(LOG_WARNING, "log=%s gap=%" PRIu64 " bytes: %s", tail_log_path(tail_log),
	    bytes, why);
}

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
	log->next = r->logs;
	r->logs = log;
	if (pack != NULL)
		run_use_pack(log, pack);
	return log;
}

/* ---- what the last run knew --------------------------------------------------- */

/* How far a log was read, until it is followed again. */
struct known {
	char *path;
	struct checkpoint *cps;
	size_t count;
	UT_hash_handle hh; /* by path */
};

static void
free_known(struct known *k)
{
	checkpoints_free(k->cps, k->count);
	free(k->path);
	free(k);
}

static void
remember(struct run *r, const struct store_file *f)
{
	struct known *k;

	HASH_FIND_STR(r->known, f->log, k);
	if (k == NULL) {
		k = xcalloc(1, sizeof(*k));
		k->path = xstrdup(f->log);
		HASH_ADD_KEYPTR(hh, r->known, k->path, strlen(k->path), k);
	}
	k->cps = xreallocarray(k->cps, k->count + 1, sizeof(*k->cps));
	k->cps[k->count] = *f->cp;
	k->cps[k->count++].path = xstrdup(f->cp->path);
}

/*
 * All at once: a glob may find a log while the store is away, and then it is
 * followed as at any other time.
 */
static int
load_known(struct run *r, struct err *e)
{
	struct arena *a = arena_new();
	struct store_file *files;
	size_t count, i;
	int ok = store_files(r->store, a, &files, &count, e);

	for (i = 0; ok == 0 && i < count; i++)
		remember(r, &files[i]);
	arena_free(a);
	return ok;
}

/* Their paths; what is followed by now is none of them.  The caller frees all. */
static char **
known_paths(const struct run *r, size_t *count_r)
{
	char **paths = xcalloc(HASH_COUNT(r->known), sizeof(*paths));
	const struct known *k;

	*count_r = 0;
	for (k = r->known; k != NULL; k = k->hh.next)
		paths[(*count_r)++] = xstrdup(k->path);
	return paths;
}

/* The checkpoints of log, which the caller frees (checkpoints_free). */
static void
take_known(struct log *log, struct checkpoint **cps_r, size_t *count_r)
{
	struct known *k;

	*cps_r = NULL;
	*count_r = 0;
	HASH_FIND_STR(log->run->known, log->path, k);
	if (k == NULL)
		return;
	HASH_DEL(log->run->known, k);
	*cps_r = k->cps;
	*count_r = k->count;
	k->cps = NULL;
	k->count = 0;
	free_known(k);
	log->last_ts = (*cps_r)[*count_r - 1].last_ts;
	if (log->teller_log != NULL)
		teller_log_set_last_ts(log->teller_log, log->last_ts);
}

/* ---- opening ------------------------------------------------------------------- */

static void *
log_found(
    void *arg, void *cookie, const char *path, struct checkpoint **cps_r, size_t *count_r)
{
	struct run *r = arg;
	const struct glob *g = cookie;
	struct log *log;
	struct err e;

	log = new_log(r, g->server, g->config, path, &e);
	/* Pack and zone are those of the glob, which were checked at the start. */
	if (log == NULL) {
		say(LOG_ERR, "log=%s cannot be followed: %s", path, e.text);
		exit(EXIT_FAILED);
	}
	take_known(log, cps_r, count_r);
	return log;
}

static void
free_log(struct log *log)
{
	source_close(log->source);
	zone_close(log->zone);
	free(log->path);
	free(log->health);
	free(log->found);
	free(log);
}

/* What is known of it is kept, as what is known of the last run. */
static void
keep_known(struct log *log)
{
	struct checkpoint *cps;
	size_t count, i;

	tail_checkpoints(log->tail_log, &cps, &count);
	for (i = 0; i < count; i++) {
		cps[i].last_ts = log->teller_log != NULL
		    ? teller_log_last_ts(log->teller_log)
		    : log->last_ts;
		remember(log->run, &(struct store_file){log->path, &cps[i]});
	}
	checkpoints_free(cps, count);
}

/* Not while anything of it waits for a commit, or for other lines. */
static bool
log_over(void *arg, struct tail_log *tail_log)
{
	struct run *r = arg;
	struct log *log = tail_log_cookie(tail_log);
	uint64_t file, offset;

	if (log->dirty || r->batch_count > 0 ||
	    (log->teller_log != NULL &&
		(teller_log_waits(log->teller_log) ||
		    teller_log_needs(log->teller_log, &file, &offset))))
		return false;
	log->tail_log = tail_log;
	keep_known(log);
	LL_DELETE(r->logs, log);
	teller_log_free(log->teller, log->teller_log);
	free_log(log);
	return true;
}

/* Where to begin; a path or glob that was followed before is so since then. */
static int
how_of(
    struct run *r, const struct config_log *config, struct tail_how *how_r, struct err *e)
{
	*how_r = config->how;
	if (store_followed(r->store, config->path, &how_r->since_ms, e) == -1)
		return -1;
	if (how_r->since_ms == 0)
		r->since_ms = clock_utc_ms();
	return 0;
}

static bool
is_glob(const struct config_log *config)
{
	return config->kind == LOG_FILE && strpbrk(config->path, "*?[") != NULL;
}

static int
follow_glob(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	struct glob *g;
	struct tail_how how;
	char **known;
	size_t count, i;
	int ok;

	if (how_of(r, config, &how, e) == -1)
		return -1;
	g = xmalloc(sizeof(*g));
	*g = (struct glob){r->globs, server, config};
	r->globs = g;
	known = known_paths(r, &count);
	ok = tail_follow_glob(r->tail, config->path, how, known, count, g, e);
	for (i = 0; i < count; i++)
		free(known[i]);
	free(known);
	return ok;
}

static int
follow_path(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	struct checkpoint *cps;
	struct tail_how how;
	struct log *log;
	size_t count;

	if (configured_once(r->config, config, e) == -1)
		return -1;
	log = new_log(r, server, config, config->path, e);
	if (log == NULL || how_of(r, config, &how, e) == -1)
		return -1;
	take_known(log, &cps, &count);
	log->tail_log = tail_follow(r->tail, log->path, how, cps, count, log, e);
	checkpoints_free(cps, count);
	return log->tail_log == NULL ? -1 : 0;
}

static int
follow_pipe(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	const struct source_hooks hooks = {.lines = take_from_source};
	struct log *log = new_log(r, server, config, config->path, e);

	if (log == NULL)
		return -1;
	say(LOG_WARNING,
	    "log=%s is a pipe, in which nothing can be read twice: lines are lost that were "
	    "read just before hearsay is killed, or written while it does not run",
	    log->path);
	log->source = pipe_open(r->base, log->path, &hooks, log, e);
	return log->source == NULL ? -1 : 0;
}

/*
 * The next entry is a whole line, but for the rest of one of more than 48 KiB
 * whose beginning is gone; to pass it over would lose a line nearly each time.
 */
static void
entries_lost(void *arg, const char *why)
{
	struct log *log = arg;

	log->gaps++;
	say(LOG_WARNING, "log=%s gap: %s", log->path, why);
}

/* By what it has already, for single entries say little. */
static int
find_pack_of_unit(struct log *log, struct err *e)
{
	const struct pack *pack;
	struct buf lines = {0};

	if (journal_look(&log->config->journal, LOOK_ENTRIES, &lines, e) == -1)
		return -1;
	if (lines.len == 0)
		say(LOG_WARNING,
		    "log=%s no entry of it can be read: is the unit's name right, and may "
		    "hearsay read the journal (as a member of the group systemd-journal)?",
		    log->path);
	else if (log->teller_log == NULL) {
		pack = patterns_find_in(
		    &log->run->packs, ENVELOPE_JOURNAL, lines.p, lines.len);
		if (pack != NULL)
			run_use_pack(log, pack);
	}
	buf_free(&lines);
	return 0;
}

static int
follow_journal(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	const struct source_hooks hooks = {
	    .lines = take_from_source, .gap = entries_lost};
	struct log *log = new_log(r, server, config, config->path, e);
	struct checkpoint *cps;
	size_t count;

	if (log == NULL)
		return -1;
	if (find_pack_of_unit(log, e) == -1)
		return err_add(e, "%s:%u", r->config->path, config->line);
	take_known(log, &cps, &count);
	log->source = journal_open(r->base, &config->journal, log->path,
	    config->how.start, count > 0 ? &cps[count - 1] : NULL, &hooks, log, e);
	checkpoints_free(cps, count);
	if (log->source == NULL)
		return err_add(e, "%s:%u", r->config->path, config->line);
	/* Where it began is known to the next start, whatever happens to this one. */
	run_commit_within(log, 0);
	return 0;
}

static int
follow_log(struct run *r, const struct config_server *server,
    const struct config_log *config, struct err *e)
{
	if (config->kind == LOG_FIFO)
		return follow_pipe(r, server, config, e);
	if (config->kind == LOG_JOURNAL)
		return follow_journal(r, server, config, e);
	return follow_path(r, server, config, e);
}

/* A glob takes what it matches of what is known: the paths of the configuration come first. */
static int
follow_all(struct run *r, bool globs, struct err *e)
{
	const struct config_server *server = r->config->servers;
	size_t s, l;
	bool glob;
	int ok = 0;

	for (s = 0; s < r->config->server_count && ok == 0; s++, server++) {
		for (l = 0; l < server->log_count && ok == 0; l++) {
			glob = is_glob(&server->logs[l]);
			if (glob != globs)
				continue;
			ok = glob ? follow_glob(r, server, &server->logs[l], e)
				  : follow_log(r, server, &server->logs[l], e);
		}
	}
	return ok;
}

int
run_follow_logs(struct run *r, struct err *e)
{
	const struct tail_hooks hooks = {.lines = take_lines,
	    .found = log_found,
	    .over = log_over,
	    .moved = file_moved,
	    .gap = bytes_lost};
	size_t s;

	r->tail = tail_new(r->base, &hooks, r, e);
	if (r->tail == NULL || load_known(r, e) == -1)
		return -1;
	r->tellers = xcalloc(r->config->server_count, sizeof(struct teller *));
	for (s = 0; s < r->config->server_count; s++) {
		const struct config_server *server = &r->config->servers[s];
		const struct extract_limits limits = {
		    r->config->request_timeout_ms, r->config->request_max};

		r->tellers[s] = teller_new(server->name, &limits);
	}
	if (follow_all(r, false, e) == -1 || follow_all(r, true, e) == -1)
		return -1;
	return 0;
}

void
run_close_logs(struct run *r)
{
	struct known *k, *next;
	struct log *log;
	struct glob *g;
	size_t i;

	tail_free(r->tail);
	for (i = 0; r->tellers != NULL && i < r->config->server_count; i++)
		teller_free(r->tellers[i]);
	free(r->tellers);
	while ((log = r->logs) != NULL) {
		r->logs = log->next;
		free_log(log);
	}
	while ((g = r->globs) != NULL) {
		r->globs = g->next;
		free(g);
	}
	HASH_ITER(hh, r->known, k, next)
	{
		HASH_DEL(r->known, k);
		free_known(k);
	}
}

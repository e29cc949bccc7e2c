#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/patterns.h"
#include "config/config.h"
#include "decode/decoder.h"
#include "pack/pack.h"
#include "route/route.h"
#include "store/store.h"
#include "tail/reader.h"

#define LOOK_LINES 1000 /* of the beginning of a log */
#define LOOK_BYTES ((size_t)1024 * 1024)

struct check {
	struct config *config;
	struct pack_set packs;
	size_t problems;
};

/* One log file, or what a glob matched. */
struct looked {
	const struct config_log *config;
	const char *path;
};

/* What the first lines of a log show. */
struct findings {
	size_t lines, records;
	size_t levels;                    /* records with a level */
	size_t informed;                  /* of these, at INFO or below it */
	const struct pack_format *format; /* of the last record */
	const struct pack_format *forgeable;
};

static const char usage_text[] =
    "usage: hearsay check [OPTION...]\n"
    "Check configuration, packs, registrations, permissions and logs.\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "  -h, --help             this text\n";

static void
tell(FILE *to, const char *fmt, va_list ap)
{
	(void)vfprintf(to, fmt, ap);
	(void)fputc('\n', to);
}

static void problem(struct check *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fine(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
problem(struct check *c, const char *fmt, ...)
{
	va_list ap;

	c->problems++;
	va_start(ap, fmt);
	tell(stderr, fmt, ap);
	va_end(ap);
}

static void
warning(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("warning: ", stderr);
	tell(stderr, fmt, ap);
	va_end(ap);
}

static void
fine(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)fputs("ok: ", stdout);
	tell(stdout, fmt, ap);
	va_end(ap);
}

/* ---- packs, registrations, store ------------------------------------------------ */

static void
check_packs(struct check *c)
{
	struct err_list errs = {0};
	int ok;

	ok = pack_set_load(
	    &c->packs, c->config->pattern_dirs, c->config->pattern_dir_count, &errs);
	c->problems += errors_print(&errs);
	if (ok == 0)
		fine("packs: %zu", c->packs.count);
}

static void
check_appservice(const struct appservice *a)
{
	struct stat st;

	if (stat(a->path, &st) == 0 && (st.st_mode & S_IROTH) != 0)
		warning("%s: everybody can read its tokens (mode %04o); chmod o-r",
		    a->path, (unsigned)st.st_mode & 07777);
	if (a->disabled)
		return;
	if (!a->subscribed)
		fine("%s: \"%s\" asks for no account events", a->path, a->id);
	else if (a->url == NULL)
		warning("%s: \"%s\" asks for events and has no url: nothing is delivered",
		    a->path, a->id);
	else
		fine("%s: \"%s\" is told at %s", a->path, a->id, a->url);
}

static void
check_readable(struct check *c, const struct config_appservice *as, const char *path)
{
	if (path != NULL && access(path, R_OK) == -1)
		problem(
		    c, "%s:%u: %s: %s", c->config->path, as->line, path, strerror(errno));
}

/* What is said of ways to appservices: found out at the first request, it would be late. */
static void
check_ways(struct check *c, const struct route *r)
{
	size_t i;

	for (i = 0; i < c->config->appservice_count; i++) {
		const struct config_appservice *as = &c->config->appservices[i];

		if (route_find(r, as->id) == NULL)
			warning("%s:%u: no registration has the id \"%s\"",
			    c->config->path, as->line, as->id);
		check_readable(c, as, as->ca);
		check_readable(c, as, as->certificate);
		check_readable(c, as, as->key);
	}
}

static void
check_registrations(struct check *c)
{
	struct err_list errs = {0};
	struct route *r = route_load(c->config, &errs);
	size_t i, told = 0;

	c->problems += errors_print(&errs);
	for (i = 0; i < route_count(r); i++) {
		const struct appservice *a = route_appservice(r, i);

		check_appservice(a);
		told += a->subscribed && !a->disabled && a->url != NULL;
	}
	check_ways(c, r);
	if (told == 0)
		warning("%s: no appservice is told of anything; see \"registrations\"",
		    c->config->path);
	route_free(r);
}

/* What waits for an appservice that is registered no more is kept, and told of. */
static void
check_queues(struct check *c)
{
	struct store *s =
	    store_open_as(c->config->store, c->config->instance, STORE_READ, NULL);
	struct store_queue_status *queues;
	struct err_list errs = {0};
	struct route *r = route_load(c->config, &errs);
	struct arena *a = arena_new();
	size_t count = 0, i;

	if (s != NULL && store_queue_statuses(s, a, &queues, &count, NULL) == -1)
		count = 0;
	for (i = 0; errs.count == 0 && i < count; i++) {
		const struct store_queue_status *q = &queues[i];

		if (q->queued + q->dead > 0 && route_find(r, q->appservice) == NULL)
			warning("\"%s\" is not registered any more, and %" PRIu64
				" events and %" PRIu64 " dead letters are kept for it; "
				"`hearsay queue discard' deletes them",
			    q->appservice, q->queued, q->dead);
	}
	err_list_clear(&errs);
	arena_free(a);
	route_free(r);
	store_close(s);
}

static void
check_server(struct check *c)
{
	char *shown = store_shown(c->config->store);
	struct err e;

	if (store_reach(c->config->store, &e) == -1)
		problem(c, "%s", e.text);
	else
		fine("%s: the store can be reached", shown);
	free(shown);
}

/* The events that wait in it are whom-did-what: nobody else's business. */
static void
check_store(struct check *c)
{
	const char *path = c->config->store, *slash = strrchr(path, '/');
	char *dir;
	size_t before = c->problems;
	struct stat st;

	if (store_is_url(path)) {
		check_server(c);
		return;
	}
	dir = xstrndup(path, slash == path ? 1 : (size_t)(slash - path));
	if (stat(dir, &st) == -1)
		problem(c, "%s: cannot be looked at, and the store must go there: %s",
		    dir, strerror(errno));
	else if (!S_ISDIR(st.st_mode))
		problem(c, "%s: is no directory, and the store must go there", dir);
	else if (access(dir, W_OK | X_OK) == -1)
		problem(
		    c, "%s: the store cannot be written there: %s", dir, strerror(errno));
	else if ((st.st_mode & 077) != 0)
		warning("%s: others can look into it (mode %04o); chmod 700", dir,
		    (unsigned)st.st_mode & 07777);
	if (access(path, F_OK) == 0 && access(path, R_OK | W_OK) == -1)
		problem(c, "%s: cannot be read and written: %s", path, strerror(errno));
	if (c->problems == before)
		fine("%s: the store can be written", path);
	free(dir);
}

/* ---- logs ---------------------------------------------------------------------------- */

/* INFO, or what is told only where INFO is told as well. */
static bool
is_info(struct slice level)
{
	static const char *const names[] = {"INFO", "DEBUG", "TRACE"};
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (level.len == strlen(names[i]) &&
		    strncasecmp(level.p, names[i], level.len) == 0)
			return true;
	return false;
}

static void
take_record(struct findings *f, const struct record *r)
{
	const struct slice level = r->part[PART_LEVEL];

	f->records++;
	f->levels += level.len > 0;
	f->informed += is_info(level);
	f->format = r->format;
	if (r->format->forgeable)
		f->forgeable = r->format;
}

static struct findings
look_at_lines(
    const struct looked *l, const struct pack *pack, struct zone *zone, struct slice text)
{
	const char *p = text.p, *end = text.p + text.len, *newline;
	struct decoder *d = decoder_new(pack, zone);
	struct arena *a = arena_new();
	struct findings f = {0};
	struct record record;

	decoder_set_envelope(d, l->config->envelope);
	decoder_look(d, text, 0, a);
	/* What lies behind the last newline may be half a line. */
	while (f.lines < LOOK_LINES && p < end &&
	    (newline = memchr(p, '\n', (size_t)(end - p))) != NULL) {
		f.lines++;
		if (decoder_line(
			d, (struct slice){p, (size_t)(newline - p)}, 0, a, &record) == 1)
			take_record(&f, &record);
		arena_reset(a);
		p = newline + 1;
	}
	arena_free(a);
	decoder_free(d);
	return f;
}

/* The beginning of the file.  0, or -1 on error. */
static int
read_beginning(const char *path, struct buf *text, struct err *e)
{
	struct reader *r = reader_open(path, e);
	const char *data;
	uint64_t offset;
	size_t len;
	int got;

	if (r == NULL)
		return -1;
	while ((got = reader_next(r, &data, &len, &offset, e)) == 1) {
		buf_add(text, data, len);
		if (text->len >= LOOK_BYTES)
			break;
	}
	reader_close(r);
	return got == -1 ? -1 : 0;
}

static void
tell_findings(struct check *c, const struct looked *l, const struct pack *pack,
    const struct findings *f)
{
	size_t i;

	if (f->records == 0) {
		problem(c,
		    "%s:%u: %s: the pack \"%s\" knows none of its first %zu lines; is "
		    "it of another server, or of a format of your own?",
		    c->config->path, l->config->line, l->path, pack->name, f->lines);
		return;
	}
	fine("%s: %s, format \"%s\", %zu of the first %zu lines are records", l->path,
	    pack->title, f->format->name, f->records, f->lines);
	if (f->levels > 0 && f->informed == 0)
		warning("%s: not one of its first %zu records is of level INFO, so that "
			"little can be told; it needs: %s",
		    l->path, f->records, pack->needs);
	if (f->forgeable == NULL)
		return;
	warning(
	    "%s: in its format \"%s\" users can forge whole lines; what may be one is "
	    "held back, some of what is true with it%s",
	    l->path, f->forgeable->name, pack->advice_count > 0 ? ":" : "");
	for (i = 0; i < pack->advice_count; i++)
		warning("    %s", pack->advice[i]);
}

/* The pack of a log; NULL where there is none, which was told. */
static const struct pack *
pack_of(struct check *c, const struct looked *l, struct slice text)
{
	const struct pack *pack;

	if (l->config->pack != NULL)
		return pack_set_find(&c->packs, l->config->pack);
	pack = patterns_find_in(&c->packs, l->config->envelope, text.p, text.len);
	if (pack == NULL)
		problem(c,
		    "%s:%u: %s: no pack knows its first lines; name one with \"pack\"",
		    c->config->path, l->config->line, l->path);
	return pack;
}

static void
check_lines(struct check *c, const struct looked *l, struct slice text)
{
	const struct pack *pack;
	struct findings f;
	struct zone *zone;
	struct err e;

	if (text.len == 0 || memchr(text.p, '\n', text.len) == NULL) {
		fine("%s: is empty; what it is shows when something is written", l->path);
		return;
	}
	pack = pack_of(c, l, text);
	if (pack == NULL)
		return;
	zone = zone_open(l->config->timezone, &e);
	if (zone == NULL) {
		problem(c, "%s:%u: %s", c->config->path, l->config->line, e.text);
		return;
	}
	f = look_at_lines(l, pack, zone, text);
	tell_findings(c, l, pack, &f);
	zone_close(zone);
}

static void
check_file(struct check *c, const struct looked *l)
{
	struct buf text = {0};
	struct stat st;
	struct err e;

	if (stat(l->path, &st) == -1)
		problem(c, "%s:%u: %s: %s", c->config->path, l->config->line, l->path,
		    strerror(errno));
	else if (!S_ISREG(st.st_mode))
		problem(c, "%s:%u: %s: is no regular file", c->config->path,
		    l->config->line, l->path);
	else if (read_beginning(l->path, &text, &e) == -1)
		problem(c, "%s:%u: %s", c->config->path, l->config->line, e.text);
	else
		check_lines(c, l, (struct slice){text.p, text.len});
	buf_free(&text);
}

/* What is written into a pipe is not ours to look at: it would be lost for "run". */
static void
check_pipe(struct check *c, const struct config_log *log)
{
	struct stat st;

	if (strcmp(log->path, "-") == 0)
		fine("the log on standard input shows when something is written");
	else if (stat(log->path, &st) == -1)
		problem(c, "%s:%u: %s: %s", c->config->path, log->line, log->path,
		    strerror(errno));
	else if (!S_ISFIFO(st.st_mode))
		problem(
		    c, "%s:%u: %s: is no FIFO", c->config->path, log->line, log->path);
	else if (access(log->path, R_OK | W_OK) == -1)
		problem(c, "%s:%u: %s: cannot be opened to read and write: %s",
		    c->config->path, log->line, log->path, strerror(errno));
	else
		fine("%s: shows when something is written", log->path);
}

/* Its newest entries: a journal reaches further back than what runs now. */
static void
check_journal(struct check *c, const struct config_log *log)
{
	const struct looked l = {log, log->path};
	struct buf lines = {0};
	struct err e;

	if (journal_look(&log->journal, LOOK_LINES, &lines, &e) == -1)
		problem(c, "%s:%u: %s", c->config->path, log->line, e.text);
	else if (lines.len == 0)
		warning(
		    "%s: no entry of it can be read: is the unit's name right, and may "
		    "hearsay read the journal (as a member of the group systemd-journal)?",
		    log->path);
	else
		check_lines(c, &l, (struct slice){lines.p, lines.len});
	buf_free(&lines);
}

static void
check_log(struct check *c, const struct config_log *log)
{
	glob_t found = {0};
	struct err e;
	size_t i;

	if (log->pack != NULL && pack_set_find(&c->packs, log->pack) == NULL)
		problem(c, "%s:%u: there is no pack \"%s\"; `hearsay packs' lists them",
		    c->config->path, log->line, log->pack);
	if (log->kind == LOG_FIFO) {
		check_pipe(c, log);
		return;
	}
	if (log->kind == LOG_JOURNAL) {
		check_journal(c, log);
		return;
	}
	if (configured_once(c->config, log, &e) == -1)
		problem(c, "%s", e.text);
	if (glob(log->path, GLOB_NOMAGIC, NULL, &found) != 0)
		problem(c, "%s:%u: no file that can be seen matches %s", c->config->path,
		    log->line, log->path);
	for (i = 0; i < found.gl_pathc; i++) {
		const struct looked l = {log, found.gl_pathv[i]};

		check_file(c, &l);
	}
	globfree(&found);
}

/* ---- the command ------------------------------------------------------------------------ */

static int
check(const char *path)
{
	struct check c = {0};
	struct err_list errs = {0};
	size_t s, l;

	/* What is fine and what is not come in order, wherever both go. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	c.config = config_load(path, &errs);
	if (c.config == NULL) {
		(void)errors_print(&errs);
		return EXIT_FAILED;
	}
	fine("%s", path);
	check_packs(&c);
	check_registrations(&c);
	check_store(&c);
	check_queues(&c);
	for (s = 0; s < c.config->server_count; s++)
		for (l = 0; l < c.config->servers[s].log_count; l++)
			check_log(&c, &c.config->servers[s].logs[l]);
	if (geteuid() == 0)
		puts("note: root may read and write everything; to see what the daemon "
		     "may, check as its user");
	pack_set_clear(&c.packs);
	config_free(c.config);
	return c.problems > 0 ? EXIT_FAILED : EXIT_DONE;
}

int
cmd_check(int argc, char **argv)
{
	return configured_command(argc, argv, usage_text, check);
}

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/backfill.h"
#include "commands/commands.h"
#include "commands/logs.h"
#include "commands/patterns.h"
#include "commands/when.h"
#include "config/config.h"
#include "extract/account_event.h"
#include "extract/extract.h"
#include "pack/pack.h"

struct kept {
	int64_t ts;
	size_t order;
	char *line;
};

struct replay {
	const char *patterns;
	struct pack_set packs;
	struct logs *logs;
	int64_t since, until; /* UTC ms */
	bool source;
	const char *into; /* NULL: events are printed; else queued for this appservice */
	const char *config;
	struct backfill *backfill;
	struct arena *arena;
	struct kept *kept; /* several logs: their events until all are read */
	size_t kept_count;
	uint64_t events;
	int64_t began_ms, shown_ms;
};

static const char usage_text[] =
    "usage: hearsay replay [OPTION...] FILE...\n"
    "Print the events of whole logs, one JSON object a line.  FILE may be `-'.\n"
    "\n"
    "  -p, --pack PACK        the pack of the files that follow (else found from the lines)\n"
    "  -s, --server NAME      their server name (else users of any server are told)\n"
    "  -z, --timezone ZONE    the zone of their times (else the system's)\n"
    "  -e, --envelope KIND    what a container or collector put around their lines\n"
    "      --since TIME       no events before TIME (2026-01-31T12:00:00Z, or a date)\n"
    "      --until TIME       no events at or after TIME\n"
    "      --into APPSERVICE  queue them for it instead, marked as backfill; needs --since\n"
    "  -c, --config FILE      for --into: instead of the installed hearsay.conf\n"
    "      --source           with org.hearsay.source in the contents\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

/* ---- what was asked for ------------------------------------------------------ */

static int
parse_time(const char *option, const char *text, int64_t *ms_r)
{
	if (when_parse(text, ms_r) == 0)
		return 0;
	fprintf(stderr,
	    "hearsay replay: --%s \"%s\" is no time; write 2026-01-31T12:00:00Z or "
	    "2026-01-31\n",
	    option, text);
	return -1;
}

static int
parse_envelope(const char *text, enum envelope_kind *kind_r)
{
	struct err e;

	if (config_envelope(text, kind_r, &e) == 0)
		return 0;
	fprintf(stderr, "hearsay replay: %s\n", e.text);
	return -1;
}

enum { OPT_SINCE = 256, OPT_UNTIL, OPT_SOURCE, OPT_INTO };

/* EXIT_DONE: go on; else the status to end with; *help_r where --help was asked for. */
static int
parse_options(struct replay *r, int argc, char **argv, bool *help_r)
{
	static const struct option options[] = {{"pack", required_argument, NULL, 'p'},
	    {"server", required_argument, NULL, 's'},
	    {"timezone", required_argument, NULL, 'z'},
	    {"envelope", required_argument, NULL, 'e'},
	    {"since", required_argument, NULL, OPT_SINCE},
	    {"until", required_argument, NULL, OPT_UNTIL},
	    {"source", no_argument, NULL, OPT_SOURCE},
	    {"into", required_argument, NULL, OPT_INTO},
	    {"config", required_argument, NULL, 'c'},
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	struct logs_settings settings = {0};
	int c;

	/* The leading '-' hands out files in their place among the options. */
	while ((c = getopt_long(argc, argv, "-p:s:z:e:P:c:h", options, NULL)) != -1) {
		switch (c) {
		case 1:
			logs_add(r->logs, optarg, &settings);
			break;
		case 'p':
			settings.pack = optarg;
			break;
		case 's':
			settings.server = optarg;
			break;
		case 'z':
			settings.zone = optarg;
			break;
		case 'e':
			if (parse_envelope(optarg, &settings.envelope) == -1)
				return EXIT_USAGE;
			break;
		case OPT_SINCE:
			if (parse_time("since", optarg, &r->since) == -1)
				return EXIT_USAGE;
			break;
		case OPT_UNTIL:
			if (parse_time("until", optarg, &r->until) == -1)
				return EXIT_USAGE;
			break;
		case OPT_SOURCE:
			r->source = true;
			break;
		case OPT_INTO:
			r->into = optarg;
			break;
		case 'c':
			r->config = optarg;
			break;
		case 'P':
			r->patterns = optarg;
			break;
		case 'h':
			*help_r = true;
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	for (; optind < argc; optind++)
		logs_add(r->logs, argv[optind], &settings);
	if (logs_count(r->logs) == 0 || (r->into != NULL && r->since == INT64_MIN)) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* ---- reading ---------------------------------------------------------------------- */

static void
show_progress(struct replay *r)
{
	int64_t now = clock_steady_ms(), elapsed = now - r->began_ms;
	struct logs_progress p;
	unsigned percent;

	logs_progress(r->logs, &p);
	if (!isatty(STDERR_FILENO) || p.size == 0 || now - r->shown_ms < 200 ||
	    elapsed < 500)
		return;
	r->shown_ms = now;
	if (p.done > p.size)
		p.done = p.size;
	percent = (unsigned)(p.done * 100 / p.size);
	fprintf(stderr, "\r[%-40.*s] %3u%%  %.0f MB/s  %" PRId64 " s left \033[K",
	    (int)(percent * 40 / 100), "########################################",
	    percent, (double)p.bytes / 1000.0 / (double)elapsed,
	    p.done == 0 ? 0
			: (int64_t)((double)elapsed / (double)p.done *
			      (double)(p.size - p.done) / 1000.0));
}

/* One log: events go out at once.  Several: they are kept until all are read. */
static void
take_events(struct replay *r, const struct account_events *events)
{
	const struct account_event *ev;
	const char *line;

	for (ev = events->first; ev != NULL; ev = ev->next) {
		if (ev->ts < r->since || ev->ts >= r->until)
			continue;
		r->events++;
		line = account_event_line(ev, r->source, r->arena);
		if (logs_count(r->logs) == 1) {
			puts(line);
			continue;
		}
		if ((r->kept_count & (r->kept_count - 1)) == 0)
			r->kept = xreallocarray(r->kept,
			    r->kept_count == 0 ? 1 : r->kept_count * 2, sizeof(*r->kept));
		r->kept[r->kept_count] =
		    (struct kept){ev->ts, r->kept_count, xstrdup(line)};
		r->kept_count++;
	}
}

static int
begin_file(void *arg, const char *path, uint64_t *key_r, struct err *e)
{
	struct replay *r = arg;

	return r->backfill == NULL ? 0 : backfill_file(r->backfill, path, key_r, e);
}

static int
take_told(void *arg, const struct logs_told *told, struct err *e)
{
	struct replay *r = arg;

	if (r->backfill == NULL)
		take_events(r, told->events);
	else if (backfill_put(r->backfill, told->events, told->server, r->since, r->until,
		     r->arena, e) == -1)
		return -1;
	show_progress(r);
	return 0;
}

static int
by_time(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	if (x->ts != y->ts)
		return x->ts < y->ts ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int
replay(struct replay *r, struct err *e)
{
	const struct logs_hooks hooks = {.file = begin_file, .told = take_told};
	size_t i;

	if (r->into != NULL) {
		r->backfill = backfill_new(r->config, r->into, e);
		if (r->backfill == NULL)
			return -1;
	}
	/* A mistake in one pack was printed; the others do. */
	(void)patterns_load(&r->packs, r->patterns);
	if (logs_open(r->logs, &r->packs, e) == -1 ||
	    logs_read(r->logs, &hooks, r, r->arena, e) == -1)
		return -1;
	if (r->kept_count > 0)
		qsort(r->kept, r->kept_count, sizeof(*r->kept), by_time);
	for (i = 0; i < r->kept_count; i++)
		puts(r->kept[i].line);
	if (fflush(stdout) != 0)
		return err_errno(e, "standard output");
	return 0;
}

static void
summary(const struct replay *r)
{
	struct logs_progress p;
	struct logs_about about;
	struct extract_stats st;
	uint64_t queued, known, ahead;
	size_t l;

	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	for (l = 0; l < logs_count(r->logs); l++) {
		logs_about(r->logs, l, &about, &st);
		fprintf(stderr,
		    "%s: pack %s, %zu file%s, %" PRIu64 " requests without an end",
		    about.path, about.pack, about.pieces, about.pieces == 1 ? "" : "s",
		    st.timed_out + st.crowded);
		if (st.torn > 0)
			fprintf(stderr, ", %" PRIu64 " lines torn by a newline in them",
			    st.torn);
		if (st.doubted > 0)
			fprintf(
			    stderr, ", %" PRIu64 " lines that may be forged", st.doubted);
		fputc('\n', stderr);
	}
	logs_progress(r->logs, &p);
	if (p.long_lines > 0)
		fprintf(stderr, "%" PRIu64 " lines of more than 1 MiB were passed over\n",
		    p.long_lines);
	if (p.unfinished > 0)
		fprintf(stderr,
		    "%" PRIu64
		    " last lines without a newline may go on, and were not told\n",
		    p.unfinished);
	if (r->backfill != NULL) {
		backfill_counts(r->backfill, &queued, &known, &ahead);
		fprintf(stderr,
		    "%" PRIu64 " events queued for %s, %" PRIu64 " were before\n", queued,
		    r->into, known);
		if (ahead > 0)
			fprintf(stderr,
			    "%" PRIu64 " events stand where run has not read yet, and "
			    "will be told by it\n",
			    ahead);
		return;
	}
	fprintf(stderr, "%" PRIu64 " events from %" PRIu64 " bytes in %.1f s\n",
	    r->events, p.bytes, (double)(clock_steady_ms() - r->began_ms) / 1000.0);
}

static void
close_all(struct replay *r)
{
	size_t i;

	logs_free(r->logs);
	for (i = 0; i < r->kept_count; i++)
		free(r->kept[i].line);
	free(r->kept);
	backfill_free(r->backfill);
	pack_set_clear(&r->packs);
	arena_free(r->arena);
}

int
cmd_replay(int argc, char **argv)
{
	struct replay r = {.config = config_default_path(),
	    .since = INT64_MIN,
	    .until = INT64_MAX,
	    .began_ms = clock_steady_ms()};
	struct err e;
	bool help = false;
	int status;

	r.arena = arena_new();
	r.logs = logs_new();
	status = parse_options(&r, argc, argv, &help);
	if (help) {
		fputs(usage_text, stdout);
	} else if (status == EXIT_DONE) {
		if (replay(&r, &e) == 0) {
			summary(&r);
		} else {
			fprintf(stderr, "hearsay replay: %s\n", e.text);
			status = EXIT_FAILED;
		}
	}
	close_all(&r);
	return status;
}

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/backfill.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "commands/pieces.h"
#include "commands/teller.h"
#include "config/config.h"
#include "decode/timestamp.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "tail/reader.h"

/* As in hearsay.conf's limits: what a request may take, how many may be open. */
static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

/* One log: its pieces, oldest first, and how to read them. */
struct log {
	char **paths;
	size_t path_count;
	const char *pack_name, *server, *zone_name; /* NULL: not given */
	const struct pack *pack;
	struct zone *zone;
	struct teller_log *teller_log;
	struct reader *reader; /* of the piece that is being read */
	size_t piece;          /* how many pieces were begun */
	uint64_t key;          /* of the piece that is being read, for a backfill */
	bool ended;
};

/* One homeserver: logs given with the same -s. */
struct server {
	const char *name;
	struct teller *teller;
};

struct kept {
	int64_t ts;
	size_t order;
	char *line;
};

struct replay {
	const char *patterns;
	struct pack_set packs;
	struct log *logs;
	size_t log_count;
	struct server *servers;
	size_t server_count;
	int64_t since, until; /* UTC ms */
	bool source;
	const char *into; /* NULL: events are printed; else queued for this appservice */
	const char *config;
	struct backfill *backfill;
	struct arena *arena;
	struct kept *kept; /* several logs: their events until all are read */
	size_t kept_count;
	uint64_t events, bytes, long_lines;
	uint64_t total_bytes; /* on disk, for the progress bar; 0: unknown */
	uint64_t done_bytes;  /* of the files read to their end */
	int64_t began_ms, shown_ms;
};

static const char usage_text[] =
    "usage: hearsay replay [OPTION...] FILE...\n"
    "Print the events of whole logs, one JSON object a line.  FILE may be `-'.\n"
    "\n"
    "  -p, --pack PACK        the pack of the files that follow (else found from the lines)\n"
    "  -s, --server NAME      their server name (else users of any server are told)\n"
    "  -z, --timezone ZONE    the zone of their times (else the system's)\n"
    "      --since TIME       no events before TIME (2026-01-31T12:00:00Z, or a date)\n"
    "      --until TIME       no events at or after TIME\n"
    "      --into APPSERVICE  queue them for it instead, marked as backfill; needs --since\n"
    "  -c, --config FILE      for --into: instead of the installed hearsay.conf\n"
    "      --source           with org.hearsay.source in the contents\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

static int64_t
monotonic_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- what was asked for ------------------------------------------------------ */

static bool
same(const char *a, const char *b)
{
	return a == NULL ? b == NULL : b != NULL && strcmp(a, b) == 0;
}

/* Put path to the log that it is a piece of, or begin a new one. */
static void
add_file(struct replay *r, const char *path, const struct log *settings)
{
	struct log *log = NULL;
	size_t i;

	for (i = 0; i < r->log_count && log == NULL; i++) {
		struct log *l = &r->logs[i];

		if (slice_eq(pieces_stem(l->paths[0]), pieces_stem(path)) &&
		    same(l->pack_name, settings->pack_name) &&
		    same(l->server, settings->server) &&
		    same(l->zone_name, settings->zone_name))
			log = l;
	}
	if (log == NULL) {
		r->logs = xreallocarray(r->logs, r->log_count + 1, sizeof(*r->logs));
		log = &r->logs[r->log_count++];
		*log = *settings;
	}
	log->paths = xreallocarray(log->paths, log->path_count + 1, sizeof(*log->paths));
	log->paths[log->path_count++] = xstrdup(path);
}

static int
parse_time(const char *option, const char *text, int64_t *ms_r)
{
	/* A date alone is its first moment. */
	const char *rest = strlen(text) == strlen("2026-01-31") ? " 00:00:00" : "";
	char *whole = xasprintf("%s%s", text, rest);
	struct zone *zone = zone_open(NULL, NULL);
	struct timestamp t;
	bool ok = zone != NULL && timestamp_parse(TIME_ISO, slice_of(whole), &t) == 0;

	if (ok)
		*ms_r = t.local ? zone_to_utc(zone, t.ms, INT64_MIN) : t.ms;
	else
		fprintf(stderr,
		    "hearsay replay: --%s \"%s\" is no time; write 2026-01-31T12:00:00Z or "
		    "2026-01-31\n",
		    option, text);
	zone_close(zone);
	free(whole);
	return ok ? 0 : -1;
}

enum { OPT_SINCE = 256, OPT_UNTIL, OPT_SOURCE, OPT_INTO };

/* EXIT_DONE: go on; else the status to end with; *help_r where --help was asked for. */
static int
parse_options(struct replay *r, int argc, char **argv, bool *help_r)
{
	static const struct option options[] = {{"pack", required_argument, NULL, 'p'},
	    {"server", required_argument, NULL, 's'},
	    {"timezone", required_argument, NULL, 'z'},
	    {"since", required_argument, NULL, OPT_SINCE},
	    {"until", required_argument, NULL, OPT_UNTIL},
	    {"source", no_argument, NULL, OPT_SOURCE},
	    {"into", required_argument, NULL, OPT_INTO},
	    {"config", required_argument, NULL, 'c'},
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	struct log settings = {0};
	int c;

	/* The leading '-' hands out files in their place among the options. */
	while ((c = getopt_long(argc, argv, "-p:s:z:P:c:h", options, NULL)) != -1) {
		switch (c) {
		case 1:
			add_file(r, optarg, &settings);
			break;
		case 'p':
			settings.pack_name = optarg;
			break;
		case 's':
			settings.server = optarg;
			break;
		case 'z':
			settings.zone_name = optarg;
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
		add_file(r, argv[optind], &settings);
	if (r->log_count == 0 || (r->into != NULL && r->since == INT64_MIN)) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* ---- getting ready -------------------------------------------------------------- */

static int
by_age(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return pieces_compare(*x, *y);
}

static struct teller *
teller_of(struct replay *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->server_count; i++)
		if (same(r->servers[i].name, name))
			return r->servers[i].teller;
	r->servers = xreallocarray(r->servers, r->server_count + 1, sizeof(*r->servers));
	r->servers[r->server_count] = (struct server){name, teller_new(name, &limits)};
	return r->servers[r->server_count++].teller;
}

static int
find_pack(struct replay *r, struct log *log, struct err *e)
{
	if (log->pack_name != NULL) {
		log->pack = pack_set_find(&r->packs, log->pack_name);
		if (log->pack == NULL)
			return err_set(e,
			    "there is no pack \"%s\"; `hearsay packs' lists them",
			    log->pack_name);
		return 0;
	}
	if (strcmp(log->paths[0], "-") == 0)
		return err_set(e, "standard input is read once; name its pack with -p");
	log->pack = patterns_find(&r->packs, log->paths[log->path_count - 1], e);
	return log->pack == NULL ? -1 : 0;
}

static int
open_log(struct replay *r, struct log *log, struct err *e)
{
	struct stat st;
	size_t i;

	qsort(log->paths, log->path_count, sizeof(*log->paths), by_age);
	for (i = 0; i < log->path_count; i++)
		if (stat(log->paths[i], &st) == 0 && S_ISREG(st.st_mode))
			r->total_bytes += (uint64_t)st.st_size;
	if (find_pack(r, log, e) == -1)
		return -1;
	log->zone = zone_open(log->zone_name, e);
	if (log->zone == NULL)
		return -1;
	log->teller_log = teller_log_new(teller_of(r, log->server), log->pack, log->zone);
	return 0;
}

/* ---- reading ---------------------------------------------------------------------- */

static void
show_progress(struct replay *r, const struct reader *reader)
{
	int64_t now = monotonic_ms(), elapsed = now - r->began_ms;
	uint64_t done = r->done_bytes + reader_consumed(reader);
	unsigned percent;

	if (!isatty(STDERR_FILENO) || r->total_bytes == 0 || now - r->shown_ms < 200 ||
	    elapsed < 500)
		return;
	r->shown_ms = now;
	if (done > r->total_bytes)
		done = r->total_bytes;
	percent = (unsigned)(done * 100 / r->total_bytes);
	fprintf(stderr, "\r[%-40.*s] %3u%%  %.0f MB/s  %" PRId64 " s left \033[K",
	    (int)(percent * 40 / 100), "########################################",
	    percent, (double)r->bytes / 1000.0 / (double)elapsed,
	    done == 0 ? 0
		      : (int64_t)((double)elapsed / (double)done *
			    (double)(r->total_bytes - done) / 1000.0));
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
		if (r->log_count == 1) {
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

/* Open the log's next piece: 1; 0 where there is none; -1 on error. */
static int
next_piece(struct replay *r, struct log *log, struct err *e)
{
	if (log->reader != NULL)
		return 1;
	if (log->piece == log->path_count)
		return 0;
	log->reader = reader_open(log->paths[log->piece++], e);
	if (log->reader != NULL && r->backfill != NULL &&
	    backfill_file(r->backfill, log->paths[log->piece - 1], &log->key, e) == -1)
		return -1;
	return log->reader == NULL ? -1 : 1;
}

/* One chunk of a log: 1; 0 at the log's end; -1 on error. */
static int
read_chunk(struct replay *r, struct log *log, struct err *e)
{
	struct teller_chunk c = {0};
	struct account_events events = {.last = &events.first};
	int got;

	while ((got = next_piece(r, log, e)) == 1) {
		got = reader_next(log->reader, &c.data, &c.len, &c.offset, e);
		if (got != 0)
			break;
		r->done_bytes += reader_size(log->reader);
		r->long_lines += reader_long_lines(log->reader);
		reader_close(log->reader);
		log->reader = NULL;
	}
	if (got != 1)
		return got;
	c.file = log->piece;
	c.fallback_ms = reader_mtime_ms(log->reader);
	teller_chunk(log->teller_log, &c, r->arena, &events, NULL);
	if (r->backfill == NULL)
		take_events(r, &events);
	else if (backfill_put(r->backfill, &events, log->key, log->server, r->since,
		     r->until, r->arena, e) == -1)
		return -1;
	arena_reset(r->arena);
	r->bytes += c.len;
	show_progress(r, log->reader);
	return 1;
}

/* The log that is furthest behind in time; NULL where all are read. */
static struct log *
slowest(struct replay *r)
{
	struct log *found = NULL;
	size_t l;

	for (l = 0; l < r->log_count; l++)
		if (!r->logs[l].ended &&
		    (found == NULL ||
			teller_log_last_ts(r->logs[l].teller_log) <
			    teller_log_last_ts(found->teller_log)))
			found = &r->logs[l];
	return found;
}

/* Logs of one server tell things together, so they are read side by side. */
static int
read_all(struct replay *r, struct err *e)
{
	struct log *log;
	int got;

	while ((log = slowest(r)) != NULL) {
		got = read_chunk(r, log, e);
		if (got == -1)
			return -1;
		if (got == 0) {
			log->ended = true;
			teller_log_clock(log->teller_log, INT64_MAX);
		}
	}
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
	size_t l, i;

	if (r->into != NULL) {
		r->backfill = backfill_new(r->config, r->into, e);
		if (r->backfill == NULL)
			return -1;
	}
	/* A mistake in one pack was printed; the others do. */
	(void)patterns_load(&r->packs, r->patterns);
	for (l = 0; l < r->log_count; l++)
		if (open_log(r, &r->logs[l], e) == -1)
			return -1;
	if (read_all(r, e) == -1)
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
	struct extract_stats st;
	uint64_t queued, known;
	size_t l;

	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	for (l = 0; l < r->log_count; l++) {
		const struct log *log = &r->logs[l];

		teller_log_stats(log->teller_log, &st);
		fprintf(stderr,
		    "%s: pack %s, %zu file%s, %" PRIu64 " requests without an end",
		    log->paths[log->path_count - 1], log->pack->name, log->path_count,
		    log->path_count == 1 ? "" : "s", st.timed_out + st.crowded);
		if (st.torn > 0)
			fprintf(stderr, ", %" PRIu64 " lines torn by a newline in them",
			    st.torn);
		if (st.doubted > 0)
			fprintf(
			    stderr, ", %" PRIu64 " lines that may be forged", st.doubted);
		fputc('\n', stderr);
	}
	if (r->long_lines > 0)
		fprintf(stderr, "%" PRIu64 " lines of more than 1 MiB were passed over\n",
		    r->long_lines);
	if (r->backfill != NULL) {
		backfill_counts(r->backfill, &queued, &known);
		fprintf(stderr,
		    "%" PRIu64 " events queued for %s, %" PRIu64 " were before\n", queued,
		    r->into, known);
		return;
	}
	fprintf(stderr, "%" PRIu64 " events from %" PRIu64 " bytes in %.1f s\n",
	    r->events, r->bytes, (double)(monotonic_ms() - r->began_ms) / 1000.0);
}

static void
close_all(struct replay *r)
{
	size_t i, p;

	for (i = 0; i < r->server_count; i++)
		teller_free(r->servers[i].teller);
	free(r->servers);
	for (i = 0; i < r->log_count; i++) {
		for (p = 0; p < r->logs[i].path_count; p++)
			free(r->logs[i].paths[p]);
		free(r->logs[i].paths);
		reader_close(r->logs[i].reader);
		zone_close(r->logs[i].zone);
	}
	free(r->logs);
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
	    .began_ms = monotonic_ms()};
	struct err e;
	bool help = false;
	int status;

	r.arena = arena_new();
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

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "commands/teller.h"
#include "config/config.h"
#include "decode/record.h"
#include "extract/account_event.h"
#include "match/match.h"
#include "pack/pack.h"
#include "tail/reader.h"

static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

struct explain {
	const char *pack_name, *server, *zone_name, *patterns, *path;
	enum envelope_kind envelope;
	bool all; /* the lines that no rule cares about, too */
	bool colours;
	bool shown; /* something was said of the line in hand */
	const struct pack *pack;
	struct matcher *matcher;
	struct arena *arena;
};

static const char usage_text[] =
    "usage: hearsay explain [OPTION...] FILE\n"
    "For each line that a rule cared about: the record, the rules, the events or why none.\n"
    "\n"
    "  -p, --pack PACK        the log's pack (else found from its lines)\n"
    "  -s, --server NAME      its server name (else users of any server are told)\n"
    "  -z, --timezone ZONE    the zone of its times (else the system's)\n"
    "  -e, --envelope KIND    what a container or collector put around its lines\n"
    "  -a, --all              every line, also those that no rule cares about\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

/* ---- printing ------------------------------------------------------------------- */

enum colour { DIM, BOLD, GREEN, YELLOW, PLAIN };

static const char *
paint(const struct explain *x, enum colour c)
{
	static const char *const codes[] = {[DIM] = "\033[2m",
	    [BOLD] = "\033[1m",
	    [GREEN] = "\033[32m",
	    [YELLOW] = "\033[33m",
	    [PLAIN] = "\033[0m"};

	return x->colours ? codes[c] : "";
}

/* A log's text can move a terminal: print what can't be seen as \xNN. */
static void
print_text(struct slice s)
{
	size_t i;

	for (i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
			printf("\\x%02x", (unsigned char)s.p[i]);
		else
			putchar(s.p[i]);
	}
}

static void
print_captures(const struct match *m)
{
	size_t c, i;

	for (c = 0; c < m->capture_count; c++) {
		const struct value *v = &m->captures[c].value;

		printf(" %s=", m->captures[c].name);
		for (i = 0; i < v->count; i++) {
			if (i > 0)
				putchar(',');
			print_text(v->items[i]);
		}
	}
}

/* Each rule whose text stands in the message was near: what was in its way. */
static void
print_misses(const struct explain *x, const struct record *record)
{
	static const char *const words[] = {
	    [MISS_FORMAT] = "is not for this format",
	    [MISS_LOGGER] = "is of another logger",
	    [MISS_LEVEL] = "is of another level",
	    [MISS_FIELD] = "needs a field that is missing or different",
	    [MISS_TEXT] = "has another form",
	    [MISS_VALUE] =
		"would take a value that is none of its kind, of another server, "
		"or not what the line's own fields say",
	};
	struct slice message = record->part[PART_MESSAGE];
	size_t i;

	printf("    no rule fits\n");
	for (i = 0; i < x->pack->rule_count; i++) {
		const struct pack_rule *rule = &x->pack->rules[i];
		enum match_miss miss;

		if (message.len == 0 ||
		    memmem(message.p, message.len, rule->pattern->literal,
			strlen(rule->pattern->literal)) == NULL)
			continue;
		miss = matcher_try(x->matcher, record, rule, x->arena);
		if (miss != MISS_NOTHING)
			printf("    %s %s\n", rule->name, words[miss]);
	}
}

static void
print_line(void *arg, uint64_t offset, struct slice line, const struct record *record,
    size_t matches)
{
	static const char *const names[PART_COUNT] = {
	    "time", "level", "logger", "context", "message"};
	struct explain *x = arg;
	unsigned part;

	x->shown = true;
	printf("%s%" PRIu64 "%s ", paint(x, BOLD), offset, paint(x, PLAIN));
	if (record == NULL) {
		printf("%sno record: ", paint(x, YELLOW));
		print_text(line);
		printf("%s\n", paint(x, PLAIN));
		return;
	}
	printf("%s%s", paint(x, DIM), record->format->name);
	for (part = PART_LEVEL; part < PART_COUNT; part++) {
		printf(" %s=", names[part]);
		print_text(record->part[part]);
	}
	printf("%s\n", paint(x, PLAIN));
	if (matches == 0)
		print_misses(x, record);
}

static void
print_rule(void *arg, const struct match *m, enum extract_outcome outcome,
    const char *name, unsigned count)
{
	const struct explain *x = arg;

	printf("    %s%s%s: ", paint(x, BOLD), m->rule->name, paint(x, PLAIN));
	switch (outcome) {
	case OUTCOME_REMEMBERED:
		printf("remembered until the request ends:");
		print_captures(m);
		putchar('\n');
		return;
	case OUTCOME_TOLD:
		printf("%stells %u event%s of %s%s", paint(x, GREEN), count,
		    count == 1 ? "" : "s", m->rule->emit->type, paint(x, PLAIN));
		break;
	case OUTCOME_KNOWN:
		printf("tells nothing: it was told a while ago");
		break;
	case OUTCOME_RENEWED:
		printf("what was told of %s may be told again", name);
		break;
	case OUTCOME_NOTHING:
		printf("tells nothing: the list is empty");
		break;
	case OUTCOME_NO_CONTEXT:
		printf("tells nothing: the line has no request id");
		break;
	case OUTCOME_WITHOUT:
		printf("tells nothing: this request has no \"%s\"", name);
		break;
	case OUTCOME_WITH:
		printf("tells nothing: this request has a \"%s\"", name);
		break;
	case OUTCOME_NO_VALUE:
		printf("tells nothing: there is no \"%s\"", name);
		break;
	case OUTCOME_ENDED:
		printf("the request is over, %u line%s forgotten", count,
		    count == 1 ? "" : "s");
		break;
	case OUTCOME_CARRIES:
		printf("may carry a user's text: what begins behind it is doubted");
		break;
	case OUTCOME_CARRIES_NONE:
		printf("opens no doubt: what its request wrote before rules it out");
		break;
	case OUTCOME_PENDING:
		printf("it waits: a user's text that holds such a line may have begun "
		       "before, and what follows will show it");
		break;
	case OUTCOME_DOUBTED:
		printf("%stells nothing: %s%s", paint(x, YELLOW), name, paint(x, PLAIN));
		break;
	case OUTCOME_RESET:
		printf("the server began anew, open requests forgotten");
		break;
	}
	putchar('\n');
}

static void
print_torn(void *arg)
{
	const struct explain *x = arg;

	printf(
	    "    %sthe next line is no record: the end of this one may be cut, and is not "
	    "told%s\n",
	    paint(x, YELLOW), paint(x, PLAIN));
}

/* ---- the command ------------------------------------------------------------------ */

static void
print_events(const struct explain *x, const struct account_events *events)
{
	const struct account_event *ev;

	for (ev = events->first; ev != NULL; ev = ev->next)
		printf("%s%" PRIu64 " %s%s\n", paint(x, GREEN), ev->offset,
		    account_event_line(ev, true, x->arena), paint(x, PLAIN));
}

static void
tell_chunk(struct explain *x, struct teller_log *log, const struct teller_chunk *c)
{
	const struct teller_trace trace = {print_line, print_rule, print_torn, x};
	struct account_events events = {.last = &events.first};

	teller_chunk(log, c, x->arena, &events, &trace);
	print_events(x, &events);
}

/* Line by line, so that it is seen of which nothing was said. */
static void
tell_each_line(
    struct explain *x, struct teller_log *log, const struct teller_chunk *whole)
{
	const char *p = whole->data, *end = p + whole->len, *newline;
	struct teller_chunk line = *whole;

	for (; p < end; p += line.len) {
		newline = memchr(p, '\n', (size_t)(end - p));
		line.data = p;
		line.len = (size_t)((newline == NULL ? end : newline + 1) - p);
		line.offset = whole->offset + (uint64_t)(p - whole->data);
		x->shown = false;
		tell_chunk(x, log, &line);
		line.gap = false;
		if (x->shown)
			continue;
		printf("%s%" PRIu64 "%s %s%s: ", paint(x, BOLD), line.offset,
		    paint(x, PLAIN), paint(x, DIM),
		    teller_log_cut(log) ? "within a line that goes on"
					: "nothing that a rule looks for stands in it");
		print_text((struct slice){p, line.len - (newline == NULL ? 0 : 1)});
		printf("%s\n", paint(x, PLAIN));
	}
}

static int
explain_file(struct explain *x, const struct zone *zone, struct err *e)
{
	struct teller *teller = teller_new(x->server, &limits);
	struct teller_log *log = teller_log_new(teller, x->pack, zone);
	struct reader *reader = reader_open(x->path, e);
	struct account_events events = {.last = &events.first};
	struct teller_chunk c = {.file = 1};
	int got = -1;

	teller_log_envelope(log, x->envelope);
	x->arena = arena_new();
	x->matcher = matcher_new(x->pack, x->server);
	if (reader == NULL)
		goto done;
	c.fallback_ms = reader_mtime_ms(reader);
	while ((got = reader_next(reader, &c.data, &c.len, &c.offset, e)) == 1) {
		c.gap = reader_gap(reader);
		if (x->all)
			tell_each_line(x, log, &c);
		else
			tell_chunk(x, log, &c);
		arena_reset(x->arena);
	}
	teller_log_idle(log, INT64_MAX, x->arena, &events);
	print_events(x, &events);

done:
	reader_close(reader);
	teller_free(teller);
	matcher_free(x->matcher);
	arena_free(x->arena);
	return got;
}

static int
explain(struct explain *x, struct err *e)
{
	struct pack_set packs;
	struct zone *zone = NULL;
	int got = -1;

	/* A mistake in one pack was printed; the others do. */
	(void)patterns_load(&packs, x->patterns);
	if (x->pack_name == NULL)
		x->pack = patterns_find(&packs, x->envelope, x->path, e);
	else if ((x->pack = pack_set_find(&packs, x->pack_name)) == NULL)
		(void)err_set(e, "there is no pack \"%s\"; `hearsay packs' lists them",
		    x->pack_name);
	if (x->pack == NULL || (zone = zone_open(x->zone_name, e)) == NULL)
		goto done;
	got = explain_file(x, zone, e);

done:
	zone_close(zone);
	pack_set_clear(&packs);
	return got;
}

int
cmd_explain(int argc, char **argv)
{
	static const struct option options[] = {{"pack", required_argument, NULL, 'p'},
	    {"server", required_argument, NULL, 's'},
	    {"timezone", required_argument, NULL, 'z'},
	    {"envelope", required_argument, NULL, 'e'}, {"all", no_argument, NULL, 'a'},
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	struct explain x = {.colours = isatty(STDOUT_FILENO) != 0};
	struct err e;
	int c;

	while ((c = getopt_long(argc, argv, "p:s:z:e:aP:h", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			x.pack_name = optarg;
			break;
		case 's':
			x.server = optarg;
			break;
		case 'z':
			x.zone_name = optarg;
			break;
		case 'e':
			if (config_envelope(optarg, &x.envelope, &e) == -1) {
				fprintf(stderr, "hearsay explain: %s\n", e.text);
				return EXIT_USAGE;
			}
			break;
		case 'a':
			x.all = true;
			break;
		case 'P':
			x.patterns = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind != argc - 1) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	x.path = argv[optind];
	if (explain(&x, &e) == -1) {
		fprintf(stderr, "hearsay explain: %s\n", e.text);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

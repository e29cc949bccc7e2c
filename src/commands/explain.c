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
#include "decode/record.h"
#include "extract/account_event.h"
#include "match/match.h"
#include "pack/pack.h"
#include "tail/reader.h"

static const struct extract_limits limits = {.timeout_ms = 600 * 1000, .max = 10000};

struct explain {
	const char *pack_name, *server, *zone_name, *patterns, *path;
	bool colours;
};

static const char usage_text[] =
    "usage: hearsay explain [OPTION...] FILE\n"
    "For each line that a rule cared about: the record, the rules, the events or why none.\n"
    "\n"
    "  -p, --pack PACK        the log's pack (else found from its lines)\n"
    "  -s, --server NAME      its server name (else users of any server are told)\n"
    "  -z, --timezone ZONE    the zone of its times (else the system's)\n"
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

static void
print_line(void *arg, const struct teller_chunk *c, size_t offset, struct slice line,
    const struct record *record, size_t matches)
{
	static const char *const names[PART_COUNT] = {
	    "time", "level", "logger", "context", "message"};
	struct explain *x = arg;
	unsigned part;

	printf("%s%" PRIu64 "%s ", paint(x, BOLD), c->offset + offset, paint(x, PLAIN));
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
		printf("    no rule fits\n");
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

static int
explain_file(
    struct explain *x, const struct pack *pack, const struct zone *zone, struct err *e)
{
	const struct teller_trace trace = {print_line, print_rule, print_torn, x};
	struct teller *teller = teller_new(x->server, &limits);
	struct teller_log *log = teller_log_new(teller, pack, zone);
	struct arena *arena = arena_new();
	struct reader *reader = reader_open(x->path, e);
	struct teller_chunk c = {.file = 1};
	struct account_events events;
	const struct account_event *ev;
	int got = -1;

	if (reader == NULL)
		goto done;
	c.fallback_ms = reader_mtime_ms(reader);
	while ((got = reader_next(reader, &c.data, &c.len, &c.offset, e)) == 1) {
		events = (struct account_events){.last = &events.first};
		teller_chunk(log, &c, arena, &events, &trace);
		for (ev = events.first; ev != NULL; ev = ev->next)
			printf("%s%" PRIu64 " %s%s\n", paint(x, GREEN), ev->offset,
			    account_event_line(ev, true, arena), paint(x, PLAIN));
		arena_reset(arena);
	}

done:
	reader_close(reader);
	teller_free(teller);
	arena_free(arena);
	return got;
}

static int
explain(struct explain *x, struct err *e)
{
	const struct pack *pack;
	struct pack_set packs;
	struct zone *zone = NULL;
	int got = -1;

	/* A mistake in one pack was printed; the others do. */
	(void)patterns_load(&packs, x->patterns);
	if (x->pack_name == NULL)
		pack = patterns_find(&packs, x->path, e);
	else if ((pack = pack_set_find(&packs, x->pack_name)) == NULL)
		(void)err_set(e, "there is no pack \"%s\"; `hearsay packs' lists them",
		    x->pack_name);
	if (pack == NULL || (zone = zone_open(x->zone_name, e)) == NULL)
		goto done;
	got = explain_file(x, pack, zone, e);

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
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	struct explain x = {.colours = isatty(STDOUT_FILENO) != 0};
	struct err e;
	int c;

	while ((c = getopt_long(argc, argv, "p:s:z:P:h", options, NULL)) != -1) {
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

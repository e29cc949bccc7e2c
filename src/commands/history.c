#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/export.h"
#include "commands/when.h"
#include "config/config.h"

static const char usage_text[] =
    "usage: hearsay history [OPTION...]\n"
    "Print the events that were accepted and are kept, oldest first.\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "      --user USER        only those about this user, @name:server\n"
    "      --since TIME       only those accepted at TIME (2026-01-31T12:00:00Z, or a\n"
    "                         date) or later\n"
    "      --json             one JSON object a line\n"
    "  -h, --help             this text\n";

/* The time of acceptance, to whom, what happened when, about whom. */
static void
print_told(const struct store_told *t, int64_t now, struct arena *a)
{
	printf("%s: %s accepted %s of %s\n", when_text(t->accepted_ms, now, a),
	    t->appservice, t->type, t->user_id);
	printf("  happened %s, told from %s, transaction %s\n", when_text(t->ts, now, a),
	    t->log, t->txn);
}

static int
print_history(struct store *s, const struct store_which *which, bool json, struct err *e)
{
	struct arena *a = arena_new();
	struct store_told *told;
	int64_t after = 0, now = clock_utc_ms();
	size_t count, i;
	int rc;

	while (
	    (rc = store_tell(s, which, after, a, &told, &count, e)) == 0 && count > 0) {
		for (i = 0; i < count; i++)
			if (json)
				export_told(&told[i]);
			else
				print_told(&told[i], now, a);
		after = told[count - 1].place;
		arena_reset(a);
	}
	arena_free(a);
	return rc;
}

static int
history(const char *path, const struct store_which *which, bool json)
{
	struct configured c;
	int status = EXIT_FAILED;
	struct err e;

	if (configured_open(&c, path, STORE_READ) == 0) {
		if (print_history(c.store, which, json, &e) == -1)
			fprintf(stderr, "hearsay history: %s\n", e.text);
		else if (configured_printed() == 0)
			status = EXIT_DONE;
	}
	configured_close(&c);
	return status;
}

enum { OPT_USER = 256, OPT_SINCE, OPT_JSON };

int
cmd_history(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"user", required_argument, NULL, OPT_USER},
	    {"since", required_argument, NULL, OPT_SINCE},
	    {"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	struct store_which which = {.accepted = true};
	const char *path = config_default_path();
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
			break;
		case OPT_USER:
			which.user_id = optarg;
			break;
		case OPT_SINCE:
			if (when_parse(optarg, &which.since_ms) == 0)
				break;
			fprintf(stderr,
			    "hearsay history: --since \"%s\" is no time; write "
			    "2026-01-31T12:00:00Z or 2026-01-31\n",
			    optarg);
			return EXIT_USAGE;
		case OPT_JSON:
			json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return history(path, &which, json);
}

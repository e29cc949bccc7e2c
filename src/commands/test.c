#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/zone.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "commands/samples.h"
#include "commands/score.h"
#include "pack/pack.h"

static const char usage_text[] =
    "usage: hearsay test [OPTION...] [PACK...]\n"
    "Run the samples of the packs; TAP on standard output.\n"
    "\n"
    "      --captures DIR     compare whole logs below DIR with their truth instead\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

static bool
asked_for(const struct pack *p, char **names, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if (strcmp(p->name, names[i]) == 0)
			return true;
	return count == 0;
}

static int
run_packs(const char *dir, const char *captures, char **names, int count)
{
	struct zone *zone = zone_open("UTC", NULL);
	unsigned number = 0, failed = 0;
	struct pack_set packs;
	bool loaded;
	size_t i;
	int n;

	loaded = patterns_load(&packs, dir) == 0;
	printf("%s %u - the packs can be read\n", loaded ? "ok" : "not ok", ++number);
	for (n = 0; n < count; n++)
		if (pack_set_find(&packs, names[n]) == NULL) {
			printf("not ok %u - there is no pack %s\n", ++number, names[n]);
			failed++;
		}
	if (captures != NULL)
		failed += score_captures(&packs, captures, names, count, &number);
	for (i = 0; captures == NULL && i < packs.count; i++)
		if (asked_for(packs.packs[i], names, count))
			failed += samples_run(&packs, packs.packs[i], zone, &number);
	printf("1..%u\n", number);
	pack_set_clear(&packs);
	zone_close(zone);
	return failed == 0 && loaded ? EXIT_DONE : EXIT_FAILED;
}

enum { OPT_CAPTURES = 256 };

int
cmd_test(int argc, char **argv)
{
	static const struct option options[] = {
	    {"captures", required_argument, NULL, OPT_CAPTURES},
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	const char *dir = NULL, *captures = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "P:h", options, NULL)) != -1) {
		switch (c) {
		case OPT_CAPTURES:
			captures = optarg;
			break;
		case 'P':
			dir = optarg;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return EXIT_DONE;
		default:
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
	}
	return run_packs(dir, captures, argv + optind, argc - optind);
}

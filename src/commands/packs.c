#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "commands/commands.h"
#include "commands/patterns.h"
#include "pack/pack.h"

static const char usage_text[] =
    "usage: hearsay packs [OPTION...] [PACK]\n"
    "The packs there are, and what each can tell.\n"
    "\n"
    "  -P, --patterns DIR     the packs of DIR instead of the installed ones\n"
    "  -h, --help             this text\n";

static const char *
kind_name(enum format_kind kind)
{
	switch (kind) {
	case FORMAT_REGEX:
		return "text";
	case FORMAT_JSON:
		return "json";
	case FORMAT_LOGFMT:
		return "logfmt";
	case FORMAT_JOURNAL:
		return "journal";
	}
	return "";
}

static void
print_pack(const struct pack *p)
{
	size_t i;

	printf("%s: %s\n", p->name, p->title);
	printf("  file      %s\n", p->path);
	printf("  versions  %s\n", p->versions);
	printf("  needs     %s\n", p->needs);
	printf("  tested    %s, %zu samples\n", p->tested, p->sample_count);
	for (i = 0; i < p->format_count; i++)
		printf("  format    %-12s %-7s%s%s\n", p->formats[i].name,
		    kind_name(p->formats[i].kind),
		    p->formats[i].time <= TIME_BEFORE ? " no time in the line;" : "",
		    p->formats[i].forgeable ? " users can forge lines in it" : "");
	for (i = 0; i < p->tells_count; i++)
		printf("  tells     %-24s %-8s %s\n", p->tells[i].type, p->tells[i].how,
		    p->tells[i].note == NULL ? "" : p->tells[i].note);
}

int
cmd_packs(int argc, char **argv)
{
	static const struct option options[] = {
	    {"patterns", required_argument, NULL, 'P'}, {"help", no_argument, NULL, 'h'},
	    {NULL, 0, NULL, 0}};
	const char *dir = NULL, *name;
	struct pack_set packs;
	int c, status;
	size_t i, shown = 0;

	while ((c = getopt_long(argc, argv, "P:h", options, NULL)) != -1) {
		if (c == 'h') {
			fputs(usage_text, stdout);
			return EXIT_DONE;
		}
		if (c != 'P') {
			fputs(usage_text, stderr);
			return EXIT_USAGE;
		}
		dir = optarg;
	}
	if (argc - optind > 1) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	name = argv[optind];
	status = patterns_load(&packs, dir) == -1 ? EXIT_FAILED : EXIT_DONE;
	for (i = 0; i < packs.count; i++) {
		if (name != NULL && strcmp(packs.packs[i]->name, name) != 0)
			continue;
		if (shown++ > 0)
			putchar('\n');
		print_pack(packs.packs[i]);
	}
	if (name != NULL && shown == 0) {
		fprintf(stderr, "hearsay packs: there is no pack \"%s\"\n", name);
		status = EXIT_FAILED;
	}
	pack_set_clear(&packs);
	return status;
}

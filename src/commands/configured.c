#include "commands/configured.h"

#include <getopt.h>
#include <stdio.h>

#include "base/err.h"
#include "commands/commands.h"
#include "commands/patterns.h"
#include "config/config.h"

int
configured_open(struct configured *c, const char *path, enum store_mode mode)
{
	struct err_list errs = {0};
	struct err e;

	c->store = NULL;
	c->config = config_load(path, &errs);
	if (c->config == NULL) {
		(void)errors_print(&errs);
		return -1;
	}
	c->store = store_open_as(c->config->store, c->config->instance, mode, &e);
	if (c->store == NULL) {
		fprintf(stderr, "%s\n", e.text);
		return -1;
	}
	return 0;
}

void
configured_close(struct configured *c)
{
	store_close(c->store);
	config_free(c->config);
}

int
configured_printed(void)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return 0;
	fputs("hearsay: standard output cannot be written\n", stderr);
	return -1;
}

int
configured_command(
    int argc, char **argv, const char *usage_text, int (*work)(const char *path))
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const char *path = config_default_path();
	int c;

	while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			path = optarg;
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
	return work(path);
}

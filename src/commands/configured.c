#include "commands/configured.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/stat.h>

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

static bool
is_same_file(const struct config_log *a, const struct config_log *b)
{
	struct stat sa, sb;

	return a->kind == LOG_FILE && b->kind == LOG_FILE && stat(a->path, &sa) == 0 &&
	    stat(b->path, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int
configured_once(const struct config *config, const struct config_log *log, struct err *e)
{
	const struct config_log *other;
	size_t s, l;

	for (s = 0; s < config->server_count; s++) {
		for (l = 0; l < config->servers[s].log_count; l++) {
			other = &config->servers[s].logs[l];
			if (other == log)
				return 0;
			if (is_same_file(other, log))
				return err_set(e,
				    "%s:%u: %s leads to the same file as %s on line %u, "
				    "each line of it would be told twice",
				    config->path, log->line, log->path, other->path,
				    other->line);
		}
	}
	return 0;
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

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "commands/commands.h"
#include "commands/configured.h"
#include "commands/export.h"
#include "commands/patterns.h"
#include "config/config.h"
#include "store/repair.h"

static const char usage_text[] =
    "usage: hearsay store check|export|rebuild [OPTION...]\n"
    "Look after the store.\n"
    "\n"
    "  check                  look at all of it for damage\n"
    "  export                 everything that waits, one JSON object a line\n"
    "  rebuild                make a new store of what can be read of a damaged one\n"
    "\n"
    "  -c, --config FILE      instead of the installed hearsay.conf\n"
    "  -h, --help             this text\n";

static int
failed(const struct err *e)
{
	fprintf(stderr, "hearsay store: %s\n", e->text);
	return EXIT_FAILED;
}

static int
check(const struct config *c)
{
	struct err_list problems = {0};
	struct err e;

	if (repair_check(c->store, &problems, &e) == -1)
		return failed(&e);
	if (errors_print(&problems) > 0) {
		fputs(
		    "the store is damaged; `hearsay store rebuild' makes a new one of what "
		    "can be read\n",
		    stderr);
		return EXIT_FAILED;
	}
	printf("ok: %s\n", c->store);
	return EXIT_DONE;
}

static int export(const struct config *c)
{
	struct err e;
	struct store *s = store_open_as(c->store, c->instance, STORE_READ, &e);
	int rc;

	if (s == NULL)
		return failed(&e);
	rc = export_waiting(s, NULL, NULL, &e);
	store_close(s);
	if (rc == -1)
		return failed(&e);
	return configured_printed() == -1 ? EXIT_FAILED : EXIT_DONE;
}

/* What was carried over goes to standard output, what was not to standard error. */
static int
rebuild(const struct config *c)
{
	struct repair_report report;
	struct err e;
	size_t i, lost = 0;
	int rc = repair_rebuild(c->store, clock_utc_ms(), &report, &e);

	if (rc == 0) {
		for (i = 0; i < report.carried.count; i++)
			printf("carried over: %s\n", report.carried.texts[i]);
		lost = report.lost.count;
		for (i = 0; i < lost; i++)
			fprintf(stderr, "lost: %s\n", report.lost.texts[i]);
		printf("the old store is kept as %s\n", report.aside);
	}
	repair_report_clear(&report);
	if (rc == -1)
		return failed(&e);
	return lost > 0 ? EXIT_FAILED : EXIT_DONE;
}

static const struct action {
	const char *name;
	int (*run)(const struct config *c);
	bool file; /* for stores that are files */
} actions[] = {
    {"check", check, true},
    {"export", export, false},
    {"rebuild", rebuild, true},
};

static const struct action *
action_of(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static int
run(const struct action *action, const char *path)
{
	struct err_list errs = {0};
	struct config *c = config_load(path, &errs);
	int status = EXIT_FAILED;

	if (c == NULL)
		(void)errors_print(&errs);
	else if (action->file && store_is_url(c->store))
		fprintf(stderr,
		    "hearsay store: PostgreSQL looks after its own damage; `hearsay store "
		    "%s' is for a store that is a file\n",
		    action->name);
	else
		status = action->run(c);
	config_free(c);
	return status;
}

int
cmd_store(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
	    {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
	const char *path = config_default_path();
	const struct action *action;
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
	action = argc - optind == 1 ? action_of(argv[optind]) : NULL;
	if (action == NULL) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	return run(action, path);
}

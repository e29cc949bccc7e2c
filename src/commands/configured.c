#include "commands/configured.h"

#include <stdio.h>

#include "base/err.h"
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

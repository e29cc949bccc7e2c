/*
 * configured - the configuration and the store that it names, for commands that
 * look into the store or change it beside the daemon.
 */
#ifndef HEARSAY_COMMANDS_CONFIGURED_H
#define HEARSAY_COMMANDS_CONFIGURED_H

#include "store/store.h"

struct config;
struct config_log;
struct err;

struct configured {
	struct config *config;
	struct store *store;
};

/* 0; or -1, when what is wrong was printed on stderr.  Close c in either case. */
int configured_open(struct configured *c, const char *path, enum store_mode mode);
void configured_close(struct configured *c);

/* What was printed is with whom it was for: 0, or -1 and a sentence on stderr. */
int configured_printed(void);

/*
 * Does the path of log lead to the file of one that stands before it?  Each line
 * would be told twice.  0: it does not; -1: it does.
 */
int configured_once(
    const struct config *config, const struct config_log *log, struct err *e);

/*
 * A command that takes -c FILE and --help and nothing else: parse, and call
 * work with the configuration's path.  Returns the exit status.
 */
int configured_command(
    int argc, char **argv, const char *usage_text, int (*work)(const char *path));

#endif

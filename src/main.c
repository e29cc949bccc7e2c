#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *what;
} commands[] = {
    {"run", cmd_run, "follow, tell, deliver"},
    {"replay", cmd_replay, "print the events of whole logs"},
    {"explain", cmd_explain, "say why each line of a log gave an event or none"},
    {"test", cmd_test, "run the packs' samples"},
    {"packs", cmd_packs, "list the packs and what each can tell"},
    {"check", cmd_check, "check configuration, packs, registrations and logs"},
    {"status", cmd_status, "show how far each log is read and each queue delivered"},
    {"queue", cmd_queue, "show, hold, retry and discard what waits"},
    {"history", cmd_history, "print the events that were accepted"},
    {"store", cmd_store, "check, export and rebuild the store"},
    {"listen", cmd_listen, "receive as an appservice would, and print the events"},
};

static void
usage(FILE *to)
{
	size_t i;

	fputs("usage: hearsay COMMAND [OPTION...] [ARGUMENT...]\n\n", to);
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].what);
	fputs("\n`hearsay COMMAND --help' tells a command's options; see hearsay(1).\n",
	    to);
}

/*
 * A file that we open must not be standard input or output where these were closed:
 * it would be read as a log, or get messages written into it.
 */
static void
open_standard(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd > STDERR_FILENO)
		(void)close(fd);
}

int
main(int argc, char **argv)
{
	size_t i;

	open_standard();
	/* A reader of our output or a receiver that goes away is an error we return, not an end. */
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("hearsay " HEARSAY_VERSION);
		return EXIT_DONE;
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	fprintf(stderr,
	    "hearsay: there is no command \"%s\"; `hearsay --help' lists them\n",
	    argv[1]);
	return EXIT_USAGE;
}

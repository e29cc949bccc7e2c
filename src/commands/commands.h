/*
 * commands - one function for each command of hearsay(1).
 *
 * argv[0] is the command's name.  Each returns the exit status of the program:
 * EXIT_DONE, EXIT_FAILED or EXIT_USAGE.
 */
#ifndef HEARSAY_COMMANDS_COMMANDS_H
#define HEARSAY_COMMANDS_COMMANDS_H

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int cmd_check(int argc, char **argv);
int cmd_explain(int argc, char **argv);
int cmd_history(int argc, char **argv);
int cmd_listen(int argc, char **argv);
int cmd_packs(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_store(int argc, char **argv);
int cmd_test(int argc, char **argv);

#endif

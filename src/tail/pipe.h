/*
 * pipe - standard input or a FIFO as a log: lines that come only once.
 *
 * Nothing in a pipe can be read again, so that there is no position to keep:
 * what was taken and not committed when the process is killed is lost.
 */
#ifndef HEARSAY_TAIL_PIPE_H
#define HEARSAY_TAIL_PIPE_H

struct err;
struct event_base;
struct source;
struct source_hooks;

/*
 * Read from path, a FIFO that exists, or "-", from the loop's next round on.  A
 * FIFO outlives its writers; standard input ends with them, and then lines gets
 * a last line without a newline too.  Borrows base; hooks is copied, and arg
 * handed to each of them.  NULL on error.
 */
struct source *pipe_open(struct event_base *base, const char *path,
    const struct source_hooks *hooks, void *arg, struct err *e);

#endif

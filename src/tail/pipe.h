/*
 * pipe - standard input or a FIFO as a log: lines that come only once.
 *
 * Nothing in a pipe can be read again, so that there is no position to keep:
 * what was taken and not committed when the process is killed is lost.
 */
#ifndef HEARSAY_TAIL_PIPE_H
#define HEARSAY_TAIL_PIPE_H

#include <stdint.h>

struct err;
struct event_base;
struct pipe;
struct tail_chunk;

/*
 * As the hook of tail: 0 where the chunk, whose log is NULL, was taken; 1: not
 * now, it is offered again after pipe_go_on.
 */
typedef int pipe_lines(void *arg, const struct tail_chunk *c);

/*
 * Read from path, a FIFO that exists, or "-", from the loop's next round on.  A
 * FIFO outlives its writers; standard input ends with them, and then lines gets
 * a last line without a newline too.  Borrows base.  NULL on error.
 */
struct pipe *pipe_open(struct event_base *base, const char *path, pipe_lines *lines,
    void *arg, struct err *e);
void pipe_close(struct pipe *p);

void pipe_go_on(struct pipe *p);
/* Take what was written already, without waiting for more; at most limit_ms. */
void pipe_drain(struct pipe *p, int64_t limit_ms);

#endif

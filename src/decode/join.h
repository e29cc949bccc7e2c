/*
 * join - the pieces of long lines, put together.
 *
 * Docker and CRI runtimes cut a line into pieces of 16 KiB, journald into pieces
 * of 48.  A cut may fall anywhere, also so that a user's text begins a piece:
 * only the whole says what the line was.  Between the pieces may stand lines of
 * other streams.
 */
#ifndef HEARSAY_DECODE_JOIN_H
#define HEARSAY_DECODE_JOIN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "decode/envelope.h"

struct join;

/* Where a line stands; of a joined one: its first piece. */
struct line_place {
	uint64_t file, offset;
};

struct join *join_new(void);
void join_free(struct join *j);

/*
 * What stands before the next line was not read: it may be the rest of a cut
 * one, and the first line that ends on each stream is passed over.
 */
void join_gap(struct join *j);

/*
 * What was read since the gap begins with a line of each stream: one on which
 * nothing came is within no line.
 */
void join_no_gap(struct join *j);

/*
 * Is w behind a piece of its line that is much older?  A container may have died
 * in between, and another one begun.
 */
bool join_paused(struct join *j, const struct wrapped *w);

/* The line that has not ended on this stream is passed over, to its end. */
void join_pass(struct join *j, uint64_t stream);

/*
 * Take the next envelope of a log.  true: a line ends with it, *line_r (in the
 * join, until its next call, or in w), which began at *place_r; *joined_r: it
 * came in pieces.  false: it goes on, or is passed over (for its length, more
 * than LINE_MAX_BYTES, for a gap, or as join_pass said).  A line whose writer
 * ended in the middle of it is forgotten.
 */
bool join_take(struct join *j, const struct wrapped *w, struct line_place at,
    struct slice *line_r, struct line_place *place_r, bool *joined_r);

/* Is any line without its end, so that the next envelope may be the rest of it? */
bool join_waits(const struct join *j);

/*
 * The oldest piece of a line that has not ended, or its newest one where the line
 * is passed over: what is before that is needed no more, and who reads on from
 * there sees that a piece stood there.  false: there is none.
 */
bool join_needs(const struct join *j, struct line_place *place_r);

/* Lines passed over for their length. */
uint64_t join_long_lines(const struct join *j);

#endif

/*
 * timestamp - the text of a time becomes milliseconds.
 */
#ifndef HEARSAY_DECODE_TIMESTAMP_H
#define HEARSAY_DECODE_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "pack/pack.h"

struct timestamp {
	int64_t ms; /* UTC; or, if local, the civil time counted as if it were UTC */
	bool local; /* the text names no zone */
};

/*
 * Read the whole of text as a time of that kind.  What is finer than a
 * millisecond is cut off; a leap second is the last millisecond before it.
 * 0, or -1 where the text is no such time (TIME_NONE: always), or one that the
 * calendar does not have.
 */
int timestamp_parse(enum time_kind kind, struct slice text, struct timestamp *ts_r);

#endif

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

/* A stamp of RFC 3164, "Nov 23 09:46:28": it does not say of which year. */
struct yearless {
	int month, day;
	int64_t clock_ms; /* since midnight */
};

/* Read the stamp that text begins with: its length, 0 where there is none. */
size_t timestamp_yearless(struct slice text, struct yearless *y_r);

/* The stamp in a year, as local time; -1 where that year has no such day. */
int timestamp_in_year(const struct yearless *y, int year, int64_t *local_ms_r);

/* The year that a UTC time lies in, from 1 to 9999. */
int timestamp_year(int64_t ms);

#endif

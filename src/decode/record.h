/*
 * record - one log line, taken apart: the same whatever the format was.
 */
#ifndef HEARSAY_DECODE_RECORD_H
#define HEARSAY_DECODE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "pack/pack.h"

struct record_field {
	struct slice name, value;
};

/*
 * The slices point into the line or into the arena that decoder_line was given.
 * A part that the line does not have is {NULL, 0}.
 */
struct record {
	const struct pack_format *format;
	struct slice part[PART_COUNT]; /* part[PART_TIME] is the text of the time */
	struct record_field *fields;   /* what the line has beyond the parts */
	size_t field_count;
	int64_t ts;      /* UTC ms */
	bool ts_of_line; /* false: the line has none; ts is of the envelope or as given */
	bool timed;      /* ts is of the line or of its envelope, and not astray */
	bool undone;     /* as in struct wrapped */
	bool cr;         /* it ended in CR LF, which are both cut off */
	bool odd;        /* and the log's lines do not, or the other way round */
	bool rest;       /* it may be of another line's text, cut off there */
};

/* The value of a field, or of a part by its name; {NULL, 0} where there is none. */
struct slice record_field(const struct record *r, const char *name);

#endif

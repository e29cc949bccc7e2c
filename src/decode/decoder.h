/*
 * decoder - lines of one file become records: envelope off, format found.
 *
 * Containers and collectors wrap lines (envelope.h); a pack holds several
 * formats for one server.  Both are found from the lines themselves and
 * remembered, one decoder a file.
 */
#ifndef HEARSAY_DECODE_DECODER_H
#define HEARSAY_DECODE_DECODER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/envelope.h"
#include "decode/join.h"
#include "decode/record.h"

struct arena;
struct decoder;
struct pack;
struct zone;

/* Borrows pack and zone until decoder_free. */
struct decoder *decoder_new(const struct pack *pack, const struct zone *zone);
void decoder_free(struct decoder *d);

/* The envelope as configured; else, or with ENVELOPE_AUTO, the lines show it. */
void decoder_set_envelope(struct decoder *d, enum envelope_kind kind);

/*
 * Find the envelope from the first of these lines, if it is not known yet.  One
 * line alone could be a user's; among its neighbours it can't pose as what a
 * collector wrote.
 */
void decoder_look(
    struct decoder *d, struct slice lines, int64_t fallback_ms, struct arena *a);

/* What stands before the next line was not read: it may be the rest of a cut one. */
void decoder_gap(struct decoder *d);
/* Yet what was taken since begins with a line of each stream, as in join.h. */
void decoder_no_gap(struct decoder *d);

/*
 * May any of these lines be a piece of a longer one, or not hold its text as it
 * is?  Then each of them has to go through decoder_unwrap, in order; else none need.
 */
bool decoder_cut(const struct decoder *d, struct slice lines);

/* A line out of its envelope, whole. */
struct unwrapped {
	struct slice line;
	struct line_place place; /* where it began */
	int64_t ms;              /* of the envelope; INT64_MIN: none */
	bool wrapped; /* line is what an envelope held; else as it stands in the log */
	bool undone;  /* as in struct wrapped */
	bool cut;     /* it may go on in a line of its own, */
	bool rest;    /* or be what another went on with */
	struct record_field *fields; /* as in its envelope */
	size_t field_count;
};

/*
 * Take the next line, which stands at at.  true and *u_r (until the next call,
 * or as long as line and arena), for decoder_unwrapped; false: it is a piece,
 * or the rest of what is passed over.
 */
bool decoder_unwrap(struct decoder *d, struct slice line, struct line_place at,
    int64_t fallback_ms, struct arena *a, struct unwrapped *u_r);

/* As decoder_line, for what decoder_unwrap gave. */
int decoder_unwrapped(struct decoder *d, const struct unwrapped *u, int64_t fallback_ms,
    struct arena *a, struct record *r_r);

/* Where the oldest line began that has not ended; false: there is none. */
bool decoder_needs(const struct decoder *d, struct line_place *place_r);

/* As many characters of line are the server's at least: not those of an envelope. */
size_t decoder_least(const struct decoder *d, struct slice line);

/* Joined lines that were passed over for their length. */
uint64_t decoder_long_lines(const struct decoder *d);

/*
 * Take line (without its newline) apart.  fallback_ms is the time of a line
 * that has none, and no line was written later.  1 and *r_r: a record.  0: no
 * record of this pack; the line goes on with the record before it (a traceback,
 * a message with a newline in it), or is foreign, or a piece of a line.
 */
int decoder_line(struct decoder *d, struct slice line, int64_t fallback_ms,
    struct arena *a, struct record *r_r);

/*
 * r was a line of the server's own, with its newline.  How most such lines ended
 * tells whether a CR is of the line's end or of its text; are there enough of them?
 */
void decoder_ended(struct decoder *d, const struct record *r);
bool decoder_knows_ends(const struct decoder *d);

/*
 * A record is the server's, and the newest: its time tells the two hours of an
 * autumn night apart, and years, in what follows.
 */
void decoder_believe(struct decoder *d, const struct record *r);
/*
 * The UTC ms of the newest such line, INT64_MIN where there was none; and the
 * same from the last run.
 */
int64_t decoder_last_ts(const struct decoder *d);
void decoder_set_last_ts(struct decoder *d, int64_t ts);
/* The UTC ms of line, of which nothing is kept; INT64_MIN: it tells none. */
int64_t decoder_time_of(
    struct decoder *d, struct slice line, int64_t fallback_ms, struct arena *a);

/* How often a regex found no answer within its limits, and the line was passed over. */
uint64_t decoder_match_errors(const struct decoder *d);

#endif

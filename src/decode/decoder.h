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

#include "decode/record.h"

struct arena;
struct decoder;
struct pack;
struct zone;

/* Borrows pack and zone until decoder_free. */
struct decoder *decoder_new(const struct pack *pack, const struct zone *zone);
void decoder_free(struct decoder *d);

/*
 * Take line (without its newline) apart.  fallback_ms is the time of a line
 * that has none.  1 and *r_r: a record.  0: no record of this pack; the line
 * goes on with the record before it (a traceback, a message with a newline in
 * it), or is foreign.
 */
int decoder_line(struct decoder *d, struct slice line, int64_t fallback_ms,
    struct arena *a, struct record *r_r);

/*
 * The UTC ms of the newest line so far, INT64_MIN where there was none; and the
 * same from the last run, to tell the two hours of an autumn night apart.
 */
int64_t decoder_last_ts(const struct decoder *d);
void decoder_set_last_ts(struct decoder *d, int64_t ts);

/* How often a regex found no answer within its limits, and the line was passed over. */
uint64_t decoder_match_errors(const struct decoder *d);

#endif

/*
 * rest - lines that may be the end of another, where nothing marks a cut.
 *
 * Who sends to syslog cuts a long text into messages of a certain size, each with
 * a header of its own: a user's words may begin one, and look like a line.
 */
#ifndef HEARSAY_DECODE_REST_H
#define HEARSAY_DECODE_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#define REST_LEAST 1024 /* no text is cut that is shorter */
#define REST_WRITERS 8  /* whose lines may be cut at one time */

/* Zero-initialised has seen nothing. */
struct rest {
	struct {
		uint64_t writer; /* 0: none */
		int64_t ms;
	} cut[REST_WRITERS]; /* those whose newest line may go on */
	unsigned next;
};

/* Is a text of that many bytes as long as one that was cut? */
bool rest_cut_at(size_t len);

/*
 * The next line of a writer was sent at ms (UTC; INT64_MIN: nobody knows): may it be
 * the rest of the one before it?
 */
bool rest_take(struct rest *r, struct slice writer, int64_t ms);

/* And may itself go on in another. */
void rest_cut(struct rest *r, struct slice writer, int64_t ms);

/* Was any line cut whose rest may be to come? */
bool rest_waits(const struct rest *r);

#endif

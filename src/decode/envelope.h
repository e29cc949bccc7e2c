/*
 * envelope - what a container or collector puts around a server's line.
 */
#ifndef HEARSAY_DECODE_ENVELOPE_H
#define HEARSAY_DECODE_ENVELOPE_H

#include <stdint.h>

#include "base/mem.h"

enum envelope_kind {
	ENVELOPE_NONE,
	ENVELOPE_DOCKER_JSON /* {"log":"…\n","stream":"…","time":"RFC 3339"}, one object a line */
};

/*
 * Take the envelope off: 1 and *inner_r (in line or in the arena, without the
 * newline), *time_r (UTC ms of the envelope, INT64_MIN if none); 0 where line
 * is in no envelope of this kind.  *inner_r is {NULL, 0} where the envelope
 * holds only the beginning of a line (Docker cuts at 16 KiB).
 */
int envelope_open(enum envelope_kind kind, struct slice line, struct arena *a,
    struct slice *inner_r, int64_t *time_r);

#endif

/*
 * entry - an entry of the journal as a line: the object, in JSON, that
 * `journalctl -o json --all` prints of it.
 *
 * A value that is no UTF-8, or has control characters other than tab and
 * newline, is an array of its bytes; the values of a field that has several are
 * an array of them.  No text can end the line, or the value that it stands in.
 */
#ifndef HEARSAY_TAIL_ENTRY_H
#define HEARSAY_TAIL_ENTRY_H

#include <stddef.h>

#include "base/mem.h"

/* The fields of one entry, "NAME=value" each.  Zero-initialised has none. */
struct entry {
	struct buf bytes; /* of all fields */
	struct entry_field {
		size_t at, name_len, len;
	} * fields;
	size_t count, room;
	size_t too_long; /* fields that were left out for their length */
};

/*
 * Add a field, copied.  One without '=', or of LINE_MAX_BYTES or more, is left
 * out; NUL bytes are allowed.
 */
void entry_add(struct entry *en, struct slice field);
/* Put the entry's line, with its newline, behind what line has. */
void entry_line(const struct entry *en, struct buf *line);
/* Forget the fields; the memory is kept. */
void entry_reset(struct entry *en);
void entry_free(struct entry *en);

#endif

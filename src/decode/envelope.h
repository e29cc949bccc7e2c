/*
 * envelope - what a container or collector puts around a server's line.
 */
#ifndef HEARSAY_DECODE_ENVELOPE_H
#define HEARSAY_DECODE_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

struct arena;
struct record_field;
struct zone;

enum envelope_kind {
	ENVELOPE_AUTO, /* found from the lines */
	ENVELOPE_NONE,
	ENVELOPE_DOCKER_JSON, /* {"log":"…\n","stream":"…","time":"RFC 3339"}, one object a line */
	ENVELOPE_CRI, /* "RFC-3339 stdout F …", or P for all but the last piece of a line */
	ENVELOPE_SYSLOG, /* RFC 5424, or RFC 3164 with its own stamp or an RFC 3339 one */
	ENVELOPE_JOURNAL /* {"MESSAGE":"…","__REALTIME_TIMESTAMP":"…",…}, as journalctl -o json */
};

/*
 * A writer's streams; lines of the one are cut apart from those of the other.  In
 * the journal there may be any number, and each has a hash as its number.
 */
enum {
	STREAM_STDOUT,
	STREAM_STDERR,
	STREAM_NONE /* of no stream: whole, and between no pieces of another */
};

struct wrapped {
	struct slice inner;  /* without its newline */
	struct slice writer; /* in syslog: host, tag and process, as they stand */
	int64_t ms;          /* UTC, of the envelope; INT64_MIN if it has none */
	bool stray;          /* ms is of no year near: it says nothing of other lines */
	uint64_t stream;
	bool undone; /* control characters were escaped in inner, or a user wrote it so */
	bool partial; /* inner goes on in the next envelope of its stream */
	bool lost;    /* inner was too long, and left out */
	bool broken;  /* and is shorter than what is ever cut off: unless that one is of
			 the same time, the writer ended here */
	struct record_field *fields; /* of the journal's entry, but for its message */
	size_t field_count;
};

/* What tells the year of a stamp that has none. */
struct envelope_clock {
	const struct zone *zone;
	int64_t last_ms;  /* of the line before; INT64_MIN: there is none */
	int64_t mtime_ms; /* the file's: no line in it is of a later day */
};

/*
 * Take the envelope off, and undo what it did to the text: true and *w_r, whose
 * inner lies in line or in the arena; false where line is in no envelope of this
 * kind.  Without a clock a stamp that names no year is no time.
 */
bool envelope_open(enum envelope_kind kind, struct slice line,
    const struct envelope_clock *clock, struct arena *a, struct wrapped *w_r);

/* Does a collector of this kind cut long lines into pieces, or hide what is in them? */
bool envelope_cuts(enum envelope_kind kind);

/*
 * A look that is much cheaper than to open it: true where line surely is the
 * envelope of a whole line, or of a line's last piece that is marked as such.
 */
bool envelope_ends_line(enum envelope_kind kind, struct slice line);

/*
 * Another cheap one: as many characters the server wrote into line at least.
 * What counts a user's must not count those of the envelope.
 */
size_t envelope_least(enum envelope_kind kind, struct slice line);

/* envelope_journal.c: the same for entries of the journal. */
bool envelope_open_journal(struct slice line, struct arena *a, struct wrapped *w_r);
size_t envelope_least_journal(struct slice line);
/*
 * Where the value of a quoted key begins in the text of an object, NULL where it has
 * none.  Within a string a quote stands behind a backslash, so that the key found is
 * never a user's.
 */
const char *envelope_json_value(struct slice line, const char *key);
/* The quote that ends a string, p behind the one that begins it; NULL: it has no end. */
const char *envelope_json_end(const char *p, const char *end);
/* The characters of the inside of a JSON string, at least. */
size_t envelope_least_json(const char *p, const char *end);

#endif

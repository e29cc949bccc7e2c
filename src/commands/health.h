/*
 * health - does a log still show what the pack was made for?
 *
 * A log can stop telling without a sound: its level was raised, its server
 * writes other words since an upgrade, or it is another server's.  A pack names
 * sentinels, lines that a healthy log keeps showing.  Bytes without them are
 * counted, and so are lines that have a rule's words in a form that none knows.
 */
#ifndef HEARSAY_COMMANDS_HEALTH_H
#define HEARSAY_COMMANDS_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct match;
struct matcher;
struct pack;
struct record;

/* Of one log; health_init it. */
struct health {
	const struct pack *pack;
	bool watched;   /* the pack has a sentinel */
	bool begun;     /* something was read */
	bool timed;     /* its lines tell the time */
	uint64_t bytes; /* since the last sentinel */
	int64_t since;  /* UTC ms, by the log's clock: of it, or of the first line read */
	int64_t now;    /* of the newest line */
	unsigned known, unknown; /* lines with a rule's words, lately */
	uint64_t unknown_ever;
};

void health_init(struct health *h, const struct pack *pack); /* borrows pack */

/*
 * len bytes are about to be read, whose last line is of the time line_ms (UTC;
 * INT64_MIN: it tells none), and that were written until written_ms.  The
 * latter counts only where no line of the log ever told the time: a log that
 * was copied, or is read days later, is as old as its lines say.
 */
void health_chunk(struct health *h, size_t len, int64_t line_ms, int64_t written_ms);

/* A line of it that holds some rule's words, and the rules that it fits. */
void health_line(struct health *h, struct matcher *m, const struct record *record,
    const struct match *matches, size_t count, struct arena *a);

/*
 * What is wrong, a sentence that stays the same as long as it is; "" if nothing
 * is.  In the arena.
 */
const char *health_trouble(const struct health *h, struct arena *a);

#endif

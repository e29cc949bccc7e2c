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
	uint64_t bytes; /* since the last sentinel */
	int64_t since;  /* UTC ms: when it was written, or the first that was read */
	int64_t now;    /* when the newest was written */
	unsigned known, unknown; /* lines with a rule's words, lately */
};

void health_init(struct health *h, const struct pack *pack); /* borrows pack */

/* len bytes are about to be read that were written until written_ms (UTC). */
void health_chunk(struct health *h, size_t len, int64_t written_ms);

/* A line of it that holds some rule's words, and the rules that it fits. */
void health_line(struct health *h, struct matcher *m, const struct record *record,
    const struct match *matches, size_t count, struct arena *a);

/*
 * What is wrong, a sentence that stays the same as long as it is; "" if nothing
 * is.  In the arena.
 */
const char *health_trouble(const struct health *h, struct arena *a);

#endif

/*
 * doubt - in a log that users can forge, which lines may be a user's text?
 *
 * Where a server writes text as it is, a newline in it begins a line, and that
 * line can look like any other.  What its author can't know is where the log
 * stands: the numbers of the requests, which of them are over, the moment.
 * Such a text stands right behind the line that carried it, before the server
 * writes anything else.  So behind a line that may carry text, until that
 * line's request is over, nothing is believed that begins there, and a line
 * that contradicts what is known betrays the text.
 *
 * Where lines have no request, the one that carries may name another that is
 * written behind the text, once (until.h).  What follows that is pending until
 * no second one can come.
 *
 * hearsay-pack(5), "Forgery", says what remains possible.
 */
#ifndef HEARSAY_EXTRACT_DOUBT_H
#define HEARSAY_EXTRACT_DOUBT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct doubt;
struct match;
struct pack;
struct record;

enum doubt_verdict {
	DOUBT_NONE,    /* as trustworthy as the format allows */
	DOUBT_PENDING, /* what follows will show it; see doubt_decided */
	DOUBT_HELD,    /* it may be a user's text: tell nothing by it */
	DOUBT_FORGED   /* it contradicts the log: it is a user's text */
};

/* Borrows pack, whose "request" says how a context is numbered. */
struct doubt *doubt_new(const struct pack *pack);
void doubt_free(struct doubt *d);

/* A record, where it stands, and the rules that it fits (none: no rule cares). */
struct doubt_line {
	uint64_t begin, end; /* characters before and behind; only differences count */
	const struct record *record;
	const struct match *matches;
	size_t match_count;
	const struct match *carrier; /* by which it may carry a text; or NULL */
	uint64_t longest;            /* and no text has more characters; 0: who knows */
	uint64_t file, offset;       /* its place, for doubt_needs */
	bool again;                  /* it was read before the last stop */
};

/* Judge the lines in the order of the log.  *why_r is a sentence for explain. */
enum doubt_verdict doubt_line(
    struct doubt *d, const struct doubt_line *line, const char **why_r);

/* The oldest line that must be read again to doubt as now: true; false: none must. */
bool doubt_needs(const struct doubt *d, uint64_t *file_r, uint64_t *offset_r);

/*
 * Lines are numbered as they are judged: the number of the line judged last, and
 * the highest one up to which nothing is pending.
 */
uint64_t doubt_number(const struct doubt *d);
uint64_t doubt_decided(const struct doubt *d);

/*
 * A line that is no record, where it was looked for one: is it awaited, and does
 * it show what doubt_betrayed tells?
 */
bool doubt_listens(const struct doubt *d);
void doubt_orphan(struct doubt *d);

/* The line judged last shows that what is pending behind line *number_r is forged. */
bool doubt_betrayed(const struct doubt *d, uint64_t *number_r);

/*
 * Whether the line taken last closes a request, outside of any zone, of which
 * all that is known was held, and held wrongly: a request that ends well has
 * said what it does.  False where a text could have guessed its number: where
 * something in its zone betrayed one, or the request began behind it.
 */
bool doubt_settled(const struct doubt *d);

/* May a line that nobody judges, behind the one judged last, be of a user's text? */
bool doubt_is_open(const struct doubt *d);

/* What is judged from now on was in the log by the time read_at (UTC ms). */
void doubt_clock(struct doubt *d, int64_t read_at);

/* The log was read to its end at the time now; INT64_MAX: it does not go on. */
void doubt_idle(struct doubt *d, int64_t now);

/* The server began anew: its numbers begin again. */
void doubt_reset(struct doubt *d);

#endif

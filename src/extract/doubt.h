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
struct pack_rule;
struct record;

enum doubt_verdict {
	DOUBT_NONE,  /* as trustworthy as the format allows */
	DOUBT_HELD,  /* it may be a user's text: tell nothing by it */
	DOUBT_FORGED /* it contradicts the log: it is a user's text */
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
	const struct pack_rule *carrier; /* by which it may carry a text; or NULL */
};

/* Judge the lines in the order of the log.  *why_r is a sentence for explain. */
enum doubt_verdict doubt_line(
    struct doubt *d, const struct doubt_line *line, const char **why_r);

/* Whether the line taken last may have carried text: look at the line behind it as well. */
bool doubt_carried(const struct doubt *d);

/* Behind a line that may have carried text, before its request is over. */
bool doubt_in_zone(const struct doubt *d);

/*
 * Whether the line taken last closes a request, outside of any zone, of which
 * all that is known was held, and held wrongly: a request that ends well has
 * said what it does.  False where a text could have guessed its number: where
 * something in its zone betrayed one, or the request began behind it.
 */
bool doubt_settled(const struct doubt *d);

/* What is taken from now on was in the log by the time read_at (UTC ms). */
void doubt_clock(struct doubt *d, int64_t read_at);

/* The server began anew: its numbers begin again. */
void doubt_reset(struct doubt *d);

#endif

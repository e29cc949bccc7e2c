/*
 * until - stretches behind lines that may carry a text, where the request that
 * wrote the text writes one more line behind it, once: its sequel.
 *
 * What stands before the sequel may be of the text.  What follows it is not, if
 * it is the only one: a text can hold a copy, but the true sequel comes then as
 * well.  So a stretch stays open behind its sequel until no second one can come:
 * the text can't reach so far, or so long ago it was read.
 */
#ifndef HEARSAY_EXTRACT_UNTIL_H
#define HEARSAY_EXTRACT_UNTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct doubt_line;
struct pack_rule;
struct until;

struct until *until_new(void);
void until_free(struct until *u);

/*
 * The line, the number-th of its log, may carry a text, which does not reach
 * beyond last; the sequel is of that rule.  NULL: there is none, and only a line
 * that is no record can show that there was a text.
 */
void until_open(struct until *u, const struct doubt_line *line, uint64_t last,
    const struct pack_rule *sequel, uint64_t number, int64_t now);

/* A line is no record: true, and what opened the oldest stretch without a sequel. */
bool until_orphan(const struct until *u, uint64_t *number_r);

enum until_sequel {
	SEQUEL_NONE,  /* the line is none of an open stretch */
	SEQUEL_FIRST, /* the first of its stretch */
	SEQUEL_SECOND /* there was one: what stands between is the text's */
};

/* What the line is; *number_r is of the line that opened its stretch. */
enum until_sequel until_line(
    struct until *u, const struct doubt_line *line, uint64_t *number_r);

/*
 * Close what a line that ends at end can't be of, and what was read long before
 * now; but nothing before what is older.
 */
void until_close(struct until *u, uint64_t end, int64_t now);

/* The server began anew: of what is open no request writes its sequel any more. */
void until_restart(struct until *u);

/* What is open was read at the time now. */
void until_wait_anew(struct until *u, int64_t now);

/* The line that opened the oldest open stretch: true, its number and place; or false. */
bool until_oldest(
    const struct until *u, uint64_t *number_r, uint64_t *file_r, uint64_t *offset_r);

/* Is the stretch open that the number-th line opened; has any open one seen its sequel? */
bool until_is_open(const struct until *u, uint64_t number);
bool until_pending(const struct until *u);

#endif

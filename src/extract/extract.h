/*
 * extract - from matches to events: what a request's lines tell together.
 *
 * One line seldom tells an event: "Logging in user …" is a login, a
 * registration or a refresh, as the access line of the same request says
 * later.  So a rule may remember its captures under the line's context, and a
 * later rule of the same context takes them up.  One extract serves one
 * homeserver; each of its logs has contexts of its own, and rules with a key
 * share what they remember among them.
 *
 * The clock is the logs' own: what never ends is forgotten when the log has
 * moved on, so that reading a log twice does the same twice.
 */
#ifndef HEARSAY_EXTRACT_EXTRACT_H
#define HEARSAY_EXTRACT_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_events;
struct arena;
struct extract;
struct extract_log;
struct match;
struct pack;
struct record;
struct slice;

struct extract_limits {
	int64_t
	    timeout_ms; /* a memory older than this, by its log's clock, is forgotten */
	size_t max;     /* memories kept per log; the oldest are forgotten first */
};

struct extract_stats {
	uint64_t timed_out; /* memories forgotten for their age */
	uint64_t crowded;   /* and for their number */
	uint64_t torn;      /* memories whose line was cut by a newline of a user's */
	uint64_t doubted;   /* lines that may be a user's text; counted by who doubts */
};

/* What became of one rule on one line, for explain. */
enum extract_outcome {
	OUTCOME_REMEMBERED,
	OUTCOME_TOLD,       /* count events */
	OUTCOME_KNOWN,      /* an event that was told before, and is not again */
	OUTCOME_RENEWED,    /* name: a type whose events may now be told again */
	OUTCOME_NOTHING,    /* the list of "each" was empty */
	OUTCOME_NO_CONTEXT, /* the rule needs one and the record has none */
	OUTCOME_WITHOUT,    /* name: a rule that had to be remembered and is not */
	OUTCOME_WITH,       /* name: a rule that must not be remembered and is */
	OUTCOME_NO_VALUE,   /* name: a capture that the event needs has no value */
	OUTCOME_ENDED,      /* the context ended; count memories were dropped */
	OUTCOME_RESET,
	OUTCOME_CARRIES, /* the line may carry a user's text that goes on behind it */
	OUTCOME_CARRIES_NONE, /* it would, but its request shows that there is none */
	OUTCOME_PENDING, /* its events wait until the log shows whether they are genuine */
	OUTCOME_DOUBTED  /* name: why the line may be a user's text; nothing follows */
};

/* Called for each rule of a line; may be NULL. */
typedef void extract_trace(void *arg, const struct match *m, enum extract_outcome outcome,
    const char *name, unsigned count);

/* A line with what it matched, and where it stands. */
struct extract_line {
	uint64_t file;
	uint64_t offset;
	const struct record *record;
	const struct match *matches;
	size_t match_count;
};

struct extract *extract_new(const struct extract_limits *limits);
void extract_free(struct extract *x); /* and its logs */

/* Add a log, whose lines match rules of pack; borrows pack. */
struct extract_log *extract_log_new(struct extract *x, const struct pack *pack);
/* Before extract_free, where the log is over: it is forgotten with what it remembers. */
void extract_log_free(struct extract_log *log);

/*
 * Take one line; its events are appended to out, in the arena.  Lines of one
 * log come in order.
 */
void extract_line(struct extract_log *log, const struct extract_line *line,
    struct arena *a, struct account_events *out, extract_trace *trace, void *trace_arg);

/*
 * Whether what m's rule asks for in "with" is remembered for a line that was not
 * taken yet, and nothing of "without".  *value_r, in the arena or until the next
 * call, is then the capture called name, {NULL, 0} where it has no value; name
 * may be NULL.
 */
bool extract_holds(struct extract_log *log, const struct extract_line *line,
    const struct match *m, struct arena *a, const char *name, struct slice *value_r);

/*
 * The log has no line before the time now (UTC ms) that was not taken: it is
 * read to its end, and other logs of its server need not wait for it.
 */
void extract_log_clock(struct extract_log *log, int64_t now);

/*
 * The line behind the one taken last is no record: a newline in what a user
 * chose may have cut that line.  What it remembered of open ends is dropped.
 */
void extract_torn(struct extract_log *log);

/*
 * Move what from remembers of a request to to, which remembers nothing of it:
 * lines that were doubted, and whose request turned out to be real.  Both logs
 * were added to their extract in the same place.  False: there was nothing to
 * move.  The arena is for the time of the call.
 */
bool extract_adopt(struct extract_log *to, struct extract_log *from, struct slice context,
    struct arena *a);

/* The oldest line that is still needed: true, file and offset; false: none is. */
bool extract_needs(const struct extract_log *log, uint64_t *file_r, uint64_t *offset_r);

void extract_log_stats(const struct extract_log *log, struct extract_stats *st_r);

#endif

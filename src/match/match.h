/*
 * match - the rules of a pack that a record fits, with what they captured.
 *
 * A record fits a rule when its logger and level are the rule's, its fields and
 * its message match the rule's patterns, and every capture is what its type
 * says: a user of the configured server, a list that Python would write…
 */
#ifndef HEARSAY_MATCH_MATCH_H
#define HEARSAY_MATCH_MATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pack/capture.h"

struct arena;
struct matcher;
struct pack;
struct pack_rule;
struct record;

/* A named value; the name is the pack's. */
struct capture {
	const char *name;
	struct value value;
	bool
	    open; /* unescaped text up to the line's end: a newline may have cut it there */
};

/* A rule that a record fits.  Lives in an arena. */
struct match {
	const struct pack_rule *rule;
	struct capture *captures;
	size_t capture_count;
};

/* Borrows pack and server_name (NULL: users of any server) until matcher_free. */
struct matcher *matcher_new(const struct pack *pack, const char *server_name);
void matcher_free(struct matcher *m);

/* The rules that r fits, in the pack's order, in the arena; how many. */
size_t matcher_record(
    struct matcher *m, const struct record *r, struct arena *a, struct match **matches_r);

/* Why a rule does not fit a record, for explain: the first thing that is in the way. */
enum match_miss {
	MISS_NOTHING, /* it fits */
	MISS_FORMAT,
	MISS_LOGGER,
	MISS_LEVEL,
	MISS_FIELD,
	MISS_TEXT, /* the message is not of the rule's form */
	MISS_VALUE /* a capture is not what its type says, or not what a field says */
};

enum match_miss matcher_try(struct matcher *m, const struct record *r,
    const struct pack_rule *rule, struct arena *a);

/*
 * Patterns that PCRE2 gave up on (match limit) since the start: never taken for
 * "no match" in silence.  rule_r (may be NULL) is the last such rule's name.
 */
uint64_t matcher_errors(const struct matcher *m, const char **rule_r);

#endif

/*
 * verdict - what an answer means, and how long to wait: "Delivery" of the
 * protocol as rows of a table.
 */
#ifndef HEARSAY_SEND_VERDICT_H
#define HEARSAY_SEND_VERDICT_H

#include <stddef.h>
#include <stdint.h>

#define RETRY_AFTER_MAX_MS (3600 * 1000) /* a receiver can't put us off for longer */
#define ERRCODE_MAX 64

enum verdict_action {
	VERDICT_ACCEPTED,
	VERDICT_ODD,        /* accepted, by a status that receivers should not use */
	VERDICT_RETRY,      /* after a backoff */
	VERDICT_AS_TOLD,    /* after Retry-After, if there is one */
	VERDICT_OTHER_PATH, /* the receiver does not know the path: try the other */
	VERDICT_PAUSE,      /* our configuration is wrong: retry slowly, loudly */
	VERDICT_SET_ASIDE   /* it refuses the body: retry, but not for ever */
};

struct verdict {
	int first, last; /* statuses */
	enum verdict_action action;
	const char *words; /* for messages; NULL: the status says it */
};

/*
 * The verdict on a status, 0 for none; errcode is "" where none came.  rows go
 * before the table; they are borrowed as long as the verdict.
 */
const struct verdict *verdict_of(
    const struct verdict *rows, size_t count, int status, const char *errcode);

/*
 * The errcode of a JSON answer.  "" where there is none, or one that is no
 * plain word, or holds secret: it goes into messages.
 */
void verdict_errcode(
    const char *body, size_t len, const char *secret, char errcode_r[ERRCODE_MAX + 1]);

/*
 * How long to wait after the attempt with this number (from 1) failed: drawn
 * evenly between min_ms and what doubles with each attempt, up to max_ms.
 */
int64_t verdict_backoff(
    int64_t min_ms, int64_t max_ms, unsigned attempt, uint64_t random);

#endif

/*
 * err - an error as a value: one sentence that an operator can act on.
 *
 * The text is made where the facts are known (which file, which line, errno);
 * each level above puts what it was doing in front; one place prints it.
 */
#ifndef HEARSAY_BASE_ERR_H
#define HEARSAY_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>

#define ERR_TEXT_MAX 1024 /* bytes, with the NUL; longer texts are cut */

struct err {
	char text[ERR_TEXT_MAX];
	bool passes; /* it may end by itself: worth trying again */
};

/*
 * Replace the text of e; it is an error that does not pass.  e may be NULL, for
 * callers that only need to know that something failed.  Always -1, so that
 * "return err_set(e, ...)" reads well.
 */
int err_set(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_set, with ": " and strerror(errno) behind the text. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Put a sentence and ": " before the text that e has.  Always -1. */
int err_add(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * A list of errors, for readers that tell all mistakes of a file at once.
 * Zero-initialised is empty.  The texts are owned by the list.
 */
struct err_list {
	char **texts;
	size_t count;
};

/* Add one text, "file:line: what is wrong; what to do" by convention.  Always -1. */
int err_list_add(struct err_list *l, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Free the texts; l is empty afterwards. */
void err_list_clear(struct err_list *l);

#endif

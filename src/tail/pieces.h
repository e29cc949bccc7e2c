/*
 * pieces - what is there that may be a log's, in the order it was written.
 *
 * The order is told by the names that rotation gives: a higher number is older,
 * an earlier date is.  The times of the last write are weaker evidence, for a
 * clock's tick is long and a late write sets them anew; they decide where the
 * names do not.
 */
#ifndef HEARSAY_TAIL_PIECES_H
#define HEARSAY_TAIL_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#include "tail/identity.h"

struct file;
struct tail_log;

#define LOOKS_MAX 50 /* at what changes all the time */

/* A file that may be a piece of the log. */
struct seen {
	char *path;
	const char *name;
	struct file_facts facts;
	bool live;  /* stands at the log's path */
	bool other; /* its name is none that rotation makes of the log's */
	int order;  /* by what: its name's number, its date, the time */
	long number;
	struct file *file; /* which one of the log's it is known as */
	bool guessed;      /* by bytes that others may have, too */
};

struct pieces {
	struct seen *seen; /* oldest first, the live one last */
	size_t count;
	int fd;    /* of the live one; -1 where there is none */
	int error; /* errno, where there is none */
	/* What could not be looked at, and its errno: there may be more than was seen. */
	const char *hidden;
	int hidden_error;
};

/*
 * Look at all that may be log's.  The directories are read until two readings
 * are the same, lest a file be missed that is renamed meanwhile.  fd is the
 * caller's to take (and to set to -1).
 */
void pieces_gather(struct tail_log *log, struct pieces *p_r);
void pieces_forget(struct pieces *p);

/* Has the name under which f was seen last a number or a date, as rotation gives it? */
bool pieces_were_rotated(const struct tail_log *log, const struct file *f);

/*
 * Where the file at the log's path stands, links followed: by the next start a
 * link may lead to another directory.  malloc'd.
 */
char *pieces_place(const struct tail_log *log, const struct file_facts *facts);

#endif

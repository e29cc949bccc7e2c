/*
 * sight - one look at the files of a log, in the making.
 *
 * sight.c takes the look, in three steps that each have a file: what is there
 * (pieces.h), what of it we know (known.c; for what was truncated or is gone,
 * copies.c), and what is new (unseen.c).  This header is theirs alone.
 */
#ifndef HEARSAY_TAIL_SIGHT_H
#define HEARSAY_TAIL_SIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tail/pieces.h"

#define NEAR_NS 10000000LL /* a tick of the clock, and what a stamp in ms cuts off */

struct file;
struct tail_log;

struct sight {
	struct tail_log *log;
	struct pieces p;
	int64_t since; /* what was written to later may be new */
	/* Files of which we had seen no line, and that are not there as they were. */
	unsigned begun;
	uint64_t begun_bytes; /* that we had read of their first lines */
	bool moved;
	bool was_live; /* something stood at the path before */
	bool last;     /* whatever we see now must do */
	bool stale;    /* what was seen changed while we looked */
	/*
	 * errno of what could not be read; 0: all could.  It may be anything: nothing
	 * is lost, and nothing new, before it can be.
	 */
	int hidden;
};

/* ---- sight.c ---- */

/*
 * Open what was seen; -1 where it is gone or another now, which makes s stale, or
 * where it can't be read, and then it is hidden.
 */
int sight_open(struct sight *s, struct seen *seen);
/* Likewise, but that it makes no difference if it can't be read. */
int sight_try(struct sight *s, struct seen *seen);
/* What stands at path could not be read, and error (errno) says why: that is said once. */
void sight_hide(struct sight *s, const char *path, int error);
/* Not all is known that must be before anything is given up, or begun. */
bool sight_waits(const struct sight *s);
/* f is to be read from fd (taken).  0, or -1: it is damaged, which is said. */
int sight_take(struct sight *s, struct file *f, int fd, const char *path);
/* A new file of the log, to be read from fd (taken). */
struct file *sight_add(struct sight *s, int fd, const char *path);
/* seen is none that is to be read, and need not be looked into again. */
void sight_remember(struct sight *s, struct seen *seen);
/* Is seen a piece of which we do not know yet what it is? */
bool sight_unknown(const struct seen *seen);
/* Was f found among the pieces? */
bool sight_knows(const struct sight *s, const struct file *f);
/* Where f may stand: behind all files that are older, before all that are newer. */
void sight_bounds(
    const struct sight *s, const struct file *f, size_t *from_r, size_t *end_r);
/* The newest file of which we have seen a byte; NULL: none. */
struct file *log_anchor(const struct tail_log *log);
/* Was an open file truncated, so that what we have of it may be in no copy that we saw? */
bool log_was_cut(const struct tail_log *log);

/* ---- known.c ---- */

/*
 * Let go the open files that were truncated: they are to be sought.  Before the
 * pieces are gathered, for a copy is older than the truncation.
 */
void known_check(struct sight *s);
/* Find the files that we know among the pieces, and open what of them is unread. */
void known_find(struct sight *s);

/* ---- copies.c ---- */

/* f was truncated in its place, or removed: take it from its copy.  True if there is one. */
bool copies_find(struct sight *s, struct file *f);
bool copies_find_removed(struct sight *s, struct file *f);
/*
 * What stands at the log's path, if that may be a copy of f by all but its bytes;
 * else NULL.
 */
struct seen *copies_live(const struct sight *s, const struct file *f);

/* ---- unseen.c ---- */

/* Take what is new, oldest first. */
void unseen_add(struct sight *s);
/* What had been begun, was lost unread, and is not among what is new: a gap. */
void unseen_lose_begun(struct sight *s);

#endif

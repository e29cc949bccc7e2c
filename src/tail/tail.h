/*
 * tail - follow logs: complete lines, in order, once, through every rotation.
 *
 * A log is followed by the path (or glob) that its server writes to.  Behind
 * one path stand several files in time (rotation); tail reads each to its end,
 * oldest first, and hands out chunks of complete lines with their place.
 *
 * tail knows nothing of what the lines mean, and stores nothing: it is given
 * the checkpoints of the last run and tells new ones when asked.
 */
#ifndef HEARSAY_TAIL_TAIL_H
#define HEARSAY_TAIL_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tail/checkpoint.h"

struct err;
struct event_base;
struct tail;
struct tail_log; /* one followed path; owned by tail, valid until over or tail_free */

#define LINE_MAX_BYTES (1024 * 1024) /* longer lines are passed over and counted */

/*
 * Files of a log that were deleted stay on the disk while they are held open, to
 * be read, or for late writers; beyond this the oldest are let go, and what was not
 * read of them is counted as a gap.
 */
#define DELETED_MAX 64
#define DELETED_MAX_BYTES (4ULL * 1024 * 1024 * 1024)

enum tail_start { TAIL_START_END, TAIL_START_BEGINNING };

enum tail_watch {
	TAIL_WATCH_AUTO,
	TAIL_WATCH_POLL /* no news come of what is written there: look every second */
};

/* How a log is followed. */
struct tail_how {
	enum tail_start start; /* where none of it was read before */
	enum tail_watch watch;
	/*
	 * Since when the path or glob is followed (UTC): what was written later is new,
	 * whatever start says, though none of it was read before.  0: from now on.
	 */
	int64_t since_ms;
};

/* Whole lines of one file.  Borrowed: valid only during the call. */
struct tail_chunk {
	struct tail_log *log;
	uint64_t file;   /* key of the file, as in its checkpoint */
	uint64_t offset; /* of data in the file */
	const char *data;
	size_t len; /* ends behind a newline, but for a final chunk */
	bool again; /* read before the last stop: rebuild state, tell nothing */
	bool final; /* the last line has no newline and never will */
	/*
	 * It stands before the first place that is read, in its file or journal: it was
	 * told, or never will be, and only shows whether that place is within a line
	 * which was cut into pieces.  Taken in any case.  Empty: nobody can tell.
	 */
	bool before;
	bool gap;         /* what stands right before it was not handed out */
	int64_t mtime_ms; /* the file's modification time */
};

struct tail_hooks {
	/*
	 * Take a chunk.  0: taken; tail goes on.  1: not now (the store is full or
	 * slow); the same chunk is offered again after tail_go_on.
	 */
	int (*lines)(void *arg, const struct tail_chunk *c);
	/*
	 * A path that a glob matched for the first time, before its first chunk.
	 * Returns the cookie of the new log, and through *cps_r (malloc'd, taken by
	 * tail, the paths in it too) what is known of it from the last run.
	 */
	void *(*found)(void *arg, void *glob_cookie, const char *path,
	    struct checkpoint **cps_r, size_t *count_r);
	/*
	 * Nothing has been left for an hour of a log that a glob matched, and all of it
	 * was read.  True: it is freed when this returns, and found asks for it anew if
	 * it comes back.  May be NULL: it stays.
	 */
	bool (*over)(void *arg, struct tail_log *log);
	/* A file of log changed its standing (new, finished, gone): ask for its checkpoints. */
	void (*moved)(void *arg, struct tail_log *log);
	/* Bytes that can't be had any more (size in bytes, 0 = unknown); why is a sentence. */
	void (*gap)(void *arg, struct tail_log *log, uint64_t bytes, const char *why);
};

struct tail_stats {
	uint64_t bytes;      /* read */
	uint64_t long_lines; /* passed over for their length */
	uint64_t behind;     /* bytes on disk not yet handed out */
	uint64_t rotations;
	uint64_t lost_bytes; /* known to be gone unread */
	bool missing;        /* there is no file at the path now */
};

/* hooks is copied; arg is handed to each of them.  Borrows base.  NULL on error. */
struct tail *tail_new(
    struct event_base *base, const struct tail_hooks *hooks, void *arg, struct err *e);
void tail_free(struct tail *t);

/*
 * Follow one path.  cps are the checkpoints of the last run (borrowed); none
 * means first sight, and then how says where to begin.  The path need not
 * exist yet.  cookie comes back from tail_log_cookie.  NULL on error.
 */
struct tail_log *tail_follow(struct tail *t, const char *path, struct tail_how how,
    const struct checkpoint *cps, size_t count, void *cookie, struct err *e);

/*
 * Follow every path that matches pattern (glob(7), absolute), now and later.  Each match
 * becomes a log of its own, through the found hook; a rotated piece of a log
 * that is already followed does not.  known (borrowed) are paths that were followed
 * in the last run: those that match and are not followed yet are at once, for what
 * is unread of them may stand elsewhere by now.  0, or -1 on error.
 */
int tail_follow_glob(struct tail *t, const char *pattern, struct tail_how how,
    char *const *known, size_t known_count, void *cookie, struct err *e);

/* Begin reading: what is there already is read from the event loop. */
int tail_start(struct tail *t, struct err *e);
/* After the lines hook returned 1: offer the chunk again and go on. */
void tail_go_on(struct tail *t);
/*
 * Read on until every log is at its end, without waiting for news: for a clean
 * end (SIGTERM).  At most limit_ms.
 */
void tail_drain(struct tail *t, int64_t limit_ms);

const char *tail_log_path(const struct tail_log *log);
void *tail_log_cookie(const struct tail_log *log);
void tail_log_stats(const struct tail_log *log, struct tail_stats *st_r);

/*
 * The checkpoints of log as of the last chunk that was taken, oldest file
 * first: *cps_r is malloc'd, and so are the paths in it; the caller frees both
 * (checkpoints_free).  resume is where reading stands in what is read again, else
 * offset: the caller sets an earlier one where it needs that, never a later one.
 * last_ts is as at tail_follow, or INT64_MIN for new files: the caller sets it.
 */
void tail_checkpoints(
    const struct tail_log *log, struct checkpoint **cps_r, size_t *count_r);
void checkpoints_free(struct checkpoint *cps, size_t count);
/*
 * Tell tail that file (and what is newer) is still needed from offset on, or,
 * with file 0, that nothing is: a finished file is remembered while needed.
 */
void tail_log_needs(struct tail_log *log, uint64_t file);

#endif

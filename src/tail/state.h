/*
 * state - what the files of tail share: the logs, their files, their turns.
 */
#ifndef HEARSAY_TAIL_STATE_H
#define HEARSAY_TAIL_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "tail/file.h"
#include "tail/tail.h"

/* Memory that runs out ends the process, as everywhere. */
#define uthash_fatal(msg) mem_exhausted()
#include <uthash.h>

#define EVIDENCE_MIN 256 /* bytes that two files do not begin with by chance */

struct event;
struct follow;
struct watch;

/* Milliseconds; tests make them short. */
struct tail_timing {
	int64_t
	    hold_ms; /* a rotated file is held on for late writers, anew at each write */
	int64_t slow_ms; /* between two looks at everything, news or not */
	int64_t rest_ms; /* between two readings of news, watch.h */
	int64_t over_ms; /* after which a glob's log of which nothing is left is let go */
	int64_t
	    poll_ms; /* between two looks where inotify is silent, watch.h, or the disk */
};

/* The names of one directory as they were a moment ago. */
struct listing {
	char *dir;
	int64_t read_ns;
	int64_t mtime_ns; /* of the directory, then */
	int error;        /* errno, where it could not be read */
	struct listing_name {
		char *name;
		uint64_t ino;
	} * names;
	size_t count;
};

/* Where a log's name, or the name that its link leads to, stands. */
struct spot {
	char *dir, *name;
};

struct tail_log {
	struct tail *tail;
	char *path;
	void *cookie;
	struct tail_how how;
	bool
	    first_sight; /* nothing is known of the last run, and no look was taken yet */
	bool matched;    /* by a glob; nobody asks for this path */
	bool look;       /* what stands at the path may have changed */
	bool stirred;   /* its file was written to, or truncated, since the last search */
	bool wake;      /* there may be more to read */
	bool queued;    /* for a turn */
	bool broken;    /* an error in reading was said */
	bool moved;     /* a file was finished: tell so after the turn */
	uint64_t begun; /* the file in which reading stands; 0: nothing was read yet */
	bool unsure;    /* the last look could not tell all; another one follows */
	bool again;     /* it is to be looked at when tail.again is over */
	int64_t
	    over_ms; /* since when nothing is left of it, as far as was looked; 0: there is */
	int path_error;      /* errno of the last look, said once */
	struct file *files;  /* oldest first */
	uint64_t generation; /* of the newest file ever */
	struct spot *spots;
	size_t spot_count;
	uint64_t *inodes; /* of the files, as inodes.c has them */
	size_t inode_count;
	struct tail_stats stats;
	uint64_t long_told; /* of the long lines, those before the newest chunk */
	struct tail_log *prev, *next;             /* of all logs */
	struct tail_log *queue_prev, *queue_next; /* of those that wait for a turn */
	UT_hash_handle hh;                        /* by path */
};

/* The logs that a path concerns: their own names, and what links lead to. */
struct place {
	char *path;
	struct tail_log **logs;
	size_t count;
	UT_hash_handle hh;
};

/* The logs that have a file of this inode. */
struct inode {
	uint64_t ino;
	struct tail_log **logs;
	size_t count;
	UT_hash_handle hh;
};

struct tail {
	struct event_base *base;
	struct tail_hooks hooks;
	void *arg;
	struct tail_timing timing;
	struct watch *watch;
	struct event *turn, *hold, *slow, *again;
	bool started;
	bool blocked; /* the lines hook said 1 */
	bool late;    /* something happened to a name that no log has: a held file's? */
	size_t held;  /* files */
	struct tail_log *logs, *queue;
	struct tail_log *by_path;
	struct place *places;
	struct inode *inodes;
	struct follow *follows; /* globs */
	struct listing *listing;
};

/* tail.c: tail_new with other times. */
struct tail *tail_new_timed(struct event_base *base, const struct tail_hooks *hooks,
    void *arg, const struct tail_timing *timing, struct err *e);
/* Give log a turn; look: what stands at its path may have changed. */
void tail_queue(struct tail_log *log, bool look);
/* What log has could not be read: look again in a moment, for no news come of that. */
void tail_look_again(struct tail_log *log);
/* A file of log is held until now + ms. */
void tail_hold_until(struct tail *t, int64_t ms);
/* The log that is followed as path; NULL: none is. */
struct tail_log *tail_find(const struct tail *t, const char *path);
/* Is dir one of those that the path of log, or a link on it, is in? */
bool tail_writes_in(const struct tail_log *log, const char *dir);
struct tail_log *tail_add_log(struct tail *t, const char *path, struct tail_how how,
    const struct checkpoint *cps, size_t count, void *cookie);

/* sight.c: find out which files are the log's, and open those with something unread. */
void sight_look(struct tail_log *log);
/* The same, though the path leads to the file that it led to before. */
void sight_search(struct tail_log *log);

/* Does f still stand where it was seen last? */
bool sight_stands(const struct file *f);

/* log.c: read, oldest file first, at most about budget bytes. */
enum log_turn { LOG_DONE, LOG_MORE, LOG_BLOCKED };
enum log_turn log_turn(struct tail_log *log, size_t budget);
/* Once, where reading begins: hand out what stands before that. */
void log_begin(struct tail_log *log);
void log_free(struct tail_log *log);
struct file *log_newest(const struct tail_log *log);
void log_append(struct tail_log *log, struct file *f);
void log_unhold(struct tail_log *log, struct file *f);
void log_gap(struct tail_log *log, uint64_t bytes, const char *why);

/*
 * copies.c: does f, at the path and none of its lines told, hold the text of the
 * file before it?  An editor renames a log, writes it anew and removes the old
 * one; what rotation renamed shares no more than a banner with the next one.
 * COPIED: f is gone, and that file goes on in its place.
 */
enum copying { COPIED_NOT, COPIED_IN_PART, COPIED };
enum copying copies_begun(struct tail_log *log, struct file *f);

/* places.c: which directories and names are the log's, links followed. */
void places_resolve(struct tail_log *log);
const struct place *places_find(const struct tail *t, const char *path);
void places_leave(struct tail_log *log);

/* inodes.c: whose file is it?  note: the files of log are others now. */
void inodes_note(struct tail_log *log);
const struct inode *inodes_find(const struct tail *t, uint64_t ino);
void inodes_leave(struct tail_log *log);

/* listing.c: dir as it was a moment ago, or as it is now. */
const struct listing *listing_get(struct tail *t, const char *dir);
void listing_forget(struct tail *t);

/* follow.c: globs. */
void follow_free_all(struct tail *t);
/* Look for new matches everywhere, or in dir and below it. */
void follow_look(struct tail *t, const char *dir);
/* Something happened to name in dir, which is no log's: a copy may have grown into one. */
void follow_news(struct tail *t, const char *dir, const char *name, bool named);

#endif

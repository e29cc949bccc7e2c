/*
 * sqlite - what the parts of the store in SQLite share: sqlite.c (opening, logs,
 * sending), sqlite_sql.c (the statements) and sqlite_queue.c (edits, forgetting,
 * looking).
 */
#ifndef HEARSAY_STORE_SQLITE_H
#define HEARSAY_STORE_SQLITE_H

#include <stdint.h>
#include <sys/types.h>

#include "store/backend.h"
#include "store/db.h"

struct checkpoint;

#define EPOCH_BYTES 16

struct sqlite_place {
	dev_t dev;
	ino_t ino;
};

struct sqlite {
	struct store store; /* first: sqlite_of */
	struct db *db;
	enum store_mode mode;
	char *path;
	int lock;  /* -1: not held */
	int watch; /* readable after another's edit; -1: cannot be had */
	char epoch[2 * EPOCH_BYTES + 1];
	uint64_t waiting;     /* deliveries; kept with STORE_OWN only, while */
	int64_t data_version; /* SQLite says by this that nobody else wrote */
	int64_t swept;        /* id of the last event that was looked at by a sweep */
	uint64_t pending;     /* deliveries put since store_begin */
	int fd; /* the file once more, to allocate its blocks; -1: not to be written */
	int64_t backed;                /* bytes of it that have theirs */
	bool full;                     /* there was no room for events */
	struct sqlite_place file, log; /* where they were at the start */
};

enum statement {
	BEGIN_WRITE,
	COMMIT,
	COUNT_COMMIT,
	ADD_LOG,
	ADD_APPSERVICE,
	ADD_EVENT,
	COUNT_EVENT,
	ADD_DELIVERY,
	WAS_TOLD,
	TOUCH_LOG,
	PUT_HEALTH,
	FORGET_FILES,
	ADD_FILE,
	FILES_OF_LOG,
	FILES_OF_ALL,
	FOLLOWED,
	PUT_FOLLOWED,
	COUNT_WAITING,
	WAITING,
	QUEUED,
	NEXT_SEQUENCE,
	ADD_TRANSACTION,
	ASSIGN,
	ACCEPT,
	ACCEPTED_BY,
	FAIL,
	FAILED_BY,
	HELD,
	HOLD_QUEUE,
	RELEASE_QUEUE,
	RETRY_WAITING,
	REVIVE_ALL,
	SET_ASIDE,
	REVIVE,
	NOT_ACCEPTED,
	FIRST_NOT_ACCEPTED,
	DROP_DELIVERIES,
	DROP_QUEUED,
	DROP_EVENT,
	DROP_TRANSACTION,
	DISCARDED,
	OLDEST_ACCEPTED,
	UNTOLD_UP_TO,
	COUNT_UNTOLD,
	DROP_UNTOLD,
	LOG_STATUSES,
	QUEUE_STATUSES,
	COUNT_ACCEPTED,
	COUNT_APPSERVICES,
	ITEMS,
	TELL_ACCEPTED,
	TELL_QUEUED,
	STATEMENT_COUNT
};

extern const char *const sqlite_statements[STATEMENT_COUNT];

struct sqlite *sqlite_of(struct store *store);

/* Make the file, with nothing in it, where there is none. */
int sqlite_make_file(const char *path, struct err *e);
/* What each connection that writes needs. */
int sqlite_set_up_writing(struct sqlite *s, struct err *e);
/* A transaction of a few statements. */
int sqlite_begin_here(struct sqlite *s, struct err *e);
int sqlite_commit_here(struct sqlite *s, struct err *e);
/*
 * Run a statement that gives at most one row with one number: 1 and *n_r, 0
 * without a row.  It is run to its end, as one that changes something must be.
 */
int sqlite_ask(struct sqlite *s, enum statement i, const struct db_arg *args,
    size_t count, int64_t *n_r, struct err *e);
/* A row's first columns as a checkpoint; its path is the row's and lives as long as that. */
int sqlite_checkpoint(
    sqlite3_stmt *st, struct checkpoint *cp_r, const char **path_r, struct err *e);
/* A row's first columns as a transaction in the arena. */
struct transaction sqlite_transaction(sqlite3_stmt *st, struct arena *a);

/* ---- its files: sqlite_files.c ---- */

struct sqlite_pages {
	int64_t size, used, unused; /* bytes of each; and how many */
};

int sqlite_pages(struct sqlite *s, struct sqlite_pages *p_r, struct err *e);
/* How many free ones are not to be used for events, nor given back. */
int sqlite_pages_kept(
    struct sqlite *s, const struct sqlite_pages *p, int64_t *kept_r, struct err *e);
/*
 * Before events are committed: have room for the delivery of all that waits.
 * 0, or -1 where the disk does not have it.
 */
int sqlite_keep_room(struct sqlite *s, struct err *e);
/* Before any commit: blocks for the pages that it adds to the file. */
int sqlite_back_pages(struct sqlite *s, struct err *e);
int sqlite_set_up_log(struct sqlite *s, struct err *e);
/* Remember the files by their inodes, and be told when they are removed. */
void sqlite_know_files(struct sqlite *s);
/*
 * Are the files still in their place?  What was in a log that is gone is saved,
 * and there is a new one: 0, or -1 where they are not.  In no transaction.
 */
int sqlite_find_files(struct sqlite *s, struct err *e);
/* Close the file. */
void sqlite_leave(struct sqlite *s);

int sqlite_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e);
int sqlite_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e);
int sqlite_files(struct store *store, struct arena *a, struct store_file **out_r,
    size_t *count_r, struct err *e);
int sqlite_log_statuses(struct store *store, struct arena *a,
    struct store_log_status **out_r, size_t *count_r, struct err *e);
int sqlite_queue_statuses(struct store *store, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e);
int sqlite_size(struct store *store, struct store_size *size_r, struct err *e);
int sqlite_items(struct store *store, const char *appservice, const char *id,
    int64_t after, struct arena *a, struct store_item **out_r, size_t *count_r,
    struct err *e);
int sqlite_tell(struct store *store, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e);

#endif

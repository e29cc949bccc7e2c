/*
 * sqlite - what the parts of the store in SQLite share: sqlite.c (opening, logs,
 * sending), sqlite_sql.c (the statements) and sqlite_queue.c (edits, forgetting,
 * looking).
 */
#ifndef HEARSAY_STORE_SQLITE_H
#define HEARSAY_STORE_SQLITE_H

#include <stdint.h>

#include "store/backend.h"
#include "store/db.h"

struct checkpoint;

#define EPOCH_BYTES 16

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
};

enum statement {
	BEGIN_WRITE,
	COMMIT,
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
	ITEMS,
	TELL_ACCEPTED,
	TELL_QUEUED,
	STATEMENT_COUNT
};

extern const char *const sqlite_statements[STATEMENT_COUNT];

struct sqlite *sqlite_of(struct store *store);

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

int sqlite_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e);
int sqlite_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e);
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

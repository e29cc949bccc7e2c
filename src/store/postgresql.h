/*
 * postgresql - what the parts of the store in PostgreSQL share: postgresql.c
 * (the connection, locks, logs), postgresql_send.c (the right to send, and
 * sending), postgresql_queue.c (edits, forgetting, looking) and
 * postgresql_sql.c (the statements).
 */
#ifndef HEARSAY_STORE_POSTGRESQL_H
#define HEARSAY_STORE_POSTGRESQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/backend.h"
#include "store/pq.h"

#define EPOCH_BYTES 16

struct postgresql {
	struct store store; /* first: postgresql_of */
	struct pq *pq;
	enum store_mode mode;
	char *instance;
	char epoch[2 * EPOCH_BYTES + 1];

	struct right *rights; /* to send: postgresql_send.c */
	size_t rights_count;

	/* What is known of this connection. */
	char **known; /* appservices that have a row */
	size_t known_count;

	/* What is known of this transaction. */
	char *log; /* that events come from; NULL: none so far */
	int64_t log_id;
	int64_t log_events; /* put, and not yet counted in its row */
	uint64_t pending;   /* deliveries put */
	bool ordered;       /* LOCK_ORDER is held */

	uint64_t waiting;   /* deliveries, as of counted_ms */
	int64_t counted_ms; /* monotonic; 0: never */

	int64_t excess;      /* bytes over the bound that are still to be forgotten */
	int64_t measured_ms; /* when that was found out, monotonic; 0: never */
	int64_t swept;       /* id of the last event that was looked at by a sweep */

	bool was_connected;
	int watched; /* epoll: the connection, whichever that is, and nudge */
	int nudge;   /* eventfd: notifications that came along with an answer */
};

enum statement {
	TRY_LOCK,
	LOCK,
	HOLDER,
	LOCK_ORDER,
	NOTIFY_OTHERS,

	FIND_LOG,
	ADD_LOG,
	COUNT_EVENTS,
	ADD_APPSERVICE,
	ADD_EVENT,

	TOUCH_LOG,
	PUT_HEALTH,
	FORGET_FILES,
	ADD_FILE,
	FILES_OF_LOG,
	FILES_OF_ALL,
	FOLLOWED,
	PUT_FOLLOWED,

	LAST_SENDER,
	TAKE_OVER,
	RELEASE,
	STANDING,

	COUNT_WAITING,
	ANYTHING_WAITS,
	WAITING,
	QUEUED,
	NEXT_SEQUENCE,
	ADD_TRANSACTION,
	ASSIGN,
	ACCEPT,
	ACCEPTED_BY,
	FAIL,
	FAILED_BY,

	TRY_FORGET,
	WAS_TOLD,
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
	DROP_EVENTS,
	DROP_TRANSACTION,
	DISCARDED,
	OLDEST_ACCEPTED,
	UNTOLD_UP_TO,
	DROP_UNTOLD,

	LOG_STATUSES,
	QUEUE_STATUSES,
	COUNT_ACCEPTED,
	BYTES,
	BYTES_IN_USE,
	ITEMS,
	TELL_ACCEPTED,
	TELL_QUEUED,
	STATEMENT_COUNT
};

extern const char *const postgresql_statements[STATEMENT_COUNT];

struct postgresql *postgresql_of(struct store *store);

/* Have a connection, with all that belongs to one: locks are to be taken anew. */
int postgresql_ready(struct postgresql *s, struct err *e);
/*
 * Begin on the connection that is there: who holds a lock of it must not go on
 * with another.
 */
int postgresql_begin_here(struct postgresql *s, struct err *e);
void postgresql_undo(struct postgresql *s);
int64_t postgresql_lock_number(const char *kind, const char *name);

/* A row's first columns as a checkpoint; its path lives as long as the row. */
int postgresql_checkpoint(const PGresult *r, int row, struct checkpoint *cp_r,
    const char **path_r, struct err *e);
/* The connection is lost, and all rights with it; or: it is to be closed. */
void postgresql_lose_rights(struct postgresql *s);
void postgresql_release_rights(struct postgresql *s);
int postgresql_may_send(
    struct store *store, const char *appservice, int64_t *again_ms_r, struct err *e);
int postgresql_may_go_on(struct store *store, const char *appservice, struct err *e);
int postgresql_next_transaction(struct store *store, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e);
int postgresql_accepted(struct store *store, const char *appservice, const char *id,
    int status, int64_t now, struct err *e);
int postgresql_failed(struct store *store, const char *appservice, const char *id,
    int status, const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
    struct err *e);

/* A row's first columns as a transaction in the arena. */
struct transaction postgresql_transaction(const PGresult *r, int row, struct arena *a);

int postgresql_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e);
int postgresql_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e);
int postgresql_files(struct store *store, struct arena *a, struct store_file **out_r,
    size_t *count_r, struct err *e);
int postgresql_log_statuses(struct store *store, struct arena *a,
    struct store_log_status **out_r, size_t *count_r, struct err *e);
int postgresql_queue_statuses(struct store *store, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e);
int postgresql_size(struct store *store, struct store_size *size_r, struct err *e);
int postgresql_items(struct store *store, const char *appservice, const char *id,
    int64_t after, struct arena *a, struct store_item **out_r, size_t *count_r,
    struct err *e);
int postgresql_was_told(struct store *store, const char *appservice,
    const struct account_event *ev, bool *told_r, struct err *e);
int postgresql_tell(struct store *store, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e);

#endif

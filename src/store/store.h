/*
 * store - what must survive: how far each log is read, and the outbox.
 *
 * One promise holds the module together: the events made from a stretch of a
 * log, their assignment to appservices and the checkpoint behind that stretch
 * reach the disk in one transaction.  A second promise: a transaction to an
 * appservice, once formed, keeps its id and its bytes until it is accepted.
 *
 * The store knows nothing of patterns, of HTTP or of registrations, and calls
 * nobody back.  All times are UTC milliseconds and are given by the caller.
 */
#ifndef HEARSAY_STORE_STORE_H
#define HEARSAY_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account_event;
struct arena;
struct checkpoint;
struct err;
struct store;

enum store_mode {
	STORE_OWN, /* the daemon: locks the store; a second one is told the pid of the first */
	STORE_READ, /* status and the like: beside a running daemon, changes nothing */
};

/*
 * Open the store called name: the path of a file, or "postgresql://…".  A file
 * ("….lock" beside it is the lock) is made with STORE_OWN where there is none
 * (mode 0600).  A store of a newer schema, or a corrupt one, is refused with
 * the way on in the message.  NULL on error.
 */
struct store *store_open(const char *name, enum store_mode mode, struct err *e);
/*
 * Several hearsays share one store in PostgreSQL: each has an instance, whose
 * logs and lock are its own.  NULL is the name of this host.
 */
struct store *store_open_as(
    const char *name, const char *instance, enum store_mode mode, struct err *e);
void store_close(struct store *s); /* NULL is allowed; nothing is left to save */

/* ---- reading logs ---------------------------------------------------- */

/*
 * The checkpoints of the log, oldest file first; count 0 on first sight.
 * *cps_r is malloc'd, as are the paths in it: checkpoints_free of tail.h.
 * 0, or -1 on error.
 */
int store_checkpoints(struct store *s, const char *log, struct checkpoint **cps_r,
    size_t *count_r, struct err *e);

/* One assignment of an event to an appservice's queue. */
struct store_delivery {
	const char *appservice; /* id */
	const char *key;        /* body key, "m.synthetic_events" or prefixed */
	const char *type;       /* as it goes over the wire */
};

/*
 * Open one transaction, put any number of events and checkpoints in it, and
 * commit; or undo.  Nothing is on disk before store_commit returned 0; after
 * -1 the store is as it was before store_begin (the caller rolls back).
 */
int store_begin(struct store *s, struct err *e);
/*
 * Put one event and its deliveries.  An event whose place is already there is
 * left alone, and so are its deliveries: *new_r (may be NULL) tells.
 */
int store_put_event(struct store *s, const char *log, const struct account_event *ev,
    const struct store_delivery *to, size_t count, int64_t now, bool *new_r,
    struct err *e);
/* Replace all checkpoints of log. */
int store_put_checkpoints(struct store *s, const char *log, const struct checkpoint *cps,
    size_t count, int64_t now, struct err *e);
int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);

/* Deliveries that wait in all queues together, for back-pressure. */
int store_waiting(struct store *s, uint64_t *count_r, struct err *e);

/* ---- sending ---------------------------------------------------------- */

#define TXN_EVENTS_MAX 100        /* spec: the Synapse branch's figure */
#define TXN_BODY_MAX (512 * 1024) /* bytes; spec */

/* A transaction to an appservice.  Strings live in the arena that was given. */
struct transaction {
	const char *id; /* txnId: never repeats, never looks like an integer */
	const char *body;
	size_t body_len;
	unsigned events;
	int64_t formed_ms;
	unsigned attempts;    /* so far */
	int64_t first_try_ms; /* 0: none yet */
	int64_t next_try_ms;  /* not before; 0: at once */
};

/*
 * Ask for the right to send to appservice, which one hearsay has at a time and
 * keeps until its store is closed or its connection ends.  1: it is ours.  0:
 * another has it; *waits_r tells whether anything waits there now, so that it
 * is worth asking again in a while.  -1 on error.
 */
int store_may_send(struct store *s, const char *appservice, bool *waits_r, struct err *e);

/*
 * A descriptor to wait at: readable when another hearsay committed deliveries,
 * or when the connection changed.  It stays the same while s is open; -1: there
 * is nothing to wait for.
 */
int store_fd(struct store *s);
/*
 * What made it readable.  1: look at all queues; 0: nothing of importance; -1:
 * the connection is lost, and the next call of any function tries to have it back.
 */
int store_noticed(struct store *s, struct err *e);

/*
 * The transaction that is next for appservice: the one that waits, or a new
 * one, formed from the oldest queued deliveries (those that share one body
 * key, within the limits above) and committed before this returns.
 * 1 and *txn_r filled; 0 when nothing waits; -1 on error.
 */
int store_next_transaction(struct store *s, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e);

/* The receiver accepted txn id with the HTTP status. */
int store_accepted(struct store *s, const char *appservice, const char *id, int status,
    int64_t now, struct err *e);
/* An attempt failed; error is a sentence without secrets.  It is due again at next_try_ms. */
int store_failed(struct store *s, const char *appservice, const char *id, int status,
    const char *error, int64_t next_try_ms, int64_t now, struct err *e);

/* ---- looking ------------------------------------------------------------ */

struct store_log_status {
	const char *log;
	size_t files;
	struct checkpoint *newest; /* of the newest file; NULL if none */
	int64_t read_ms;           /* when the checkpoint was last committed */
	uint64_t events;           /* ever told from it */
};

struct store_queue_status {
	const char *appservice;
	uint64_t queued; /* deliveries not yet accepted, in a formed transaction or not */
	int64_t oldest_ms;       /* ts when the oldest of these was queued; 0 none */
	uint64_t accepted;       /* events ever */
	int64_t last_success_ms; /* 0 never */
	int64_t last_failure_ms; /* 0 never */
	int last_status;         /* HTTP; 0 where none came */
	const char *last_error;  /* "" where there is none */
	unsigned attempts;       /* of the transaction that waits */
	int64_t next_try_ms;
};

/* Each fills an array in the arena.  0, or -1 on error. */
int store_log_statuses(struct store *s, struct arena *a, struct store_log_status **out_r,
    size_t *count_r, struct err *e);
int store_queue_statuses(struct store *s, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e);

#endif

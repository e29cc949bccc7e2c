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
	STORE_EDIT  /* store_edit beside a running daemon or without; takes no lock */
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
/* Is name a url, and no path? */
bool store_is_url(const char *name);
/*
 * Open it for the daemon, with STORE_OWN.  While interrupt, a descriptor, can
 * be read, no call waits for a server for longer than about a second.  Where the
 * error passes (err.h), the server is away or another program holds the file, and
 * it is worth trying again.
 */
struct store *store_open_own(
    const char *name, const char *instance, int interrupt, struct err *e);
/* The name as it may be shown: without a password.  malloc'd. */
char *store_shown(const char *name);
/*
 * Can the store at a url be reached, and be used or made there?  Changes
 * nothing.  0, or -1 and why not.
 */
int store_reach(const char *url, struct err *e);
void store_close(struct store *s); /* NULL is allowed; nothing is left to save */

/* ---- reading logs ---------------------------------------------------- */

/*
 * The checkpoints of the log, oldest file first; count 0 on first sight.
 * *cps_r is malloc'd, as are the paths in it: checkpoints_free of tail.h.
 * 0, or -1 on error.
 */
int store_checkpoints(struct store *s, const char *log, struct checkpoint **cps_r,
    size_t *count_r, struct err *e);

/* One file of a log. */
struct store_file {
	const char *log;
	struct checkpoint *cp;
};

/*
 * The checkpoints of all our logs in an array in the arena, the files of each log
 * oldest first.  0, or -1 on error.
 */
int store_files(struct store *s, struct arena *a, struct store_file **out_r,
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
/*
 * Was the event of ev's place ever put for appservice?  As far as the store
 * remembers: what was accepted is forgotten after a time.
 */
int store_was_told(struct store *s, const char *appservice,
    const struct account_event *ev, bool *told_r, struct err *e);
/* Replace all checkpoints of log. */
int store_put_checkpoints(struct store *s, const char *log, const struct checkpoint *cps,
    size_t count, int64_t now, struct err *e);
/* What is wrong with log, a sentence, or "": it is well.  Its checkpoints were put before. */
int store_put_health(
    struct store *s, const char *log, const char *text, int64_t now, struct err *e);
/*
 * Since when name, a path or a glob of the configuration, is followed: *since_ms_r,
 * 0: it never was.  0, or -1 on error.
 */
int store_followed(struct store *s, const char *name, int64_t *since_ms_r, struct err *e);
/* It is followed from the time since_ms on, unless it was before. */
int store_put_followed(
    struct store *s, const char *name, int64_t since_ms, struct err *e);
int store_commit(struct store *s, struct err *e);
void store_rollback(struct store *s);

/* Deliveries that wait in all queues together, for back-pressure; dead letters don't. */
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
	unsigned attempts;        /* so far */
	int64_t first_try_ms;     /* 0: none yet */
	int64_t next_try_ms;      /* not before; 0: at once */
	unsigned refusals;        /* attempts that the receiver refused the body of */
	int64_t first_refusal_ms; /* 0: none yet */
};

/*
 * Ask for the right to send to appservice, which one hearsay has at a time and
 * keeps until its store is closed or its connection ends.  1: it is ours.  0:
 * another has it, or had it and may not know yet that it lost it: it is worth
 * asking again in *again_ms_r, or, where that is 0, when something new is
 * queued.  -1 on error.
 */
int store_may_send(
    struct store *s, const char *appservice, int64_t *again_ms_r, struct err *e);

/* Are there others who would send what we do not? */
bool store_is_shared(struct store *s);
#define STORE_RIGHT_MS 1000 /* how often to ask the following, at the least */
/*
 * May the attempt go on that was begun with the last transaction of
 * store_next_transaction?  Ask before bytes of it go out, and while it waits for
 * its answer.  1: yes.  0: the right is lost: cut it.  -1: nobody can be asked,
 * and another may begin: cut it.
 */
int store_may_go_on(struct store *s, const char *appservice, struct err *e);

/*
 * A descriptor to wait at: readable when another process edited a queue or
 * committed deliveries, or when the connection changed.  It stays the same while s is open; -1: there
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
 * 1 and *txn_r filled; 0 when nothing waits, or the queue is on hold; -1 on
 * error.
 */
int store_next_transaction(struct store *s, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e);

/*
 * The receiver accepted txn id with the HTTP status.  One that was discarded
 * meanwhile, or is another's to send by now, is no error and left as it is,
 * here and in store_failed.
 */
int store_accepted(struct store *s, const char *appservice, const char *id, int status,
    int64_t now, struct err *e);
/* What becomes of a transaction after an attempt that failed. */
enum store_then {
	STORE_TRY_AGAIN,
	STORE_REFUSED,  /* try again, and count that the body was refused */
	STORE_SET_ASIDE /* a dead letter: the queue goes on without it */
};

/* An attempt failed; error is a sentence without secrets.  It is due again at next_try_ms. */
int store_failed(struct store *s, const char *appservice, const char *id, int status,
    const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
    struct err *e);

/* ---- by hand ------------------------------------------------------------ */

enum store_edit {
	STORE_HOLD,    /* a queue rests; a transaction is set aside */
	STORE_RELEASE, /* the queue goes on; the transaction is back in it */
	STORE_RETRY,   /* what waits is due at once; a dead letter is back in the queue */
	STORE_RETRY_DEAD, /* all dead letters of a queue are back in it */
	STORE_DISCARD     /* gone for ever; of a queue, all that waits and is set aside */
};

/*
 * Change the queue of appservice, or, where id is not NULL, one transaction
 * that was not accepted.  The daemon, if it runs, notices (store_fd).  A large
 * discard is done in steps; what was done before an error stays done.
 * 1 and *events_r (may be NULL) how many events it concerned; 0 where there is
 * no such queue or transaction; -1 on error.
 */
int store_edit(struct store *s, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e);

/* ---- what was accepted long ago ------------------------------------------- */

/*
 * Forget a few of the transactions accepted before the time before, oldest
 * first, with their events; and a few events that nobody was to be told of.
 * Where the store has more than size_max bytes in use, those accepted later
 * go, too.  It takes milliseconds.  1: there is more to forget now; 0: there
 * is not, and *oldest_ms_r is when the oldest that is left was accepted (0:
 * none is left); -1 on error.
 */
int store_forget(struct store *s, int64_t before, uint64_t size_max, int64_t *oldest_ms_r,
    struct err *e);

/* ---- looking ------------------------------------------------------------ */

struct store_log_status {
	const char *log;
	size_t files;
	struct checkpoint *newest; /* of the newest file; NULL if none */
	int64_t read_ms;           /* when the checkpoint was last committed */
	uint64_t events;           /* ever told from it */
	const char *health;        /* what is wrong with it; "": nothing */
	int64_t health_ms;         /* when that was put; 0: never */
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
	int64_t held_ms;    /* since when it rests; 0: it does not */
	uint64_t dead;      /* dead letters: transactions */
	uint64_t odd;       /* transactions accepted by an odd status, ever */
	uint64_t discarded; /* events, ever */
};

struct store_size {
	uint64_t bytes, free_bytes; /* on disk; of these, not in use */
	uint64_t kept;              /* accepted transactions that are kept */
	int64_t oldest_ms;          /* when the oldest of these was accepted; 0 none */
};

/* Each fills an array in the arena.  0, or -1 on error. */
int store_log_statuses(struct store *s, struct arena *a, struct store_log_status **out_r,
    size_t *count_r, struct err *e);
int store_queue_statuses(struct store *s, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e);
int store_size(struct store *s, struct store_size *size_r, struct err *e);

#define STORE_PAGE 50 /* items at a time, of the two below */

/* A transaction that was not accepted. */
struct store_item {
	int64_t place; /* in the order of the store: for the next page */
	const char *appservice;
	struct transaction txn;
	int64_t oldest_ms; /* when its first delivery was queued */
	int64_t dead_ms;   /* when it was set aside; 0: it waits */
	int status;        /* of the last attempt; 0: no answer, or no attempt */
	const char *error; /* of the last attempt; "" if none */
};

/*
 * The next transactions that were not accepted, behind the place after (0: from
 * the beginning), at most STORE_PAGE; count 0: no more.  appservice and id may
 * be NULL: all.
 */
int store_items(struct store *s, const char *appservice, const char *id, int64_t after,
    struct arena *a, struct store_item **out_r, size_t *count_r, struct err *e);

/* An event for an appservice: accepted, or in no transaction yet. */
struct store_told {
	int64_t place;
	const char *appservice;
	const char *txn; /* "": in none yet */
	const char *key, *type, *user_id, *content, *source, *log;
	int64_t ts, queued_ms;
	int64_t accepted_ms; /* 0: not yet */
	int status;
};

struct store_which {
	bool accepted; /* these, or those that are in no transaction yet */
	const char *appservice, *user_id; /* NULL: any */
	int64_t since_ms;                 /* accepted, or queued, then or later */
};

/* As store_items: the next events of that kind. */
int store_tell(struct store *s, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e);

#endif

/*
 * pq - one connection to PostgreSQL: statements prepared once, arguments with
 * types, a bound on every wait, and errors that tell the way on.
 *
 * A connection that is lost stays lost until pq_connect: what depended on it
 * (locks, a transaction) is gone too, and the caller must know.
 */
#ifndef HEARSAY_STORE_PQ_H
#define HEARSAY_STORE_PQ_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/arg.h"

struct buf;
struct err;
struct pq;

/*
 * The store's url as it may be shown: without a password.  malloc'd; NULL
 * where it is none, and the message then does not repeat it.
 */
char *pq_shown(const char *url, struct err *e);

/*
 * Prepare for connecting to url; application (copied) is what others see of
 * us.  sql (borrowed) holds the statements, which go by their index.  nudge is
 * an eventfd that is written to when a notification of another connection comes
 * in, be it beside an answer.  As soon as interrupt can be read (-1: there is
 * none) no wait goes on for longer than a second.  NULL where url is none.
 */
struct pq *pq_new(const char *url, const char *application, int nudge, int interrupt,
    const char *const *sql, size_t count, struct err *e);
void pq_free(struct pq *p); /* NULL is allowed */
/* How long an answer may take from now on, before the connection is given up. */
void pq_set_patience(struct pq *p, int64_t ms);

/* The url without its password, for messages. */
const char *pq_name(const struct pq *p);

/*
 * Connect, in at most two seconds for each host of the url.  Soon after an attempt that failed the
 * answer is that failure again, so that a server that is gone does not hold up
 * its caller for most of the time.  An error passes (err.h) where it need not be
 * a mistake of ours: the server is away, starts, is full, or is a standby.
 */
int pq_connect(struct pq *p, struct err *e);
void pq_disconnect(struct pq *p);
/* False after the connection was lost; looks at what has arrived. */
bool pq_connected(struct pq *p);
/* The socket, -1 where there is no connection. */
int pq_fd(const struct pq *p);
/* When the last question was asked that the server has answered on this connection; clock_boot_ms. */
int64_t pq_proof_ms(const struct pq *p);
/* Run statements that are used once.  0, or -1 on error. */
int pq_exec(struct pq *p, const char *sql, struct err *e);
/* The number that a statement gives which is used once. */
int pq_ask_once(struct pq *p, const char *sql, int64_t *n_r, struct err *e);
/*
 * Run statement i, which gives rows or none: its result, which the caller gives
 * to PQclear.  NULL on error.
 */
PGresult *pq_query(
    struct pq *p, size_t i, const struct db_arg *args, size_t count, struct err *e);
/* Run statement i; *changed_r (may be NULL) is how many rows it changed. */
int pq_run(struct pq *p, size_t i, const struct db_arg *args, size_t count,
    int64_t *changed_r, struct err *e);
/* Run statement i for one number: 1 and *n_r, 0 without a row, -1 on error. */
int pq_ask(struct pq *p, size_t i, const struct db_arg *args, size_t count, int64_t *n_r,
    struct err *e);

/* End the transaction well.  One that failed before is none that can be. */
int pq_commit(struct pq *p, struct err *e);
/* Undo, if a transaction is open. */
void pq_rollback(struct pq *p);

/* A column that is bigint; NULL is 0. */
int64_t pq_number(const PGresult *r, int row, int column);
uint64_t pq_bits(const PGresult *r, int row, int column);
/* A column that is text or bytea, with a NUL behind it; "" for NULL. */
const char *pq_text(const PGresult *r, int row, int column);

/* Add an element to the literal of an array of text; begin with an empty buffer. */
void pq_array_add(struct buf *b, const char *text);
/* The end of it, as an argument that a statement casts to text[]. */
struct db_arg pq_array(struct buf *b);

#endif

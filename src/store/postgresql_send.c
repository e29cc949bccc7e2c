/*
 * The store in PostgreSQL: who may send, the next transaction, what came of it.
 *
 * The right to send to an appservice is an advisory lock of the session.  While
 * a session lives nobody else has its locks; so whoever asks the server over the
 * connection that took the lock, and is answered, had the right when it asked.
 * But a sender can stand still, or be cut off from the server, with a request
 * under way: its session ends, another takes the lock, and it does not know.
 * Hence three things:
 *
 * - A request goes on for LEASE_MS at most after a question that the server
 *   answered (may_go_on), by a clock that goes on while the machine sleeps.
 * - Who takes the lock from one that did not give it back waits for longer than
 *   that before it sends.
 * - Each taking has a number in the table senders, the turn.  Who lost the right
 *   may have it again, but an attempt of an earlier turn is over: it can neither
 *   go on nor have failed.  Transactions are formed, accepted and failed only
 *   where the number there is ours, as seen in the same transaction.
 *
 * What is left: bytes that the kernel has, and a stop between the question and
 * the writing.  They are of the transaction that was under way, which its next
 * sender sends first, with the same id and the same bytes.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "store/body.h"
#include "store/postgresql.h"

#define LEASE_MS 3000
#define WAIT_OUT_MS 3500 /* longer: clocks do not run alike */
#define ASK_AGAIN_MS 2000

struct right {
	char *appservice;
	bool held;        /* its lock is this connection's */
	int64_t turn;     /* ours, the last; 0: there was none */
	int64_t attempt;  /* the turn in which the last attempt was begun */
	int64_t from_ms;  /* not to be used before; clock_boot_ms, and so is the next */
	int64_t proof_ms; /* when the server was asked last that says it is held */
};

/* ---- the right to send --------------------------------------------------- */

static struct right *
right_of(struct postgresql *s, const char *appservice)
{
	size_t i;

	for (i = 0; i < s->rights_count; i++)
		if (strcmp(s->rights[i].appservice, appservice) == 0)
			return &s->rights[i];
	s->rights = xreallocarray(s->rights, s->rights_count + 1, sizeof(*s->rights));
	s->rights[s->rights_count] = (struct right){.appservice = xstrdup(appservice)};
	return &s->rights[s->rights_count++];
}

void
postgresql_lose_rights(struct postgresql *s)
{
	size_t i;

	for (i = 0; i < s->rights_count; i++)
		s->rights[i].held = false;
}

/* One that was not to be used yet is not given back: the wait is the next one's, too. */
void
postgresql_release_rights(struct postgresql *s)
{
	size_t i;

	for (i = 0; i < s->rights_count; i++) {
		const struct right *r = &s->rights[i];

		/* Where this fails the next one waits, as after any other end. */
		if (r->held && clock_boot_ms() >= r->from_ms)
			(void)pq_run(s->pq, RELEASE,
			    DB_ARGS(db_text(r->appservice), db_number(r->turn)), NULL,
			    NULL);
		free(r->appservice);
	}
	free(s->rights);
	s->rights = NULL;
	s->rights_count = 0;
}

/* The lock is ours: see who had it, and count on. */
static int
take_over(struct postgresql *s, struct right *r, struct err *e)
{
	PGresult *was = pq_query(s->pq, LAST_SENDER, DB_ARGS(db_text(r->appservice)), e);
	int64_t turn = 0;
	bool released = true;

	if (was == NULL)
		return -1;
	if (PQntuples(was) > 0) {
		turn = pq_number(was, 0, 0);
		released = pq_number(was, 0, 1) != 0;
	}
	PQclear(was);
	if (turn != 0 && turn == r->turn) /* we, before the connection was lost */
		return 0;
	if (pq_run(s->pq, TAKE_OVER, DB_ARGS(db_text(r->appservice), db_number(turn + 1)),
		NULL, e) == -1)
		return -1;
	r->turn = turn + 1;
	r->from_ms = released ? 0 : clock_boot_ms() + WAIT_OUT_MS;
	return 0;
}

/* Have the lock.  1; 0: another has it; -1 on error. */
static int
hold(struct postgresql *s, struct right *r, struct err *e)
{
	int64_t got = 0;

	if (s->mode != STORE_OWN)
		return err_set(e, "the store is not open for sending");
	if (postgresql_ready(s, e) == -1)
		return -1;
	if (r->held)
		return 1;
	if (pq_ask(s->pq, TRY_LOCK,
		DB_ARGS(db_number(postgresql_lock_number("appservice", r->appservice))),
		&got, e) == -1 ||
	    (got == 1 && take_over(s, r, e) == -1))
		return -1;
	r->held = got == 1;
	return r->held;
}

/* Have the lock, and need not wait: 1; 0, and how long; -1. */
static int
may_send(struct postgresql *s, struct right *r, int64_t *wait_ms_r, struct err *e)
{
	int held = hold(s, r, e);
	int64_t wait = r->from_ms - clock_boot_ms();

	*wait_ms_r = held == 1 && wait > 0 ? wait : 0;
	return held == 1 && wait > 0 ? 0 : held;
}

int
postgresql_may_send(
    struct store *store, const char *appservice, int64_t *again_ms_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct right *r = right_of(s, appservice);
	int64_t waits = 0;
	int may = may_send(s, r, again_ms_r, e);

	if (may == 0 && !r->held) {
		if (pq_ask(s->pq, ANYTHING_WAITS, DB_ARGS(db_text(appservice)), &waits,
			e) == -1)
			may = -1;
		*again_ms_r = waits == 1 ? ASK_AGAIN_MS : 0;
	}
	if (may == -1)
		return err_add(e, "cannot ask for the right to send to %s", appservice);
	return may;
}

int
postgresql_may_go_on(struct store *store, const char *appservice, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct right *r = right_of(s, appservice);
	int held;

	if (r->held)
		r->proof_ms = pq_proof_ms(s->pq);
	if (r->held && r->attempt == r->turn &&
	    clock_boot_ms() - r->proof_ms < STORE_RIGHT_MS)
		return 1;
	held = hold(s, r, e);
	if (held == 1 && pq_proof_ms(s->pq) == r->proof_ms &&
	    pq_exec(s->pq, "SELECT 1", e) == -1)
		held = -1;
	if (held == -1)
		return clock_boot_ms() - r->proof_ms < LEASE_MS ? 1 : -1;
	r->proof_ms = pq_proof_ms(s->pq);
	return held == 1 && r->attempt == r->turn;
}

/* ---- transactions --------------------------------------------------------- */

/* Others put and deliver too, so that the count may be behind. */
static void
count_down(struct postgresql *s, int64_t n)
{
	uint64_t events = n < 0 ? 0 : (uint64_t)n;

	s->waiting -= events < s->waiting ? events : s->waiting;
}

struct transaction
postgresql_transaction(const PGresult *r, int row, struct arena *a)
{
	const char *id = pq_text(r, row, 0);
	size_t len = (size_t)PQgetlength(r, row, 1);

	return (struct transaction){
	    .id = arena_strndup(a, id, strlen(id)),
	    .body_len = len,
	    .body = arena_strndup(a, pq_text(r, row, 1), len),
	    .events = (unsigned)pq_number(r, row, 2),
	    .formed_ms = pq_number(r, row, 3),
	    .attempts = (unsigned)pq_number(r, row, 4),
	    .first_try_ms = pq_number(r, row, 5),
	    .next_try_ms = pq_number(r, row, 6),
	    .refusals = (unsigned)pq_number(r, row, 7),
	    .first_refusal_ms = pq_number(r, row, 8),
	};
}

/* The transaction that waits: 1 and *txn_r, 0 where none does. */
static int
waiting(struct postgresql *s, const char *appservice, int64_t now, struct arena *a,
    struct transaction *txn_r, struct err *e)
{
	PGresult *r =
	    pq_query(s->pq, WAITING, DB_ARGS(db_text(appservice), db_number(now)), e);
	int found;

	if (r == NULL)
		return -1;
	found = PQntuples(r) > 0;
	if (found == 1)
		*txn_r = postgresql_transaction(r, 0, a);
	PQclear(r);
	return found;
}

/* The oldest deliveries as one body. */
struct gathered {
	struct body body;
	int64_t last; /* id of the last delivery in it */
	int64_t oldest_ms;
};

/* 1: g holds some; 0: none are queued. */
static int
gather(struct postgresql *s, const char *appservice, struct gathered *g, struct err *e)
{
	PGresult *r = pq_query(
	    s->pq, QUEUED, DB_ARGS(db_text(appservice), db_number(TXN_EVENTS_MAX)), e);
	int row, rows;

	if (r == NULL)
		return -1;
	rows = PQntuples(r);
	for (row = 0; row < rows; row++) {
		if (row == 0) {
			g->oldest_ms = pq_number(r, 0, 3);
			body_begin(&g->body, pq_text(r, 0, 1));
		}
		if (strcmp(pq_text(r, 0, 1), pq_text(r, row, 1)) != 0 ||
		    !body_add(&g->body, pq_text(r, row, 2), pq_text(r, row, 4),
			pq_number(r, row, 5)))
			break;
		g->last = pq_number(r, row, 0);
	}
	PQclear(r);
	if (rows == 0)
		return 0;
	body_end(&g->body);
	return 1;
}

/* Give what was gathered an id, and store it as a transaction. */
static int
keep(struct postgresql *s, const char *appservice, const struct gathered *g, int64_t now,
    struct err *e)
{
	int64_t sequence, seq, assigned;
	char id[sizeof(s->epoch) + 32];

	if (pq_ask(s->pq, NEXT_SEQUENCE, NULL, 0, &sequence, e) != 1)
		return -1;
	(void)snprintf(id, sizeof(id), "hs-%s-%" PRId64, s->epoch, sequence);
	if (pq_ask(s->pq, ADD_TRANSACTION,
		DB_ARGS(db_text(id), db_text(appservice),
		    db_bytes(g->body.text.p, g->body.text.len), db_number(g->body.events),
		    db_number(g->oldest_ms), db_number(now)),
		&seq, e) != 1 ||
	    pq_run(s->pq, ASSIGN,
		DB_ARGS(db_number(seq), db_text(appservice), db_number(g->last)),
		&assigned, e) == -1)
		return -1;
	if (assigned != g->body.events)
		return err_set(e,
		    "a transaction of %u events took %" PRId64 " deliveries",
		    g->body.events, assigned);
	return 0;
}

/* Form a transaction from the queue: 1, or 0 where nothing is queued. */
static int
form(struct postgresql *s, const char *appservice, int64_t now, struct err *e)
{
	struct gathered g = {0};
	int found = gather(s, appservice, &g, e);

	if (found == 1 && keep(s, appservice, &g, now, e) == -1)
		found = -1;
	buf_free(&g.body.text);
	return found;
}

static int
next(struct postgresql *s, const struct right *r, int64_t now, struct arena *a,
    struct transaction *txn_r, struct err *e)
{
	int64_t rests = 0;
	int found = pq_ask(s->pq, STANDING,
	    DB_ARGS(db_text(r->appservice), db_number(r->turn)), &rests, e);

	if (found == 0)
		return err_set(e,
		    "another has the right to send, though its lock is ours: what pools "
		    "connections to the store must pool sessions");
	if (found == -1 || rests != 0)
		return found == -1 ? -1 : 0;
	found = waiting(s, r->appservice, now, a, txn_r, e);
	if (found != 0)
		return found;
	found = form(s, r->appservice, now, e);
	/* Read back: what is sent now is what would be sent after a restart. */
	return found == 1 ? waiting(s, r->appservice, now, a, txn_r, e) : found;
}

int
postgresql_next_transaction(struct store *store, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct right *r = right_of(s, appservice);
	int64_t wait;
	int found = may_send(s, r, &wait, e);

	if (found == 0)
		return 0;
	if (found == -1 || postgresql_begin_here(s, e) == -1)
		goto fail;
	found = next(s, r, now, a, txn_r, e);
	if (found == -1 || pq_commit(s->pq, e) == -1)
		goto undo;
	r->attempt = r->turn;
	return found;

undo:
	postgresql_undo(s);
fail:
	return err_add(e, "cannot get the next transaction for %s", appservice);
}

/* 1 and *events_r: accepted now; 0: it was accepted before, or is gone. */
static int
accept_transaction(struct postgresql *s, const struct right *r, const char *id,
    int status, int64_t now, int64_t *events_r, struct err *e)
{
	int found = pq_ask(s->pq, ACCEPT,
	    DB_ARGS(db_text(id), db_text(r->appservice), db_number(now),
		db_number(status), db_number(r->turn)),
	    events_r, e);

	if (found == 1 &&
	    pq_run(s->pq, ACCEPTED_BY,
		DB_ARGS(db_text(r->appservice), db_number(*events_r), db_number(now),
		    db_number(status)),
		NULL, e) == -1)
		return -1;
	return found;
}

/* That it was accepted is true in a later turn, too. */
int
postgresql_accepted(struct store *store, const char *appservice, const char *id,
    int status, int64_t now, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct right *r = right_of(s, appservice);
	int64_t events = 0;
	int done = hold(s, r, e);

	if (done == 0)
		return 0;
	if (done == -1 || postgresql_begin_here(s, e) == -1)
		goto fail;
	done = accept_transaction(s, r, id, status, now, &events, e);
	if (done == -1 || pq_commit(s->pq, e) == -1)
		goto undo;
	if (done == 1)
		count_down(s, events);
	return 0;

undo:
	postgresql_undo(s);
fail:
	return err_add(e, "cannot note that %s accepted", appservice);
}

int
postgresql_failed(struct store *store, const char *appservice, const char *id, int status,
    const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
    struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct right *r = right_of(s, appservice);
	int64_t events;
	int found = hold(s, r, e);

	if (found == 0 || (found == 1 && r->attempt != r->turn))
		return 0;
	if (found == -1 || postgresql_begin_here(s, e) == -1)
		goto fail;
	found = pq_ask(s->pq, FAIL,
	    DB_ARGS(db_text(id), db_text(appservice), db_number(now), db_number(status),
		db_number(next_try_ms), db_text(error), db_number(then == STORE_REFUSED),
		db_number(then == STORE_SET_ASIDE), db_number(r->turn)),
	    &events, e);
	if (found == -1 ||
	    pq_run(s->pq, FAILED_BY,
		DB_ARGS(db_text(appservice), db_number(now), db_number(status),
		    db_text(error)),
		NULL, e) == -1 ||
	    pq_commit(s->pq, e) == -1)
		goto undo;
	if (found == 1 && then == STORE_SET_ASIDE)
		count_down(s, events);
	return 0;

undo:
	postgresql_undo(s);
fail:
	return err_add(e, "cannot note that an attempt at %s failed", appservice);
}

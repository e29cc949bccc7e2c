/*
 * The store in PostgreSQL: edits by hand, forgetting what is old, looking.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#include "store/postgresql.h"
#include "tail/checkpoint.h"

#define FORGET_TRANSACTIONS 4  /* at once: a few milliseconds */
#define SWEEP_EVENTS 200       /* looked at at once */
#define MEASURE_MS 60000       /* between two looks at the statistics */
#define DISCARD_DELIVERIES 500 /* in one step */

/* ---- by hand, and for its age -------------------------------------------- */

static int
begin(struct postgresql *s, struct err *e)
{
	if (s->mode == STORE_READ)
		return err_set(e, "the store is open for reading only");
	return postgresql_ready(s, e) == -1 ? -1 : postgresql_begin_here(s, e);
}

/* Run a statement: how many rows it gives, and their numbers added up in *sum_r. */
static int64_t
add_up(struct postgresql *s, enum statement i, const struct db_arg *args, size_t count,
    int64_t *sum_r, struct err *e)
{
	PGresult *r = pq_query(s->pq, i, args, count, e);
	int row, rows;

	if (r == NULL)
		return -1;
	rows = PQntuples(r);
	*sum_r = 0;
	for (row = 0; row < rows; row++)
		*sum_r += pq_number(r, row, 0);
	PQclear(r);
	return rows;
}

/* Delete deliveries, and those events that are in none any more; their number or -1. */
static int64_t
drop_deliveries(struct postgresql *s, enum statement i, const struct db_arg *args,
    size_t count, struct err *e)
{
	PGresult *r = pq_query(s->pq, i, args, count, e);
	struct buf events = {0};
	int row, rows;

	if (r == NULL)
		return -1;
	rows = PQntuples(r);
	for (row = 0; row < rows; row++)
		buf_addf(
		    &events, "%s%" PRId64, row == 0 ? "{" : ",", pq_number(r, row, 0));
	PQclear(r);
	if (rows > 0) {
		buf_addc(&events, '}');
		if (pq_run(s->pq, DROP_EVENTS, DB_ARGS(db_text(events.p)), NULL, e) == -1)
			rows = -1;
	}
	buf_free(&events);
	return rows;
}

static int
drop_transaction(struct postgresql *s, int64_t seq, struct err *e)
{
	if (drop_deliveries(s, DROP_DELIVERIES, DB_ARGS(db_number(seq)), e) == -1)
		return -1;
	return pq_run(s->pq, DROP_TRANSACTION, DB_ARGS(db_number(seq)), NULL, e);
}

/* The numbers of the first row, of which there are that many: 1, or 0 where there is none. */
static int
ask_some(struct postgresql *s, enum statement i, const struct db_arg *args, size_t count,
    int64_t *n_r, int numbers, struct err *e)
{
	PGresult *r = pq_query(s->pq, i, args, count, e);
	int found, n;

	if (r == NULL)
		return -1;
	found = PQntuples(r) > 0;
	for (n = 0; found == 1 && n < numbers; n++)
		n_r[n] = pq_number(r, 0, n);
	PQclear(r);
	return found;
}

/* One transaction that was not accepted: 1 and its events, 0 where there is none. */
static int
discard_transaction(struct postgresql *s, const char *appservice, const char *id,
    int64_t *events_r, struct err *e)
{
	int64_t found[2];
	int rc;

	if (id != NULL)
		rc = ask_some(s, NOT_ACCEPTED, DB_ARGS(db_text(appservice), db_text(id)),
		    found, 2, e);
	else
		rc = ask_some(
		    s, FIRST_NOT_ACCEPTED, DB_ARGS(db_text(appservice)), found, 2, e);
	if (rc != 1)
		return rc;
	*events_r = found[1];
	return drop_transaction(s, found[0], e) == -1 ? -1 : 1;
}

/* A part of what waits or is set aside: 1 and how many events, 0 where nothing is left. */
static int
discard_some(
    struct postgresql *s, const char *appservice, int64_t *events_r, struct err *e)
{
	int rc = discard_transaction(s, appservice, NULL, events_r, e);

	if (rc != 0)
		return rc;
	*events_r = drop_deliveries(s, DROP_QUEUED,
	    DB_ARGS(db_text(appservice), db_number(DISCARD_DELIVERIES)), e);
	return *events_r == -1 ? -1 : *events_r > 0;
}

static int
discard(struct postgresql *s, const char *appservice, const char *id, int64_t *events_r,
    struct err *e)
{
	int rc = id == NULL ? discard_some(s, appservice, events_r, e)
			    : discard_transaction(s, appservice, id, events_r, e);

	if (rc == 1 &&
	    pq_run(s->pq, DISCARDED, DB_ARGS(db_text(appservice), db_number(*events_r)),
		NULL, e) == -1)
		rc = -1;
	return rc;
}

/* One step of an edit, within a transaction: 1 and *events_r, 0 where nothing fits. */
static int
edit_step(struct postgresql *s, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, int64_t *events_r, struct err *e)
{
	static const enum statement of_queue[] = {[STORE_HOLD] = HOLD_QUEUE,
	    [STORE_RELEASE] = RELEASE_QUEUE,
	    [STORE_RETRY] = RETRY_WAITING,
	    [STORE_RETRY_DEAD] = REVIVE_ALL};
	static const enum statement of_one[] = {[STORE_HOLD] = SET_ASIDE,
	    [STORE_RELEASE] = REVIVE,
	    [STORE_RETRY] = REVIVE,
	    [STORE_RETRY_DEAD] = REVIVE};
	const struct db_arg args[] = {db_text(appservice),
	    id == NULL ? db_number(now) : db_text(id), db_number(now)};
	size_t count = (id == NULL ? 1U : 2U) + (edit == STORE_HOLD ? 1U : 0U);
	int64_t rows;

	if (edit == STORE_DISCARD)
		return discard(s, appservice, id, events_r, e);
	rows = add_up(
	    s, id == NULL ? of_queue[edit] : of_one[edit], args, count, events_r, e);
	return rows == -1 ? -1 : id == NULL || rows > 0;
}

int
postgresql_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	uint64_t all = 0;
	int64_t events = 0;
	int rc, done = 0;

	do {
		if (begin(s, e) == -1)
			return -1;
		rc = edit_step(s, appservice, id, edit, now, &events, e);
		if (rc == -1 || pq_run(s->pq, NOTIFY_OTHERS, NULL, 0, NULL, e) == -1 ||
		    pq_commit(s->pq, e) == -1) {
			postgresql_undo(s);
			return err_add(e, "cannot change the queue of %s", appservice);
		}
		done |= rc;
		if (rc == 1)
			all += (uint64_t)events;
	} while (rc == 1 && edit == STORE_DISCARD && id == NULL);
	if (events_r != NULL)
		*events_r = all;
	return done;
}

/*
 * Forget some transactions, the oldest: those from before that time, and as
 * many as are too much.  *more_r where that was not all that is due.
 */
static int
forget_accepted(struct postgresql *s, int64_t before, int64_t *oldest_ms_r, bool *more_r,
    struct err *e)
{
	int64_t oldest[3]; /* seq, when accepted, bytes */
	int i, found;

	*more_r = false;
	*oldest_ms_r = 0;
	for (i = 0; i <= FORGET_TRANSACTIONS; i++) {
		found = ask_some(s, OLDEST_ACCEPTED, NULL, 0, oldest, 3, e);
		if (found != 1)
			return found;
		*oldest_ms_r = oldest[1];
		*more_r = oldest[1] < before || s->excess > 0;
		if (!*more_r || i == FORGET_TRANSACTIONS)
			return 0;
		if (drop_transaction(s, oldest[0], e) == -1)
			return -1;
		s->excess -= s->excess < oldest[2] ? s->excess : oldest[2];
	}
	return 0;
}

/*
 * How much is too much.  The statistics are behind what is done by some
 * seconds, so that they are asked only when what they said is done, and a while
 * has passed: asked after each step, they would have us forget everything.
 */
static int
measure(struct postgresql *s, uint64_t size_max, struct err *e)
{
	int64_t now = clock_steady_ms(), used;

	if (s->excess > 0 || (s->measured_ms != 0 && now - s->measured_ms < MEASURE_MS))
		return 0;
	if (pq_ask(s->pq, BYTES_IN_USE, NULL, 0, &used, e) != 1)
		return -1;
	s->measured_ms = now;
	if (used > 0 && (uint64_t)used > size_max)
		s->excess = used - (int64_t)size_max;
	return 0;
}

/* Look at some events, from where the last look ended, for those nobody is told of. */
static int
forget_untold(struct postgresql *s, int64_t before, bool *more_r, struct err *e)
{
	struct db_arg range[] = {
	    db_number(s->swept), db_number(SWEEP_EVENTS), db_number(before)};
	int64_t last;

	*more_r = false;
	if (pq_ask(s->pq, UNTOLD_UP_TO, range, 3, &last, e) != 1)
		return -1;
	if (last == 0) {
		s->swept = 0;
		return 0;
	}
	range[1] = db_number(last);
	if (pq_run(s->pq, DROP_UNTOLD, range, 3, NULL, e) == -1)
		return -1;
	s->swept = last;
	*more_r = true;
	return 0;
}

/*
 * One hearsay forgets at a time: two at once would delete the same rows, each
 * waiting for the other.
 */
static int
forget(struct postgresql *s, int64_t before, uint64_t size_max, int64_t *oldest_ms_r,
    bool more_r[2], struct err *e)
{
	int64_t ours = 0;

	more_r[0] = more_r[1] = false;
	*oldest_ms_r = 0;
	if (pq_ask(s->pq, TRY_FORGET,
		DB_ARGS(db_number(postgresql_lock_number("forget", ""))), &ours, e) == -1)
		return -1;
	if (ours == 0) {
		before = INT64_MIN;
		s->excess = 0;
	} else if (measure(s, size_max, e) == -1)
		return -1;
	if (forget_accepted(s, before, oldest_ms_r, &more_r[0], e) == -1 ||
	    (ours == 1 && forget_untold(s, before, &more_r[1], e) == -1))
		return -1;
	return 0;
}

int
postgresql_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	bool more[2];

	if (begin(s, e) == -1)
		goto fail;
	if (forget(s, before, size_max, oldest_ms_r, more, e) == -1 ||
	    pq_commit(s->pq, e) == -1) {
		postgresql_undo(s);
		goto fail;
	}
	return more[0] || more[1];

fail:
	return err_add(e, "cannot forget what was accepted long ago");
}

/* ---- looking ----------------------------------------------------------- */

/* The row's file is the newest so far of the row's log. */
static int
newest_file(const PGresult *r, int row, struct arena *a, struct store_log_status *l,
    struct err *e)
{
	struct checkpoint cp;
	const char *path;

	if (PQgetisnull(r, row, 0) == 1)
		return 0;
	if (postgresql_checkpoint(r, row, &cp, &path, e) == -1)
		return -1;
	cp.path = arena_strndup(a, path, strlen(path));
	if (l->newest == NULL)
		l->newest = arena_alloc(a, sizeof(cp));
	*l->newest = cp;
	l->files++;
	return 0;
}

int
postgresql_files(struct store *store, struct arena *a, struct store_file **out_r,
    size_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	PGresult *r = NULL;
	struct store_file *out = NULL;
	const char *path, *log;
	int row = -1, rows = 0;

	if (postgresql_ready(s, e) == 0)
		r = pq_query(s->pq, FILES_OF_ALL, DB_ARGS(db_text(s->instance)), e);
	if (r != NULL) {
		rows = PQntuples(r);
		out = arena_alloc(a, ((size_t)rows + 1) * sizeof(*out));
		for (row = 0; row < rows; row++) {
			out[row].cp = arena_alloc(a, sizeof(*out[row].cp));
			if (postgresql_checkpoint(r, row, out[row].cp, &path, e) == -1)
				break;
			out[row].cp->path = arena_strndup(a, path, strlen(path));
			log = pq_text(r, row, 15);
			out[row].log = arena_strndup(a, log, strlen(log));
		}
	}
	PQclear(r);
	*out_r = out;
	*count_r = (size_t)rows;
	return row < rows ? err_add(e, "cannot read how far the logs were read") : 0;
}

int
postgresql_log_statuses(struct store *store, struct arena *a,
    struct store_log_status **out_r, size_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct store_log_status *out = NULL;
	int64_t id = 0, last = 0;
	PGresult *r = NULL;
	size_t count = 0;
	int row = -1, rows = 0;

	if (postgresql_ready(s, e) == 0)
		r = pq_query(s->pq, LOG_STATUSES, DB_ARGS(db_text(s->instance)), e);
	if (r != NULL) {
		rows = PQntuples(r);
		out = arena_alloc(a, ((size_t)rows + 1) * sizeof(*out));
	}
	for (row = 0; row < rows; row++, last = id) {
		const char *name = pq_text(r, row, 15);
		const char *health = pq_text(r, row, 19);

		id = pq_number(r, row, 18);
		if (id != last)
			out[count++] = (struct store_log_status){
			    .log = arena_strndup(a, name, strlen(name)),
			    .read_ms = pq_number(r, row, 16),
			    .events = pq_bits(r, row, 17),
			    .health = arena_strndup(a, health, strlen(health)),
			    .health_ms = pq_number(r, row, 20),
			};
		if (newest_file(r, row, a, &out[count - 1], e) == -1)
			break;
	}
	PQclear(r);
	*out_r = out;
	*count_r = count;
	return out == NULL || row < rows
	    ? err_add(e, "cannot read the standing of the logs")
	    : 0;
}

static const char *
column_copy(const PGresult *r, int row, int column, struct arena *a)
{
	const char *text = pq_text(r, row, column);

	return arena_strndup(a, text, strlen(text));
}

static struct store_queue_status
column_queue(const PGresult *r, int row, struct arena *a)
{
	return (struct store_queue_status){
	    .appservice = column_copy(r, row, 0, a),
	    .queued = pq_bits(r, row, 1),
	    .oldest_ms = pq_number(r, row, 2),
	    .accepted = pq_bits(r, row, 3),
	    .last_success_ms = pq_number(r, row, 4),
	    .last_failure_ms = pq_number(r, row, 5),
	    .last_status = (int)pq_number(r, row, 6),
	    .last_error = column_copy(r, row, 7, a),
	    .attempts = (unsigned)pq_number(r, row, 8),
	    .next_try_ms = pq_number(r, row, 9),
	    .held_ms = pq_number(r, row, 10),
	    .dead = pq_bits(r, row, 11),
	    .odd = pq_bits(r, row, 12),
	    .discarded = pq_bits(r, row, 13),
	};
}

int
postgresql_queue_statuses(struct store *store, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	struct store_queue_status *out;
	PGresult *r = NULL;
	int row, rows;

	if (postgresql_ready(s, e) == 0)
		r = pq_query(s->pq, QUEUE_STATUSES, NULL, 0, e);
	if (r == NULL)
		return err_add(e, "cannot read the standing of the queues");
	rows = PQntuples(r);
	out = arena_alloc(a, ((size_t)rows + 1) * sizeof(*out));
	for (row = 0; row < rows; row++)
		out[row] = column_queue(r, row, a);
	PQclear(r);
	*out_r = out;
	*count_r = (size_t)rows;
	return 0;
}

int
postgresql_size(struct store *store, struct store_size *size_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	int64_t bytes, kept, oldest[3] = {0};

	if (postgresql_ready(s, e) == -1 ||
	    pq_ask(s->pq, BYTES, NULL, 0, &bytes, e) != 1 ||
	    pq_ask(s->pq, COUNT_ACCEPTED, NULL, 0, &kept, e) != 1 ||
	    ask_some(s, OLDEST_ACCEPTED, NULL, 0, oldest, 3, e) == -1)
		return err_add(e, "cannot read the size of the store");
	/* What is free within the tables is known to PostgreSQL alone. */
	*size_r = (struct store_size){
	    .bytes = (uint64_t)bytes,
	    .kept = (uint64_t)kept,
	    .oldest_ms = oldest[1],
	};
	return 0;
}

/* Run a statement that looks: its result, or NULL and what could not be read in e. */
static PGresult *
look(struct postgresql *s, enum statement i, const struct db_arg *args, size_t count,
    const char *what, struct err *e)
{
	PGresult *r = NULL;

	if (postgresql_ready(s, e) == 0)
		r = pq_query(s->pq, i, args, count, e);
	if (r == NULL)
		(void)err_add(e, "cannot read %s", what);
	return r;
}

int
postgresql_items(struct store *store, const char *appservice, const char *id,
    int64_t after, struct arena *a, struct store_item **out_r, size_t *count_r,
    struct err *e)
{
	PGresult *r = look(postgresql_of(store), ITEMS,
	    DB_ARGS(db_text(appservice), db_text(id), db_number(after),
		db_number(STORE_PAGE)),
	    "the transactions that wait", e);
	struct store_item *out;
	int row;

	if (r == NULL)
		return -1;
	out = arena_alloc(a, STORE_PAGE * sizeof(*out));
	for (row = 0; row < PQntuples(r); row++)
		out[row] = (struct store_item){
		    .place = pq_number(r, row, 9),
		    .appservice = column_copy(r, row, 10, a),
		    .txn = postgresql_transaction(r, row, a),
		    .oldest_ms = pq_number(r, row, 11),
		    .dead_ms = pq_number(r, row, 12),
		    .status = (int)pq_number(r, row, 13),
		    .error = column_copy(r, row, 14, a),
		};
	*out_r = out;
	*count_r = (size_t)row;
	PQclear(r);
	return 0;
}

int
postgresql_tell(struct store *store, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	PGresult *r = look(s, which->accepted ? TELL_ACCEPTED : TELL_QUEUED,
	    DB_ARGS(db_number(after), db_number(which->since_ms),
		db_text(which->appservice), db_text(which->user_id),
		db_number(STORE_PAGE), db_text(s->instance)),
	    "the events of the store", e);
	struct store_told *out;
	int row;

	if (r == NULL)
		return -1;
	out = arena_alloc(a, STORE_PAGE * sizeof(*out));
	for (row = 0; row < PQntuples(r); row++)
		out[row] = (struct store_told){
		    .place = pq_number(r, row, 0),
		    .appservice = column_copy(r, row, 1, a),
		    .key = column_copy(r, row, 2, a),
		    .type = column_copy(r, row, 3, a),
		    .user_id = column_copy(r, row, 4, a),
		    .content = column_copy(r, row, 5, a),
		    .source = column_copy(r, row, 6, a),
		    .log = column_copy(r, row, 7, a),
		    .ts = pq_number(r, row, 8),
		    .queued_ms = pq_number(r, row, 9),
		    .txn = column_copy(r, row, 10, a),
		    .accepted_ms = pq_number(r, row, 11),
		    .status = (int)pq_number(r, row, 12),
		};
	*out_r = out;
	*count_r = (size_t)row;
	PQclear(r);
	return 0;
}

int
postgresql_was_told(struct store *store, const char *appservice,
    const struct account_event *ev, bool *told_r, struct err *e)
{
	int64_t one;
	int found = pq_ask(postgresql_of(store)->pq, WAS_TOLD,
	    DB_ARGS(db_bits(ev->file), db_bits(ev->offset), db_text(ev->rule),
		db_number(ev->ordinal), db_text(appservice)),
	    &one, e);

	*told_r = found == 1;
	return found == -1 ? -1 : 0;
}

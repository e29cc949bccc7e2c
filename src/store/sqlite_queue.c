/*
 * The store in SQLite: edits by hand, forgetting what is old, looking.
 */
#include "store/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/checkpoint.h"

#define FORGET_TRANSACTIONS 4  /* at once: a few milliseconds */
#define SWEEP_EVENTS 200       /* looked at at once */
#define VACUUM_PAGES 256       /* moved at once; and fewer free ones are left alone */
#define DISCARD_DELIVERIES 500 /* in one step, while the daemon waits */

/* ---- by hand, and for its age -------------------------------------------- */

/*
 * Run a statement to its end: how many rows it gives, their numbers added up in
 * *sum_r (may be NULL), and each behind the others in *list_r (may be NULL;
 * to be freed).  -1 on error.
 */
static int64_t
gather_numbers(struct sqlite *s, enum statement i, const struct db_arg *args,
    size_t count, int64_t *sum_r, int64_t **list_r, struct err *e)
{
	sqlite3_stmt *st = db_query(s->db, i, args, count, e);
	int64_t *list = NULL, sum = 0;
	size_t rows = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		sum += sqlite3_column_int64(st, 0);
		if (list_r != NULL) {
			list = xreallocarray(list, rows + 1, sizeof(*list));
			list[rows] = sqlite3_column_int64(st, 0);
		}
		rows++;
	}
	if (more == -1) {
		free(list);
		return -1;
	}
	if (sum_r != NULL)
		*sum_r = sum;
	if (list_r != NULL)
		*list_r = list;
	return (int64_t)rows;
}

/* Delete deliveries, and those events that are in none any more; their number or -1. */
static int64_t
drop_deliveries(struct sqlite *s, enum statement i, const struct db_arg *args,
    size_t count, struct err *e)
{
	int64_t *events = NULL, n, at;

	n = gather_numbers(s, i, args, count, NULL, &events, e);
	for (at = 0; at < n; at++)
		if (db_run(s->db, DROP_EVENT, DB_ARGS(db_number(events[at])), NULL, e) ==
		    -1)
			n = -1;
	free(events);
	return n;
}

static int
drop_transaction(struct sqlite *s, int64_t seq, struct err *e)
{
	if (drop_deliveries(s, DROP_DELIVERIES, DB_ARGS(db_number(seq)), e) == -1)
		return -1;
	return db_run(s->db, DROP_TRANSACTION, DB_ARGS(db_number(seq)), NULL, e);
}

/* Two numbers of the first row: 1, or 0 where there is none. */
static int
ask_two(struct sqlite *s, enum statement i, const struct db_arg *args, size_t count,
    int64_t n_r[2], struct err *e)
{
	sqlite3_stmt *st = db_query(s->db, i, args, count, e);
	int found = st == NULL ? -1 : db_row(s->db, st, e);

	if (found != 1)
		return found;
	n_r[0] = sqlite3_column_int64(st, 0);
	n_r[1] = sqlite3_column_int64(st, 1);
	db_done(st);
	return 1;
}

/* One transaction that was not accepted: 1 and its events, 0 where there is none. */
static int
discard_transaction(struct sqlite *s, const char *appservice, const char *id,
    int64_t *events_r, struct err *e)
{
	int64_t found[2];
	int rc;

	if (id != NULL)
		rc = ask_two(
		    s, NOT_ACCEPTED, DB_ARGS(db_text(appservice), db_text(id)), found, e);
	else
		rc = ask_two(
		    s, FIRST_NOT_ACCEPTED, DB_ARGS(db_text(appservice)), found, e);
	if (rc != 1)
		return rc;
	*events_r = found[1];
	return drop_transaction(s, found[0], e) == -1 ? -1 : 1;
}

/* A part of what waits or is set aside: 1 and how many events, 0 where nothing is left. */
static int
discard_some(struct sqlite *s, const char *appservice, int64_t *events_r, struct err *e)
{
	int rc = discard_transaction(s, appservice, NULL, events_r, e);

	if (rc != 0)
		return rc;
	*events_r = drop_deliveries(s, DROP_QUEUED,
	    DB_ARGS(db_text(appservice), db_number(DISCARD_DELIVERIES)), e);
	return *events_r == -1 ? -1 : *events_r > 0;
}

/* One step of an edit, within a transaction: 1 and *events_r, 0 where nothing fits. */
static int
edit_step(struct sqlite *s, const char *appservice, const char *id, enum store_edit edit,
    int64_t now, int64_t *events_r, struct err *e)
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
	size_t count = id == NULL ? edit == STORE_HOLD ? 2 : 1
	    : edit == STORE_HOLD  ? 3
				  : 2;
	int64_t rows;
	int rc;

	if (edit != STORE_DISCARD) {
		rows = gather_numbers(s, id == NULL ? of_queue[edit] : of_one[edit], args,
		    count, events_r, NULL, e);
		return rows == -1 ? -1 : id == NULL || rows > 0;
	}
	rc = id == NULL ? discard_some(s, appservice, events_r, e)
			: discard_transaction(s, appservice, id, events_r, e);
	if (rc == 1 &&
	    db_run(s->db, DISCARDED, DB_ARGS(db_text(appservice), db_number(*events_r)),
		NULL, e) == -1)
		rc = -1;
	return rc;
}

int
sqlite_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	uint64_t all = 0;
	int64_t events = 0;
	int rc, done = 0;

	do {
		if (sqlite_begin_here(s, e) == -1)
			return -1;
		rc = edit_step(s, appservice, id, edit, now, &events, e);
		if (rc == -1 || sqlite_commit_here(s, e) == -1) {
			db_rollback(s->db);
			return err_add(e, "cannot change the queue of %s", appservice);
		}
		done |= rc;
		if (rc == 1)
			all += (uint64_t)events;
	} while (rc == 1 && edit == STORE_DISCARD && id == NULL);
	s->data_version = 0; /* the owner may edit, too */
	if (events_r != NULL)
		*events_r = all;
	return done;
}

/* Forget some transactions, the oldest; *more_r where that was not all that is due. */
static int
forget_accepted(
    struct sqlite *s, int64_t before, int64_t *oldest_ms_r, bool *more_r, struct err *e)
{
	int64_t oldest[2];
	int i, found = 1;

	*more_r = false;
	*oldest_ms_r = 0;
	for (i = 0; i <= FORGET_TRANSACTIONS; i++) {
		found = ask_two(s, OLDEST_ACCEPTED, NULL, 0, oldest, e);
		if (found != 1)
			return found;
		*oldest_ms_r = oldest[1];
		*more_r = oldest[1] < before;
		if (!*more_r || i == FORGET_TRANSACTIONS)
			return 0;
		if (drop_transaction(s, oldest[0], e) == -1)
			return -1;
	}
	return 0;
}

/* Look at some events, from where the last look ended, for those nobody is told of. */
static int
forget_untold(struct sqlite *s, int64_t before, bool *more_r, struct err *e)
{
	struct db_arg range[] = {
	    db_number(s->swept), db_number(SWEEP_EVENTS), db_number(before)};
	int64_t last, untold;

	*more_r = false;
	if (sqlite_ask(s, UNTOLD_UP_TO, range, 3, &last, e) != 1)
		return -1;
	if (last == 0) {
		s->swept = 0;
		return 0;
	}
	range[1] = db_number(last);
	if (sqlite_ask(s, COUNT_UNTOLD, range, 3, &untold, e) != 1 ||
	    (untold > 0 && db_run(s->db, DROP_UNTOLD, range, 3, NULL, e) == -1))
		return -1;
	s->swept = last;
	*more_r = true;
	return 0;
}

/* Give some free pages back to the file system, where they are many. */
static int
give_back(struct sqlite *s, bool *more_r, struct err *e)
{
	struct sqlite_pages p, left;
	char sql[64];
	int64_t spare;

	*more_r = false;
	if (sqlite_pages(s, &p, e) == -1 || sqlite_pages_kept(s, &p, &spare, e) == -1)
		return -1;
	spare = p.unused - spare;
	/* On a full disk others would have it at once. */
	if (s->full || spare < VACUUM_PAGES || spare < p.used / 8)
		return 0;
	(void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	if (db_exec(s->db, sql, e) == -1 || sqlite_pages(s, &left, e) == -1)
		return -1;
	/* A store of the first version may not be able to. */
	*more_r = left.unused < p.unused;
	return 0;
}

int
sqlite_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	struct sqlite_pages p;
	bool more[3];

	if (sqlite_pages(s, &p, e) == -1)
		return -1;
	if ((uint64_t)(p.used * p.size) > size_max)
		before = INT64_MAX;
	if (sqlite_begin_here(s, e) == -1)
		goto fail;
	if (forget_accepted(s, before, oldest_ms_r, &more[0], e) == -1 ||
	    forget_untold(s, before, &more[1], e) == -1 ||
	    sqlite_commit_here(s, e) == -1) {
		db_rollback(s->db);
		goto fail;
	}
	if (give_back(s, &more[2], e) == -1)
		goto fail;
	return more[0] || more[1] || more[2];

fail:
	return err_add(e, "cannot forget what was accepted long ago");
}

/* ---- looking ----------------------------------------------------------- */

/* Room for one more in an array of the arena: its size doubles at 8, 16, 32… */
static void *
grow(struct arena *a, void *array, size_t count, size_t size)
{
	void *larger;

	if (count != 0 && (count < 8 || (count & (count - 1)) != 0))
		return array;
	larger = arena_alloc(a, (count == 0 ? 8 : count * 2) * size);
	if (count != 0)
		memcpy(larger, array, count * size);
	return larger;
}

/* The row's file is the newest so far of the row's log. */
static int
newest_file(sqlite3_stmt *st, struct arena *a, struct store_log_status *l, struct err *e)
{
	struct checkpoint cp;
	const char *path;

	if (sqlite3_column_type(st, 0) == SQLITE_NULL)
		return 0;
	if (sqlite_checkpoint(st, &cp, &path, e) == -1)
		return -1;
	cp.path = arena_strndup(a, path, strlen(path));
	if (l->newest == NULL)
		l->newest = arena_alloc(a, sizeof(cp));
	*l->newest = cp;
	l->files++;
	return 0;
}

int
sqlite_files(struct store *store, struct arena *a, struct store_file **out_r,
    size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, FILES_OF_ALL, NULL, 0, e);
	struct store_file *out = NULL, *f;
	const char *path, *log;
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		out = grow(a, out, count, sizeof(*out));
		f = &out[count++];
		f->cp = arena_alloc(a, sizeof(*f->cp));
		if (sqlite_checkpoint(st, f->cp, &path, e) == -1) {
			db_done(st);
			more = -1;
			break;
		}
		f->cp->path = arena_strndup(a, path, strlen(path));
		log = db_column_text(st, 15);
		f->log = arena_strndup(a, log, strlen(log));
	}
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read how far the logs were read") : 0;
}

int
sqlite_log_statuses(struct store *store, struct arena *a, struct store_log_status **out_r,
    size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, LOG_STATUSES, NULL, 0, e);
	struct store_log_status *out = NULL;
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		const char *name = db_column_text(st, 15);
		const char *health = db_column_text(st, 18);

		if (count == 0 || strcmp(out[count - 1].log, name) != 0) {
			out = grow(a, out, count, sizeof(*out));
			out[count++] = (struct store_log_status){
			    .log = arena_strndup(a, name, strlen(name)),
			    .read_ms = sqlite3_column_int64(st, 16),
			    .events = db_column_bits(st, 17),
			    .health = arena_strndup(a, health, strlen(health)),
			    .health_ms = sqlite3_column_int64(st, 19),
			};
		}
		if (newest_file(st, a, &out[count - 1], e) == -1) {
			db_done(st);
			more = -1;
			break;
		}
	}
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read the standing of the logs") : 0;
}

static struct store_queue_status
column_queue(sqlite3_stmt *st, struct arena *a)
{
	const char *name = db_column_text(st, 0);
	const char *error = db_column_text(st, 7);

	return (struct store_queue_status){
	    .appservice = arena_strndup(a, name, strlen(name)),
	    .queued = db_column_bits(st, 1),
	    .oldest_ms = sqlite3_column_int64(st, 2),
	    .accepted = db_column_bits(st, 3),
	    .last_success_ms = sqlite3_column_int64(st, 4),
	    .last_failure_ms = sqlite3_column_int64(st, 5),
	    .last_status = sqlite3_column_int(st, 6),
	    .last_error = arena_strndup(a, error, strlen(error)),
	    .attempts = (unsigned)sqlite3_column_int64(st, 8),
	    .next_try_ms = sqlite3_column_int64(st, 9),
	    .held_ms = sqlite3_column_int64(st, 10),
	    .dead = db_column_bits(st, 11),
	    .odd = db_column_bits(st, 12),
	    .discarded = db_column_bits(st, 13),
	};
}

int
sqlite_queue_statuses(struct store *store, struct arena *a,
    struct store_queue_status **out_r, size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, QUEUE_STATUSES, NULL, 0, e);
	struct store_queue_status *out = NULL;
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		out = grow(a, out, count, sizeof(*out));
		out[count++] = column_queue(st, a);
	}
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read the standing of the queues") : 0;
}

int
sqlite_size(struct store *store, struct store_size *size_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	struct sqlite_pages p;
	int64_t kept, oldest[2] = {0, 0};

	if (sqlite_pages(s, &p, e) == -1 ||
	    sqlite_ask(s, COUNT_ACCEPTED, NULL, 0, &kept, e) != 1 ||
	    ask_two(s, OLDEST_ACCEPTED, NULL, 0, oldest, e) == -1)
		return err_add(e, "cannot read the size of the store");
	*size_r = (struct store_size){
	    .bytes = (uint64_t)((p.used + p.unused) * p.size),
	    .free_bytes = (uint64_t)(p.unused * p.size),
	    .kept = (uint64_t)kept,
	    .oldest_ms = oldest[1],
	};
	return 0;
}

static const char *
column_copy(sqlite3_stmt *st, int column, struct arena *a)
{
	const char *text = db_column_text(st, column);

	return arena_strndup(a, text, strlen(text));
}

int
sqlite_items(struct store *store, const char *appservice, const char *id, int64_t after,
    struct arena *a, struct store_item **out_r, size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, ITEMS,
	    DB_ARGS(db_text(appservice), db_text(id), db_number(after),
		db_number(STORE_PAGE)),
	    e);
	struct store_item *out = arena_alloc(a, STORE_PAGE * sizeof(*out));
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1)
		out[count++] = (struct store_item){
		    .place = sqlite3_column_int64(st, 9),
		    .appservice = column_copy(st, 10, a),
		    .txn = sqlite_transaction(st, a),
		    .oldest_ms = sqlite3_column_int64(st, 11),
		    .dead_ms = sqlite3_column_int64(st, 12),
		    .status = sqlite3_column_int(st, 13),
		    .error = column_copy(st, 14, a),
		};
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read the transactions that wait") : 0;
}

int
sqlite_tell(struct store *store, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, which->accepted ? TELL_ACCEPTED : TELL_QUEUED,
	    DB_ARGS(db_number(after), db_number(which->since_ms),
		db_text(which->appservice), db_text(which->user_id),
		db_number(STORE_PAGE)),
	    e);
	struct store_told *out = arena_alloc(a, STORE_PAGE * sizeof(*out));
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1)
		out[count++] = (struct store_told){
		    .place = sqlite3_column_int64(st, 0),
		    .appservice = column_copy(st, 1, a),
		    .key = column_copy(st, 2, a),
		    .type = column_copy(st, 3, a),
		    .user_id = column_copy(st, 4, a),
		    .content = column_copy(st, 5, a),
		    .source = column_copy(st, 6, a),
		    .log = column_copy(st, 7, a),
		    .ts = sqlite3_column_int64(st, 8),
		    .queued_ms = sqlite3_column_int64(st, 9),
		    .txn = column_copy(st, 10, a),
		    .accepted_ms = sqlite3_column_int64(st, 11),
		    .status = sqlite3_column_int(st, 12),
		};
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read the events of the store") : 0;
}

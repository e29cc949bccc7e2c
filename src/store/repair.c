#include "store/repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/db.h"
#include "store/lock.h"
#include "store/schema.h"

#define HOLES_TOLD 5 /* of each table */

/* The tables, parents before children, and the version that has them first. */
static const struct {
	const char *name;
	bool has_rowid;
	int64_t version;
} tables[] = {
    {"meta", true, 1},
    {"logs", true, 1},
    {"appservices", true, 1},
    {"files", false, 1},
    {"followed", true, 6},
    {"events", true, 1},
    {"transactions", true, 1},
    {"deliveries", true, 1},
};

/* ---- checking ------------------------------------------------------------ */

static const struct {
	const char *sql; /* gives one text for each problem */
	const char *what;
} checks[] = {
    {"SELECT integrity_check FROM pragma_integrity_check(20) "
     "WHERE integrity_check <> 'ok'",
	"its pages"},
    {"SELECT \"table\" || ' row ' || coalesce(rowid, '') || ' has no ' || parent "
     "FROM pragma_foreign_key_check LIMIT 20",
	"what belongs together"},
    {"SELECT 'its one row is missing' WHERE NOT EXISTS (SELECT 1 FROM meta)", "meta"},
    {"SELECT 'transaction ' || id || ' has ' || events || ' events and ' || "
     "  (SELECT count(*) FROM deliveries WHERE txn = seq) || ' deliveries' "
     "FROM transactions WHERE events <> "
     "  (SELECT count(*) FROM deliveries WHERE txn = seq) LIMIT 20",
	"transactions"},
};
#define CHECK_COUNT (sizeof(checks) / sizeof(checks[0]))

static int
run_check(struct db *d, size_t i, struct err_list *problems, struct err *e)
{
	sqlite3_stmt *st = db_query(d, i, NULL, 0, e);
	int more = -1;

	while (st != NULL && (more = db_row(d, st, e)) == 1)
		(void)err_list_add(
		    problems, "%s: %s", checks[i].what, db_column_text(st, 0));
	return more;
}

int
repair_check(const char *path, struct err_list *problems, struct err *e)
{
	const char *sql[CHECK_COUNT];
	struct err what;
	struct db *d;
	size_t i;
	int known;

	for (i = 0; i < CHECK_COUNT; i++)
		sql[i] = checks[i].sql;
	if (schema_there(path, lock_commits(path), e) == -1)
		return -1;
	if (access(path, R_OK) == -1)
		return err_errno(e, "the store %s", path);
	d = db_open(path, false, sql, CHECK_COUNT, e);
	if (d == NULL)
		return -1;
	known = schema_check(d, path, &what);
	if (known == -1 ||
	    (known == 1 && schema_commits(d, lock_commits(path), path, &what) == -1))
		(void)err_list_add(problems, "%s", what.text);
	/* A check that damage stops is a finding, too. */
	for (i = 0; known != -1 && i < CHECK_COUNT; i++)
		if (run_check(d, i, problems, &what) == -1)
			(void)err_list_add(problems, "%s: %s", checks[i].what, what.text);
	db_close(d);
	return 0;
}

/* ---- carrying rows over ---------------------------------------------------- */

struct copy {
	sqlite3 *from, *to;
	const char *table;
	sqlite3_stmt *insert;
	int64_t rows;    /* carried over */
	int64_t refused; /* read, but they can't be right */
	int64_t holes;   /* stretches that could not be read */
	bool broken;     /* the new file cannot be written */
	struct repair_report *report;
};

static int
sqlite_failed(sqlite3 *db, const char *what, struct err *e)
{
	return err_set(e, "%s: %s", what, sqlite3_errmsg(db));
}

/*
 * Put the row of st, whose columns begin behind its rowid, into the new table.
 * One that the new table refuses was damaged, and others behind it may not be.
 */
static void
put_row(struct copy *c, sqlite3_stmt *st)
{
	int i, n = sqlite3_column_count(st), rc = SQLITE_OK;

	for (i = 1; i < n && rc == SQLITE_OK; i++)
		rc = sqlite3_bind_value(c->insert, i, sqlite3_column_value(st, i));
	if (rc == SQLITE_OK)
		rc = sqlite3_step(c->insert);
	(void)sqlite3_reset(c->insert);
	if (rc == SQLITE_DONE && sqlite3_changes(c->to) == 1)
		c->rows++;
	else if (rc == SQLITE_DONE || rc == SQLITE_CONSTRAINT || rc == SQLITE_MISMATCH)
		c->refused++;
	else
		c->broken = true;
}

/*
 * Carry rows over, by sql (with the bounds of the rowids, if it has such),
 * until its end or until one cannot be read; *last_r is the rowid of the last.
 * 1: to the end; 0: not.
 */
static int
copy_run(struct copy *c, const char *sql, int64_t low, int64_t high, int64_t *last_r,
    bool *any_r)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(c->from, sql, -1, &st, NULL);

	*any_r = false;
	if (rc != SQLITE_OK)
		return 0;
	if (sqlite3_bind_parameter_count(st) == 2) {
		(void)sqlite3_bind_int64(st, 1, low);
		(void)sqlite3_bind_int64(st, 2, high);
	}
	while (!c->broken && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		put_row(c, st);
		*last_r = sqlite3_column_int64(st, 0);
		*any_r = true;
	}
	(void)sqlite3_finalize(st);
	return rc == SQLITE_DONE;
}

static void
tell_hole(struct copy *c, int64_t low, int64_t high)
{
	if (++c->holes > HOLES_TOLD)
		return;
	if (high == INT64_MAX)
		(void)err_list_add(&c->report->lost,
		    "%s: nothing from row %" PRId64 " on could be read", c->table, low);
	else
		(void)err_list_add(&c->report->lost,
		    "%s: rows %" PRId64 " to %" PRId64 " could not be read", c->table,
		    low, high);
}

/*
 * From low on, step over what cannot be read, twice as far each time; and then
 * read back what was stepped over too far.  True where rows go on from *next_r.
 */
static bool
step_over(struct copy *c, const char *up, const char *down, int64_t low, int64_t *next_r)
{
	int64_t step, last = 0, lowest;
	bool any, ended;

	for (step = 1; low < INT64_MAX - step && step < INT64_MAX / 4; step *= 2) {
		ended = copy_run(c, up, low + step, INT64_MAX, &last, &any) == 1;
		if (!any && !ended)
			continue;
		*next_r = last + 1;
		lowest = low + step;
		(void)copy_run(c, down, low, low + step - 1, &lowest, &any);
		tell_hole(c, low, lowest - 1);
		return !ended;
	}
	tell_hole(c, low, INT64_MAX);
	return false;
}

static void
copy_by_rowid(struct copy *c)
{
	char *up = xasprintf("SELECT rowid, * FROM %s WHERE rowid >= ?1 AND rowid <= ?2 "
			     "ORDER BY rowid",
	    c->table);
	char *down = xasprintf("%s DESC", up);
	int64_t from = 1, last = 0;
	bool any, more = true;

	while (more) {
		if (copy_run(c, up, from, INT64_MAX, &last, &any) == 1)
			break;
		if (any)
			from = last + 1;
		more = !c->broken && step_over(c, up, down, from, &from);
	}
	free(up);
	free(down);
}

/* Without rowids there are the two ends to begin at; a row may come from both. */
static void
copy_from_both_ends(struct copy *c)
{
	char *up = xasprintf("SELECT 0, * FROM %s ORDER BY log, key", c->table);
	char *down =
	    xasprintf("SELECT 0, * FROM %s ORDER BY log DESC, key DESC", c->table);
	int64_t last;
	bool any;

	if (copy_run(c, up, 0, 0, &last, &any) == 0) {
		(void)copy_run(c, down, 0, 0, &last, &any);
		c->holes++;
		c->refused = 0; /* those that came from both */
		(void)err_list_add(
		    &c->report->lost, "%s: not every row could be read", c->table);
	}
	free(up);
	free(down);
}

/* An INSERT of the columns that the old table has; others take their defaults. */
static char *
insert_text(struct copy *c)
{
	char *select = xasprintf("SELECT * FROM %s", c->table);
	struct buf sql = {0}, marks = {0};
	sqlite3_stmt *st = NULL;
	int i;

	buf_addf(&sql, "INSERT OR IGNORE INTO %s (", c->table);
	if (sqlite3_prepare_v2(c->from, select, -1, &st, NULL) == SQLITE_OK)
		for (i = 0; i < sqlite3_column_count(st); i++) {
			buf_addf(&sql, "%s\"%s\"", i == 0 ? "" : ", ",
			    sqlite3_column_name(st, i));
			buf_addf(&marks, "%s?%d", i == 0 ? "" : ", ", i + 1);
		}
	(void)sqlite3_finalize(st);
	free(select);
	if (marks.len == 0) {
		buf_free(&sql);
		return NULL;
	}
	buf_addf(&sql, ") VALUES (%s)", marks.p);
	buf_free(&marks);
	return sql.p;
}

static int
copy_table(struct copy *c, size_t i, struct err *e)
{
	char *sql;
	int rc;

	c->table = tables[i].name;
	c->rows = c->refused = c->holes = 0;
	sql = insert_text(c);
	if (sql == NULL) {
		(void)err_list_add(&c->report->lost, "%s: the whole table: %s", c->table,
		    sqlite3_errmsg(c->from));
		return 0;
	}
	rc = sqlite3_prepare_v2(c->to, sql, -1, &c->insert, NULL);
	free(sql);
	if (rc != SQLITE_OK)
		return sqlite_failed(c->to, c->table, e);
	if (tables[i].has_rowid)
		copy_by_rowid(c);
	else
		copy_from_both_ends(c);
	(void)sqlite3_finalize(c->insert);
	if (c->broken)
		return sqlite_failed(c->to, "the new store cannot be written", e);
	(void)err_list_add(
	    &c->report->carried, "%s: %" PRId64 " rows", c->table, c->rows);
	if (c->refused > 0)
		(void)err_list_add(&c->report->lost,
		    "%s: %" PRId64 " rows hold what cannot be right", c->table,
		    c->refused);
	if (c->holes > HOLES_TOLD)
		(void)err_list_add(&c->report->lost,
		    "%s: and %" PRId64 " more stretches of rows", c->table,
		    c->holes - HOLES_TOLD);
	return 0;
}

/* ---- what belongs together --------------------------------------------------- */

/*
 * One row for each way in which rows miss each other.  The sentence is told
 * with the number of rows that were concerned; a row without one is no loss.
 *
 * The names of logs and appservices that could not be read are made up, so that
 * what belongs to them is still there to be exported.  A delivery in a
 * transaction that is gone is queued again where that was not accepted for
 * sure: transactions are accepted in order.  (Should it have arrived, it
 * arrives twice; the other choice is that it never does.)
 */
static const struct {
	const char *sql;
	const char *told;
} mends[] = {
    {"INSERT OR IGNORE INTO meta (one, epoch, sequence) VALUES (1, '', "
     "  (SELECT count(*) FROM transactions))",
	NULL},
    {"DELETE FROM files WHERE length(head) <> 16 OR length(guard) <> 16",
	"positions in logs are damaged"},
    {"INSERT INTO logs (id, name) SELECT DISTINCT log, 'unknown log ' || log FROM "
     "  (SELECT log FROM events UNION SELECT log FROM files) "
     "WHERE log NOT IN (SELECT id FROM logs)",
	"logs lost their name; events and positions of them are kept, but they are read "
	"as for the first time"},
    {"INSERT INTO appservices (id, name) "
     "SELECT DISTINCT appservice, 'unknown appservice ' || appservice FROM "
     "  (SELECT appservice FROM deliveries UNION SELECT appservice FROM transactions) "
     "WHERE appservice NOT IN (SELECT id FROM appservices)",
	"appservices lost their name; what waits for them can be exported"},
    {"UPDATE deliveries SET txn = NULL WHERE txn NOT IN (SELECT seq FROM transactions) "
     "AND event IN (SELECT id FROM events) "
     "AND txn > (SELECT coalesce(max(seq), 0) FROM transactions t "
     "  WHERE t.appservice = deliveries.appservice AND t.accepted_ms IS NOT NULL)",
	"events were in transactions that could not be read, and are queued again: some "
	"may arrive twice"},
    {"DELETE FROM deliveries WHERE txn IS NULL "
     "AND event NOT IN (SELECT id FROM events)",
	"events that waited are lost: they could not be read"},
    {"DELETE FROM deliveries WHERE event NOT IN (SELECT id FROM events)",
	"events of transactions could not be read; a transaction that waits is sent as it "
	"was"},
    {"DELETE FROM deliveries WHERE txn IS NOT NULL "
     "AND txn NOT IN (SELECT seq FROM transactions)",
	"events of accepted transactions are lost to `hearsay history' alone"},
    /* Its body has them still; it is told above which are missing. */
    {"UPDATE transactions SET events = "
     "  (SELECT count(*) FROM deliveries WHERE txn = seq) "
     "WHERE events <> (SELECT count(*) FROM deliveries WHERE txn = seq)",
	NULL},
};

static int
mend(struct copy *c, struct err *e)
{
	size_t i;
	int rows;

	for (i = 0; i < sizeof(mends) / sizeof(mends[0]); i++) {
		if (sqlite3_exec(c->to, mends[i].sql, NULL, NULL, NULL) != SQLITE_OK)
			return sqlite_failed(c->to, "the new store", e);
		rows = sqlite3_changes(c->to);
		if (rows > 0 && mends[i].told != NULL)
			(void)err_list_add(
			    &c->report->lost, "%d %s", rows, mends[i].told);
	}
	return 0;
}

static int
number_of(sqlite3 *db, const char *sql, int64_t *n_r, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc != SQLITE_ROW)
		(void)sqlite_failed(db, "the store's schema", e);
	else
		*n_r = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return rc == SQLITE_ROW ? 0 : -1;
}

/* The new store has those commits, too, that are lost, or it would be refused for them. */
static int
tell_lost_commits(struct copy *c, int64_t had, struct err *e)
{
	int64_t commits;
	char sql[64];

	if (number_of(c->to, "SELECT commits FROM meta", &commits, e) == -1)
		return -1;
	if (commits >= had)
		return 0;
	(void)err_list_add(&c->report->lost,
	    "what the last %" PRId64
	    " commits changed: the write-ahead log was deleted, or "
	    "the store is an older one",
	    had - commits);
	(void)snprintf(sql, sizeof(sql), "UPDATE meta SET commits = %" PRId64, had);
	if (sqlite3_exec(c->to, sql, NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_failed(c->to, "the new store", e);
	return 0;
}

/* Logs without a position are read from their "start" on. */
static int
tell_lost_positions(struct copy *c, struct err *e)
{
	sqlite3_stmt *st = NULL;
	int rc;

	if (sqlite3_prepare_v2(c->to,
		"SELECT name FROM logs WHERE read_ms <> 0 "
		"AND id NOT IN (SELECT log FROM files)",
		-1, &st, NULL) != SQLITE_OK)
		return sqlite_failed(c->to, "the new store", e);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		(void)err_list_add(&c->report->lost,
		    "how far %s was read: it is read as for the first time, see \"start\" in "
		    "hearsay.conf(5)",
		    (const char *)sqlite3_column_text(st, 0));
	(void)sqlite3_finalize(st);
	return rc == SQLITE_DONE ? 0 : sqlite_failed(c->to, "the new store", e);
}

/* What was begun since then would be told again, too, where its position is lost. */
static int
begin_anew(struct copy *c, struct err *e)
{
	if (c->report->lost.count == 0)
		return 0;
	if (sqlite3_exec(c->to, "DELETE FROM followed", NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_failed(c->to, "the new store", e);
	return 0;
}

/* ---- the new file -------------------------------------------------------------- */

/* An empty store of this version. */
static int
make_store(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	struct db *d;
	int rc;

	if (fd == -1)
		return err_errno(e, "cannot make %s", path);
	(void)close(fd);
	d = db_open(path, true, NULL, 0, e);
	if (d == NULL)
		return -1;
	rc = db_exec(d, "PRAGMA auto_vacuum = INCREMENTAL", e);
	if (rc == 0)
		rc = schema_migrate(d, e);
	db_close(d);
	return rc;
}

static int
copy_tables(struct copy *c, int64_t had, struct err *e)
{
	int64_t version;
	size_t i;

	if (number_of(c->from, "PRAGMA user_version", &version, e) == -1)
		return -1;
	/* The version's own row of meta gives way to the old one's. */
	if (sqlite3_exec(c->to,
		"PRAGMA foreign_keys = OFF; PRAGMA synchronous = FULL; BEGIN IMMEDIATE; "
		"DELETE FROM meta",
		NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_failed(c->to, "the new store", e);
	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		if ((version == 0 || version >= tables[i].version) &&
		    copy_table(c, i, e) == -1)
			return -1;
	if (mend(c, e) == -1 || tell_lost_positions(c, e) == -1 ||
	    begin_anew(c, e) == -1 || tell_lost_commits(c, had, e) == -1)
		return -1;
	if (sqlite3_exec(c->to, "COMMIT", NULL, NULL, NULL) != SQLITE_OK)
		return sqlite_failed(c->to, "the new store", e);
	return 0;
}

static int
open_raw(const char *path, int flags, sqlite3 **db_r, struct err *e)
{
	if (sqlite3_open_v2(path, db_r, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return err_set(e, "%s: %s", path, sqlite3_errmsg(*db_r));
	(void)sqlite3_db_config(*db_r, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	return 0;
}

/* What is left to do where there is nothing to go by. */
static int
tell_unreadable(sqlite3 *db, const char *path, struct err *e)
{
	return err_set(e,
	    "the pages that tell where its tables are cannot be read (%s): the .recover "
	    "command of sqlite3(1) may find events in it; to begin a new store, move %s* "
	    "aside and start the daemon; `hearsay replay --into' tells again what the "
	    "logs still hold",
	    sqlite3_errmsg(db), path);
}

/* The names of its tables must be readable. */
static int
judge(sqlite3 *db, const char *path, struct err *e)
{
	int64_t application, version, count;

	/* In this mode SQLite reads a file that is shorter than it should be, too. */
	if (sqlite3_exec(db, "PRAGMA writable_schema = ON", NULL, NULL, NULL) !=
		SQLITE_OK ||
	    number_of(db, "PRAGMA application_id", &application, e) == -1 ||
	    number_of(db, "PRAGMA user_version", &version, e) == -1 ||
	    number_of(db, "SELECT count(*) FROM sqlite_schema", &count, e) == -1)
		return tell_unreadable(db, path, e);
	/* What its owner wrote to is a store, whatever became of its header. */
	if (count > 0 && application == 0 && version == 0 && lock_commits(path) > 0)
		return 0;
	switch (schema_judge(application, version, count, path, e)) {
	case -1:
		return -1;
	case 0:
		return count > 0 ? 0 : err_set(e, "the store %s is empty", path);
	default:
		return 0;
	}
}

static int
copy_store(const char *old, const char *new, struct repair_report *report, struct err *e)
{
	struct copy c = {.report = report};
	int rc;

	rc = open_raw(old, SQLITE_OPEN_READONLY, &c.from, e);
	if (rc == 0)
		rc = judge(c.from, old, e);
	if (rc == 0)
		rc = make_store(new, e);
	if (rc == 0)
		rc = open_raw(new, SQLITE_OPEN_READWRITE, &c.to, e);
	if (rc == 0)
		rc = copy_tables(&c, lock_commits(old), e);
	(void)sqlite3_close(c.from);
	(void)sqlite3_close(c.to);
	return rc;
}

/* Another name for the file "path" + end, where there is one. */
static int
link_aside(const char *path, const char *aside, const char *end, struct err *e)
{
	char *from = xasprintf("%s%s", path, end), *to = xasprintf("%s%s", aside, end);
	int rc = 0;

	if (link(from, to) == -1 && errno != ENOENT)
		rc = err_errno(e, "cannot keep %s as %s", from, to);
	free(from);
	free(to);
	return rc;
}

static int
sync_name(const char *path, struct err *e)
{
	char *copy = xstrdup(path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = fd == -1 ? -1 : fsync(fd);

	if (rc == -1)
		(void)err_errno(e, "cannot sync the directory of %s", path);
	if (fd != -1)
		(void)close(fd);
	free(copy);
	return rc;
}

static void
remove_with(const char *path, const char *end)
{
	char *file = xasprintf("%s%s", path, end);

	(void)unlink(file);
	free(file);
}

/*
 * The new file takes the place of the old, which keeps another name with all
 * that belongs to it.  There is a store under the name at any moment: the
 * daemon would make an empty one where there is none, and lose silently.
 */
static int
swap(const char *path, const char *new, const char *aside, struct err *e)
{
	if (link_aside(path, aside, "", e) == -1 ||
	    link_aside(path, aside, "-wal", e) == -1 || sync_name(path, e) == -1)
		return -1;
	/* The old write-ahead log would be played into the new file. */
	remove_with(path, "-wal");
	remove_with(path, "-shm");
	if (rename(new, path) == -1)
		return err_errno(e, "cannot rename %s to %s", new, path);
	return sync_name(path, e);
}

int
repair_rebuild(const char *path, int64_t now, struct repair_report *report, struct err *e)
{
	static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
	char *new = xasprintf("%s.new", path);
	int lock = -1, rc = -1;
	size_t i;

	*report = (struct repair_report){0};
	if (schema_there(path, lock_commits(path), e) == -1)
		goto done;
	if (access(path, R_OK) == -1) {
		(void)err_errno(e, "the store %s", path);
		goto done;
	}
	lock = lock_take(path, e);
	if (lock == -1)
		goto done;
	for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		remove_with(new, ends[i]);
	report->aside = xasprintf("%s.damaged-%" PRId64, path, now / 1000);
	rc = copy_store(path, new, report, e);
	if (rc == 0)
		rc = swap(path, new, report->aside, e);
	if (rc == -1) {
		(void)err_add(e, "nothing was rebuilt, and the old store is as it was");
		for (i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
			remove_with(new, ends[i]);
	}
done:
	lock_release(lock);
	free(new);
	return rc;
}

void
repair_report_clear(struct repair_report *report)
{
	err_list_clear(&report->carried);
	err_list_clear(&report->lost);
	free(report->aside);
	report->aside = NULL;
}

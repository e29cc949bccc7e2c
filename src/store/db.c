#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

#define BUSY_MS 5000 /* a reader can hold up a writer for moments only, in WAL mode */

struct db {
	sqlite3 *handle;
	char *path;
	const char *const *sql;
	sqlite3_stmt **statements; /* NULL until first used */
	size_t count;
};

static const struct {
	int code;
	const char *way;
} ways_on[] = {
    {SQLITE_FULL, "make room for it; nothing that was stored is lost"},
    {SQLITE_IOERR, "look at its disk and the kernel's log"},
    {SQLITE_READONLY, "make the file and its directory writable for this user"},
    {SQLITE_CANTOPEN,
	"the file must be readable, and its directory writable, for this user"},
    {SQLITE_PERM, "the file must be readable and writable for this user"},
    {SQLITE_BUSY, "another program holds the file; close that"},
    {SQLITE_NOTADB,
	"this is no store of hearsay, or the beginning of one is destroyed: name another "
	"file as the store; or see what `hearsay store rebuild' says"},
    {SQLITE_CORRUPT,
	"the file is damaged: stop the daemon, and `hearsay store rebuild' makes a new one "
	"of what can be read"},
};

int
db_fail(struct db *d, struct err *e)
{
	int code = sqlite3_extended_errcode(d->handle);
	int sys = sqlite3_system_errno(d->handle);
	int kind = code & 0xff;
	size_t i;

	(void)err_set(e, "store %s: %s", d->path, sqlite3_errmsg(d->handle));
	if (e == NULL)
		return -1;
	if (kind == SQLITE_IOERR && sys != 0)
		(void)err_set(e, "store %s: %s (%s)", d->path, sqlite3_errmsg(d->handle),
		    strerror(sys));
	if (kind == SQLITE_IOERR && sys == EDQUOT)
		kind = SQLITE_FULL;
	for (i = 0; i < sizeof(ways_on) / sizeof(ways_on[0]); i++) {
		size_t len = strlen(e->text);

		if (ways_on[i].code == kind)
			(void)snprintf(
			    e->text + len, sizeof(e->text) - len, "; %s", ways_on[i].way);
	}
	e->passes = kind == SQLITE_BUSY;
	return -1;
}

struct db *
db_open(const char *path, bool write, const char *const *sql, size_t count, struct err *e)
{
	int flags =
	    SQLITE_OPEN_NOMUTEX | (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
	struct db *d = xcalloc(1, sizeof(*d));

	d->path = xstrdup(path);
	d->sql = sql;
	d->count = count;
	d->statements = xcalloc(count, sizeof(sqlite3_stmt *));
	if (sqlite3_open_v2(path, &d->handle, flags, NULL) != SQLITE_OK) {
		if (d->handle == NULL)
			mem_exhausted();
		goto close;
	}
	/* A file made by somebody else must not run code of its own through its schema. */
	if (sqlite3_extended_result_codes(d->handle, 1) != SQLITE_OK ||
	    sqlite3_busy_timeout(d->handle, BUSY_MS) != SQLITE_OK ||
	    sqlite3_db_config(d->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL) !=
		SQLITE_OK ||
	    sqlite3_db_config(d->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL) !=
		SQLITE_OK)
		goto close;
	return d;

close:
	(void)db_fail(d, e);
	db_close(d);
	return NULL;
}

void
db_close(struct db *d)
{
	size_t i;

	if (d == NULL)
		return;
	for (i = 0; i < d->count; i++)
		(void)sqlite3_finalize(d->statements[i]);
	(void)sqlite3_close(d->handle);
	free(d->statements);
	free(d->path);
	free(d);
}

int
db_exec(struct db *d, const char *sql, struct err *e)
{
	if (sqlite3_exec(d->handle, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_fail(d, e);
	return 0;
}

int
db_ask_text(struct db *d, const char *sql, char **text_r, struct err *e)
{
	sqlite3_stmt *st = NULL;

	if (sqlite3_prepare_v2(d->handle, sql, -1, &st, NULL) != SQLITE_OK ||
	    sqlite3_step(st) != SQLITE_ROW) {
		(void)db_fail(d, e);
		(void)sqlite3_finalize(st);
		return -1;
	}
	*text_r = xstrdup(db_column_text(st, 0));
	(void)sqlite3_finalize(st);
	return 0;
}

int
db_ask_number(struct db *d, const char *sql, int64_t *n_r, struct err *e)
{
	char *text;

	if (db_ask_text(d, sql, &text, e) == -1)
		return -1;
	*n_r = strtoll(text, NULL, 10);
	free(text);
	return 0;
}

/* The caller's strings outlive the statement's run, so SQLite need not copy them. */
static int
bind_arg(sqlite3_stmt *st, int i, const struct db_arg *arg)
{
	switch (arg->kind) {
	case DB_TEXT:
		return sqlite3_bind_text(st, i, arg->p, -1, SQLITE_STATIC);
	case DB_BYTES:
		return sqlite3_bind_blob64(
		    st, i, arg->p, (sqlite3_uint64)arg->n, SQLITE_STATIC);
	case DB_NUMBER:
		break;
	}
	return sqlite3_bind_int64(st, i, arg->n);
}

sqlite3_stmt *
db_query(struct db *d, size_t i, const struct db_arg *args, size_t count, struct err *e)
{
	sqlite3_stmt *st = d->statements[i];
	size_t n;

	if (st == NULL &&
	    sqlite3_prepare_v3(d->handle, d->sql[i], -1, SQLITE_PREPARE_PERSISTENT, &st,
		NULL) != SQLITE_OK)
		goto fail;
	d->statements[i] = st;
	for (n = 0; n < count; n++)
		if (bind_arg(st, (int)n + 1, &args[n]) != SQLITE_OK)
			goto fail;
	return st;

fail:
	(void)db_fail(d, e);
	return NULL;
}

void
db_done(sqlite3_stmt *st)
{
	/* A reset repeats the error of the step before it, which was told already. */
	(void)sqlite3_reset(st);
	(void)sqlite3_clear_bindings(st);
}

int
db_row(struct db *d, sqlite3_stmt *st, struct err *e)
{
	int rc = sqlite3_step(st);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		(void)db_fail(d, e);
	db_done(st);
	return rc == SQLITE_DONE ? 0 : -1;
}

int
db_run(struct db *d, size_t i, const struct db_arg *args, size_t count,
    int64_t *changed_r, struct err *e)
{
	sqlite3_stmt *st = db_query(d, i, args, count, e);
	int64_t before = sqlite3_total_changes(d->handle);

	if (st == NULL || db_row(d, st, e) == -1)
		return -1;
	if (changed_r != NULL)
		*changed_r = sqlite3_total_changes(d->handle) - before;
	return 0;
}

const char *
db_column_text(sqlite3_stmt *st, int column)
{
	const unsigned char *text = sqlite3_column_text(st, column);

	return text == NULL ? "" : (const char *)text;
}

uint64_t
db_column_bits(sqlite3_stmt *st, int column)
{
	return (uint64_t)sqlite3_column_int64(st, column);
}

int
db_keep_log(struct db *d, struct err *e)
{
	int keep = 1;

	if (sqlite3_file_control(d->handle, NULL, SQLITE_FCNTL_PERSIST_WAL, &keep) !=
	    SQLITE_OK)
		return db_fail(d, e);
	return 0;
}

static int
sync_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	int rc = fd == -1 ? -1 : fsync(fd);

	if (rc == -1)
		(void)err_errno(e, "cannot sync %s", path);
	if (fd != -1)
		(void)close(fd);
	return rc;
}

int
db_copy(struct db *d, const char *path, struct err *e)
{
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
	int rc;

	if (sql == NULL)
		mem_exhausted();
	rc = db_exec(d, sql, e);
	sqlite3_free(sql);
	return rc == -1 ? -1 : sync_file(path, e);
}

bool
db_in_transaction(struct db *d)
{
	return sqlite3_get_autocommit(d->handle) == 0;
}

void
db_rollback(struct db *d)
{
	if (db_in_transaction(d))
		(void)sqlite3_exec(d->handle, "ROLLBACK", NULL, NULL, NULL);
}

/*
 * The store in SQLite: its files, which outlive a full disk and are missed when
 * they are gone.
 *
 * Three things are true of a store at rest, so that all of it can be delivered
 * while no byte of the disk is free.  Every page of the file has its block.  So
 * has the write-ahead log, up to LOG_BYTES, and it is kept when the store is
 * closed.  And of the file's pages as many are free as the delivery of all that
 * waits can use.  A delivery then takes nothing from the disk: its commit fits
 * into the log, the log always into the file, and begins again at its start.
 *
 * Events are put only where the three hold afterwards, and the file grows for
 * that.  Where it cannot, they are not put, which stops reading.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "store/lock.h"
#include "store/sqlite.h"

/*
 * SQLite begins its log again after 1000 pages of 4 KiB, where nobody reads just
 * then; the largest step of a delivery is 300.
 */
#define LOG_BYTES ((off_t)16 * 1024 * 1024)
#define LOG_BYTES_SQL "16777216"

/*
 * What deliveries use of the free pages.  A body while it waits for its answer,
 * once for each appservice, and at a failure its copy; that it is dropped when it
 * is accepted makes the use no larger with each transaction.  And the index
 * of what is in transactions: 6 bytes a delivery, 18 where 20 go together.
 */
#define BODY_BYTES (TXN_BODY_MAX + 16 * 1024)
#define STEP_BYTES (512 * 1024)
#define DELIVERY_BYTES 32

/* So much more than needed, so that the file does not grow with each commit. */
#define GROW_MIN 128
#define GROW_MAX 2048

/* ---- room -------------------------------------------------------------------- */

/* SQLite puts it beside the file itself, where the store's name is a link. */
static char *
log_path(const struct sqlite *s)
{
	char *file = realpath(s->path, NULL);
	char *path = xasprintf("%s-wal", file == NULL ? s->path : file);

	free(file);
	return path;
}

int
sqlite_pages(struct sqlite *s, struct sqlite_pages *p_r, struct err *e)
{
	int64_t all;

	if (db_ask_number(s->db, "PRAGMA page_size", &p_r->size, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA page_count", &all, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA freelist_count", &p_r->unused, e) == -1)
		return -1;
	p_r->used = all - p_r->unused;
	return 0;
}

int
sqlite_pages_kept(
    struct sqlite *s, const struct sqlite_pages *p, int64_t *kept_r, struct err *e)
{
	int64_t appservices, bytes;

	if (sqlite_ask(s, COUNT_APPSERVICES, NULL, 0, &appservices, e) != 1)
		return -1;
	bytes = (appservices + 1) * BODY_BYTES + STEP_BYTES +
	    (int64_t)(s->waiting + s->pending) * DELIVERY_BYTES;
	*kept_r = bytes / p->size;
	return 0;
}

/* Blocks for the first bytes; 0 also where the file system knows no such thing. */
static int
allocate(int fd, off_t bytes)
{
	if (fallocate(fd, 0, 0, bytes) == 0 || errno == EOPNOTSUPP || errno == ENOSYS)
		return 0;
	return -1;
}

static int
back_log(const struct sqlite *s, struct err *e)
{
	char *path = log_path(s);
	struct stat st;
	int fd = -1, rc = 0;

	if (stat(path, &st) == 0 && st.st_size >= LOG_BYTES &&
	    (off_t)st.st_blocks * 512 >= LOG_BYTES)
		goto done;
	/* SQLite has no locks on this file, which a close would take away. */
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd == -1 || allocate(fd, LOG_BYTES) == -1)
		rc = err_errno(e, "cannot keep room for the store's log %s", path);
	if (fd != -1)
		(void)close(fd);
done:
	free(path);
	return rc;
}

/* Free pages, of a row that is gone again. */
static int
grow(struct sqlite *s, const struct sqlite_pages *p, int64_t count, struct err *e)
{
	int64_t more = p->used / 16;
	char sql[96];

	more = more < GROW_MIN ? GROW_MIN : more > GROW_MAX ? GROW_MAX : more;
	(void)snprintf(sql, sizeof(sql),
	    "INSERT INTO room VALUES (zeroblob(%" PRId64 ")); DELETE FROM room",
	    (count + more) * p->size);
	return db_exec(s->db, sql, e);
}

int
sqlite_keep_room(struct sqlite *s, struct err *e)
{
	struct sqlite_pages p;
	int64_t kept;

	s->full = true;
	if (back_log(s, e) == -1 || sqlite_pages(s, &p, e) == -1 ||
	    sqlite_pages_kept(s, &p, &kept, e) == -1)
		return -1;
	if (p.unused < kept && grow(s, &p, kept - p.unused, e) == -1)
		return -1;
	if (sqlite_back_pages(s, e) == -1)
		return -1;
	s->full = false;
	return 0;
}

int
sqlite_back_pages(struct sqlite *s, struct err *e)
{
	struct sqlite_pages p;
	struct stat st;
	int64_t bytes;

	if (sqlite_pages(s, &p, e) == -1)
		return -1;
	bytes = (p.used + p.unused) * p.size;
	/* After pages were given back the file is shorter. */
	if (fstat(s->fd, &st) == 0 && st.st_size < s->backed)
		s->backed = st.st_size;
	if (bytes <= s->backed)
		return 0;
	if (allocate(s->fd, bytes) == -1)
		return err_errno(
		    e, "the store %s cannot grow, make room on its disk", s->path);
	s->backed = bytes;
	return 0;
}

int
sqlite_set_up_log(struct sqlite *s, struct err *e)
{
	/* A log that an unusual commit made larger is cut to this size. */
	if (db_keep_log(s->db, e) == -1 ||
	    db_exec(s->db, "PRAGMA journal_size_limit = " LOG_BYTES_SQL, e) == -1)
		return -1;
	/*
	 * Closed before SQLite is done with the file, it would take the locks of
	 * SQLite with it.
	 */
	if (s->fd == -1)
		s->fd = open(s->path, O_RDWR | O_CLOEXEC);
	if (s->fd == -1)
		return err_errno(e, "cannot open the store %s", s->path);
	(void)back_log(s, NULL); /* or when events are put */
	return 0;
}

/* ---- whether they are there -------------------------------------------------- */

static struct sqlite_place
place_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) == -1)
		return (struct sqlite_place){0, 0};
	return (struct sqlite_place){st.st_dev, st.st_ino};
}

static bool
is_there(const char *path, struct sqlite_place was)
{
	struct sqlite_place is = place_of(path);

	return is.dev == was.dev && is.ino == was.ino;
}

void
sqlite_know_files(struct sqlite *s)
{
	char *log = log_path(s);

	s->file = place_of(s->path);
	s->log = place_of(log);
	lock_watch_file(s->watch, s->path, "");
	lock_watch_file(s->watch, s->path, "-wal");
	free(log);
}

/*
 * A new connection to what is there now, with a log of its own; it comes before
 * the end of the old, so that there is one in any case.
 */
static int
connect_anew(struct sqlite *s, struct err *e)
{
	struct db *old = s->db;

	s->db = db_open(s->path, true, sqlite_statements, STATEMENT_COUNT, e);
	if (s->db == NULL || sqlite_set_up_writing(s, e) == -1) {
		db_close(s->db);
		s->db = old;
		return -1;
	}
	db_close(old);
	s->data_version = 0;
	sqlite_know_files(s);
	return 0;
}

/* The log that was deleted is still open here, and all of it can go into the file. */
static int
save_log(struct sqlite *s, struct err *e)
{
	int64_t busy;

	if (db_ask_number(s->db, "PRAGMA wal_checkpoint(TRUNCATE)", &busy, e) == -1)
		return -1;
	if (busy != 0)
		return err_set(e, "another program reads the store just now");
	return connect_anew(s, e);
}

/*
 * So is the file, and all of it can go into a new one.  The old log must not be
 * played into that.
 */
static int
save_file(struct sqlite *s, const char *log, struct err *e)
{
	char *shm = xasprintf("%s-shm", s->path);
	int old = s->fd, rc = -1;

	if (sqlite_make_file(s->path, e) == -1)
		goto done;
	if (db_copy(s->db, s->path, e) == -1) {
		(void)unlink(s->path);
		goto done;
	}
	(void)unlink(log);
	(void)unlink(shm);
	s->fd = -1;
	s->backed = 0;
	rc = connect_anew(s, e);
	(void)close(old);
done:
	free(shm);
	return rc;
}

int
sqlite_find_files(struct sqlite *s, struct err *e)
{
	char *log = log_path(s);
	const char *gone = NULL;
	int rc = 0;

	if (!is_there(s->path, s->file)) {
		gone = s->path;
		if (place_of(s->path).ino != 0)
			rc = err_set(e, "another file has its name; stop the daemon");
		else
			rc = save_file(s, log, e);
	} else if (!is_there(log, s->log)) {
		gone = log;
		rc = save_log(s, e);
	}
	if (rc == -1)
		(void)err_add(e, "%s was removed while it was in use", gone);
	else if (gone != NULL)
		say(LOG_WARNING,
		    "%s was removed while it was in use; all that was in it is saved, and "
		    "nothing is lost",
		    gone);
	free(log);
	return rc;
}

/* ---- the end ------------------------------------------------------------------- */

static bool
room_to_spare(const struct sqlite *s)
{
	struct statvfs fs;

	return !s->full && statvfs(s->path, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize >= 4 * (uint64_t)LOG_BYTES;
}

/*
 * At its end SQLite plays the log into the file and, with a limit of its size,
 * empties it.  An empty one can do no harm to a file that is put back from a
 * backup; but on a full disk its blocks would go to who asks first.
 */
void
sqlite_leave(struct sqlite *s)
{
	if (s->fd != -1 && !room_to_spare(s))
		(void)db_exec(s->db, "PRAGMA journal_size_limit = -1", NULL);
	db_close(s->db);
	s->db = NULL;
	if (s->fd == -1)
		return;
	(void)close(s->fd);
	s->fd = -1;
	(void)back_log(s, NULL);
}

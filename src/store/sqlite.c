/*
 * The store in SQLite: a file, and one process that delivers from it; others
 * may look into it and edit queues meanwhile.  The tables are in schema.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#include "store/backend.h"
#include "store/body.h"
#include "store/db.h"
#include "store/lock.h"
#include "store/schema.h"
#include "tail/checkpoint.h"

#define EPOCH_BYTES 16
#define FORGET_TRANSACTIONS 4  /* at once: a few milliseconds */
#define REMAKE_PAGES 16384     /* of a store of the first version; a second or two */
#define SWEEP_EVENTS 200       /* looked at at once */
#define VACUUM_PAGES 256       /* moved at once; and fewer free ones are left alone */
#define DISCARD_DELIVERIES 500 /* in one step, while the daemon waits */
#define CHECK_WHOLE_MAX (256LL * 1024 * 1024) /* bytes; about a second of checking */

struct sqlite {
	struct store store; /* first: sqlite_of */
	struct db *db;
	enum store_mode mode;
	char *path;
	int lock;  /* -1: not held */
	int watch; /* readable after another's edit; -1: cannot be had */
	char epoch[2 * EPOCH_BYTES + 1];
	uint64_t waiting;     /* deliveries; kept with STORE_OWN only, while */
	int64_t data_version; /* SQLite says by this that nobody else wrote */
	int64_t swept;        /* id of the last event that was looked at by a sweep */
	uint64_t pending;     /* deliveries put since store_begin */
};

enum statement {
	BEGIN_WRITE,
	COMMIT,
	ADD_LOG,
	ADD_APPSERVICE,
	ADD_EVENT,
	COUNT_EVENT,
	ADD_DELIVERY,
	WAS_TOLD,
	TOUCH_LOG,
	FORGET_FILES,
	ADD_FILE,
	FILES_OF_LOG,
	COUNT_WAITING,
	WAITING,
	QUEUED,
	NEXT_SEQUENCE,
	ADD_TRANSACTION,
	ASSIGN,
	ACCEPT,
	ACCEPTED_BY,
	FAIL,
	FAILED_BY,
	HELD,
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
	DROP_EVENT,
	DROP_TRANSACTION,
	DISCARDED,
	OLDEST_ACCEPTED,
	UNTOLD_UP_TO,
	COUNT_UNTOLD,
	DROP_UNTOLD,
	LOG_STATUSES,
	QUEUE_STATUSES,
	COUNT_ACCEPTED,
	ITEMS,
	TELL_ACCEPTED,
	TELL_QUEUED,
	STATEMENT_COUNT
};

#define APPSERVICE_NAMED(n) "(SELECT id FROM appservices WHERE name = " n ")"
#define FILE_COLUMNS                                                                     \
	"f.key, f.generation, f.dev, f.ino, f.btime_ns, f.head_len, f.head, f.offset, "  \
	"f.resume, f.guard_len, f.guard, f.last_ts, f.finished, f.path"
#define WAITS "accepted_ms IS NULL AND dead_ms IS NULL"
#define AS_IF_NEW                                                                         \
	"dead_ms = NULL, next_try_ms = 0, attempts = 0, first_try_ms = 0, refusals = 0, " \
	"refused_ms = 0"
#define TOLD_COLUMNS                                                                     \
	"d.id, a.name, d.key, d.type, e.user_id, e.content, e.source, l.name, e.ts, "    \
	"d.queued_ms"
#define TOLD_JOINS                                                                       \
	"JOIN events e ON e.id = d.event JOIN logs l ON l.id = e.log "                   \
	"JOIN appservices a ON a.id = d.appservice "
/* Generations have no sign: those beyond 2^63 are negative here, and the newest. */
#define OLDEST_FIRST "f.generation < 0, f.generation"

static const char *const statements[STATEMENT_COUNT] = {
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",

    [ADD_LOG] = "INSERT INTO logs (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
    [ADD_APPSERVICE] =
	"INSERT INTO appservices (name) VALUES (?1) ON CONFLICT (name) DO NOTHING",
    [ADD_EVENT] =
	"INSERT INTO events (file, offset, rule, ordinal, log, type, user_id, content, "
	"  source, ts, put_ms) "
	"VALUES (?1, ?2, ?3, ?4, (SELECT id FROM logs WHERE name = ?5), ?6, ?7, ?8, ?9, "
	"  ?10, ?11) "
	"ON CONFLICT (file, offset, rule, ordinal) DO NOTHING RETURNING id",
    [COUNT_EVENT] = "UPDATE logs SET events = events + 1 WHERE name = ?1",
    [ADD_DELIVERY] = "INSERT INTO deliveries (event, appservice, key, type, queued_ms) "
		     "VALUES (?1, " APPSERVICE_NAMED("?2") ", ?3, ?4, ?5)",

    [WAS_TOLD] = "SELECT 1 FROM events e JOIN deliveries d ON d.event = e.id "
		 "WHERE e.file = ?1 AND e.offset = ?2 AND e.rule = ?3 AND e.ordinal = ?4 "
		 "AND d.appservice = " APPSERVICE_NAMED("?5"),

    [TOUCH_LOG] = "INSERT INTO logs (name, read_ms) VALUES (?1, ?2) "
		  "ON CONFLICT (name) DO UPDATE SET read_ms = excluded.read_ms",
    [FORGET_FILES] =
	"DELETE FROM files WHERE log = (SELECT id FROM logs WHERE name = ?1)",
    [ADD_FILE] =
	"INSERT INTO files (log, key, generation, dev, ino, btime_ns, head_len, head, "
	"  offset, resume, guard_len, guard, last_ts, finished, path) "
	"VALUES ((SELECT id FROM logs WHERE name = ?1), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, "
	"  ?10, ?11, ?12, ?13, ?14, ?15)",
    [FILES_OF_LOG] = "SELECT " FILE_COLUMNS " FROM files f JOIN logs l ON l.id = f.log "
		     "WHERE l.name = ?1 ORDER BY " OLDEST_FIRST,

    [COUNT_WAITING] =
	"SELECT (SELECT count(*) FROM deliveries WHERE txn IS NULL) + "
	"  (SELECT coalesce(sum(events), 0) FROM transactions WHERE " WAITS ")",
    /* An attempt later than now: the clock was set back, and next_try_ms means nothing. */
    [WAITING] = "SELECT t.id, body, events, formed_ms, attempts, first_try_ms, "
		"  CASE WHEN last_failure_ms > ?2 THEN 0 ELSE next_try_ms END, "
		"  refusals, refused_ms "
		"FROM transactions t JOIN appservices a ON a.id = t.appservice "
		"WHERE a.name = ?1 AND " WAITS " ORDER BY seq LIMIT 1",
    [QUEUED] = "SELECT d.id, d.key, d.type, d.queued_ms, e.content, e.ts "
	       "FROM deliveries d JOIN events e ON e.id = d.event "
	       "WHERE d.appservice = " APPSERVICE_NAMED("?1") " AND d.txn IS NULL "
							      "ORDER BY d.id LIMIT ?2",
    [NEXT_SEQUENCE] =
	"UPDATE meta SET epoch = ?1, sequence = sequence + 1 RETURNING sequence",
    [ADD_TRANSACTION] =
	"INSERT INTO transactions (id, appservice, body, events, oldest_ms, formed_ms) "
	"VALUES (?1, " APPSERVICE_NAMED("?2") ", ?3, ?4, ?5, ?6) RETURNING seq",
    [ASSIGN] =
	"UPDATE deliveries SET txn = ?1 "
	"WHERE appservice = " APPSERVICE_NAMED("?2") " AND txn IS NULL AND id <= ?3",

    [ACCEPT] =
	"UPDATE transactions SET accepted_ms = ?3, status = ?4, attempts = attempts + 1, "
	"  dead_ms = NULL, error = '', "
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN ?3 ELSE first_try_ms END "
	"WHERE id = ?1 AND appservice = " APPSERVICE_NAMED(
	    "?2") " AND accepted_ms IS NULL RETURNING events",
    [ACCEPTED_BY] = "UPDATE appservices SET accepted = accepted + ?2, "
		    "odd = odd + CASE ?4 WHEN 200 THEN 0 ELSE 1 END, "
		    "last_success_ms = ?3, last_status = ?4 WHERE name = ?1",
    [FAIL] =
	"UPDATE transactions SET status = ?4, next_try_ms = ?5, attempts = attempts + 1, "
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN ?3 ELSE first_try_ms END, "
	"  error = ?6, refusals = refusals + ?7, "
	"  refused_ms = CASE WHEN ?7 = 1 AND refused_ms = 0 THEN ?3 ELSE refused_ms END, "
	"  dead_ms = CASE WHEN ?8 = 1 AND dead_ms IS NULL THEN ?3 ELSE dead_ms END "
	"WHERE id = ?1 AND appservice = " APPSERVICE_NAMED(
	    "?2") " AND accepted_ms IS NULL RETURNING events",
    [FAILED_BY] = "UPDATE appservices SET last_failure_ms = ?2, last_status = ?3, "
		  "last_error = ?4 WHERE name = ?1",

    [HELD] = "SELECT held_ms FROM appservices WHERE name = ?1 AND held_ms <> 0",
    [HOLD_QUEUE] = "INSERT INTO appservices (name, held_ms) VALUES (?1, ?2) "
		   "ON CONFLICT (name) DO UPDATE SET held_ms = excluded.held_ms",
    [RELEASE_QUEUE] = "UPDATE appservices SET held_ms = 0 WHERE name = ?1",
    [RETRY_WAITING] =
	"UPDATE transactions SET next_try_ms = 0 "
	"WHERE appservice = " APPSERVICE_NAMED("?1") " AND " WAITS " RETURNING events",
    [REVIVE_ALL] =
	"UPDATE transactions SET " AS_IF_NEW " WHERE appservice = " APPSERVICE_NAMED(
	    "?1") " AND dead_ms IS NOT NULL RETURNING events",
    [SET_ASIDE] = "UPDATE transactions SET dead_ms = ?3, "
		  "  error = CASE error WHEN '' THEN 'set aside by hand' ELSE error END "
		  "WHERE appservice = " APPSERVICE_NAMED("?1") " AND id = ?2 AND " WAITS
							       " RETURNING events",
    [REVIVE] =
	"UPDATE transactions SET " AS_IF_NEW " WHERE appservice = " APPSERVICE_NAMED(
	    "?1") " AND id = ?2 AND accepted_ms IS NULL RETURNING events",
    [NOT_ACCEPTED] = "SELECT seq, events FROM transactions "
		     "WHERE appservice = " APPSERVICE_NAMED(
			 "?1") " AND id = ?2 AND accepted_ms IS NULL",
    [FIRST_NOT_ACCEPTED] = "SELECT seq, events FROM transactions WHERE seq = coalesce("
			   "  (SELECT min(seq) FROM transactions "
			   "    WHERE appservice = " APPSERVICE_NAMED(
			       "?1") " AND " WAITS "), "
				     "  (SELECT min(seq) FROM transactions "
				     "    WHERE appservice = " APPSERVICE_NAMED(
					 "?1") " AND dead_ms IS NOT NULL))",
    [DROP_DELIVERIES] = "DELETE FROM deliveries WHERE txn = ?1 RETURNING event",
    [DROP_QUEUED] = "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries "
		    "  WHERE appservice = " APPSERVICE_NAMED(
			"?1") " AND txn IS NULL "
			      "  ORDER BY id LIMIT ?2) RETURNING event",
    [DROP_EVENT] = "DELETE FROM events WHERE id = ?1 "
		   "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = ?1)",
    [DROP_TRANSACTION] = "DELETE FROM transactions WHERE seq = ?1",
    [DISCARDED] = "UPDATE appservices SET discarded = discarded + ?2 WHERE name = ?1",
    [OLDEST_ACCEPTED] = "SELECT seq, accepted_ms FROM transactions "
			"WHERE accepted_ms IS NOT NULL ORDER BY accepted_ms LIMIT 1",
    /* Events are in the order in which they were put, so that the first young one ends it. */
    [UNTOLD_UP_TO] =
	"SELECT coalesce(max(id), 0) FROM "
	"(SELECT id, put_ms FROM events WHERE id > ?1 ORDER BY id LIMIT ?2) o "
	"WHERE put_ms < ?3",
    [COUNT_UNTOLD] = "SELECT count(*) FROM events e WHERE id > ?1 AND id <= ?2 "
		     "AND put_ms < ?3 "
		     "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = e.id)",
    [DROP_UNTOLD] = "DELETE FROM events WHERE id > ?1 AND id <= ?2 AND put_ms < ?3 "
		    "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event = events.id)",

    [LOG_STATUSES] = "SELECT " FILE_COLUMNS ", l.name, l.read_ms, l.events "
		     "FROM logs l LEFT JOIN files f ON f.log = l.id "
		     "ORDER BY l.name, " OLDEST_FIRST,
    [QUEUE_STATUSES] =
	"SELECT a.name, "
	"  (SELECT coalesce(sum(events), 0) FROM transactions "
	"    WHERE appservice = a.id AND " WAITS ") + "
	"  (SELECT count(*) FROM deliveries d "
	"    WHERE d.appservice = a.id AND d.txn IS NULL), "
	"  coalesce((SELECT min(oldest_ms) FROM transactions "
	"      WHERE appservice = a.id AND " WAITS "), "
	"    (SELECT d.queued_ms FROM deliveries d "
	"      WHERE d.appservice = a.id AND d.txn IS NULL ORDER BY d.id LIMIT 1), 0), "
	"  a.accepted, a.last_success_ms, a.last_failure_ms, a.last_status, "
	"  a.last_error, coalesce(t.attempts, 0), coalesce(t.next_try_ms, 0), "
	"  a.held_ms, (SELECT count(*) FROM transactions "
	"    WHERE appservice = a.id AND dead_ms IS NOT NULL), a.odd, a.discarded "
	"FROM appservices a LEFT JOIN transactions t "
	"  ON t.seq = (SELECT min(seq) FROM transactions "
	"    WHERE appservice = a.id AND " WAITS ") "
	"ORDER BY a.name",
    [COUNT_ACCEPTED] = "SELECT count(*) FROM transactions WHERE accepted_ms IS NOT NULL",

    [ITEMS] = "SELECT t.id, t.body, t.events, t.formed_ms, t.attempts, t.first_try_ms, "
	      "  t.next_try_ms, t.refusals, t.refused_ms, t.seq, a.name, t.oldest_ms, "
	      "  coalesce(t.dead_ms, 0), t.status, t.error "
	      "FROM transactions t JOIN appservices a ON a.id = t.appservice "
	      "WHERE t.seq IN (SELECT seq FROM transactions WHERE " WAITS " UNION ALL "
	      "  SELECT seq FROM transactions WHERE dead_ms IS NOT NULL) "
	      "AND (?1 IS NULL OR a.name = ?1) AND (?2 IS NULL OR t.id = ?2) "
	      "AND t.seq > ?3 ORDER BY t.seq LIMIT ?4",
    /* From the deliveries on, in their order: a page is found without sorting all. */
    [TELL_ACCEPTED] =
	"SELECT " TOLD_COLUMNS ", t.id, t.accepted_ms, t.status "
	"FROM deliveries d CROSS JOIN transactions t ON t.seq = d.txn " TOLD_JOINS
	"WHERE d.id > ?1 AND t.accepted_ms >= ?2 AND (?3 IS NULL OR a.name = ?3) "
	"AND (?4 IS NULL OR e.user_id = ?4) ORDER BY d.id LIMIT ?5",
    [TELL_QUEUED] = "SELECT " TOLD_COLUMNS ", '', 0, 0 FROM deliveries d " TOLD_JOINS
		    "WHERE d.txn IS NULL AND d.id > ?1 AND d.queued_ms >= ?2 "
		    "AND (?3 IS NULL OR a.name = ?3) AND (?4 IS NULL OR e.user_id = ?4) "
		    "ORDER BY d.id LIMIT ?5",
};

static struct sqlite *
sqlite_of(struct store *store)
{
	return (struct sqlite *)store;
}

/* ---- opening ----------------------------------------------------------- */

/* A new name is on disk only when its directory is. */
static int
sync_directory(const char *path, struct err *e)
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

/*
 * Make the file where there is none.  Left to SQLite, its mode would hang on
 * the umask, and others could read who logged in where.
 */
static int
make_file(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd == -1 && errno == EEXIST)
		return 0;
	if (fd == -1)
		return err_errno(e, "cannot make the store %s", path);
	(void)close(fd);
	return sync_directory(path, e);
}

/*
 * Look for damage before anything is built on it.  In a store too large for
 * that, only the tables that every start needs; the rest is found out on use.
 */
static int
check_pages(struct sqlite *s, const char *path, struct err *e)
{
	static const char *const whole[] = {"PRAGMA quick_check(1)", NULL};
	static const char *const parts[] = {"PRAGMA quick_check(logs)",
	    "PRAGMA quick_check(files)", "PRAGMA quick_check(appservices)", NULL};
	const char *const *check;
	struct stat st;
	char *text;
	bool sound;

	if (stat(path, &st) == -1)
		return err_errno(e, "cannot look at the store %s", path);
	for (check = st.st_size > CHECK_WHOLE_MAX ? parts : whole; *check != NULL;
	     check++) {
		if (db_ask_text(s->db, *check, &text, e) == -1)
			return -1;
		sound = strcmp(text, "ok") == 0;
		if (!sound)
			(void)err_set(e,
			    "the store %s is damaged (%s): `hearsay store rebuild' makes a new one "
			    "of what can be read, and keeps this one aside",
			    path, text);
		free(text);
		if (!sound)
			return -1;
	}
	return 0;
}

static int
set_up_writing(struct sqlite *s, const char *path, struct err *e)
{
	char *mode;
	bool wal;

	if (db_ask_text(s->db, "PRAGMA journal_mode = WAL", &mode, e) == -1)
		return -1;
	wal = strcmp(mode, "wal") == 0;
	free(mode);
	if (!wal)
		return err_set(e,
		    "the store %s cannot have a write-ahead log: put it on a local file system",
		    path);
	/* FULL: a commit is on the disk when it returns, not only safe from our own end. */
	return db_exec(s->db,
	    "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
	    "PRAGMA journal_size_limit = 16777216",
	    e);
}

/*
 * Every opening draws an epoch of its own: a store put back from a backup
 * would otherwise give ids that its receivers have seen, and drop.
 */
static int
draw_epoch(struct sqlite *s, struct err *e)
{
	unsigned char bytes[EPOCH_BYTES];
	size_t i;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_errno(e, "cannot draw random bytes");
	for (i = 0; i < sizeof(bytes); i++)
		(void)snprintf(s->epoch + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static int
count_waiting(struct sqlite *s, uint64_t *count_r, struct err *e)
{
	sqlite3_stmt *st = db_query(s->db, COUNT_WAITING, NULL, 0, e);

	if (st == NULL || db_row(s->db, st, e) != 1)
		return -1;
	*count_r = db_column_bits(st, 0);
	db_done(st);
	return 0;
}

/* The count is right again after others wrote to the file. */
static int
recount(struct sqlite *s, struct err *e)
{
	int64_t version;

	if (db_ask_number(s->db, "PRAGMA data_version", &version, e) == -1)
		return -1;
	if (version == s->data_version)
		return 0;
	if (count_waiting(s, &s->waiting, e) == -1)
		return -1;
	s->data_version = version;
	return 0;
}

/* What is not known yet of others' edits may make the count too small for n. */
static void
count_down(struct sqlite *s, int64_t n)
{
	uint64_t events = n < 0 ? 0 : (uint64_t)n;

	s->waiting -= events < s->waiting ? events : s->waiting;
}

static int
make_schema(struct sqlite *s, struct err *e)
{
	int64_t pages, mode;

	if (schema_migrate(s->db, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA auto_vacuum", &mode, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA page_count", &pages, e) == -1)
		return -1;
	/*
	 * A store of the first version cannot give pages back before it was made
	 * anew.  Where that would take long, or fails for want of room, its free
	 * pages are only used again.
	 */
	if (mode == 0 && pages < REMAKE_PAGES)
		(void)db_exec(s->db, "PRAGMA auto_vacuum = INCREMENTAL; VACUUM", NULL);
	return 0;
}

static int
open_own(struct sqlite *s, const char *path, struct err *e)
{
	int known;

	s->lock = lock_take(path, e);
	if (s->lock == -1 || make_file(path, e) == -1)
		return -1;
	s->db = db_open(path, true, statements, STATEMENT_COUNT, e);
	if (s->db == NULL)
		return -1;
	known = schema_check(s->db, path, e);
	/* auto_vacuum counts only where the file is empty yet. */
	if (known == -1 || check_pages(s, path, e) == -1 ||
	    db_exec(s->db, "PRAGMA auto_vacuum = INCREMENTAL", e) == -1 ||
	    set_up_writing(s, path, e) == -1 || (known == 0 && make_schema(s, e) == -1))
		return -1;
	s->watch = lock_watch(path);
	return draw_epoch(s, e) == -1 ? -1 : recount(s, e);
}

/* Beside the owner or without: to read, or to edit. */
static int
open_beside(struct sqlite *s, const char *path, struct err *e)
{
	bool write = s->mode == STORE_EDIT;

	if (access(path, F_OK) == -1 && errno == ENOENT)
		return err_set(e,
		    "there is no store at %s: the daemon makes it when it starts", path);
	s->db = db_open(path, write, statements, STATEMENT_COUNT, e);
	if (s->db == NULL)
		return -1;
	switch (schema_check(s->db, path, e)) {
	case 1:
		return write ? set_up_writing(s, path, e) : 0;
	case 0:
		return err_set(e,
		    "the store %s is empty or of an older hearsay: start the daemon, which "
		    "sets it up",
		    path);
	default:
		return -1;
	}
}

static void
sqlite_close(struct store *store)
{
	struct sqlite *s = sqlite_of(store);

	db_close(s->db);
	lock_release(s->lock);
	if (s->watch != -1)
		(void)close(s->watch);
	free(s->path);
	free(s);
}

static struct store *
sqlite_open(const char *path, const char *instance, enum store_mode mode, struct err *e)
{
	struct sqlite *s = xcalloc(1, sizeof(*s));

	(void)instance; /* a file is for one host, and its lock for one hearsay */
	s->store.backend = &store_sqlite;
	s->mode = mode;
	s->path = xstrdup(path);
	s->lock = s->watch = -1;
	if ((mode == STORE_OWN ? open_own(s, path, e) : open_beside(s, path, e)) == -1) {
		sqlite_close(&s->store);
		return NULL;
	}
	return &s->store;
}

/* ---- reading logs ------------------------------------------------------ */

static int
begin(struct sqlite *s, struct err *e)
{
	if (s->mode == STORE_READ)
		return err_set(e, "the store is open for reading only");
	return db_run(s->db, BEGIN_WRITE, NULL, 0, NULL, e);
}

static int
commit(struct sqlite *s, struct err *e)
{
	if (db_run(s->db, COMMIT, NULL, 0, NULL, e) == -1)
		return -1;
	if (s->mode == STORE_EDIT)
		lock_touch(s->path);
	return 0;
}

/*
 * Run a statement that gives at most one row with one number: 1 and *n_r, 0
 * without a row.  It is run to its end, as one that changes something must be.
 */
static int
ask(struct sqlite *s, enum statement i, const struct db_arg *args, size_t count,
    int64_t *n_r, struct err *e)
{
	sqlite3_stmt *st = db_query(s->db, i, args, count, e);
	int found;

	if (st == NULL)
		return -1;
	found = db_row(s->db, st, e);
	if (found != 1)
		return found;
	*n_r = sqlite3_column_int64(st, 0);
	return db_row(s->db, st, e) == -1 ? -1 : 1;
}

static int
sqlite_begin(struct store *store, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	if (s->mode == STORE_READ)
		return err_set(e, "the store is open for reading only");
	s->pending = 0;
	return begin(s, e);
}

static int
put_delivery(struct sqlite *s, int64_t event, const struct store_delivery *to,
    int64_t now, struct err *e)
{
	if (db_run(s->db, ADD_APPSERVICE, DB_ARGS(db_text(to->appservice)), NULL, e) ==
		-1 ||
	    db_run(s->db, ADD_DELIVERY,
		DB_ARGS(db_number(event), db_text(to->appservice), db_text(to->key),
		    db_text(to->type), db_number(now)),
		NULL, e) == -1)
		return err_add(e, "cannot queue an event for %s", to->appservice);
	s->pending++;
	return 0;
}

/* 1 and *id_r: the event is new; 0: its place is there already. */
static int
put_event(struct sqlite *s, const char *log, const struct account_event *ev, int64_t now,
    int64_t *id_r, struct err *e)
{
	int new;

	if (db_run(s->db, ADD_LOG, DB_ARGS(db_text(log)), NULL, e) == -1)
		return -1;
	new = ask(s, ADD_EVENT,
	    DB_ARGS(db_bits(ev->file), db_bits(ev->offset), db_text(ev->rule),
		db_number(ev->ordinal), db_text(log), db_text(ev->type),
		db_text(ev->user_id), db_text(ev->content), db_text(ev->source),
		db_number(ev->ts), db_number(now)),
	    id_r, e);
	if (new == 1 && db_run(s->db, COUNT_EVENT, DB_ARGS(db_text(log)), NULL, e) == -1)
		return -1;
	return new;
}

static int
sqlite_put_event(struct store *store, const char *log, const struct account_event *ev,
    const struct store_delivery *to, size_t count, int64_t now, bool *new_r,
    struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t id;
	size_t i;
	int new = put_event(s, log, ev, now, &id, e);

	if (new == -1)
		return err_add(e, "cannot store an event of %s", log);
	for (i = 0; new == 1 && i < count; i++)
		if (put_delivery(s, id, &to[i], now, e) == -1)
			return -1;
	if (new_r != NULL)
		*new_r = new == 1;
	return 0;
}

static int
sqlite_was_told(struct store *store, const char *appservice,
    const struct account_event *ev, bool *told_r, struct err *e)
{
	int64_t one;
	int found = ask(sqlite_of(store), WAS_TOLD,
	    DB_ARGS(db_bits(ev->file), db_bits(ev->offset), db_text(ev->rule),
		db_number(ev->ordinal), db_text(appservice)),
	    &one, e);

	*told_r = found == 1;
	return found == -1 ? -1 : 0;
}

static int
put_file(struct sqlite *s, const char *log, const struct checkpoint *cp, struct err *e)
{
	return db_run(s->db, ADD_FILE,
	    DB_ARGS(db_text(log), db_bits(cp->file), db_bits(cp->generation),
		db_bits(cp->id.dev), db_bits(cp->id.ino), db_number(cp->id.btime_ns),
		db_number(cp->id.head_len), db_bytes(cp->id.head, HASH_SIZE),
		db_bits(cp->offset), db_bits(cp->resume), db_number(cp->guard_len),
		db_bytes(cp->guard, HASH_SIZE), db_number(cp->last_ts),
		db_number(cp->finished), db_text(cp->path == NULL ? "" : cp->path)),
	    NULL, e);
}

static int
sqlite_put_checkpoints(struct store *store, const char *log, const struct checkpoint *cps,
    size_t count, int64_t now, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	size_t i;

	if (db_run(s->db, TOUCH_LOG, DB_ARGS(db_text(log), db_number(now)), NULL, e) ==
		-1 ||
	    db_run(s->db, FORGET_FILES, DB_ARGS(db_text(log)), NULL, e) == -1)
		goto fail;
	for (i = 0; i < count; i++)
		if (put_file(s, log, &cps[i], e) == -1)
			goto fail;
	return 0;

fail:
	return err_add(e, "cannot store how far %s is read", log);
}

static int
sqlite_commit(struct store *store, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	if (commit(s, e) == -1)
		return err_add(e, "cannot commit");
	s->waiting += s->pending;
	s->pending = 0;
	return 0;
}

static void
sqlite_rollback(struct store *store)
{
	struct sqlite *s = sqlite_of(store);
	db_rollback(s->db);
	s->pending = 0;
}

/* Read a hash; 0, or -1 where it has not the size of one. */
static int
column_hash(sqlite3_stmt *st, int column, uint8_t hash_r[HASH_SIZE])
{
	const void *p = sqlite3_column_blob(st, column);

	if (p == NULL || sqlite3_column_bytes(st, column) != HASH_SIZE)
		return -1;
	memcpy(hash_r, p, HASH_SIZE);
	return 0;
}

/* FILE_COLUMNS as a checkpoint; its path is the row's and lives as long as that. */
static int
column_checkpoint(
    sqlite3_stmt *st, struct checkpoint *cp_r, const char **path_r, struct err *e)
{
	memset(cp_r, 0, sizeof(*cp_r));
	cp_r->file = db_column_bits(st, 0);
	cp_r->generation = db_column_bits(st, 1);
	cp_r->id.dev = db_column_bits(st, 2);
	cp_r->id.ino = db_column_bits(st, 3);
	cp_r->id.btime_ns = sqlite3_column_int64(st, 4);
	cp_r->id.head_len = (uint32_t)sqlite3_column_int64(st, 5);
	cp_r->offset = db_column_bits(st, 7);
	cp_r->resume = db_column_bits(st, 8);
	cp_r->guard_len = (uint32_t)sqlite3_column_int64(st, 9);
	cp_r->last_ts = sqlite3_column_int64(st, 11);
	cp_r->finished = sqlite3_column_int64(st, 12) != 0;
	*path_r = db_column_text(st, 13);
	if (column_hash(st, 6, cp_r->id.head) == -1 ||
	    column_hash(st, 10, cp_r->guard) == -1)
		return err_set(e, "the checkpoint of %s is damaged", *path_r);
	return 0;
}

static int
sqlite_checkpoints(struct store *store, const char *log, struct checkpoint **cps_r,
    size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, FILES_OF_LOG, DB_ARGS(db_text(log)), e);
	struct checkpoint *cps = NULL;
	const char *path;
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		cps = xreallocarray(cps, count + 1, sizeof(*cps));
		if (column_checkpoint(st, &cps[count], &path, e) == -1) {
			db_done(st);
			more = -1;
			break;
		}
		cps[count++].path = xstrdup(path);
	}
	if (more == -1)
		goto free;
	*cps_r = cps;
	*count_r = count;
	return 0;

free:
	while (count > 0)
		free(cps[--count].path);
	free(cps);
	return err_add(e, "cannot read how far %s was read", log);
}

static int
sqlite_waiting(struct store *store, uint64_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);

	if (s->mode != STORE_OWN)
		return count_waiting(s, count_r, e);
	if (recount(s, e) == -1)
		return -1;
	*count_r = s->waiting;
	return 0;
}

/* ---- sending ----------------------------------------------------------- */

/* The columns of WAITING as a transaction in the arena. */
static struct transaction
column_transaction(sqlite3_stmt *st, struct arena *a)
{
	const char *id = db_column_text(st, 0);
	size_t len = (size_t)sqlite3_column_bytes(st, 1);
	const char *body = sqlite3_column_blob(st, 1);

	return (struct transaction){
	    .id = arena_strndup(a, id, strlen(id)),
	    .body_len = len,
	    .body = arena_strndup(a, body == NULL ? "" : body, len),
	    .events = (unsigned)sqlite3_column_int64(st, 2),
	    .formed_ms = sqlite3_column_int64(st, 3),
	    .attempts = (unsigned)sqlite3_column_int64(st, 4),
	    .first_try_ms = sqlite3_column_int64(st, 5),
	    .next_try_ms = sqlite3_column_int64(st, 6),
	    .refusals = (unsigned)sqlite3_column_int64(st, 7),
	    .first_refusal_ms = sqlite3_column_int64(st, 8),
	};
}

/* The transaction that waits: 1 and *txn_r, 0 where none does. */
static int
waiting(struct sqlite *s, const char *appservice, int64_t now, struct arena *a,
    struct transaction *txn_r, struct err *e)
{
	sqlite3_stmt *st =
	    db_query(s->db, WAITING, DB_ARGS(db_text(appservice), db_number(now)), e);
	int found;

	if (st == NULL)
		return -1;
	found = db_row(s->db, st, e);
	if (found != 1)
		return found;
	*txn_r = column_transaction(st, a);
	db_done(st);
	return 1;
}

/* The oldest deliveries as one body. */
struct gathered {
	struct body body;
	int64_t last; /* id of the last delivery in it */
	int64_t oldest_ms;
};

/* 1: g holds some; 0: none are queued. */
static int
gather(struct sqlite *s, const char *appservice, struct gathered *g, struct err *e)
{
	sqlite3_stmt *st = db_query(
	    s->db, QUEUED, DB_ARGS(db_text(appservice), db_number(TXN_EVENTS_MAX)), e);
	char *key = NULL; /* of all events in this body */
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		if (key == NULL) {
			key = xstrdup(db_column_text(st, 1));
			g->oldest_ms = sqlite3_column_int64(st, 3);
			body_begin(&g->body, key);
		}
		if (strcmp(key, db_column_text(st, 1)) != 0 ||
		    !body_add(&g->body, db_column_text(st, 2), db_column_text(st, 4),
			sqlite3_column_int64(st, 5))) {
			db_done(st);
			break;
		}
		g->last = sqlite3_column_int64(st, 0);
	}
	free(key);
	if (more == -1)
		return -1;
	if (g->body.events == 0)
		return 0;
	body_end(&g->body);
	return 1;
}

/* Give what was gathered an id, and store it as a transaction. */
static int
keep(struct sqlite *s, const char *appservice, const struct gathered *g, int64_t now,
    struct err *e)
{
	int64_t sequence, seq, assigned;
	char id[sizeof(s->epoch) + 32];

	if (ask(s, NEXT_SEQUENCE, DB_ARGS(db_text(s->epoch)), &sequence, e) != 1)
		return -1;
	(void)snprintf(id, sizeof(id), "hs-%s-%" PRId64, s->epoch, sequence);
	if (ask(s, ADD_TRANSACTION,
		DB_ARGS(db_text(id), db_text(appservice),
		    db_bytes(g->body.text.p, g->body.text.len), db_number(g->body.events),
		    db_number(g->oldest_ms), db_number(now)),
		&seq, e) != 1 ||
	    db_run(s->db, ASSIGN,
		DB_ARGS(db_number(seq), db_text(appservice), db_number(g->last)),
		&assigned, e) == -1)
		return -1;
	if (assigned != g->body.events)
		return err_set(e,
		    "a transaction of %u events took %" PRId64 " deliveries",
		    g->body.events, assigned);
	return 0;
}

/* Form a transaction from the queue and commit it: 1, or 0 where nothing is queued. */
static int
form(struct sqlite *s, const char *appservice, int64_t now, struct err *e)
{
	struct gathered g = {0};
	int found;

	if (begin(s, e) == -1)
		return -1;
	found = gather(s, appservice, &g, e);
	if (found == 1 && (keep(s, appservice, &g, now, e) == -1 || commit(s, e) == -1))
		found = -1;
	if (found != 1)
		db_rollback(s->db);
	buf_free(&g.body.text);
	return found;
}

static int
sqlite_next_transaction(struct store *store, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t since;
	int found = ask(s, HELD, DB_ARGS(db_text(appservice)), &since, e);

	if (found == 1)
		return 0;
	if (found == 0)
		found = waiting(s, appservice, now, a, txn_r, e);
	if (found == 0) {
		found = form(s, appservice, now, e);
		/* Read back: what is sent now is what would be sent after a restart. */
		if (found == 1)
			found = waiting(s, appservice, now, a, txn_r, e);
	}
	if (found == -1)
		return err_add(e, "cannot get the next transaction for %s", appservice);
	return found;
}

/* 1 and *events_r: accepted now; 0: it was accepted before, or is gone. */
static int
accept_transaction(struct sqlite *s, const char *appservice, const char *id, int status,
    int64_t now, int64_t *events_r, struct err *e)
{
	int found = ask(s, ACCEPT,
	    DB_ARGS(db_text(id), db_text(appservice), db_number(now), db_number(status)),
	    events_r, e);

	if (found == 1)
		return db_run(s->db, ACCEPTED_BY,
			   DB_ARGS(db_text(appservice), db_number(*events_r),
			       db_number(now), db_number(status)),
			   NULL, e) == -1
		    ? -1
		    : 1;
	return found;
}

static int
sqlite_accepted(struct store *store, const char *appservice, const char *id, int status,
    int64_t now, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t events;
	int done;

	if (begin(s, e) == -1)
		goto fail;
	done = accept_transaction(s, appservice, id, status, now, &events, e);
	if (done == -1 || commit(s, e) == -1)
		goto undo;
	if (done == 1)
		count_down(s, events);
	return 0;

undo:
	db_rollback(s->db);
fail:
	return err_add(e, "cannot note that %s accepted", appservice);
}

static int
sqlite_failed(struct store *store, const char *appservice, const char *id, int status,
    const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
    struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t events;
	int found;

	if (begin(s, e) == -1)
		goto fail;
	found = ask(s, FAIL,
	    DB_ARGS(db_text(id), db_text(appservice), db_number(now), db_number(status),
		db_number(next_try_ms), db_text(error), db_number(then == STORE_REFUSED),
		db_number(then == STORE_SET_ASIDE)),
	    &events, e);
	if (found == -1)
		goto undo;
	if (db_run(s->db, FAILED_BY,
		DB_ARGS(db_text(appservice), db_number(now), db_number(status),
		    db_text(error)),
		NULL, e) == -1 ||
	    commit(s, e) == -1)
		goto undo;
	if (found == 1 && then == STORE_SET_ASIDE)
		count_down(s, events);
	return 0;

undo:
	db_rollback(s->db);
fail:
	return err_add(e, "cannot note that an attempt at %s failed", appservice);
}

/* Its owner is alone with the file. */
static int
sqlite_may_send(struct store *store, const char *appservice, bool *waits_r, struct err *e)
{
	(void)store;
	(void)appservice;
	(void)waits_r;
	(void)e;
	return 1;
}

static int
sqlite_fd(struct store *store)
{
	return sqlite_of(store)->watch;
}

static int
sqlite_noticed(struct store *store, struct err *e)
{
	(void)e;
	lock_watched(sqlite_of(store)->watch);
	return 1;
}

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

static int
sqlite_edit(struct store *store, const char *appservice, const char *id,
    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	uint64_t all = 0;
	int64_t events = 0;
	int rc, done = 0;

	do {
		if (begin(s, e) == -1)
			return -1;
		rc = edit_step(s, appservice, id, edit, now, &events, e);
		if (rc == -1 || commit(s, e) == -1) {
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
	if (ask(s, UNTOLD_UP_TO, range, 3, &last, e) != 1)
		return -1;
	if (last == 0) {
		s->swept = 0;
		return 0;
	}
	range[1] = db_number(last);
	if (ask(s, COUNT_UNTOLD, range, 3, &untold, e) != 1 ||
	    (untold > 0 && db_run(s->db, DROP_UNTOLD, range, 3, NULL, e) == -1))
		return -1;
	s->swept = last;
	*more_r = true;
	return 0;
}

/* Pages in use, and free ones. */
static int
pages(struct sqlite *s, int64_t *size_r, int64_t *used_r, int64_t *free_r, struct err *e)
{
	int64_t all;

	if (db_ask_number(s->db, "PRAGMA page_size", size_r, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA page_count", &all, e) == -1 ||
	    db_ask_number(s->db, "PRAGMA freelist_count", free_r, e) == -1)
		return -1;
	*used_r = all - *free_r;
	return 0;
}

/* Give some free pages back to the file system, where they are many. */
static int
give_back(struct sqlite *s, bool *more_r, struct err *e)
{
	char sql[64];
	int64_t size, used, unused;

	*more_r = false;
	if (pages(s, &size, &used, &unused, e) == -1)
		return -1;
	if (unused < VACUUM_PAGES || unused < used / 8)
		return 0;
	(void)snprintf(sql, sizeof(sql), "PRAGMA incremental_vacuum(%d)", VACUUM_PAGES);
	if (db_exec(s->db, sql, e) == -1 || pages(s, &size, &used, &size, e) == -1)
		return -1;
	/* A store of the first version may not be able to. */
	*more_r = size < unused;
	return 0;
}

static int
sqlite_forget(struct store *store, int64_t before, uint64_t size_max,
    int64_t *oldest_ms_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t size, used, unused;
	bool more[3];

	if (pages(s, &size, &used, &unused, e) == -1)
		return -1;
	if ((uint64_t)(used * size) > size_max)
		before = INT64_MAX;
	if (begin(s, e) == -1)
		goto fail;
	if (forget_accepted(s, before, oldest_ms_r, &more[0], e) == -1 ||
	    forget_untold(s, before, &more[1], e) == -1 || commit(s, e) == -1) {
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
	if (column_checkpoint(st, &cp, &path, e) == -1)
		return -1;
	cp.path = arena_strndup(a, path, strlen(path));
	if (l->newest == NULL)
		l->newest = arena_alloc(a, sizeof(cp));
	*l->newest = cp;
	l->files++;
	return 0;
}

static int
sqlite_log_statuses(struct store *store, struct arena *a, struct store_log_status **out_r,
    size_t *count_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	sqlite3_stmt *st = db_query(s->db, LOG_STATUSES, NULL, 0, e);
	struct store_log_status *out = NULL;
	size_t count = 0;
	int more = -1;

	while (st != NULL && (more = db_row(s->db, st, e)) == 1) {
		const char *name = db_column_text(st, 14);

		if (count == 0 || strcmp(out[count - 1].log, name) != 0) {
			out = grow(a, out, count, sizeof(*out));
			out[count++] = (struct store_log_status){
			    .log = arena_strndup(a, name, strlen(name)),
			    .read_ms = sqlite3_column_int64(st, 15),
			    .events = db_column_bits(st, 16),
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

static int
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

static int
sqlite_size(struct store *store, struct store_size *size_r, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t size, used, unused, kept, oldest[2] = {0, 0};

	if (pages(s, &size, &used, &unused, e) == -1 ||
	    ask(s, COUNT_ACCEPTED, NULL, 0, &kept, e) != 1 ||
	    ask_two(s, OLDEST_ACCEPTED, NULL, 0, oldest, e) == -1)
		return err_add(e, "cannot read the size of the store");
	*size_r = (struct store_size){
	    .bytes = (uint64_t)((used + unused) * size),
	    .free_bytes = (uint64_t)(unused * size),
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

static int
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
		    .txn = column_transaction(st, a),
		    .oldest_ms = sqlite3_column_int64(st, 11),
		    .dead_ms = sqlite3_column_int64(st, 12),
		    .status = sqlite3_column_int(st, 13),
		    .error = column_copy(st, 14, a),
		};
	*out_r = out;
	*count_r = count;
	return more == -1 ? err_add(e, "cannot read the transactions that wait") : 0;
}

static int
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

const struct store_backend store_sqlite = {
    .open = sqlite_open,
    .close = sqlite_close,
    .checkpoints = sqlite_checkpoints,
    .begin = sqlite_begin,
    .put_event = sqlite_put_event,
    .was_told = sqlite_was_told,
    .put_checkpoints = sqlite_put_checkpoints,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .waiting = sqlite_waiting,
    .may_send = sqlite_may_send,
    .next_transaction = sqlite_next_transaction,
    .accepted = sqlite_accepted,
    .failed = sqlite_failed,
    .edit = sqlite_edit,
    .forget = sqlite_forget,
    .fd = sqlite_fd,
    .noticed = sqlite_noticed,
    .log_statuses = sqlite_log_statuses,
    .queue_statuses = sqlite_queue_statuses,
    .size = sqlite_size,
    .items = sqlite_items,
    .tell = sqlite_tell,
};

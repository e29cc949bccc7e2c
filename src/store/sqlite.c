/*
 * The store in SQLite: a file, and one process that writes to it.  The tables
 * are in schema.c.
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
#define CHECK_WHOLE_MAX (256LL * 1024 * 1024) /* bytes; about a second of checking */

struct sqlite {
	struct store store; /* first: sqlite_of */
	struct db *db;
	enum store_mode mode;
	int lock; /* -1: not held */
	char epoch[2 * EPOCH_BYTES + 1];
	uint64_t
	    waiting; /* deliveries; kept with STORE_OWN only, as nobody else writes */
	uint64_t pending; /* deliveries put since store_begin */
};

enum statement {
	BEGIN_WRITE,
	COMMIT,
	ADD_LOG,
	ADD_APPSERVICE,
	ADD_EVENT,
	COUNT_EVENT,
	ADD_DELIVERY,
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
	IS_ACCEPTED,
	ACCEPTED_BY,
	FAIL,
	FAILED_BY,
	LOG_STATUSES,
	QUEUE_STATUSES,
	STATEMENT_COUNT
};

#define APPSERVICE_NAMED(n) "(SELECT id FROM appservices WHERE name = " n ")"
#define FILE_COLUMNS                                                                     \
	"f.key, f.generation, f.dev, f.ino, f.btime_ns, f.head_len, f.head, f.offset, "  \
	"f.resume, f.guard_len, f.guard, f.last_ts, f.finished, f.path"
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
	"  (SELECT coalesce(sum(events), 0) FROM transactions WHERE accepted_ms IS NULL)",
    [WAITING] = "SELECT id, body, events, formed_ms, attempts, first_try_ms, next_try_ms "
		"FROM transactions "
		"WHERE appservice = " APPSERVICE_NAMED("?1") " AND accepted_ms IS NULL",
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
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN ?3 ELSE first_try_ms END "
	"WHERE id = ?1 AND appservice = " APPSERVICE_NAMED(
	    "?2") " AND accepted_ms IS NULL RETURNING events",
    [IS_ACCEPTED] =
	"SELECT accepted_ms FROM transactions WHERE id = ?1 "
	"AND appservice = " APPSERVICE_NAMED("?2") " AND accepted_ms IS NOT NULL",
    [ACCEPTED_BY] = "UPDATE appservices SET accepted = accepted + ?2, "
		    "last_success_ms = ?3, last_status = ?4 WHERE name = ?1",
    [FAIL] =
	"UPDATE transactions SET status = ?4, next_try_ms = ?5, attempts = attempts + 1, "
	"  first_try_ms = CASE first_try_ms WHEN 0 THEN ?3 ELSE first_try_ms END "
	"WHERE id = ?1 AND appservice = " APPSERVICE_NAMED(
	    "?2") " AND accepted_ms IS NULL",
    [FAILED_BY] = "UPDATE appservices SET last_failure_ms = ?2, last_status = ?3, "
		  "last_error = ?4 WHERE name = ?1",

    [LOG_STATUSES] = "SELECT " FILE_COLUMNS ", l.name, l.read_ms, l.events "
		     "FROM logs l LEFT JOIN files f ON f.log = l.id "
		     "ORDER BY l.name, " OLDEST_FIRST,
    [QUEUE_STATUSES] =
	"SELECT a.name, coalesce(t.events, 0) + "
	"  (SELECT count(*) FROM deliveries d "
	"    WHERE d.appservice = a.id AND d.txn IS NULL), "
	"  coalesce(t.oldest_ms, (SELECT d.queued_ms FROM deliveries d "
	"    WHERE d.appservice = a.id AND d.txn IS NULL ORDER BY d.id LIMIT 1), 0), "
	"  a.accepted, a.last_success_ms, a.last_failure_ms, a.last_status, "
	"  a.last_error, coalesce(t.attempts, 0), coalesce(t.next_try_ms, 0) "
	"FROM appservices a LEFT JOIN transactions t "
	"  ON t.appservice = a.id AND t.accepted_ms IS NULL "
	"ORDER BY a.name",
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
			    "the store %s is damaged (%s): keep a copy, try the .recover command "
			    "of sqlite3(1), or move it away to begin a new store, which loses "
			    "what waited in this one",
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
	if (known == -1 || check_pages(s, path, e) == -1 ||
	    set_up_writing(s, path, e) == -1 ||
	    (known == 0 && schema_migrate(s->db, e) == -1))
		return -1;
	return draw_epoch(s, e) == -1 ? -1 : count_waiting(s, &s->waiting, e);
}

static int
open_read(struct sqlite *s, const char *path, struct err *e)
{
	if (access(path, F_OK) == -1 && errno == ENOENT)
		return err_set(e,
		    "there is no store at %s: the daemon makes it when it starts", path);
	s->db = db_open(path, false, statements, STATEMENT_COUNT, e);
	if (s->db == NULL)
		return -1;
	switch (schema_check(s->db, path, e)) {
	case 1:
		return 0;
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
	free(s);
}

static struct store *
sqlite_open(const char *path, const char *instance, enum store_mode mode, struct err *e)
{
	struct sqlite *s = xcalloc(1, sizeof(*s));

	(void)instance; /* a file is for one host, and its lock for one hearsay */
	s->store.backend = &store_sqlite;
	s->mode = mode;
	s->lock = -1;
	if ((mode == STORE_OWN ? open_own(s, path, e) : open_read(s, path, e)) == -1) {
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
	return db_run(s->db, COMMIT, NULL, 0, NULL, e);
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
	if (s->mode == STORE_READ)
		return count_waiting(s, count_r, e);
	*count_r = s->waiting;
	return 0;
}

/* ---- sending ----------------------------------------------------------- */

/* The transaction that waits: 1 and *txn_r, 0 where none does. */
static int
waiting(struct sqlite *s, const char *appservice, struct arena *a,
    struct transaction *txn_r, struct err *e)
{
	sqlite3_stmt *st = db_query(s->db, WAITING, DB_ARGS(db_text(appservice)), e);
	const char *id;
	int found;

	if (st == NULL)
		return -1;
	found = db_row(s->db, st, e);
	if (found != 1)
		return found;
	id = db_column_text(st, 0);
	txn_r->id = arena_strndup(a, id, strlen(id));
	txn_r->body_len = (size_t)sqlite3_column_bytes(st, 1);
	txn_r->body = arena_strndup(a, sqlite3_column_blob(st, 1), txn_r->body_len);
	txn_r->events = (unsigned)sqlite3_column_int64(st, 2);
	txn_r->formed_ms = sqlite3_column_int64(st, 3);
	txn_r->attempts = (unsigned)sqlite3_column_int64(st, 4);
	txn_r->first_try_ms = sqlite3_column_int64(st, 5);
	txn_r->next_try_ms = sqlite3_column_int64(st, 6);
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
	int found = waiting(s, appservice, a, txn_r, e);

	if (found == 0) {
		found = form(s, appservice, now, e);
		/* Read back: what is sent now is what would be sent after a restart. */
		if (found == 1)
			found = waiting(s, appservice, a, txn_r, e);
	}
	if (found == -1)
		return err_add(e, "cannot get the next transaction for %s", appservice);
	return found;
}

/* 1 and *events_r: accepted now; 0: it was accepted before. */
static int
accept_transaction(struct sqlite *s, const char *appservice, const char *id, int status,
    int64_t now, int64_t *events_r, struct err *e)
{
	int64_t before;
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
	if (found == 0)
		found = ask(s, IS_ACCEPTED, DB_ARGS(db_text(id), db_text(appservice)),
		    &before, e);
	if (found == 0)
		return err_set(e, "there is no transaction %s", id);
	return found == 1 ? 0 : -1;
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
		s->waiting -= (uint64_t)events;
	return 0;

undo:
	db_rollback(s->db);
fail:
	return err_add(e, "cannot note that %s accepted", appservice);
}

static int
sqlite_failed(struct store *store, const char *appservice, const char *id, int status,
    const char *error, int64_t next_try_ms, int64_t now, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	int64_t changed;

	if (begin(s, e) == -1)
		goto fail;
	if (db_run(s->db, FAIL,
		DB_ARGS(db_text(id), db_text(appservice), db_number(now),
		    db_number(status), db_number(next_try_ms)),
		&changed, e) == -1)
		goto undo;
	if (changed != 1) {
		(void)err_set(e, "no transaction %s waits", id);
		goto undo;
	}
	if (db_run(s->db, FAILED_BY,
		DB_ARGS(db_text(appservice), db_number(now), db_number(status),
		    db_text(error)),
		NULL, e) == -1 ||
	    commit(s, e) == -1)
		goto undo;
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

const struct store_backend store_sqlite = {
    .open = sqlite_open,
    .close = sqlite_close,
    .checkpoints = sqlite_checkpoints,
    .begin = sqlite_begin,
    .put_event = sqlite_put_event,
    .put_checkpoints = sqlite_put_checkpoints,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .waiting = sqlite_waiting,
    .may_send = sqlite_may_send,
    .next_transaction = sqlite_next_transaction,
    .accepted = sqlite_accepted,
    .failed = sqlite_failed,
    .log_statuses = sqlite_log_statuses,
    .queue_statuses = sqlite_queue_statuses,
};

/*
 * The store in SQLite: a file, and one process that delivers from it; others
 * may look into it and edit queues meanwhile.  The tables are in schema.c.
 */
#include "store/sqlite.h"

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
#include "store/body.h"
#include "store/lock.h"
#include "store/schema.h"
#include "tail/checkpoint.h"

#define REMAKE_PAGES 16384 /* of a store of the first version; a second or two */
#define CHECK_WHOLE_MAX (256LL * 1024 * 1024) /* bytes; about a second of checking */

struct sqlite *
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
int
sqlite_make_file(const char *path, struct err *e)
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

int
sqlite_set_up_writing(struct sqlite *s, struct err *e)
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
		    s->path);
	/* FULL: a commit is on the disk when it returns, not only safe from our own end. */
	if (db_exec(s->db,
		"PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; "
		"PRAGMA temp_store = MEMORY", /* the disk of /tmp may be full */
		e) == -1)
		return -1;
	return sqlite_set_up_log(s, e);
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

/*
 * What was recovered of the log is written to the database and synced before
 * anything is built on it.  Its frames may be of a commit that failed for a
 * sync, after which the kernel takes their pages for clean: no later sync
 * would write them, and a power cut would end the log there, with all that was
 * committed behind them.
 */
static int
begin_log_anew(struct sqlite *s, const char *path, struct err *e)
{
	int64_t busy;

	/*
	 * The log keeps its length, since on a full disk it could not grow again.
	 * Its frames are void only behind a commit that begins it anew: with a part
	 * of them a power cut would bring back a part of the past.
	 */
	if (db_ask_number(s->db, "PRAGMA wal_checkpoint(RESTART)", &busy, e) == -1)
		return -1;
	if (busy != 0) {
		(void)err_set(e, "another program is reading the store %s", path);
		e->passes = true;
		return -1;
	}
	if (sqlite_begin_here(s, e) == -1)
		return -1;
	if (sqlite_commit_here(s, e) == -1) {
		db_rollback(s->db);
		return -1;
	}
	return 0;
}

static int
open_own(struct sqlite *s, const char *path, struct err *e)
{
	int64_t had;
	int known;

	s->lock = lock_take(path, e);
	had = lock_commits(path);
	if (s->lock == -1 || schema_there(path, had, e) == -1 ||
	    sqlite_make_file(path, e) == -1)
		return -1;
	s->db = db_open(path, true, sqlite_statements, STATEMENT_COUNT, e);
	if (s->db == NULL)
		return -1;
	known = schema_check(s->db, path, e);
	/* auto_vacuum counts only where the file is empty yet. */
	if (known == -1 || check_pages(s, path, e) == -1 ||
	    (known == 1 && schema_commits(s->db, had, path, e) == -1) ||
	    db_exec(s->db, "PRAGMA auto_vacuum = INCREMENTAL", e) == -1 ||
	    sqlite_set_up_writing(s, e) == -1 ||
	    (known == 0 && make_schema(s, e) == -1) || recount(s, e) == -1)
		return -1;
	/* The first look into the store has made its log. */
	s->watch = lock_watch(path);
	sqlite_know_files(s);
	return begin_log_anew(s, path, e) == -1 ? -1 : draw_epoch(s, e);
}

/* Beside the owner or without: to read, or to edit. */
static int
open_beside(struct sqlite *s, const char *path, struct err *e)
{
	bool write = s->mode == STORE_EDIT;

	if (schema_there(path, lock_commits(path), e) == -1)
		return -1;
	if (access(path, F_OK) == -1 && errno == ENOENT)
		return err_set(e,
		    "there is no store at %s: the daemon makes it when it starts", path);
	s->db = db_open(path, write, sqlite_statements, STATEMENT_COUNT, e);
	if (s->db == NULL)
		return -1;
	switch (schema_check(s->db, path, e)) {
	case 1:
		if (!write)
			return 0;
		return schema_commits(s->db, lock_commits(path), path, e) == -1
		    ? -1
		    : sqlite_set_up_writing(s, e);
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

	sqlite_leave(s);
	lock_release(s->lock);
	if (s->watch != -1)
		(void)close(s->watch);
	free(s->path);
	free(s);
}

static struct store *
sqlite_open(const char *path, const char *instance, enum store_mode mode, int interrupt,
    struct err *e)
{
	struct sqlite *s = xcalloc(1, sizeof(*s));

	(void)instance; /* a file is for one host, and its lock for one hearsay */
	(void)interrupt;
	s->store.backend = &store_sqlite;
	s->mode = mode;
	s->path = xstrdup(path);
	s->lock = s->watch = s->fd = -1;
	if ((mode == STORE_OWN ? open_own(s, path, e) : open_beside(s, path, e)) == -1) {
		sqlite_close(&s->store);
		return NULL;
	}
	return &s->store;
}

/* ---- reading logs ------------------------------------------------------ */

int
sqlite_begin_here(struct sqlite *s, struct err *e)
{
	if (s->mode == STORE_READ)
		return err_set(e, "the store is open for reading only");
	if (s->mode == STORE_OWN && sqlite_find_files(s, e) == -1)
		return -1;
	return db_run(s->db, BEGIN_WRITE, NULL, 0, NULL, e);
}

int
sqlite_commit_here(struct sqlite *s, struct err *e)
{
	int64_t commits;
	int found = sqlite_ask(s, COUNT_COMMIT, NULL, 0, &commits, e);

	if (found == 0)
		(void)err_set(e,
		    "the store %s is damaged, a row of it is missing: stop the daemon, and "
		    "`hearsay store rebuild' makes it anew",
		    s->path);
	if (found != 1 || sqlite_back_pages(s, e) == -1 ||
	    db_run(s->db, COMMIT, NULL, 0, NULL, e) == -1)
		return -1;
	/* Later than on the disk: what it tells of was there for sure. */
	if (s->mode == STORE_OWN)
		lock_note_commits(s->lock, commits);
	if (s->mode == STORE_EDIT)
		lock_touch(s->path);
	return 0;
}

int
sqlite_ask(struct sqlite *s, enum statement i, const struct db_arg *args, size_t count,
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
	return sqlite_begin_here(s, e);
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
	new = sqlite_ask(s, ADD_EVENT,
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
	int found = sqlite_ask(sqlite_of(store), WAS_TOLD,
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
		db_number(cp->finished), db_text(cp->path == NULL ? "" : cp->path),
		db_bytes(cp->id.prefixes, sizeof(cp->id.prefixes))),
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
sqlite_put_health(
    struct store *store, const char *log, const char *text, int64_t now, struct err *e)
{
	if (db_run(sqlite_of(store)->db, PUT_HEALTH,
		DB_ARGS(db_text(log), db_text(text), db_number(now)), NULL, e) == -1)
		return err_add(e, "cannot store how well %s is", log);
	return 0;
}

static int
sqlite_followed(struct store *store, const char *name, int64_t *since_ms_r, struct err *e)
{
	*since_ms_r = 0;
	if (sqlite_ask(
		sqlite_of(store), FOLLOWED, DB_ARGS(db_text(name)), since_ms_r, e) == -1)
		return err_add(e, "cannot read since when %s is followed", name);
	return 0;
}

static int
sqlite_put_followed(
    struct store *store, const char *name, int64_t since_ms, struct err *e)
{
	if (db_run(sqlite_of(store)->db, PUT_FOLLOWED,
		DB_ARGS(db_text(name), db_number(since_ms)), NULL, e) == -1)
		return err_add(e, "cannot store that %s is followed", name);
	return 0;
}

static int
sqlite_commit(struct store *store, struct err *e)
{
	struct sqlite *s = sqlite_of(store);
	if (sqlite_keep_room(s, e) == -1 || sqlite_commit_here(s, e) == -1)
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

/* Likewise; a checkpoint that an older version made has none. */
static int
column_prefixes(sqlite3_stmt *st, int column, struct file_identity *id)
{
	const void *p = sqlite3_column_blob(st, column);
	int len = sqlite3_column_bytes(st, column);

	if (len == 0)
		return 0;
	if (p == NULL || len != sizeof(id->prefixes))
		return -1;
	memcpy(id->prefixes, p, sizeof(id->prefixes));
	return 0;
}

int
sqlite_checkpoint(
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
	    column_hash(st, 10, cp_r->guard) == -1 ||
	    column_prefixes(st, 14, &cp_r->id) == -1)
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
		if (sqlite_checkpoint(st, &cps[count], &path, e) == -1) {
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

struct transaction
sqlite_transaction(sqlite3_stmt *st, struct arena *a)
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
	*txn_r = sqlite_transaction(st, a);
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

	if (sqlite_ask(s, NEXT_SEQUENCE, DB_ARGS(db_text(s->epoch)), &sequence, e) != 1)
		return -1;
	(void)snprintf(id, sizeof(id), "hs-%s-%" PRId64, s->epoch, sequence);
	if (sqlite_ask(s, ADD_TRANSACTION,
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

	if (sqlite_begin_here(s, e) == -1)
		return -1;
	found = gather(s, appservice, &g, e);
	if (found == 1 &&
	    (keep(s, appservice, &g, now, e) == -1 || sqlite_commit_here(s, e) == -1))
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
	int found = sqlite_ask(s, HELD, DB_ARGS(db_text(appservice)), &since, e);

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
	int found = sqlite_ask(s, ACCEPT,
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

	if (sqlite_begin_here(s, e) == -1)
		goto fail;
	done = accept_transaction(s, appservice, id, status, now, &events, e);
	if (done == -1 || sqlite_commit_here(s, e) == -1)
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

	if (sqlite_begin_here(s, e) == -1)
		goto fail;
	found = sqlite_ask(s, FAIL,
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
	    sqlite_commit_here(s, e) == -1)
		goto undo;
	if (found == 1 && then == STORE_SET_ASIDE)
		count_down(s, events);
	return 0;

undo:
	db_rollback(s->db);
fail:
	return err_add(e, "cannot note that an attempt at %s failed", appservice);
}

static int
sqlite_fd(struct store *store)
{
	return sqlite_of(store)->watch;
}

static int
sqlite_noticed(struct store *store, struct err *e)
{
	struct sqlite *s = sqlite_of(store);

	lock_watched(s->watch);
	return sqlite_find_files(s, e) == -1 ? -1 : 1;
}

const struct store_backend store_sqlite = {
    .open = sqlite_open,
    .close = sqlite_close,
    .checkpoints = sqlite_checkpoints,
    .files = sqlite_files,
    .begin = sqlite_begin,
    .put_event = sqlite_put_event,
    .was_told = sqlite_was_told,
    .put_checkpoints = sqlite_put_checkpoints,
    .put_health = sqlite_put_health,
    .followed = sqlite_followed,
    .put_followed = sqlite_put_followed,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .waiting = sqlite_waiting,
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

/*
 * The store in PostgreSQL, which several hearsays share, each with logs of its
 * own (its instance).  The tables are in pq_schema.c.
 *
 * Two kinds of locks, both advisory and of the session, so that they end with
 * their holder, however that ends: one for each instance, and one for each
 * appservice, whose holder is the one that sends (postgresql_send.c).  A
 * connection that is lost takes them all along; whatever is called next connects
 * again and takes the instance's, and the right to send is asked for anew.
 *
 * Order: numbers of a sequence are drawn in one order and committed in another.
 * A sender that saw 12 committed before 11 would send 12 first, and never see
 * 11 as older.  So who queues deliveries takes a third lock (LOCK_ORDER) before
 * the first number is drawn and keeps it to the end of the commit: what is
 * committed is then all below what is not.  Waiting instead for the oldest
 * transaction that is open (pg_snapshot_xmin) would need no lock, but would let
 * any program that writes for hours, in any database of the server, hold up all
 * deliveries for hours.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "extract/account_event.h"
#include "store/body.h"
#include "store/postgresql.h"
#include "store/pq_schema.h"
#include "tail/checkpoint.h"

#define COUNT_FREELY 10000      /* deliveries: then counting takes a while */
#define COUNT_MS 2000           /* how old our count of what others queued may be */
#define APPLICATION "hearsay: " /* PostgreSQL cuts the whole at 63 bytes */

struct postgresql *
postgresql_of(struct store *store)
{
	return (struct postgresql *)store;
}

/* ---- names ------------------------------------------------------------- */

static bool
has_name(char *const *names, size_t count, const char *name)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void
add_name(char ***names, size_t *count, const char *name)
{
	*names = xreallocarray(*names, *count + 1, sizeof(**names));
	(*names)[(*count)++] = xstrdup(name);
}

static void
forget_names(char ***names, size_t *count)
{
	while (*count > 0)
		free((*names)[--*count]);
	free(*names);
	*names = NULL;
}

/* ---- locks ------------------------------------------------------------- */

/* Advisory locks are numbers, and other programs may use some in this database. */
int64_t
postgresql_lock_number(const char *kind, const char *name)
{
	char *text = xasprintf("hearsay %s %s", kind, name);
	XXH64_hash_t hash = XXH3_64bits(text, strlen(text));

	free(text);
	return (int64_t)hash;
}

/* Who has the lock: 1 and e its name, 0 nobody any more, or -1. */
static int
holder(struct postgresql *s, int64_t lock, struct err *e)
{
	uint64_t bits = (uint64_t)lock;
	PGresult *r = pq_query(
	    s->pq, HOLDER, DB_ARGS(db_bits(bits >> 32), db_bits(bits & UINT32_MAX)), e);
	const char *name;
	int found;

	if (r == NULL)
		return -1;
	found = PQntuples(r) > 0;
	name = found == 1 ? pq_text(r, 0, 0) : "";
	if (strncmp(name, APPLICATION, strlen(APPLICATION)) == 0)
		name += strlen(APPLICATION);
	(void)err_set(e, "%s", name[0] == '\0' ? "another process" : name);
	PQclear(r);
	return found;
}

/*
 * The server takes a moment to see that a session has ended: one that was
 * killed and is started again must not be refused because of itself.
 */
static int
lock_instance(struct postgresql *s, struct err *e)
{
	int64_t lock = postgresql_lock_number("instance", s->instance);
	struct err who;

	if (pq_run(s->pq, LOCK, DB_ARGS(db_number(lock)), NULL, e) == 0)
		return 0;
	/* Where nobody has it, it was something else, and that is told. */
	if (holder(s, lock, &who) != 1)
		return -1;
	return err_set(e,
	    "the instance \"%s\" of the store %s is in use by %s; stop that first, or give "
	    "one of the two another \"instance\"",
	    s->instance, pq_name(s->pq), who.text);
}

/* ---- connecting -------------------------------------------------------- */

static void
nudge(struct postgresql *s)
{
	/* It fails only where it is full of earlier ones. */
	(void)!eventfd_write(s->nudge, 1);
}

/*
 * A commit must be on the server's disk when it returns, whatever the server
 * is set to; one that also waits for standbys is left as it is.  A writer that
 * stands still, or whose host has died, must give up LOCK_ORDER, and its
 * session, within seconds.
 */
static const char settings[] =
    "SET search_path = hearsay; SET idle_in_transaction_session_timeout = '5s'; "
    "SET tcp_keepalives_idle = 3; SET tcp_keepalives_interval = 1; "
    "SET tcp_keepalives_count = 3; SET tcp_user_timeout = 6000; "
    /* Not known to every version: who rests for a night keeps its locks. */
    "SELECT set_config(name, '0', false) FROM pg_settings "
    "  WHERE name = 'idle_session_timeout'; "
    "SELECT set_config('synchronous_commit', 'on', false) "
    "  WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/*
 * A daemon's loop stands still while it waits for the server.  The server ends
 * what takes too long; our own patience, a second more, is for one that has
 * stopped itself.  A command may take its time.
 */
#define DAEMON_PATIENCE_MS 4000
#define COMMAND_PATIENCE_MS 31000
#define MIGRATION_PATIENCE_MS (10 * 60 * 1000) /* nothing else happens meanwhile */
static const char daemon_settings[] =
    "SET statement_timeout = '3s'; SET lock_timeout = '1s'";
static const char command_settings[] =
    "SET statement_timeout = '30s'; SET lock_timeout = '5s'";

static int
check_encoding(struct postgresql *s, struct err *e)
{
	int64_t utf8;

	if (pq_ask_once(s->pq,
		"SELECT (current_setting('server_encoding') = 'UTF8')::int", &utf8,
		e) == -1)
		return -1;
	if (utf8 == 0)
		return err_set(e,
		    "the database of the store %s is not in UTF-8: make another with "
		    "createdb -E UTF8 -T template0",
		    pq_name(s->pq));
	return 0;
}

static int
migrate(struct postgresql *s, struct err *e)
{
	int rc;

	pq_set_patience(s->pq, MIGRATION_PATIENCE_MS);
	rc = pq_schema_migrate(s->pq, e);
	pq_set_patience(s->pq, DAEMON_PATIENCE_MS);
	return rc;
}

static int
set_up_own(struct postgresql *s, struct err *e)
{
	struct epoll_event watch = {.events = EPOLLIN};
	int known = pq_schema_check(s->pq, e);

	/* Before anything is changed: a second one of this instance changes nothing. */
	if (known == -1 || lock_instance(s, e) == -1 ||
	    (known == 0 && migrate(s, e) == -1) || pq_schema_use(s->pq, e) == -1 ||
	    pq_exec(s->pq, "LISTEN hearsay", e) == -1)
		return -1;
	if (epoll_ctl(s->watched, EPOLL_CTL_ADD, pq_fd(s->pq), &watch) == -1)
		return err_errno(e, "cannot watch the connection to %s", pq_name(s->pq));
	/* What others committed since the connection was lost was told to nobody. */
	if (s->was_connected)
		nudge(s);
	s->was_connected = true;
	return 0;
}

static int
set_up_beside(struct postgresql *s, struct err *e)
{
	if (s->mode == STORE_READ &&
	    pq_exec(s->pq, "SET default_transaction_read_only = on", e) == -1)
		return -1;
	switch (pq_schema_check(s->pq, e)) {
	case 1:
		return 0;
	case 0:
		return err_set(e,
		    "there is no store in %s, or one of an older hearsay: the daemon sets it "
		    "up when it starts",
		    pq_name(s->pq));
	default:
		return -1;
	}
}

static int
connect_anew(struct postgresql *s, struct err *e)
{
	bool own = s->mode == STORE_OWN;

	if (pq_connect(s->pq, e) == -1 || pq_exec(s->pq, settings, e) == -1 ||
	    pq_exec(s->pq, own ? daemon_settings : command_settings, e) == -1)
		return -1;
	return check_encoding(s, e);
}

/* Have a connection, with all that belongs to one. */
int
postgresql_ready(struct postgresql *s, struct err *e)
{
	if (pq_connected(s->pq))
		return 0;
	postgresql_lose_rights(s);
	forget_names(&s->known, &s->known_count);
	s->counted_ms = 0;
	if (connect_anew(s, e) == -1 ||
	    (s->mode == STORE_OWN ? set_up_own(s, e) : set_up_beside(s, e)) == -1) {
		pq_disconnect(s->pq);
		return -1;
	}
	return 0;
}

/* Every opening draws an epoch of its own, as in the store in SQLite. */
static int
draw_epoch(struct postgresql *s, struct err *e)
{
	unsigned char bytes[EPOCH_BYTES];
	size_t i;

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return err_errno(e, "cannot draw random bytes");
	for (i = 0; i < sizeof(bytes); i++)
		(void)snprintf(s->epoch + 2 * i, 3, "%02x", bytes[i]);
	return 0;
}

static void
host_name(char name_r[HOST_NAME_MAX + 1])
{
	if (gethostname(name_r, HOST_NAME_MAX + 1) == -1)
		(void)snprintf(name_r, HOST_NAME_MAX + 1, "localhost");
	name_r[HOST_NAME_MAX] = '\0';
}

static int
make_watched(struct postgresql *s, struct err *e)
{
	struct epoll_event watch = {.events = EPOLLIN};

	s->nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->watched = epoll_create1(EPOLL_CLOEXEC);
	if (s->nudge == -1 || s->watched == -1 ||
	    epoll_ctl(s->watched, EPOLL_CTL_ADD, s->nudge, &watch) == -1)
		return err_errno(e, "cannot watch for other hearsays");
	return 0;
}

static void
postgresql_close(struct store *store)
{
	struct postgresql *s = postgresql_of(store);

	postgresql_release_rights(s);
	pq_free(s->pq);
	forget_names(&s->known, &s->known_count);
	if (s->watched != -1)
		(void)close(s->watched);
	if (s->nudge != -1)
		(void)close(s->nudge);
	free(s->log);
	free(s->instance);
	free(s);
}

/* Everything but the connection. */
static struct postgresql *
prepared(const char *url, const char *instance, enum store_mode mode, int interrupt,
    struct err *e)
{
	struct postgresql *s = xcalloc(1, sizeof(*s));
	char host[HOST_NAME_MAX + 1], *application;

	host_name(host);
	application = xasprintf(APPLICATION "process %ld on %s", (long)getpid(), host);
	s->store.backend = &store_postgresql;
	s->mode = mode;
	s->instance = xstrdup(instance == NULL ? host : instance);
	s->watched = s->nudge = -1;
	if (make_watched(s, e) == 0)
		s->pq = pq_new(url, application, s->nudge, interrupt,
		    postgresql_statements, STATEMENT_COUNT, e);
	free(application);
	if (s->pq != NULL && draw_epoch(s, e) == 0) {
		pq_set_patience(
		    s->pq, mode == STORE_OWN ? DAEMON_PATIENCE_MS : COMMAND_PATIENCE_MS);
		return s;
	}
	postgresql_close(&s->store);
	return NULL;
}

static struct store *
postgresql_open(const char *url, const char *instance, enum store_mode mode,
    int interrupt, struct err *e)
{
	struct postgresql *s = prepared(url, instance, mode, interrupt, e);

	if (s == NULL)
		return NULL;
	if (postgresql_ready(s, e) == 0)
		return &s->store;
	postgresql_close(&s->store);
	return NULL;
}

static int
postgresql_reach(const char *url, struct err *e)
{
	struct postgresql *s = prepared(url, NULL, STORE_READ, -1, e);
	int rc = -1;

	if (s == NULL)
		return -1;
	if (connect_anew(s, e) == 0 && pq_schema_check(s->pq, e) != -1)
		rc = 0;
	postgresql_close(&s->store);
	return rc;
}

/* ---- reading logs ------------------------------------------------------ */

static void
forget_transaction(struct postgresql *s)
{
	free(s->log);
	s->log = NULL;
	s->log_events = 0;
	s->pending = 0;
	s->ordered = false;
}

void
postgresql_undo(struct postgresql *s)
{
	pq_rollback(s->pq);
	/* A row that was made by what is undone is there no more. */
	forget_names(&s->known, &s->known_count);
	forget_transaction(s);
}

/*
 * Begin on the connection that is there: who holds a lock of it must not go on
 * with another.
 */
int
postgresql_begin_here(struct postgresql *s, struct err *e)
{
	forget_transaction(s);
	return pq_exec(s->pq, "BEGIN", e);
}

static int
postgresql_begin(struct store *store, struct err *e)
{
	struct postgresql *s = postgresql_of(store);

	if (s->mode == STORE_READ)
		return err_set(e, "the store is open for reading only");
	return postgresql_ready(s, e) == -1 ? -1 : postgresql_begin_here(s, e);
}

static int
count_events(struct postgresql *s, struct err *e)
{
	int64_t events = s->log_events;

	s->log_events = 0;
	if (events == 0)
		return 0;
	return pq_run(s->pq, COUNT_EVENTS,
	    DB_ARGS(db_number(s->log_id), db_number(events)), NULL, e);
}

static struct db_arg
path_bytes(const char *path)
{
	return db_bytes(path, strlen(path));
}

/* The log that the events from here on are of: most often that of the last. */
static int
use_log(struct postgresql *s, const char *log, struct err *e)
{
	int found;

	if (s->log != NULL && strcmp(s->log, log) == 0)
		return 0;
	if (count_events(s, e) == -1)
		return -1;
	found = pq_ask(s->pq, FIND_LOG, DB_ARGS(db_text(s->instance), path_bytes(log)),
	    &s->log_id, e);
	if (found == 0)
		found = pq_ask(s->pq, ADD_LOG,
		    DB_ARGS(db_text(s->instance), path_bytes(log)), &s->log_id, e);
	if (found != 1)
		return -1;
	free(s->log);
	s->log = xstrdup(log);
	return 0;
}

/* See the head of this file. */
static int
take_order(struct postgresql *s, struct err *e)
{
	if (!s->ordered &&
	    pq_run(s->pq, LOCK_ORDER,
		DB_ARGS(db_number(postgresql_lock_number("order", ""))), NULL, e) == -1)
		return -1;
	s->ordered = true;
	return 0;
}

static int
use_appservice(struct postgresql *s, const char *name, struct err *e)
{
	if (has_name(s->known, s->known_count, name))
		return 0;
	if (pq_run(s->pq, ADD_APPSERVICE, DB_ARGS(db_text(name)), NULL, e) == -1)
		return -1;
	add_name(&s->known, &s->known_count, name);
	return 0;
}

/* 1: the event is new; 0: its place is there already. */
static int
put_event(struct postgresql *s, const struct account_event *ev,
    const struct store_delivery *to, size_t count, int64_t now, struct err *e)
{
	struct buf names = {0}, keys = {0}, types = {0};
	int64_t id;
	int new = -1;
	size_t i;

	for (i = 0; i < count; i++) {
		if (use_appservice(s, to[i].appservice, e) == -1)
			goto free;
		pq_array_add(&names, to[i].appservice);
		pq_array_add(&keys, to[i].key);
		pq_array_add(&types, to[i].type);
	}
	new = pq_ask(s->pq, ADD_EVENT,
	    DB_ARGS(db_bits(ev->file), db_bits(ev->offset), db_text(ev->rule),
		db_number(ev->ordinal), db_number(s->log_id), db_text(ev->type),
		db_text(ev->user_id), db_text(ev->content), db_text(ev->source),
		db_number(ev->ts), db_number(now), pq_array(&names), pq_array(&keys),
		pq_array(&types)),
	    &id, e);

free:
	buf_free(&names);
	buf_free(&keys);
	buf_free(&types);
	return new;
}

static int
postgresql_put_event(struct store *store, const char *log, const struct account_event *ev,
    const struct store_delivery *to, size_t count, int64_t now, bool *new_r,
    struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	int new = -1;

	if (take_order(s, e) == 0 && use_log(s, log, e) == 0)
		new = put_event(s, ev, to, count, now, e);
	if (new == -1)
		return err_add(e, "cannot store an event of %s", log);
	if (new == 1) {
		s->log_events++;
		s->pending += count;
	}
	if (new_r != NULL)
		*new_r = new == 1;
	return 0;
}

static int
put_file(
    struct postgresql *s, const char *log, const struct checkpoint *cp, struct err *e)
{
	return pq_run(s->pq, ADD_FILE,
	    DB_ARGS(db_text(s->instance), path_bytes(log), db_bits(cp->file),
		db_bits(cp->generation), db_bits(cp->id.dev), db_bits(cp->id.ino),
		db_number(cp->id.btime_ns), db_number(cp->id.head_len),
		db_bytes(cp->id.head, HASH_SIZE), db_bits(cp->offset),
		db_bits(cp->resume), db_number(cp->guard_len),
		db_bytes(cp->guard, HASH_SIZE), db_number(cp->last_ts),
		db_number(cp->finished), path_bytes(cp->path == NULL ? "" : cp->path),
		db_bytes(cp->id.prefixes, sizeof(cp->id.prefixes))),
	    NULL, e);
}

static int
postgresql_put_checkpoints(struct store *store, const char *log,
    const struct checkpoint *cps, size_t count, int64_t now, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	size_t i;

	if (pq_run(s->pq, TOUCH_LOG,
		DB_ARGS(db_text(s->instance), path_bytes(log), db_number(now)), NULL,
		e) == -1 ||
	    pq_run(s->pq, FORGET_FILES, DB_ARGS(db_text(s->instance), path_bytes(log)),
		NULL, e) == -1)
		goto fail;
	for (i = 0; i < count; i++)
		if (put_file(s, log, &cps[i], e) == -1)
			goto fail;
	return 0;

fail:
	return err_add(e, "cannot store how far %s is read", log);
}

static int
postgresql_put_health(
    struct store *store, const char *log, const char *text, int64_t now, struct err *e)
{
	struct postgresql *s = postgresql_of(store);

	if (pq_run(s->pq, PUT_HEALTH,
		DB_ARGS(
		    db_text(s->instance), path_bytes(log), db_text(text), db_number(now)),
		NULL, e) == -1)
		return err_add(e, "cannot store how well %s is", log);
	return 0;
}

static int
postgresql_followed(
    struct store *store, const char *name, int64_t *since_ms_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);

	*since_ms_r = 0;
	if (postgresql_ready(s, e) == -1 ||
	    pq_ask(s->pq, FOLLOWED, DB_ARGS(db_text(s->instance), path_bytes(name)),
		since_ms_r, e) == -1)
		return err_add(e, "cannot read since when %s is followed", name);
	return 0;
}

static int
postgresql_put_followed(
    struct store *store, const char *name, int64_t since_ms, struct err *e)
{
	struct postgresql *s = postgresql_of(store);

	if (pq_run(s->pq, PUT_FOLLOWED,
		DB_ARGS(db_text(s->instance), path_bytes(name), db_number(since_ms)),
		NULL, e) == -1)
		return err_add(e, "cannot store that %s is followed", name);
	return 0;
}

static int
postgresql_commit(struct store *store, struct err *e)
{
	struct postgresql *s = postgresql_of(store);

	if (count_events(s, e) == -1 ||
	    (s->pending > 0 && pq_run(s->pq, NOTIFY_OTHERS, NULL, 0, NULL, e) == -1) ||
	    pq_commit(s->pq, e) == -1)
		return err_add(e, "cannot commit");
	s->waiting += s->pending;
	forget_transaction(s);
	return 0;
}

static void
postgresql_rollback(struct store *store)
{
	postgresql_undo(postgresql_of(store));
}

/* FILE_COLUMNS as a checkpoint; its path is the row's and lives as long as that. */
int
postgresql_checkpoint(const PGresult *r, int row, struct checkpoint *cp_r,
    const char **path_r, struct err *e)
{
	int prefixes;

	memset(cp_r, 0, sizeof(*cp_r));
	cp_r->file = pq_bits(r, row, 0);
	cp_r->generation = pq_bits(r, row, 1);
	cp_r->id.dev = pq_bits(r, row, 2);
	cp_r->id.ino = pq_bits(r, row, 3);
	cp_r->id.btime_ns = pq_number(r, row, 4);
	cp_r->id.head_len = (uint32_t)pq_number(r, row, 5);
	cp_r->offset = pq_bits(r, row, 7);
	cp_r->resume = pq_bits(r, row, 8);
	cp_r->guard_len = (uint32_t)pq_number(r, row, 9);
	cp_r->last_ts = pq_number(r, row, 11);
	cp_r->finished = pq_number(r, row, 12) != 0;
	*path_r = pq_text(r, row, 13);
	prefixes = PQgetlength(r, row, 14);
	if (PQgetlength(r, row, 6) != HASH_SIZE || PQgetlength(r, row, 10) != HASH_SIZE ||
	    (prefixes != 0 && prefixes != sizeof(cp_r->id.prefixes)))
		return err_set(e, "the checkpoint of %s is damaged", *path_r);
	memcpy(cp_r->id.head, pq_text(r, row, 6), HASH_SIZE);
	memcpy(cp_r->guard, pq_text(r, row, 10), HASH_SIZE);
	/* A checkpoint that an older version made has none. */
	memcpy(cp_r->id.prefixes, pq_text(r, row, 14), (size_t)prefixes);
	return 0;
}

static int
postgresql_checkpoints(struct store *store, const char *log, struct checkpoint **cps_r,
    size_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	PGresult *r = NULL;
	struct checkpoint *cps;
	const char *path;
	int row, rows;

	if (postgresql_ready(s, e) == 0)
		r = pq_query(s->pq, FILES_OF_LOG,
		    DB_ARGS(db_text(s->instance), path_bytes(log)), e);
	if (r == NULL)
		return err_add(e, "cannot read how far %s was read", log);
	rows = PQntuples(r);
	cps = xcalloc((size_t)rows + 1, sizeof(*cps));
	for (row = 0; row < rows; row++) {
		if (postgresql_checkpoint(r, row, &cps[row], &path, e) == -1)
			goto free;
		cps[row].path = xstrdup(path);
	}
	PQclear(r);
	*cps_r = cps;
	*count_r = (size_t)rows;
	return 0;

free:
	while (row > 0)
		free(cps[--row].path);
	free(cps);
	PQclear(r);
	return err_add(e, "cannot read how far %s was read", log);
}

/*
 * Counting costs the more the more waits, so it is done now and then; what this
 * hearsay itself puts and delivers is added up in between.
 */
static int
postgresql_waiting(struct store *store, uint64_t *count_r, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	int64_t now = clock_steady_ms(), count;

	if (postgresql_ready(s, e) == -1)
		return -1;
	if (s->mode != STORE_OWN || s->counted_ms == 0 || s->waiting < COUNT_FREELY ||
	    now - s->counted_ms >= COUNT_MS) {
		if (pq_ask(s->pq, COUNT_WAITING, NULL, 0, &count, e) != 1)
			return -1;
		s->waiting = (uint64_t)count;
		s->counted_ms = now;
	}
	*count_r = s->waiting;
	return 0;
}

/* ---- what others do ------------------------------------------------------ */

static int
postgresql_fd(struct store *store)
{
	return postgresql_of(store)->watched;
}

static int
postgresql_noticed(struct store *store, struct err *e)
{
	struct postgresql *s = postgresql_of(store);
	eventfd_t times;
	bool connected = pq_connected(s->pq); /* takes what came in, and may nudge */
	bool nudged = eventfd_read(s->nudge, &times) == 0;

	if (!connected)
		return err_set(e, "store %s: the connection is lost", pq_name(s->pq));
	return nudged;
}

const struct store_backend store_postgresql = {
    .open = postgresql_open,
    .reach = postgresql_reach,
    .close = postgresql_close,
    .checkpoints = postgresql_checkpoints,
    .files = postgresql_files,
    .begin = postgresql_begin,
    .put_event = postgresql_put_event,
    .was_told = postgresql_was_told,
    .put_checkpoints = postgresql_put_checkpoints,
    .put_health = postgresql_put_health,
    .followed = postgresql_followed,
    .put_followed = postgresql_put_followed,
    .commit = postgresql_commit,
    .rollback = postgresql_rollback,
    .waiting = postgresql_waiting,
    .may_send = postgresql_may_send,
    .may_go_on = postgresql_may_go_on,
    .next_transaction = postgresql_next_transaction,
    .accepted = postgresql_accepted,
    .failed = postgresql_failed,
    .edit = postgresql_edit,
    .forget = postgresql_forget,
    .fd = postgresql_fd,
    .noticed = postgresql_noticed,
    .log_statuses = postgresql_log_statuses,
    .queue_statuses = postgresql_queue_statuses,
    .size = postgresql_size,
    .items = postgresql_items,
    .tell = postgresql_tell,
};

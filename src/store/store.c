/*
 * The functions of store.h are a choice between backends by the form of the
 * store's name: a path, or "postgresql://...".
 */
#include "store/store.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/backend.h"
#ifdef HAVE_POSTGRESQL
#include "store/pq.h"
#endif

static const struct store_backend *
backend_of(const char *name, struct err *e)
{
	if (!store_is_url(name))
		return &store_sqlite;
#ifdef HAVE_POSTGRESQL
	(void)e;
	return &store_postgresql;
#else
	(void)err_set(e,
	    "the store is in PostgreSQL, and this hearsay was built without libpq: install "
	    "libpq-dev and build again, or name a file as the store");
	return NULL;
#endif
}

struct store *
store_open(const char *name, enum store_mode mode, struct err *e)
{
	return store_open_as(name, NULL, mode, e);
}

struct store *
store_open_as(const char *name, const char *instance, enum store_mode mode, struct err *e)
{
	const struct store_backend *backend = backend_of(name, e);

	return backend == NULL ? NULL : backend->open(name, instance, mode, -1, e);
}

struct store *
store_open_own(const char *name, const char *instance, int interrupt, struct err *e)
{
	const struct store_backend *backend = backend_of(name, e);

	return backend == NULL ? NULL
			       : backend->open(name, instance, STORE_OWN, interrupt, e);
}

int
store_reach(const char *url, struct err *e)
{
	const struct store_backend *backend = backend_of(url, e);

	if (backend == NULL)
		return -1;
	if (backend->reach == NULL)
		return err_set(e, "%s is no url of a store", url);
	return backend->reach(url, e);
}

bool
store_is_url(const char *name)
{
	return strncmp(name, "postgresql://", 13) == 0 ||
	    strncmp(name, "postgres://", 11) == 0;
}

char *
store_shown(const char *name)
{
	char *shown = NULL;

	if (!store_is_url(name))
		return xstrdup(name);
#ifdef HAVE_POSTGRESQL
	shown = pq_shown(name, NULL);
#endif
	return shown == NULL ? xstrdup("postgresql://") : shown;
}

void
store_close(struct store *s)
{
	if (s != NULL)
		s->backend->close(s);
}

int
store_checkpoints(struct store *s, const char *log, struct checkpoint **cps_r,
    size_t *count_r, struct err *e)
{
	return s->backend->checkpoints(s, log, cps_r, count_r, e);
}

int
store_files(struct store *s, struct arena *a, struct store_file **out_r, size_t *count_r,
    struct err *e)
{
	return s->backend->files(s, a, out_r, count_r, e);
}

int
store_begin(struct store *s, struct err *e)
{
	return s->backend->begin(s, e);
}

int
store_put_event(struct store *s, const char *log, const struct account_event *ev,
    const struct store_delivery *to, size_t count, int64_t now, bool *new_r,
    struct err *e)
{
	return s->backend->put_event(s, log, ev, to, count, now, new_r, e);
}

int
store_was_told(struct store *s, const char *appservice, const struct account_event *ev,
    bool *told_r, struct err *e)
{
	return s->backend->was_told(s, appservice, ev, told_r, e);
}

int
store_put_checkpoints(struct store *s, const char *log, const struct checkpoint *cps,
    size_t count, int64_t now, struct err *e)
{
	return s->backend->put_checkpoints(s, log, cps, count, now, e);
}

int
store_put_health(
    struct store *s, const char *log, const char *text, int64_t now, struct err *e)
{
	return s->backend->put_health(s, log, text, now, e);
}

int
store_followed(struct store *s, const char *name, int64_t *since_ms_r, struct err *e)
{
	return s->backend->followed(s, name, since_ms_r, e);
}

int
store_put_followed(struct store *s, const char *name, int64_t since_ms, struct err *e)
{
	return s->backend->put_followed(s, name, since_ms, e);
}

int
store_commit(struct store *s, struct err *e)
{
	return s->backend->commit(s, e);
}

void
store_rollback(struct store *s)
{
	s->backend->rollback(s);
}

int
store_waiting(struct store *s, uint64_t *count_r, struct err *e)
{
	return s->backend->waiting(s, count_r, e);
}

int
store_may_send(
    struct store *s, const char *appservice, int64_t *again_ms_r, struct err *e)
{
	return s->backend->may_send == NULL
	    ? 1
	    : s->backend->may_send(s, appservice, again_ms_r, e);
}

bool
store_is_shared(struct store *s)
{
	return s->backend->may_go_on != NULL;
}

int
store_may_go_on(struct store *s, const char *appservice, struct err *e)
{
	return s->backend->may_go_on == NULL ? 1
					     : s->backend->may_go_on(s, appservice, e);
}

int
store_next_transaction(struct store *s, const char *appservice, int64_t now,
    struct arena *a, struct transaction *txn_r, struct err *e)
{
	return s->backend->next_transaction(s, appservice, now, a, txn_r, e);
}

int
store_accepted(struct store *s, const char *appservice, const char *id, int status,
    int64_t now, struct err *e)
{
	return s->backend->accepted(s, appservice, id, status, now, e);
}

int
store_failed(struct store *s, const char *appservice, const char *id, int status,
    const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
    struct err *e)
{
	return s->backend->failed(
	    s, appservice, id, status, error, then, next_try_ms, now, e);
}

int
store_edit(struct store *s, const char *appservice, const char *id, enum store_edit edit,
    int64_t now, uint64_t *events_r, struct err *e)
{
	return s->backend->edit(s, appservice, id, edit, now, events_r, e);
}

int
store_forget(struct store *s, int64_t before, uint64_t size_max, int64_t *oldest_ms_r,
    struct err *e)
{
	return s->backend->forget(s, before, size_max, oldest_ms_r, e);
}

int
store_fd(struct store *s)
{
	return s->backend->fd == NULL ? -1 : s->backend->fd(s);
}

int
store_noticed(struct store *s, struct err *e)
{
	return s->backend->noticed == NULL ? 0 : s->backend->noticed(s, e);
}

int
store_log_statuses(struct store *s, struct arena *a, struct store_log_status **out_r,
    size_t *count_r, struct err *e)
{
	return s->backend->log_statuses(s, a, out_r, count_r, e);
}

int
store_queue_statuses(struct store *s, struct arena *a, struct store_queue_status **out_r,
    size_t *count_r, struct err *e)
{
	return s->backend->queue_statuses(s, a, out_r, count_r, e);
}

int
store_size(struct store *s, struct store_size *size_r, struct err *e)
{
	return s->backend->size(s, size_r, e);
}

int
store_items(struct store *s, const char *appservice, const char *id, int64_t after,
    struct arena *a, struct store_item **out_r, size_t *count_r, struct err *e)
{
	return s->backend->items(s, appservice, id, after, a, out_r, count_r, e);
}

int
store_tell(struct store *s, const struct store_which *which, int64_t after,
    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e)
{
	return s->backend->tell(s, which, after, a, out_r, count_r, e);
}

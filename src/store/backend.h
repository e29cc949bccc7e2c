/*
 * backend - what each kind of store does behind the functions of store.h.
 *
 * A backend has a struct of its own, with a struct store as its first member,
 * and one table of functions; they promise what those of store.h do.
 */
#ifndef HEARSAY_STORE_BACKEND_H
#define HEARSAY_STORE_BACKEND_H

#include "store/store.h"

struct store {
	const struct store_backend *backend;
};

struct store_backend {
	struct store *(*open)(const char *name, const char *instance,
	    enum store_mode mode, int interrupt, struct err *e);
	int (*reach)(const char *url, struct err *e); /* NULL: names are no urls */
	void (*close)(struct store *s);               /* never NULL */

	int (*checkpoints)(struct store *s, const char *log, struct checkpoint **cps_r,
	    size_t *count_r, struct err *e);
	int (*files)(struct store *s, struct arena *a, struct store_file **out_r,
	    size_t *count_r, struct err *e);
	int (*begin)(struct store *s, struct err *e);
	int (*put_event)(struct store *s, const char *log, const struct account_event *ev,
	    const struct store_delivery *to, size_t count, int64_t now, bool *new_r,
	    struct err *e);
	int (*was_told)(struct store *s, const char *appservice,
	    const struct account_event *ev, bool *told_r, struct err *e);
	int (*put_checkpoints)(struct store *s, const char *log,
	    const struct checkpoint *cps, size_t count, int64_t now, struct err *e);
	int (*put_health)(struct store *s, const char *log, const char *text, int64_t now,
	    struct err *e);
	int (*followed)(
	    struct store *s, const char *name, int64_t *since_ms_r, struct err *e);
	int (*put_followed)(
	    struct store *s, const char *name, int64_t since_ms, struct err *e);
	int (*commit)(struct store *s, struct err *e);
	void (*rollback)(struct store *s);
	int (*waiting)(struct store *s, uint64_t *count_r, struct err *e);

	/* NULL, these two: nobody else uses the store. */
	int (*may_send)(
	    struct store *s, const char *appservice, int64_t *again_ms_r, struct err *e);
	int (*may_go_on)(struct store *s, const char *appservice, struct err *e);
	int (*next_transaction)(struct store *s, const char *appservice, int64_t now,
	    struct arena *a, struct transaction *txn_r, struct err *e);
	int (*accepted)(struct store *s, const char *appservice, const char *id,
	    int status, int64_t now, struct err *e);
	int (*failed)(struct store *s, const char *appservice, const char *id, int status,
	    const char *error, enum store_then then, int64_t next_try_ms, int64_t now,
	    struct err *e);
	int (*edit)(struct store *s, const char *appservice, const char *id,
	    enum store_edit edit, int64_t now, uint64_t *events_r, struct err *e);
	int (*forget)(struct store *s, int64_t before, uint64_t size_max,
	    int64_t *oldest_ms_r, struct err *e);
	int (*fd)(struct store *s);                     /* NULL: there is none */
	int (*noticed)(struct store *s, struct err *e); /* NULL where fd is */

	int (*log_statuses)(struct store *s, struct arena *a,
	    struct store_log_status **out_r, size_t *count_r, struct err *e);
	int (*queue_statuses)(struct store *s, struct arena *a,
	    struct store_queue_status **out_r, size_t *count_r, struct err *e);
	int (*size)(struct store *s, struct store_size *size_r, struct err *e);
	int (*items)(struct store *s, const char *appservice, const char *id,
	    int64_t after, struct arena *a, struct store_item **out_r, size_t *count_r,
	    struct err *e);
	int (*tell)(struct store *s, const struct store_which *which, int64_t after,
	    struct arena *a, struct store_told **out_r, size_t *count_r, struct err *e);
};

extern const struct store_backend store_sqlite;
extern const struct store_backend store_postgresql; /* with HAVE_POSTGRESQL */

#endif

/*
 * schema - the tables of the store, and how an older store becomes a newer.
 */
#ifndef HEARSAY_STORE_SCHEMA_H
#define HEARSAY_STORE_SCHEMA_H

#include <stdint.h>

struct db;
struct err;

/*
 * See what the database at path is, before anything is changed in it.  1: a
 * store of this version.  0: empty, or of an older version.  -1: of a newer
 * version, or no store at all, with the way on in e.
 */
int schema_check(struct db *d, const char *path, struct err *e);
/* The same by what SQLite says of the database: application_id, user_version, tables. */
int schema_judge(int64_t application, int64_t version, int64_t tables, const char *path,
    struct err *e);

/* Bring an empty or older store to this version, in one transaction. */
int schema_migrate(struct db *d, struct err *e);

/*
 * Is there something at path, if its owner once noted that it had commits?  0, or
 * -1 where the store is gone or empty.
 */
int schema_there(const char *path, int64_t had, struct err *e);
/*
 * Does a store of this version have the commits that its owner once noted?  0, or
 * -1 with the way on where some are missing.
 */
int schema_commits(struct db *d, int64_t had, const char *path, struct err *e);

#endif

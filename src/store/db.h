/*
 * db - one SQLite connection: statements prepared once, arguments with types,
 * and errors that tell the way on.
 */
#ifndef HEARSAY_STORE_DB_H
#define HEARSAY_STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/arg.h"

struct db;
struct err;

/*
 * Open the database file at path, which exists; it is read by the first query.
 * sql (borrowed) holds the statements, which go by their index.  NULL on error.
 */
struct db *db_open(
    const char *path, bool write, const char *const *sql, size_t count, struct err *e);
void db_close(struct db *d); /* NULL is allowed */

/* Run statements that are used once.  0, or -1 on error. */
int db_exec(struct db *d, const char *sql, struct err *e);
/* The first column of the first row, as a number or as text to be freed. */
int db_ask_number(struct db *d, const char *sql, int64_t *n_r, struct err *e);
int db_ask_text(struct db *d, const char *sql, char **text_r, struct err *e);

/* Run statement i; *changed_r (may be NULL) is how many rows it changed. */
int db_run(struct db *d, size_t i, const struct db_arg *args, size_t count,
    int64_t *changed_r, struct err *e);

/*
 * Begin statement i; NULL on error.  db_row: 1 there is a row, 0 no more, -1
 * error.  Who stops before 0 or -1 calls db_done.
 */
sqlite3_stmt *db_query(
    struct db *d, size_t i, const struct db_arg *args, size_t count, struct err *e);
int db_row(struct db *d, sqlite3_stmt *st, struct err *e);
void db_done(sqlite3_stmt *st);

/* Text of a column, "" for NULL; valid until the next db_row. */
const char *db_column_text(sqlite3_stmt *st, int column);
uint64_t db_column_bits(sqlite3_stmt *st, int column);

/* Leave the write-ahead log where it is when the last connection ends. */
int db_keep_log(struct db *d, struct err *e);
/* Write all of it to the file at path, which is empty, and sync that. */
int db_copy(struct db *d, const char *path, struct err *e);

/* Undo, if a transaction is open. */
void db_rollback(struct db *d);
bool db_in_transaction(struct db *d);

/* The last SQLite error as a sentence.  Always -1. */
int db_fail(struct db *d, struct err *e);

#endif

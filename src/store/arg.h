/*
 * arg - the arguments of a statement, with their types.
 */
#ifndef HEARSAY_STORE_ARG_H
#define HEARSAY_STORE_ARG_H

#include <stddef.h>
#include <stdint.h>

/* One argument of a statement; a text that is NULL is SQL's NULL. */
struct db_arg {
	enum { DB_NUMBER, DB_TEXT, DB_BYTES } kind;
	int64_t n; /* the number, or the length of bytes */
	const void *p;
};

struct db_arg db_number(int64_t n);
/* 64 bits without a sign are kept as the signed number of the same bits. */
struct db_arg db_bits(uint64_t n);
struct db_arg db_text(const char *s);
struct db_arg db_bytes(const void *p, size_t len);

#define DB_ARGS(...)                                                                     \
	(const struct db_arg[]){__VA_ARGS__},                                            \
	    sizeof((const struct db_arg[]){__VA_ARGS__}) / sizeof(struct db_arg)

#endif

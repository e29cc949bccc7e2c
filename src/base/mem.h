/*
 * mem - memory: allocation that does not fail, slices, buffers, arenas.
 *
 * The x functions end the process when memory is exhausted.  That is safe
 * here: everything that must survive is on disk, committed, and a restart
 * goes on from there.
 */
#ifndef HEARSAY_BASE_MEM_H
#define HEARSAY_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Print a line to stderr and end the process with status 1. */
void mem_exhausted(void) __attribute__((noreturn));

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xreallocarray(void *p, size_t count, size_t size);
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes that somebody else owns; not NUL-terminated; may hold NULs. */
struct slice {
	const char *p;
	size_t len;
};

/* The slice of a C string. */
struct slice slice_of(const char *s);
bool slice_eq(struct slice a, struct slice b);
bool slice_is(struct slice a, const char *s);
bool slice_starts(struct slice a, const char *prefix);

/*
 * A growing run of bytes.  Zero-initialised is empty.  p is NUL-terminated
 * behind len whenever it is not NULL, so that it can be printed.
 */
struct buf {
	char *p;
	size_t len, cap;
};

void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_addc(struct buf *b, char c);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Empty b and keep its memory. */
void buf_reset(struct buf *b);
void buf_free(struct buf *b);

/*
 * An arena: everything allocated from it lives until arena_reset, which frees
 * all at once.  Made for what lives as long as one batch of lines.
 */
struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a);
/* Forget all allocations; the first block is kept for reuse. */
void arena_reset(struct arena *a);
/* size bytes, aligned for any type, not zeroed. */
void *arena_alloc(struct arena *a, size_t size) __attribute__((returns_nonnull));
char *arena_strndup(struct arena *a, const char *s, size_t len)
    __attribute__((returns_nonnull));
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif

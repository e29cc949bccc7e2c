/*
 * names - what rotation makes of a log's name.
 *
 * homeserver.log.1, homeserver.1.log, homeserver.log-20260101.gz,
 * homeserver-20260101.log, homeserver.log.2026-01-01_12, homeserver.log.old:
 * pieces of homeserver.log, and @4000000065a1b2c30a1b2c3d.s one of current.
 * worker-1.log is none of worker.log.
 */
#ifndef HEARSAY_TAIL_NAMES_H
#define HEARSAY_TAIL_NAMES_H

#include <stdbool.h>

/* Is name what rotation makes of base?  Both are without a directory. */
bool names_rotated(const char *base, const char *name);

/* Every piece of base begins with so many of its bytes. */
unsigned long names_stem_len(const char *base);

/* Bytes of name without .gz, .zst and the like. */
unsigned long names_unpacked_len(const char *name);

bool names_packed(const char *name);

/*
 * How the name of a piece of base tells its age: its number (.2 is older than
 * .1), -1 where it has none; or a date that begins with the year, or seconds, and
 * the names' order is that of time.
 */
long names_number(const char *base, const char *name);
bool names_dated(const char *base, const char *name);
/* The names' order, as strcmp; what follows a date may be a number. */
int names_compare_dated(const char *a, const char *b);

#endif

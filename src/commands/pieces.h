/*
 * pieces - which of the files on a command line are rotated pieces of one log.
 *
 * homeserver.log, homeserver.log.1, homeserver.log.2.gz and
 * homeserver.log.2026-01-01 are one log; its oldest piece is read first.
 */
#ifndef HEARSAY_COMMANDS_PIECES_H
#define HEARSAY_COMMANDS_PIECES_H

#include <stdbool.h>
#include <stddef.h>

struct slice;

/* The part of path that all pieces of its log share. */
struct slice pieces_stem(const char *path);

/*
 * < 0 where a is an older piece than b of the same log: dated ones by their
 * date, then numbered ones from high to low, then the one without a suffix.
 */
int pieces_compare(const char *a, const char *b);

#endif

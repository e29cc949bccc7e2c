/*
 * content - what is open in a descriptor, plain or compressed, compared with what
 * a checkpoint knows of a file, or with another file.
 *
 * No descriptor is taken.  Messages name path.
 */
#ifndef HEARSAY_TAIL_CONTENT_H
#define HEARSAY_TAIL_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tail/checkpoint.h"

struct err;
struct guard;
struct stream;

/* Is the open file compressed? */
bool content_packed(int fd);
/* Is the open file what cp says, at cp's position?  1, 0, -1 on error. */
int content_is(int fd, const struct checkpoint *cp);
/* What is unpacked of it, from its first byte; NULL on error. */
struct stream *content_stream(int fd, const char *path, struct err *e);
/* Its first len bytes, or fewer: the count. */
size_t content_head(int fd, const char *path, char *p, size_t len);
/* Likewise from the place at on. */
size_t content_at(int fd, const char *path, uint64_t at, char *p, size_t len);
/*
 * Do these bytes, FINGERPRINT_MAX at most, stand at this place of the open plain
 * file?  1, 0, -1 on error.
 */
int content_has_bytes(int fd, uint64_t at, const char *p, size_t len);
/* The guard before the position. */
struct guard content_guard(const struct checkpoint *cp);

/* Does what is open in fd, plain or compressed, begin as the file that cp tells of? */
bool content_has_head(int fd, const char *path, const struct checkpoint *cp);

/* Has what is open in fd, plain or compressed, no more than these few bytes? */
bool content_ends_at(int fd, const char *path, uint64_t offset);
/* Do the two open files begin with the same len bytes, or fewer than FINGERPRINT_MAX? */
bool content_begin_alike(
    int fd, const char *path, int other, const char *other_path, size_t len);

enum content_copy {
	COPY_NONE,
	COPY_WHOLE, /* holds all that was read of it, and maybe more */
	COPY_SHORT, /* begins as it does, and ends before its position */
	COPY_BRIEF  /* likewise, as far as it goes: it is shorter than the fingerprint */
};
/* Is what is open in fd, plain or compressed, a copy of the file that cp tells of? */
enum content_copy content_copied(int fd, const char *path, const struct checkpoint *cp);
/*
 * Does the file open in fd hold nothing but the beginning of the one open in
 * whole?  1, 0, -1 where a plain one can't be read.
 */
int content_begins_with(int whole, int fd);

#endif

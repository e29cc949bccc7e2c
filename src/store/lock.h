/*
 * lock - one owner for a store, and its pid for the one who comes second.
 */
#ifndef HEARSAY_STORE_LOCK_H
#define HEARSAY_STORE_LOCK_H

#include <stdint.h>

struct err;

/*
 * Take the lock of the store at path, which is the file "path.lock".  It is
 * held until lock_release or the end of the process, however that ends.
 * A descriptor, or -1 at once where another holds it (its pid is in e).
 */
int lock_take(const char *path, struct err *e);
void lock_release(int fd); /* -1 is allowed */

/*
 * How many commits the store had when it was last in use, as its owner noted it;
 * 0: that is not known.  Beside the store, it tells when some of them are gone.
 */
int64_t lock_commits(const char *path);
void lock_note_commits(int fd, int64_t commits);

/*
 * A second process that changed the store tells the owner so, by touching the
 * lock's file; the owner has a descriptor that is readable then.  It costs
 * nothing while nobody does, and works where a pid means nothing, between
 * containers.  lock_watch: -1 where there is no inotify to be had.
 */
void lock_touch(const char *path);
int lock_watch(const char *path);
/* The same descriptor for the file "path" + end: when it is removed or renamed. */
void lock_watch_file(int fd, const char *path, const char *end);
void lock_watched(int fd); /* take what made it readable */

#endif

/*
 * identity - which file is it, whatever its name: checkpoint.h says by what.
 */
#ifndef HEARSAY_TAIL_IDENTITY_H
#define HEARSAY_TAIL_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tail/checkpoint.h"

#define LINKS_MAX 40 /* on the way to a file, as the kernel has it */

/* What the file system knows of a file. */
struct file_facts {
	struct file_identity id; /* without the head */
	uint64_t size;
	int64_t mtime_ns;
	uid_t uid;
	mode_t mode;
};

/* A hash of len bytes. */
struct guard {
	uint32_t len;
	uint8_t hash[HASH_SIZE];
};

/* Of the file at path (symbolic links followed or not), or of an open one.  0, or -1 and errno. */
int identity_stat(const char *path, bool follow, struct file_facts *facts_r);
int identity_fstat(int fd, struct file_facts *facts_r);
/* Where the symbolic link at path leads; malloc'd.  NULL and errno where it is none. */
char *identity_link_target(const char *path);

/* Does this errno say that there is no file, and not that it can't be looked at? */
bool identity_is_absent(int error);

/*
 * The same inode?  Device numbers may change over a boot, birth times do not;
 * a file system without birth times has stable enough devices.
 */
bool identity_same_inode(const struct file_identity *a, const struct file_identity *b);

struct guard guard_of(const void *p, size_t len);
bool guard_holds(const struct guard *g, const void *p, size_t len);

/* The fingerprint of a file that begins with these bytes; at most FINGERPRINT_MAX count. */
void identity_set_head(struct file_identity *id, const char *p, size_t len);
/*
 * Does a file of id begin with these bytes, which are fewer than its fingerprint
 * has?  As far as its longest prefix within them tells; false where there is none.
 */
bool identity_begins(const struct file_identity *id, const char *p, size_t len);
/*
 * Does the head of an open file hash to what id has?  1, 0, or -1 on error
 * (errno).  Where it does and the file has grown, so does the fingerprint in id.
 */
int identity_head(int fd, struct file_identity *id);
/* Do the bytes before offset hash to g?  1, 0, or -1 on error. */
int identity_guard(int fd, uint64_t offset, const struct guard *g);

/* pread until len bytes or the end: the count, or -1 and errno. */
ssize_t read_at(int fd, void *p, size_t len, uint64_t offset);

#endif

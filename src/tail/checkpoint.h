/*
 * checkpoint - how far one file of a log has been read, and which file it is.
 *
 * Inode numbers come back and names move, so a file is known by device, inode,
 * birth time and a fingerprint of its head; and so that a file that was
 * truncated and grew past the old position is known for what it is, a guard
 * over the bytes just before the position goes with it.
 */
#ifndef HEARSAY_TAIL_CHECKPOINT_H
#define HEARSAY_TAIL_CHECKPOINT_H

#include <stdbool.h>
#include <stdint.h>

#define FINGERPRINT_MAX 4096 /* bytes of the head that are hashed at most */
#define GUARD_MAX 1024       /* bytes before the position that are hashed at most */
#define HASH_SIZE 16         /* XXH3, 128 bits, canonical byte order */
#define PREFIX_MIN 4 /* bytes in the shortest prefix; the next has twice as many */
#define PREFIXES 10
#define PREFIX_HASH_SIZE 8 /* XXH3, 64 bits, likewise */

struct file_identity {
	uint64_t dev, ino;
	int64_t btime_ns;  /* since 1970; 0 where the file system has none */
	uint32_t head_len; /* bytes of the head in the hash; grows to FINGERPRINT_MAX */
	uint8_t head[HASH_SIZE];
	/*
	 * Of those prefixes that are within head_len, the others are 0: so that a copy
	 * is known that was made when the head was shorter.
	 */
	uint8_t prefixes[PREFIXES][PREFIX_HASH_SIZE];
};

/*
 * offset is the first byte not yet told of; resume <= offset is the first byte
 * that an unfinished request still needs.  A restart reads from resume, and
 * tells events only from offset on.
 */
struct checkpoint {
	uint64_t file;       /* random key, drawn when the file was first seen; never 0 */
	uint64_t generation; /* order within its log: a newer file has a higher one */
	struct file_identity id;
	uint64_t offset;
	uint64_t resume;
	uint32_t guard_len; /* bytes before offset in the hash */
	uint8_t guard[HASH_SIZE];
	int64_t last_ts; /* UTC ms of the newest line told, INT64_MIN if none */
	bool finished;   /* rotated away, read to its end */
	char *path; /* where it was last seen: a path, or the journal's cursor of what was
	               told last; owned by whoever owns the checkpoint */
};

#endif

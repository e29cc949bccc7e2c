/*
 * file - one file of a log: opened as what a checkpoint says, read as lines.
 *
 * Each read begins some bytes before the place where it goes on, and compares
 * these with what stood there: so a file that was truncated is known for it,
 * however much it has grown since.
 */
#ifndef HEARSAY_TAIL_FILE_H
#define HEARSAY_TAIL_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "tail/checkpoint.h"
#include "tail/identity.h"
#include "tail/lines.h"

struct err;
struct file_facts;
struct stream;

enum file_source {
	FILE_UNSOUGHT, /* known, but not open: of the last run, cut, or finished */
	FILE_PLAIN,    /* fd */
	FILE_PACKED,   /* stream: a compressed piece */
	FILE_LOST      /* not to be had any more; what was read already is left */
};

enum file_answer {
	FILE_LINES,  /* there is a chunk */
	FILE_AT_END, /* nothing more for now */
	FILE_SKIPS,  /* it is unpacked to its position, a share at a time: ask again */
	FILE_CUT,   /* it was truncated, or is another one: what is unread is elsewhere */
	FILE_BROKEN /* it can't be read */
};

/* The fields may be read; live, held, gone and deadline_ms belong to the log. */
struct file {
	struct file *prev, *next; /* within its log, oldest first */
	struct checkpoint cp;     /* as of the last chunk that was taken */
	enum file_source source;
	int fd;
	struct stream *stream;
	uint64_t skip; /* of the stream, before pos */
	struct lines lines;
	uint64_t pos;      /* of the next line to hand out; < cp.offset: again */
	struct guard here; /* over the bytes before pos */
	uint64_t size;     /* as last seen */
	int64_t mtime_ns;  /* likewise */
	bool at_end;       /* as of the last read; file_wake forgets it */
	bool blank;        /* no line of it was read: its bytes are no evidence yet */
	bool cut;          /* what was read of it does not stand in it any more */
	bool
	    shorter; /* it ends before what was read: half of its last line may be told */
	bool live;   /* stands at the log's path */
	bool held;   /* rotated away, read to its end, waits for late writers */
	bool gone;   /* finished, and no longer there, or too old to be remembered */
	int64_t deadline_ms;
	uint64_t held_size;    /* its size when it was last held */
	uint64_t long_counted; /* of lines.long_lines, in the log's figures */
};

/* What a chunk is made of. */
struct piece {
	uint64_t offset;
	const char *data;
	size_t len;
	bool final;
};

/* A file seen for the first time, with a key of its own; from a checkpoint (copied). */
struct file *file_new(uint64_t generation);
struct file *file_of(const struct checkpoint *cp);
void file_free(struct file *f);

/* Is there anything to be read from it that was not told, or that is needed again? */
bool file_unread(const struct file *f);
/* Has the open file no name any more?  Then only we hold its size bytes. */
bool file_deleted(const struct file *f, uint64_t *size_r);
/* Is it to be read, but not found, nor known to be gone? */
bool file_awaited(const struct file *f);
/* No line of it was read yet: whatever it has for a head now is its head. */
void file_restart(struct file *f);

/*
 * Open path as a regular file that can be read, without waiting or side effects:
 * the descriptor and *facts_r; -1 and errno (EINVAL: no regular file; EPERM: a
 * symbolic link of somebody who does not own what it leads to).
 */
int file_open_path(const char *path, struct file_facts *facts_r);

/*
 * Was the open plain file truncated, or written anew, since it was read?  As f->cut.
 * One that can't be read now was not, as far as we know.
 */
bool file_was_cut(const struct file *f);
/* Read from fd (taken) on; packed or not is found out.  0, or -1 on error. */
int file_take(struct file *f, int fd, const char *path, struct err *e);
/*
 * Likewise, where fd is a copy that ends before the position: only what is
 * needed again is read from it, and where nothing is, f is finished.
 */
int file_take_shorter(struct file *f, int fd, const char *path, struct err *e);
/*
 * fd (taken) is f, and none of it is to be read: it is only remembered.  -1: it
 * can't be opened, and is known by facts alone.
 */
void file_pass(struct file *f, int fd, const struct file_facts *facts, const char *path);
/* Begin behind the last complete line that is there now. */
int file_to_end(struct file *f, struct err *e);
/* Let the descriptor go; what was read of it stays. */
void file_drop(struct file *f);
void file_set_path(struct file *f, const char *path);

/* Look again for more, though the end was reached. */
void file_wake(struct file *f);
/*
 * The next chunk; at the end, where final is set or the file can't grow, the
 * unterminated rest.  Nothing moves before file_taken.
 */
enum file_answer file_next(struct file *f, bool final, struct piece *p_r, struct err *e);
/* Up to size of the bytes before offset: the count; 0 where they can't be read now. */
size_t file_before(const struct file *f, uint64_t offset, char *p, size_t size);
/* Everything before offset is done with. */
void file_taken(struct file *f, uint64_t offset);
/* All is read and handed out; the descriptor is closed. */
void file_finish(struct file *f);

#endif

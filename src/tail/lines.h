/*
 * lines - a window over a file's bytes that gives whole lines.
 *
 * Bytes come in pieces of any size; out come runs of complete lines, and, when
 * asked for, the unterminated rest.  Lines over LINE_MAX_BYTES are passed over
 * and counted, NULs before a line are dropped.  Up to GUARD_MAX bytes before
 * the first unread one are kept, so that a reader can compare.
 */
#ifndef HEARSAY_TAIL_LINES_H
#define HEARSAY_TAIL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty, at byte 0.  The fields may be read, not set. */
struct lines {
	char *data;
	size_t start; /* of what is unread */
	size_t whole; /* behind the last newline; start where there is none */
	size_t end, cap;
	uint64_t base;       /* the place of data[0] in the file */
	bool passing;        /* within a line that is too long */
	uint64_t long_lines; /* passed over so far */
};

/* Drop everything; the next bytes are those at the place base. */
void lines_begin(struct lines *l, uint64_t base);
/* Drop everything and the memory too. */
void lines_free(struct lines *l);
/* Give back memory that is not in use. */
void lines_trim(struct lines *l);

/* Where the next bytes belong; *room_r > 0 as long as whole lines are taken out. */
char *lines_room(struct lines *l, size_t *room_r);
void lines_added(struct lines *l, size_t len);

/* All complete lines: 1, the data and its place; 0 where there is none. */
int lines_whole(struct lines *l, const char **data_r, size_t *len_r, uint64_t *offset_r);
/* What stands behind the last newline: likewise. */
int lines_rest(struct lines *l, const char **data_r, size_t *len_r, uint64_t *offset_r);
/* Everything up to the place offset, which is within what is unread, is done with. */
void lines_take(struct lines *l, uint64_t offset);

/* The place of the first unread byte, and of the first one that was not added yet. */
uint64_t lines_start(const struct lines *l);
uint64_t lines_end(const struct lines *l);

#endif

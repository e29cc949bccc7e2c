/*
 * tail_bench - a log under test: its tail, its loop, what it gave, and the files.
 *
 * The names are short, so that a test reads as the list of what happened to a
 * log.  Whatever goes wrong fails the test.
 */
#ifndef HEARSAY_TESTS_TAIL_BENCH_H
#define HEARSAY_TESTS_TAIL_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/mem.h"
#include "tail/state.h"
#include "tail/tail.h"

struct event_base;

/* One log under test: what was told of it, and how it stands after a "crash". */
struct bench {
	char *dir, *path;
	struct event_base *base;
	struct tail *tail;
	struct tail_log *log;
	struct tail_timing timing;
	struct tail_how how;
	struct checkpoint *cps; /* of the last commit */
	size_t cp_count;
	struct bench_known { /* likewise, of each log, globs' logs too */
		char *path;
		struct checkpoint *cps;
		size_t count;
	} * known;
	size_t known_count;
	size_t told_len;   /* and what was told until then */
	struct buf told;   /* all lines, but those read again */
	struct buf again;  /* those */
	struct buf before; /* what stands before the first of them */
	unsigned looks_back;
	unsigned chunk_gaps; /* chunks with a gap right before them */
	unsigned chunks, moves, gaps, finals;
	uint64_t gap_bytes;
	char *gap_why;
	bool keeps_resume;                  /* commit leaves resume as tail tells it */
	bool refuse;                        /* the lines hook says 1 */
	void (*meanwhile)(struct bench *b); /* happens once, while lines are taken */
	unsigned refusals;
	uint64_t last_file, last_offset;
	size_t last_len;
	unsigned over;
	unsigned long_wait; /* the bound was reached */
	struct buf found;   /* paths that globs matched, a line each */
};

/* For cmocka: a directory, a loop, and a log of it that is not followed yet. */
int bench_set_up(void **state);
int bench_tear_down(void **state);
#define TEST(f) cmocka_unit_test_setup_teardown(f, bench_set_up, bench_tear_down)

/* ---- the process ---- */

/* Begin, with the checkpoints of the last commit if there was one. */
void begin(struct bench *b);
void begin_glob(struct bench *b, const char *pattern);
void commit(struct bench *b);
/* The end of a process: nothing counts that was not committed. */
void crash(struct bench *b);
void commit_and_crash(struct bench *b);
/* Run the loop until fact(b) holds; the test fails where it never does. */
void run_until(struct bench *b, bool (*fact)(const struct bench *b));
/* Whatever is known at this moment is taken, without waiting. */
void settle(struct bench *b);

void assert_told(const struct bench *b, const char *text);
bool told_three(const struct bench *b); /* one, two, three */
bool told_four(const struct bench *b);

/* ---- files; names are of the bench's directory ---- */

char *name_of(const struct bench *b, const char *name); /* the path; malloc'd */
void append_to(const char *path, const char *text);
void append(const struct bench *b, const char *text); /* to the log */
void append_name(const struct bench *b, const char *name, const char *text);
void move(const struct bench *b, const char *from, const char *to);
void copy(const struct bench *b, const char *from, const char *to);
void pack(const struct bench *b, const char *from, const char *to); /* gzip */
void truncate_to(const struct bench *b, const char *name, off_t size);
void delete (const struct bench *b, const char *name);
void remove_tree(const char *path);
/* Until what is written gets a later time than what was. */
void wait_for_the_clock(const struct bench *b);

#endif

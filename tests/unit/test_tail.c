#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "tail/checkpoint.h"
#include "tail/identity.h"
#include "tail/state.h"
#include "tail/tail.h"
#include "tail_bench.h"

#define SHORT_HOLD_MS 30

/* A directory that we may not read, whoever we are; NULL: there is none. */
static const char *dark;

int
inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	if (dark == NULL || strcmp(path, dark) != 0)
		return (int)syscall(SYS_inotify_add_watch, fd, path, mask);
	errno = EACCES;
	return -1;
}

/* Whose log.1 becomes log.2 when a directory was next read to its end; NULL: nobody's. */
static const struct bench *renamer;

struct dirent *
readdir(DIR *d)
{
	static struct dirent *(*next)(DIR *);
	const struct bench *b = renamer;
	struct dirent *entry;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "readdir");
	entry = next(d);
	if (entry == NULL && b != NULL) {
		renamer = NULL;
		move(b, "log.1", "log.2");
	}
	return entry;
}

/* ---- following ------------------------------------------------------------------- */

static void
grows_while_followed(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	append(b, "two\nth");
	settle(b);
	assert_told(b, "one\ntwo\n");
	append(b, "ree\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

static void
begins_at_the_end(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;

	b->how.start = TAIL_START_END;
	append(b, "old\nolder\non");
	begin(b);
	append(b, "e\n");
	append(b, "two\nthree\n");
	run_until(b, told_three);
	assert_int_equal(b->last_offset, 10);
	tail_log_stats(b->log, &st);
	assert_int_equal(st.bytes, 14);
	assert_int_equal(st.behind, 0);
	assert_false(st.missing);
}

/* A log that appears after the start is new from its first byte. */
static void
appears_later(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;

	b->how.start = TAIL_START_END;
	begin(b);
	settle(b);
	tail_log_stats(b->log, &st);
	assert_true(st.missing);
	append(b, "one\ntwo\nthree\n");
	run_until(b, told_three);
	assert_true(b->moves > 0);
}

/* And was rotated before anybody looked; what was there before stays unread. */
static void
appears_and_is_rotated(void **state)
{
	struct bench *b = *state;

	append_name(b, "log.7", "old\n");
	begin(b);
	settle(b);
	wait_for_the_clock(b);
	append(b, "one\n");
	move(b, "log", "log.1");
	append(b, "two\nthree\n");
	run_until(b, told_three);
}

/* While down; its path was followed before, and there was nothing then but an old piece. */
static void
appears_while_down(void **state)
{
	struct bench *b = *state;

	char *old = name_of(b, "log.7");
	struct timespec times[2];

	append_to(old, "old\n");
	assert_int_equal(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
	b->how.start = TAIL_START_END;
	b->how.since_ms = times[0].tv_sec * 1000;
	times[0].tv_sec--;
	times[1] = times[0];
	assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
	free(old);
	append(b, "one\n");
	move(b, "log", "log.1");
	append(b, "two\nthree\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* It could not be opened when it was looked at first; what stood in it is none of ours. */
static void
opened_at_last(void **state)
{
	struct bench *b = *state;
	char *target = name_of(b, "target");
	struct file_facts facts;

	append_to(target, "old\n");
	assert_int_equal(identity_stat(target, true, &facts), 0);
	if (geteuid() != 0 || facts.id.btime_ns == 0) {
		free(target);
		skip();
	}
	b->how.start = TAIL_START_END;
	assert_int_equal(symlink(target, b->path), 0);
	assert_int_equal(lchown(b->path, 12345, 12345), 0);
	begin(b);
	settle(b);
	assert_int_equal(lchown(b->path, 0, 0), 0);
	settle(b);
	append(b, "one\n");
	settle(b);
	assert_told(b, "one\n");
	crash(b);
	b->told.len = 0;
	b->how.since_ms = facts.id.btime_ns / 1000000 + 1000;
	begin(b);
	append(b, "two\n");
	settle(b);
	assert_told(b, "two\n");
	free(target);
}

static void
directory_appears_later(void **state)
{
	struct bench *b = *state;
	char *a = name_of(b, "a"), *ab = name_of(b, "a/b");

	free(b->path);
	b->path = name_of(b, "a/b/log");
	begin(b);
	settle(b);
	assert_int_equal(mkdir(a, 0700), 0);
	assert_int_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), 0);
	assert_int_equal(mkdir(ab, 0700), 0);
	append(b, "one\ntwo\n");
	append(b, "three\n");
	run_until(b, told_three);
	free(a);
	free(ab);
}

static void
directory_made_again(void **state)
{
	struct bench *b = *state;
	char *a = name_of(b, "a"), *old = name_of(b, "old");

	free(b->path);
	b->path = name_of(b, "a/log");
	assert_int_equal(mkdir(a, 0700), 0);
	append(b, "one\n");
	begin(b);
	settle(b);
	remove_tree(a);
	assert_int_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), 0);
	assert_int_equal(mkdir(a, 0700), 0);
	append(b, "two\nthree\n");
	run_until(b, told_three);
	assert_int_equal(rename(a, old), 0);
	assert_int_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), 0);
	assert_int_equal(mkdir(a, 0700), 0);
	append(b, "four\n");
	run_until(b, told_four);
	free(a);
	free(old);
}

static void
wakes_by_news_alone(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, "two\n");
	append(b, "three\n");
	run_until(b, told_three);
	append(b, "four\n");
	run_until(b, told_four);
}

static void
only_regular_files(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;

	assert_int_equal(mkfifo(b->path, 0600), 0);
	begin(b);
	settle(b);
	tail_log_stats(b->log, &st);
	assert_true(st.missing);
	delete (b, "log");
	assert_int_equal(mkdir(b->path, 0700), 0);
	settle(b);
	assert_int_equal(rmdir(b->path), 0);
	append(b, "one\ntwo\nthree\n");
	run_until(b, told_three);
}

static void
long_line_is_passed_over(void **state)
{
	struct bench *b = *state;
	struct buf line = {0};
	struct tail_stats st;
	unsigned i;

	append(b, "one\n");
	begin(b);
	buf_reserve(&line, 500000);
	memset(line.p, 'x', 500000);
	line.p[500000] = '\0';
	for (i = 0; i < 6; i++) {
		append(b, line.p);
		settle(b);
	}
	assert_told(b, "one\n");
	commit_and_crash(b);
	begin(b);
	settle(b);
	append(b, "\n");
	settle(b);
	assert_int_equal(b->chunk_gaps, 0);
	append(b, "two\n");
	settle(b);
	assert_int_equal(b->chunk_gaps, 1);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->chunk_gaps, 1);
	tail_log_stats(b->log, &st);
	assert_int_equal(st.long_lines, 1);
	buf_free(&line);
}

static void
sparse_head_is_skipped(void **state)
{
	struct bench *b = *state;

	append(b, "");
	truncate_to(b, "log", (off_t)40 << 30);
	append(b, "one\ntwo\n");
	begin(b);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->last_offset + b->last_len, ((uint64_t)40 << 30) + 14);
}

/* ---- back-pressure ------------------------------------------------------------------ */

static void
same_chunk_after_refusal(void **state)
{
	struct bench *b = *state;
	uint64_t offset;
	size_t len;

	append(b, "one\ntwo\n");
	begin(b);
	b->refuse = true;
	settle(b);
	assert_int_equal(b->refusals, 1);
	offset = b->last_offset;
	len = b->last_len;
	append(b, "three\n");
	settle(b);
	move(b, "log", "log.1");
	append(b, "four\n");
	settle(b);
	delete (b, "log.1");
	settle(b);
	assert_int_equal(b->refusals, 1);
	tail_go_on(b->tail);
	settle(b);
	assert_int_equal(b->refusals, 2);
	assert_int_equal(b->last_offset, offset);
	assert_int_equal(b->last_len, len);
	b->refuse = false;
	tail_go_on(b->tail);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* ---- restarts ------------------------------------------------------------------------- */

static void
restart_goes_on(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntw");
	begin(b);
	settle(b);
	assert_told(b, "one\n");
	commit_and_crash(b);
	append(b, "o\n");
	begin(b);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->again.len, 0);
}

/* Which may be what a line that goes on there needs. */
static void
what_stands_before_is_shown(void **state)
{
	struct bench *b = *state;
	char *line = xcalloc(1, 200 * 1024);

	append(b, "one\ntwo\n");
	begin(b);
	settle(b);
	assert_int_equal(b->looks_back, 0);
	commit_and_crash(b);
	begin(b);
	settle(b);
	assert_int_equal(b->looks_back, 1);
	assert_true(slice_is((struct slice){b->before.p, b->before.len}, "one\ntwo\n"));
	commit_and_crash(b);
	/* Compressed meanwhile, it is the same. */
	append(b, "three\n");
	move(b, "log", "log.1");
	pack(b, "log.1", "log.1.gz");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->looks_back, 2);
	assert_true(slice_is((struct slice){b->before.p, b->before.len}, "one\ntwo\n"));
	/* Of a long line before it nothing is shown; but that there is one. */
	memset(line, 'x', 200 * 1024 - 2);
	line[200 * 1024 - 2] = '\n';
	append(b, line);
	settle(b);
	commit_and_crash(b);
	begin(b);
	settle(b);
	assert_int_equal(b->looks_back, 3);
	assert_int_equal(b->before.len, 0);
	free(line);
}

/* The older file is held, and was read to its end; what it ends with does not go on here. */
static void
what_stands_before_is_of_its_file(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	commit_and_crash(b);
	begin(b);
	settle(b);
	assert_true(slice_is((struct slice){b->before.p, b->before.len}, "two\n"));
	append_name(b, "log.1", "late\n");
	settle(b);
	assert_true(slice_is((struct slice){b->before.p, b->before.len}, "one\n"));
	append(b, "three\n");
	settle(b);
	assert_true(slice_is((struct slice){b->before.p, b->before.len}, "two\n"));
	assert_told(b, "one\ntwo\nlate\nthree\n");
}

static void
resume_is_read_again(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntwo\nthree\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	assert_int_equal(b->cp_count, 1);
	assert_int_equal(b->cps[0].offset, 14);
	assert_int_equal(b->cps[0].resume, 14);
	b->cps[0].resume = 4;
	append(b, "four\n");
	b->keeps_resume = true;
	begin(b);
	/* A commit before anything was read again must not forget that it is needed. */
	commit_and_crash(b);
	assert_int_equal(b->cps[0].resume, 4);
	begin(b);
	run_until(b, told_four);
	assert_string_equal(b->again.p, "two\nthree\n");
	commit(b);
	assert_int_equal(b->cps[0].offset, 19);
	assert_int_equal(b->cps[0].resume, 19);
}

/* Through a rotation: the older from where it is needed, the newer from its own place. */
static void
resume_in_an_older_file(void **state)
{
	struct bench *b = *state;
	struct checkpoint *cps;
	size_t count;

	b->timing.hold_ms = 0;
	append(b, "one\ntwo\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "three\n");
	settle(b);
	settle(b);
	tail_checkpoints(b->log, &cps, &count);
	assert_int_equal(count, 2);
	assert_true(cps[0].finished);
	assert_false(cps[1].finished);
	assert_true(cps[0].generation < cps[1].generation);
	tail_log_needs(b->log, cps[0].file);
	cps[0].resume = 4;
	cps[1].resume = 0;
	b->cps = cps;
	b->cp_count = count;
	b->told_len = b->told.len;
	crash(b);
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_string_equal(b->again.p, "two\nthree\n");
	settle(b);
	commit(b);
	assert_int_equal(b->cp_count, 2);
	delete (b, "log.1");
	move(b, "log", "log.1");
	append(b, "five\n");
	settle(b);
	settle(b);
	commit(b);
	commit(b);
	assert_int_equal(b->cp_count, 2);
	assert_string_equal(strrchr(b->cps[0].path, '/'), "/log.1");
}

/* ---- rotation by renaming -------------------------------------------------------------- */

static bool
held_is_over(const struct bench *b)
{
	return b->finals > 0;
}

static void
rename_and_create(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;

	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	tail_log_stats(b->log, &st);
	assert_int_equal(st.rotations, 1);
	append_name(b, "log.1", "four\n");
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* A writer goes on into the old file, also after another rotation. */
static void
late_writer(void **state)
{
	struct bench *b = *state;
	int fd;

	append(b, "one\n");
	fd = open(b->path, O_WRONLY | O_APPEND);
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(write(fd, "four\n", 5), 5);
	run_until(b, told_four);
	(void)close(fd);
}

static void
last_line_of_a_rotated_file(void **state)
{
	struct bench *b = *state;

	b->timing.hold_ms = SHORT_HOLD_MS;
	append(b, "one\ntwo");
	begin(b);
	settle(b);
	assert_told(b, "one\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	settle(b);
	assert_told(b, "one\nthree\n");
	run_until(b, held_is_over);
	assert_told(b, "one\nthree\ntwo");
	assert_int_equal(b->gaps, 0);
}

/* Each late write gives the old file its whole time again. */
/* When it is not held any longer, the next look at everything finds it. */
static void
late_write_behind_the_hold(void **state)
{
	struct bench *b = *state;

	b->timing.hold_ms = 0;
	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	settle(b);
	commit(b);
	append_name(b, "log.1", "three\n");
	settle(b);
	assert_true(told_three(b));
	settle(b);
	commit_and_crash(b);
	append_name(b, "log.1", "four\n");
	begin(b);
	settle(b);
	settle(b);
	assert_true(told_four(b));
	assert_int_equal(b->gaps, 0);
}

static void
late_write_renews_the_hold(void **state)
{
	struct bench *b = *state;
	unsigned i;

	b->timing.hold_ms = 1000;
	append(b, "one\ntwo");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "new\n");
	settle(b);
	for (i = 0; i < 4; i++) {
		int64_t until = clock_steady_ms() + 400;

		while (clock_steady_ms() < until)
			assert_int_not_equal(
			    event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
		append_name(b, "log.1", ".");
	}
	assert_int_equal(b->finals, 0);
	run_until(b, held_is_over);
	assert_told(b, "one\nnew\ntwo....");
}

/* An end and a new start within the hold: late lines are not lost, nor the last one cut. */
static void
held_over_a_restart(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntw");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append_name(b, "log", "");
	settle(b);
	commit_and_crash(b);
	append_name(b, "log.1", "o\nthree\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->finals, 0);
}

static void
deleted_while_behind(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	delete (b, "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

static void
generations_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* A name that moves while the directory is read: its file is in no one reading of it. */
static void
renamed_while_it_is_looked_for(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	renamer = b;
	begin(b);
	assert_null(renamer);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* Two rotations between two looks. */
static void
generations_unseen(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "four\n");
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

static void
compressed_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.2");
	pack(b, "log.2", "log.2.gz");
	append(b, "three\n");
	move(b, "log", "log.1");
	pack(b, "log.1", "log.1.gz");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Far into a compressed piece the position lies; others are read while it is unpacked. */
static void
others_are_read_while_a_piece_is_unpacked(void **state)
{
	struct bench *b = *state;
	char *other = name_of(b, "other");
	struct buf text = {0};
	struct err e;

	while (text.len < 1024 * 1024)
		buf_adds(&text, "a line that was told\n");
	append(b, text.p);
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	pack(b, "log.1", "log.1.gz");
	append(b, "three\n");
	append_to(other, "one\n");
	begin(b);
	assert_non_null(tail_follow(b->tail, other, b->how, NULL, 0, b, &e));
	settle(b);
	assert_string_equal(b->told.p + text.len, "one\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
	buf_free(&text);
	free(other);
}

/* What is older than what we know is never read. */
static void
old_pieces_stay_unread(void **state)
{
	struct bench *b = *state;

	append_name(b, "log.2", "older\n");
	append_name(b, "log.1", "old\n");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	begin(b);
	settle(b);
	move(b, "log.2", "log.3");
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
}

static void
gone_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "lost\n");
	delete (b, "log");
	append(b, "two\nthree\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
	assert_non_null(strstr(b->gap_why, "no copy"));
}

/* Gone, and another generation after it: what was written since our last line is ours. */
static void
generation_after_a_lost_one(void **state)
{
	struct bench *b = *state;

	append_name(b, "log.3", "old\n");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	assert_int_equal(b->cp_count, 2);
	b->cps[1].last_ts = (int64_t)time(NULL) * 1000 - 5000;
	delete (b, "log");
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	{
		const struct timespec times[2] = {{1, 0}, {1700000000, 0}};
		char *path = name_of(b, "log.3");

		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
		free(path);
	}
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
}

static void
inode_reused(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	delete (b, "log");
	append(b, "two\nthree\n");
	{
		struct stat st;

		/* As if the number had come again, on a file system without birth times. */
		assert_int_equal(stat(b->path, &st), 0);
		b->cps[0].id.ino = st.st_ino;
		b->cps[0].id.btime_ns = 0;
	}
	begin(b);
	run_until(b, told_three);
}

/* ---- rotation by copying and truncating -------------------------------------------------- */

static void
copytruncate_seen(void **state)
{
	struct bench *b = *state;
	uint64_t first;

	append(b, "one\n");
	begin(b);
	settle(b);
	first = b->last_file;
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	settle(b);
	append(b, "two\n");
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_not_equal(b->last_file, first);
	assert_int_equal(b->gaps, 0);
}

/* The copy has lines that we did not read, and belongs to the file that it was. */
static void
copytruncate_while_behind(void **state)
{
	struct bench *b = *state;
	uint64_t first;

	append(b, "one\n");
	begin(b);
	settle(b);
	first = b->last_file;
	b->refuse = true;
	append(b, "two\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	b->refuse = false;
	settle(b);
	assert_told(b, "one\ntwo\n");
	assert_int_equal(b->last_file, first);
	assert_int_equal(b->last_offset, 4);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_not_equal(b->last_file, first);
	assert_int_equal(b->last_offset, 0);
	assert_int_equal(b->gaps, 0);
}

static void
regrown_past_the_position(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, "two\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "three\nfour\n");
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* While half a line waits in memory. */
static void
regrown_behind_half_a_line(void **state)
{
	struct bench *b = *state;

	append(b, "one\nhalf");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "two\nthree\n");
	run_until(b, told_three);
	assert_int_equal(b->last_offset, 0);
	assert_int_equal(b->gaps, 0);
}

/* Truncated, renamed and removed between two looks: its copy is no new log. */
static void
truncated_and_removed(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	wait_for_the_clock(b);
	copy(b, "log", "log.2");
	truncate_to(b, "log", 0);
	move(b, "log", "log.1");
	append(b, "two\nthree\n");
	delete (b, "log.1");
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
}

static void
regrown_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "three\n");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Twice, and both copies compressed. */
static void
copytruncate_twice_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "three\n");
	move(b, "log.1", "log.2");
	pack(b, "log.2", "log.2.gz");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Truncated to nothing, before we saw a byte of what stood in it. */
static void
copytruncate_of_an_unseen_text(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log.1", "log.2");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	append(b, "four\n");
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

static void
truncated_without_a_copy(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;

	append(b, "one\ntwo\n");
	begin(b);
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
	assert_int_equal(b->gap_bytes, 0);
	tail_log_stats(b->log, &st);
	assert_int_equal(st.lost_bytes, 0);
}

/* What was seen of an unfinished line is told; it will never be more. */
static void
truncated_within_a_line(void **state)
{
	struct bench *b = *state;

	append(b, "one\nhalf a li");
	begin(b);
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "two\n");
	settle(b);
	assert_told(b, "one\ntwo\n");
	assert_int_equal(b->finals, 0);
	assert_int_equal(b->gaps, 1);
}

/* The tool's own loss: we read more than it copied.  Nothing is told twice for that. */
static void
copy_ends_before_the_position(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	while (text.len < 2 * FINGERPRINT_MAX)
		buf_addf(&text, "line at %zu\n", text.len);
	append(b, text.p);
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, "more\n");
	buf_adds(&text, "more\n");
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	buf_adds(&text, "three\n");
	settle(b);
	settle(b);
	assert_told(b, text.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&text);
}

/* ---- links ---------------------------------------------------------------------------------- */

static void
link_is_followed(void **state)
{
	struct bench *b = *state;
	char *first = name_of(b, "first"), *second = name_of(b, "second"),
	     *hop = name_of(b, "hop"), *in_first = name_of(b, "first/0.log"),
	     *in_second = name_of(b, "second/1.log");

	assert_int_equal(mkdir(first, 0700), 0);
	assert_int_equal(mkdir(second, 0700), 0);
	append_to(in_first, "one\n");
	append_to(in_second, "three\n");
	assert_int_equal(symlink("first/0.log", hop), 0);
	assert_int_equal(symlink(hop, b->path), 0);
	begin(b);
	settle(b);
	append_to(in_first, "two\n");
	settle(b);
	assert_told(b, "one\ntwo\n");
	assert_int_equal(unlink(hop), 0);
	assert_int_equal(symlink("second/1.log", hop), 0);
	run_until(b, told_three);
	append_to(in_second, "four\n");
	run_until(b, told_four);
	free(first);
	free(second);
	free(hop);
	free(in_first);
	free(in_second);
}

static void
link_of_a_stranger(void **state)
{
	struct bench *b = *state;
	char *target = name_of(b, "secret");
	struct tail_stats st;

	if (geteuid() != 0) {
		free(target);
		skip();
	}
	append_to(target, "secret\n");
	assert_int_equal(symlink(target, b->path), 0);
	assert_int_equal(lchown(b->path, 12345, 12345), 0);
	begin(b);
	settle(b);
	assert_told(b, "");
	tail_log_stats(b->log, &st);
	assert_true(st.missing);
	assert_int_equal(chown(target, 12345, 12345), 0);
	settle(b);
	assert_told(b, "secret\n");
	free(target);
}

/* ---- globs ------------------------------------------------------------------------------------ */

static void
glob_matches_now_and_later(void **state)
{
	struct bench *b = *state;

	append_name(b, "a.log", "one\n");
	append_name(b, "other", "no\n");
	begin_glob(b, "*.log");
	settle(b);
	append_name(b, "b.log", "two\n");
	settle(b);
	append_name(b, "b.log", "three\n");
	run_until(b, told_three);
	assert_string_equal(b->found.p, "a.log\nb.log\n");
}

static void
glob_matches_rotated_names(void **state)
{
	struct bench *b = *state;

	append_name(b, "log", "one\n");
	append_name(b, "log.1", "older\n");
	append_name(b, "log-20260101.gz", "oldest\n");
	begin_glob(b, "log*");
	settle(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	settle(b);
	append_name(b, "log", "two\n");
	settle(b);
	copy(b, "log", "log.3");
	settle(b);
	move(b, "log", "log-moved-away");
	append_name(b, "log", "three\n");
	run_until(b, told_three);
	settle(b);
	assert_string_equal(b->found.p, "log\n");
	assert_told(b, "one\ntwo\nthree\n");
}

/* By its bytes, for its name says nothing. */
static void
glob_matches_a_copy(void **state)
{
	struct bench *b = *state;

	append_name(b, "a.log", "one\ntwo\n");
	begin_glob(b, "*.log");
	settle(b);
	append_name(b, "spare.log", "");
	settle(b);
	append_name(b, "spare.log", "one\n");
	settle(b);
	append_name(b, "spare.log", "two\n");
	settle(b);
	assert_told(b, "one\ntwo\n");
	append_name(b, "z.log", "three\n");
	run_until(b, told_three);
	assert_string_equal(b->found.p, "a.log\nz.log\n");
}

/* While down: a new log, and two copies of the one that was followed. */
static void
glob_matches_what_came_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	b->how.start = TAIL_START_END;
	b->how.since_ms = clock_utc_ms();
	wait_for_the_clock(b);
	append_name(b, "loh", "two\n");
	copy(b, "log", "loa");
	copy(b, "log", "loi");
	begin_glob(b, "lo?");
	settle(b);
	append(b, "three\n");
	run_until(b, told_three);
	assert_string_equal(b->found.p, "log\nloh\n");
}

static void
glob_of_directories(void **state)
{
	struct bench *b = *state;
	char *a = name_of(b, "pod-a"), *z = name_of(b, "pod-z");

	assert_int_equal(mkdir(a, 0700), 0);
	append_name(b, "pod-a/x.log", "one\n");
	begin_glob(b, "pod-*/*.log");
	settle(b);
	assert_int_equal(mkdir(z, 0700), 0);
	settle(b);
	append_name(b, "pod-z/y.log", "two\n");
	settle(b);
	append_name(b, "pod-a/x.log", "three\n");
	run_until(b, told_three);
	free(a);
	free(z);
}

/* ---- inotify's limits ------------------------------------------------------------------------- */

static void
queue_overflow(void **state)
{
	struct bench *b = *state;
	char *x = name_of(b, "x"), *y = name_of(b, "y");
	unsigned i;

	append(b, "one\n");
	begin(b);
	settle(b);
	for (i = 0; i < 10000; i++) {
		append_to(x, "x");
		append_to(y, "y");
	}
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	free(x);
	free(y);
}

/* No instance is left: everything is polled. */
static void
without_inotify(void **state)
{
	struct bench *b = *state;
	int fds[4096];
	size_t count = 0;

	append(b, "one\n");
	while (count < sizeof(fds) / sizeof(fds[0])) {
		fds[count] = inotify_init1(IN_CLOEXEC);
		if (fds[count] == -1)
			break;
		count++;
	}
	begin(b);
	while (count > 0)
		(void)close(fds[--count]);
	settle(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
}

static bool
told_two(const struct bench *b)
{
	return b->told.p != NULL && strcmp(b->told.p, "one\ntwo\n") == 0;
}

/* Written through another directory, as by a host elsewhere: no news come of it here. */
static void
polled_where_it_is_asked(void **state)
{
	struct bench *b = *state;
	char *other = name_of(b, "other"), *name = name_of(b, "other/log");

	append(b, "one\n");
	assert_int_equal(mkdir(other, 0700), 0);
	assert_int_equal(link(b->path, name), 0);
	b->how.watch = TAIL_WATCH_POLL;
	begin(b);
	settle(b);
	append_to(name, "two\n");
	run_until(b, told_two);
	free(name);
	free(other);
}

/*
 * Small writes, one by one, while the loop runs: few chunks, as each reading is
 * followed by a rest that grows.  Ten thousand a second are tens of them.
 */
static void
reads_are_coalesced(void **state)
{
	struct bench *b = *state;
	int fd = open(b->path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	int64_t since, elapsed;
	size_t written = 0;

	b->timing.rest_ms = 2;
	assert_int_not_equal(fd, -1);
	begin(b);
	since = clock_steady_ms();
	do {
		assert_int_equal(write(fd, "line\n", 5), 5);
		written += 5;
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
		elapsed = clock_steady_ms() - since;
	} while (elapsed < 300 || written < 50000);
	settle(b);
	assert_int_equal(b->told.len, written);
	assert_in_range(b->chunks, 1, 10 + elapsed / 16);
	(void)close(fd);
}

/* A user namespace of its own with a limit of its own: another process must do it. */
static int
follow_without_watches(struct bench *b)
{
	int fd;

	if (unshare(CLONE_NEWUSER) == -1)
		return 77;
	fd = open("/proc/sys/user/max_inotify_watches", O_WRONLY);
	if (fd == -1 || write(fd, "0", 1) != 1)
		return 77;
	(void)close(fd);
	begin(b);
	settle(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	run_until(b, told_three);
	return 0;
}

static void
without_watches(void **state)
{
	struct bench *b = *state;
	int status;
	pid_t pid;

	append(b, "one\n");
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		assert_int_equal(event_reinit(b->base), 0);
		_exit(follow_without_watches(b));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* No timer, no descriptor is ready: nothing happens while nothing is written. */
static void
idle_without_wake_ups(void **state)
{
	struct bench *b = *state;
	int64_t until;

	append(b, "one\n");
	begin(b);
	settle(b);
	until = clock_steady_ms() + 50;
	while (clock_steady_ms() < until)
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
	assert_int_equal(event_base_get_num_events(b->base, EVENT_BASE_COUNT_ADDED), 1);
	assert_int_equal(event_base_get_num_events(b->base, EVENT_BASE_COUNT_ACTIVE), 0);
}

/*
 * What no news told of, the slow look finds: here a link in a directory of which
 * nothing is told leads elsewhere.  From then on news come from there.
 */
static void
slow_look_is_a_backstop(void **state)
{
	struct bench *b = *state;
	char *x = name_of(b, "x"), *cur = name_of(b, "x/cur"), *v1 = name_of(b, "v1"),
	     *v2 = name_of(b, "v2");

	free(b->path);
	b->path = name_of(b, "x/cur/log");
	assert_int_equal(mkdir(x, 0700), 0);
	assert_int_equal(mkdir(v1, 0700), 0);
	assert_int_equal(mkdir(v2, 0700), 0);
	assert_int_equal(symlink("../v1", cur), 0);
	append(b, "one\n");
	dark = x;
	b->timing.slow_ms = 20;
	begin(b);
	settle(b);
	b->tail->timing.slow_ms = 3600 * 1000;
	assert_int_equal(unlink(cur), 0);
	assert_int_equal(symlink("../v2", cur), 0);
	append(b, "two\nthree\n");
	run_until(b, told_three);
	append(b, "four\n");
	run_until(b, told_four);
	dark = NULL;
	free(x);
	free(cur);
	free(v1);
	free(v2);
}

/* What the program does, where tests have times of their own. */
static void
usual_times(void **state)
{
	struct bench *b = *state;
	struct err e = {0};
	struct tail *t =
	    tail_new(b->base, &(const struct tail_hooks){.found = NULL}, b, &e);

	assert_non_null(t);
	assert_int_equal(t->timing.hold_ms, 60 * 1000);
	assert_int_equal(t->timing.slow_ms, 300 * 1000);
	assert_in_range(t->timing.rest_ms, 1, 10);
	assert_int_equal(t->timing.poll_ms, 1000);
	tail_free(t);
}

/* A backlog of one log does not keep the others waiting. */
static void
logs_take_turns(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};
	unsigned i;

	for (i = 0; i < 300000; i++)
		buf_addf(&text, "line %u of a long backlog\n", i);
	append_name(b, "a.log", text.p);
	append_name(b, "b.log", "short\n");
	begin_glob(b, "*.log");
	settle(b);
	assert_int_equal(b->told.len, text.len + 6);
	assert_non_null(strstr(b->told.p, "short\n"));
	assert_true(strstr(b->told.p, "short\n") < b->told.p + text.len / 2);
	buf_free(&text);
}

static bool
told_anything(const struct bench *b)
{
	return b->chunks > 0;
}

/* Nor do many logs, or much of one, keep from their turn what else the loop serves. */
static void
turns_have_an_end(void **state)
{
	struct bench *b = *state;
	const size_t logs = 300;
	struct buf text = {0};
	char name[32];
	size_t i;

	for (i = 0; i < logs; i++) {
		(void)snprintf(name, sizeof(name), "%zu.log", i);
		append_name(b, name, "x\n");
	}
	begin_glob(b, "*.log");
	run_until(b, told_anything);
	assert_true(b->chunks < logs);
	settle(b);
	assert_int_equal(b->told.len, 2 * logs);
	while (text.len < 8 * 1024 * 1024)
		buf_adds(&text, "a line of a long backlog\n");
	append_name(b, "0.log", text.p);
	b->chunks = 0;
	run_until(b, told_anything);
	assert_true(b->told.len < text.len);
	buf_free(&text);
}

/* At SIGTERM the rest is for the next start, where it takes longer than it may. */
static void
drain_has_an_end(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	while (text.len < 8 * 1024 * 1024)
		buf_adds(&text, "a line of a long backlog\n");
	append(b, text.p);
	begin(b);
	tail_drain(b->tail, 0);
	assert_true(b->told.len < text.len);
	settle(b);
	assert_int_equal(b->told.len, text.len);
	buf_free(&text);
}

/* ---- which is older? ------------------------------------------------------------------------------- */

static void
set_time(const struct bench *b, const char *name, time_t when)
{
	const struct timespec times[2] = {{when, 0}, {when, 0}};
	char *path = name_of(b, name);

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	free(path);
}

/* log.1 to log.2, log to log.1, as a server that starts anew does. */
static void
rotate_twice(const struct bench *b, const char *between)
{
	move(b, "log", "log.1");
	append(b, between);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
}

/* What stood beside the log at first sight stays none of ours, though it was written to later. */
static void
pieces_of_first_sight_are_remembered(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	append_name(b, "log.1", "older\n");
	set_time(b, "log", 1700000000);
	set_time(b, "log.1", 1700000010);
	begin(b);
	settle(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	assert_told(b, "one\ntwo\n");
	commit_and_crash(b);
	move(b, "log.2", "log.3");
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
}

static void
two_rotations_within_a_tick(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	rotate_twice(b, "two\n");
	append(b, "three\n");
	set_time(b, "log.2", 1700000000);
	set_time(b, "log.1", 1700000000);
	set_time(b, "log", 1700000000);
	begin(b);
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
}

/* The number counts, not the time that a late writer gave the older one. */
static void
late_write_to_the_older_of_two(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	rotate_twice(b, "three\n");
	append_name(b, "log.2", "two\n");
	set_time(b, "log.1", 1700000000);
	set_time(b, "log.2", 1700000010);
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Numbers that count upwards, as some loggers of applications have them. */
static void
numbers_that_count_upwards(void **state)
{
	struct bench *b = *state;

	append_name(b, "log.1", "old\n");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "log", "log.2");
	append_name(b, "log.3", "two\n");
	append(b, "three\n");
	set_time(b, "log.1", 1700000000);
	set_time(b, "log.2", 1700000010);
	set_time(b, "log.3", 1700000020);
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* A generation that is nothing but a banner is no copy of the next one, which begins with it. */
static void
generation_of_a_banner(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	wait_for_the_clock(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "two\nthree\n");
	begin(b);
	settle(b);
	assert_told(b, "one\ntwo\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
}

/* Of a file that began with NULs nothing is known until a line of it was told. */
static void
nuls_are_no_evidence(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	truncate_to(b, "log", 8000);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log.1", "log.2");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	truncate_to(b, "log", 16000);
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* We had read more than the tool had copied, and all of it was less than a fingerprint. */
static void
short_copy_is_not_told_again(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
}

static void
short_copy_is_not_told_again_after_a_kill(void **state)
{
	struct bench *b = *state;
	struct file_facts facts;

	append(b, "one\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	commit_and_crash(b);
	assert_int_equal(identity_stat(b->path, true, &facts), 0);
	b->cps[0].last_ts = facts.mtime_ns / 1000000;
	truncate_to(b, "log", 0);
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_int_equal(b->gaps, 0);
}

/* What the tool lost is what stands in no file; what we had read before is told all the same. */
static void
lines_between_copy_and_truncation(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	append(b, "in no file\n");
	truncate_to(b, "log", 0);
	append(b, "three\n");
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
}

/* While we have it open it is read to its end; while we are down it is a gap, and said. */
static void
rotated_into_another_directory(void **state)
{
	struct bench *b = *state;
	char *old = name_of(b, "old");

	assert_int_equal(mkdir(old, 0700), 0);
	free(old);
	b->timing.hold_ms = 0;
	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, "two\n");
	move(b, "log", "old/log.1");
	append(b, "three\n");
	run_until(b, told_three);
	settle(b);
	settle(b);
	assert_int_equal(b->gaps, 0);
	commit_and_crash(b);
	append(b, "not to be found\n");
	move(b, "log", "old/log.1");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 1);
}

/* ---- deleted unread ------------------------------------------------------------------------------ */

/* While nothing is taken, the files are looked at all the same. */
static void
look_blocked(struct bench *b)
{
	settle(b);
	assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
}

/* While the store takes nothing, each generation is deleted as soon as it is there. */
static void
deleted_are_held_within_a_bound(void **state)
{
	struct bench *b = *state;
	struct tail_stats st;
	unsigned i;

	append(b, "first\n");
	begin(b);
	b->refuse = true;
	look_blocked(b);
	for (i = 0; i < DELETED_MAX + 10; i++) {
		move(b, "log", "log.1");
		append(b, "a line\n");
		look_blocked(b);
		delete (b, "log.1");
	}
	move(b, "log", "log.1");
	append(b, "last\n");
	look_blocked(b);
	tail_log_stats(b->log, &st);
	/* Of the first one, the line is in memory; the newest has its name. */
	assert_int_equal(b->gaps, 9);
	assert_int_equal(b->gap_bytes, 9 * strlen("a line\n"));
	assert_int_equal(st.lost_bytes, b->gap_bytes);
	assert_non_null(strstr(b->gap_why, "deleted before it was read"));
	b->refuse = false;
	tail_go_on(b->tail);
	settle(b);
	assert_int_equal(strncmp(b->told.p, "first\n", 6), 0);
	assert_non_null(strstr(b->told.p, "a line\nlast\n"));
	assert_int_equal(b->told.len, 6 + 5 + 7 * (DELETED_MAX + 1));
}

static void
deleted_bytes_are_held_within_a_bound(void **state)
{
	struct bench *b = *state;
	unsigned i;

	append(b, "first\n");
	begin(b);
	b->refuse = true;
	look_blocked(b);
	for (i = 0; i < 3; i++) {
		move(b, "log", "log.1");
		truncate_to(b, "log.1", (off_t)(DELETED_MAX_BYTES / 2));
		append(b, "a line\n");
		look_blocked(b);
		delete (b, "log.1");
	}
	move(b, "log", "log.1");
	append(b, "last\n");
	look_blocked(b);
	assert_int_equal(b->gaps, 1);
	assert_true(b->gap_bytes > DELETED_MAX_BYTES / 4);
}

/* Those that were read and are only held for late writers take as much of the disk. */
static void
deleted_and_read_are_held_within_a_bound(void **state)
{
	struct bench *b = *state;
	struct file *f;
	unsigned i, held = 0;

	append(b, "first\n");
	begin(b);
	settle(b);
	for (i = 0; i < DELETED_MAX + 10; i++) {
		move(b, "log", "log.1");
		append(b, "a line\n");
		settle(b);
		delete (b, "log.1");
	}
	move(b, "log", "log.1");
	append(b, "last\n");
	settle(b);
	for (f = b->log->files; f != NULL; f = f->next)
		held += f->fd != -1;
	assert_int_equal(held, DELETED_MAX + 2);
	b->refuse = true;
	append(b, "unread\n");
	look_blocked(b);
	for (i = 0; i < DELETED_MAX; i++) {
		move(b, "log", "log.1");
		append(b, "a line\n");
		look_blocked(b);
		delete (b, "log.1");
	}
	look_blocked(b);
	assert_int_equal(b->gaps, 0);
	b->refuse = false;
	tail_go_on(b->tail);
	settle(b);
	assert_int_equal(b->told.len, 6 + 5 + 7 + 7 * (2 * DELETED_MAX + 10));
}

/* ---- what is kept, and what for -------------------------------------------------------------- */

/* Written anew while down, with other bytes but for those before the position. */
static void
head_is_another(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};

	while (text.len <= GUARD_MAX)
		buf_adds(&text, "all that a guard knows\n");
	append(b, "one\n");
	append(b, text.p);
	begin(b);
	settle(b);
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, "two\n");
	append(b, text.p);
	begin(b);
	settle(b);
	assert_int_equal(b->told.len, 2 * (4 + text.len));
	assert_int_equal(b->gaps, 1);
	buf_free(&text);
}

/* A piece that was met compressed is known again by its head. */
static void
compressed_is_known_again(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "log", "log.2");
	append_name(b, "log.1", "two\n");
	pack(b, "log.1", "log.1.gz");
	append(b, "three\n");
	begin(b);
	settle(b);
	settle(b);
	commit_and_crash(b);
	delete (b, "log");
	append(b, "four\n");
	begin(b);
	settle(b);
	assert_true(told_four(b));
	assert_int_equal(b->gaps, 1);
}

/* Read to its end, and compressed while down; nothing else of the log is left. */
static void
compressed_after_it_was_read(void **state)
{
	struct bench *b = *state;

	b->timing.hold_ms = 0;
	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	settle(b);
	commit_and_crash(b);
	pack(b, "log.1", "log.1.gz");
	delete (b, "log");
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_true(told_three(b));
}

/* Half of it is wanting: that is told of, and what is newer is read. */
static void
compressed_and_damaged(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "log", "log.2");
	append_name(b, "log.1", "lost\n");
	pack(b, "log.1", "log.1.gz");
	truncate_to(b, "log.1.gz", 12);
	append(b, "two\nthree\n");
	begin(b);
	settle(b);
	assert_true(told_three(b));
	assert_int_equal(b->gaps, 1);
}

/* Pieces with a date, and one with a number that is newer than those. */
static void
names_of_two_kinds(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log-20260101");
	wait_for_the_clock(b);
	append(b, "three\n");
	move(b, "log", "log.1");
	append(b, "four\n");
	begin(b);
	settle(b);
	assert_true(told_four(b));
	assert_int_equal(b->gaps, 0);
}

/* A piece from before what was read last is put back. */
static void
old_piece_is_put_back(void **state)
{
	const struct timespec times[2] = {{1, 0}, {1, 0}};
	struct bench *b = *state;
	char *old = name_of(b, "log.1");

	append(b, "one\n");
	begin(b);
	settle(b);
	delete (b, "log");
	append_to(old, "old\n");
	assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
	settle(b);
	append(b, "two\nthree\n");
	run_until(b, told_three);
	free(old);
}

static void
what_is_needed_again_is_gone(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntwo\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	b->cps[0].resume = 4;
	b->keeps_resume = true;
	delete (b, "log");
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
	assert_int_equal(b->gap_bytes, 0);
	assert_non_null(strstr(b->gap_why, "unfinished request"));
}

/* Nothing was told of it, but half a line was seen. */
static void
truncated_within_the_first_line(void **state)
{
	struct bench *b = *state;

	append(b, "half");
	begin(b);
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "one\ntwo\nthree\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
	assert_int_equal(b->gap_bytes, 4);
}

/* The newest file of which something was told is what tells new from old. */
static void
newest_told_is_remembered(void **state)
{
	struct bench *b = *state;

	b->timing.hold_ms = 0;
	append(b, "one\n");
	begin(b);
	settle(b);
	delete (b, "log");
	append(b, "");
	settle(b);
	settle(b);
	delete (b, "log");
	append(b, "");
	settle(b);
	commit(b);
	commit(b);
	assert_int_equal(b->cps[0].offset, 4);
}

/* The log is rotated by a copy when it was looked at, and not read yet. */
static void
copy_and_truncate(struct bench *b)
{
	append(b, "three\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "four\n");
}

static void
rotated_before_its_first_line(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.2");
	append(b, "");
	b->meanwhile = copy_and_truncate;
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Ten thousand logs are idle: nothing is in memory but what is half written. */
static void
idle_needs_no_memory(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	assert_null(b->log->files->lines.data);
	append(b, "tw");
	settle(b);
	assert_true(b->log->files->lines.cap <= GUARD_MAX + 2);
	append(b, "o\nthree\n");
	run_until(b, told_three);
}

#define MANY_PIECES 40
#define REMEMBERED 32

/* Of old pieces enough are remembered, before and while the log is followed. */
static void
many_old_pieces(void **state)
{
	struct bench *b = *state;
	unsigned i;
	char *name;

	for (i = 0; i < MANY_PIECES; i++) {
		name = xasprintf("log-202601%02u", i);
		append_name(b, name, "old\n");
		free(name);
	}
	append(b, "one\n");
	b->timing.hold_ms = 0;
	begin(b);
	settle(b);
	commit(b);
	assert_int_equal(b->cp_count, REMEMBERED + 1);
	for (i = 0; i < MANY_PIECES; i++) {
		name = xasprintf("log-202602%02u", i);
		move(b, "log", name);
		append(b, "more\n");
		settle(b);
		settle(b);
		free(name);
	}
	commit(b);
	commit(b);
	assert_true(b->cp_count <= REMEMBERED + 2);
	assert_int_equal(b->told.len, 4 + 5 * MANY_PIECES);
}

/* ---- at random ---------------------------------------------------------------------------------- */

struct dice {
	uint64_t state;
};

static unsigned
roll(struct dice *d, unsigned sides)
{
	d->state ^= d->state << 13;
	d->state ^= d->state >> 7;
	d->state ^= d->state << 17;
	return (unsigned)((d->state >> 11) % sides);
}

/* log.1 becomes log.2 and so on, compressed or not. */
static void
shift_names(const struct bench *b, unsigned generations)
{
	static const char *const endings[] = {"", ".gz"};
	unsigned i, j;

	for (i = generations; i > 0; i--) {
		for (j = 0; j < 2; j++) {
			char *from = xasprintf("%s.%u%s", b->path, i, endings[j]),
			     *to = xasprintf("%s.%u%s", b->path, i + 1, endings[j]);

			if (rename(from, to) == -1)
				assert_int_equal(errno, ENOENT);
			free(from);
			free(to);
		}
	}
}

static void
pack_some(const struct bench *b, unsigned generations, struct dice *d)
{
	char *from = xasprintf("log.%u", 1 + roll(d, generations)),
	     *to = xasprintf("%s.gz", from), *path = name_of(b, from);

	if (access(path, F_OK) == 0)
		pack(b, from, to);
	free(from);
	free(to);
	free(path);
}

static void
write_lines(const struct bench *b, struct buf *truth, unsigned *number, struct dice *d)
{
	unsigned count = 1 + (roll(d, 20) == 0 ? roll(d, 20000) : roll(d, 30));
	struct buf text = {0};
	size_t cut;

	while (count-- > 0)
		buf_addf(&text, "%u %.*s\n", (*number)++, (int)roll(d, 60),
		    "the quick brown fox jumps over the lazy dog and runs away");
	buf_add(truth, text.p, text.len);
	cut = roll(d, (unsigned)text.len);
	if (cut > 0) {
		char *head = xstrndup(text.p, cut);

		append(b, head);
		free(head);
		if (b->tail != NULL && roll(d, 2) == 0)
			assert_int_not_equal(
			    event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
	}
	append(b, text.p + cut);
	buf_free(&text);
}

static void
rotate(const struct bench *b, unsigned *generations, struct dice *d)
{
	struct stat st;

	if (stat(b->path, &st) == -1)
		return;
	shift_names(b, *generations);
	(*generations)++;
	if (roll(d, 2) == 0) {
		move(b, "log", "log.1");
		return;
	}
	copy(b, "log", "log.1");
	if (b->tail != NULL && roll(d, 3) == 0)
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
	truncate_to(b, "log", 0);
}

static void
one_step(struct bench *b, struct buf *truth, unsigned *number, unsigned *generations,
    struct dice *d)
{
	switch (roll(d, 9)) {
	case 0:
	case 1:
	case 2:
		write_lines(b, truth, number, d);
		break;
	case 3:
		rotate(b, generations, d);
		break;
	case 4:
		if (*generations > 0)
			pack_some(b, *generations, d);
		break;
	case 5:
		if (b->tail != NULL)
			commit(b);
		break;
	case 6:
		if (b->tail != NULL && b->cps != NULL)
			crash(b);
		break;
	case 7:
		if (b->tail == NULL)
			begin(b);
		else
			settle(b);
		break;
	default:
		if (b->tail != NULL)
			assert_int_not_equal(
			    event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
		break;
	}
}

static void
random_rotations(void **state)
{
	struct bench *b = *state;
	const char *given = getenv("HEARSAY_SEED"), *rounds = getenv("HEARSAY_ROUNDS");
	uint64_t seed = given != NULL
	    ? strtoull(given, NULL, 0)
	    : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
	unsigned number = 0, generations = 0, i,
		 steps = rounds != NULL ? (unsigned)atoi(rounds) : 400;
	struct dice d = {seed | 1};
	struct buf truth = {0};

	print_message("# HEARSAY_SEED=%" PRIu64 "\n", seed);
	append(b, "");
	begin(b);
	settle(b);
	commit(b);
	for (i = 0; i < steps; i++)
		one_step(b, &truth, &number, &generations, &d);
	if (b->tail == NULL)
		begin(b);
	settle(b);
	if (b->told.len != truth.len || memcmp(b->told.p, truth.p, truth.len) != 0) {
		size_t at = 0;

		while (at < truth.len && at < b->told.len && truth.p[at] == b->told.p[at])
			at++;
		print_message(
		    "# %zu of %zu bytes; differs at %zu: want %.30s, have %.30s\n",
		    b->told.len, truth.len, at, truth.p + at, b->told.p + at);
		fail();
	}
	assert_int_equal(b->gaps, 0);
	buf_free(&truth);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(grows_while_followed),
	    TEST(begins_at_the_end),
	    TEST(appears_later),
	    TEST(appears_and_is_rotated),
	    TEST(appears_while_down),
	    TEST(opened_at_last),
	    TEST(directory_appears_later),
	    TEST(directory_made_again),
	    TEST(wakes_by_news_alone),
	    TEST(only_regular_files),
	    TEST(long_line_is_passed_over),
	    TEST(sparse_head_is_skipped),
	    TEST(same_chunk_after_refusal),
	    TEST(restart_goes_on),
	    TEST(what_stands_before_is_shown),
	    TEST(what_stands_before_is_of_its_file),
	    TEST(resume_is_read_again),
	    TEST(resume_in_an_older_file),
	    TEST(rename_and_create),
	    TEST(late_writer),
	    TEST(last_line_of_a_rotated_file),
	    TEST(late_write_behind_the_hold),
	    TEST(late_write_renews_the_hold),
	    TEST(held_over_a_restart),
	    TEST(deleted_while_behind),
	    TEST(generations_while_down),
	    TEST(renamed_while_it_is_looked_for),
	    TEST(generations_unseen),
	    TEST(compressed_while_down),
	    TEST(others_are_read_while_a_piece_is_unpacked),
	    TEST(old_pieces_stay_unread),
	    TEST(gone_while_down),
	    TEST(generation_after_a_lost_one),
	    TEST(inode_reused),
	    TEST(copytruncate_seen),
	    TEST(copytruncate_while_behind),
	    TEST(regrown_past_the_position),
	    TEST(regrown_behind_half_a_line),
	    TEST(truncated_and_removed),
	    TEST(regrown_while_down),
	    TEST(copytruncate_twice_while_down),
	    TEST(copytruncate_of_an_unseen_text),
	    TEST(truncated_without_a_copy),
	    TEST(truncated_within_a_line),
	    TEST(copy_ends_before_the_position),
	    TEST(link_is_followed),
	    TEST(link_of_a_stranger),
	    TEST(glob_matches_now_and_later),
	    TEST(glob_matches_rotated_names),
	    TEST(glob_matches_a_copy),
	    TEST(glob_matches_what_came_while_down),
	    TEST(glob_of_directories),
	    TEST(queue_overflow),
	    TEST(without_inotify),
	    TEST(polled_where_it_is_asked),
	    TEST(without_watches),
	    TEST(idle_without_wake_ups),
	    TEST(slow_look_is_a_backstop),
	    TEST(usual_times),
	    TEST(logs_take_turns),
	    TEST(turns_have_an_end),
	    TEST(drain_has_an_end),
	    TEST(reads_are_coalesced),
	    TEST(pieces_of_first_sight_are_remembered),
	    TEST(two_rotations_within_a_tick),
	    TEST(late_write_to_the_older_of_two),
	    TEST(numbers_that_count_upwards),
	    TEST(generation_of_a_banner),
	    TEST(nuls_are_no_evidence),
	    TEST(short_copy_is_not_told_again),
	    TEST(short_copy_is_not_told_again_after_a_kill),
	    TEST(lines_between_copy_and_truncation),
	    TEST(rotated_into_another_directory),
	    TEST(deleted_are_held_within_a_bound),
	    TEST(deleted_bytes_are_held_within_a_bound),
	    TEST(deleted_and_read_are_held_within_a_bound),
	    TEST(head_is_another),
	    TEST(compressed_is_known_again),
	    TEST(compressed_after_it_was_read),
	    TEST(compressed_and_damaged),
	    TEST(names_of_two_kinds),
	    TEST(old_piece_is_put_back),
	    TEST(what_is_needed_again_is_gone),
	    TEST(truncated_within_the_first_line),
	    TEST(newest_told_is_remembered),
	    TEST(rotated_before_its_first_line),
	    TEST(idle_needs_no_memory),
	    TEST(many_old_pieces),
	    TEST(random_rotations),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

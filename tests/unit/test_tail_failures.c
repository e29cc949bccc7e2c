/*
 * What other tailers are known to fail at, one test for each failure that
 * test_tail.c does not have, and what torture found in ours.  HACKING.md says
 * which is whose.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "tail/checkpoint.h"
#include "tail_bench.h"

#define STRANGER 12345 /* a user that is neither we nor root */
#define MIB ((size_t)1024 * 1024)
#ifdef __SANITIZE_ADDRESS__
#define MEMORY_SLACK (300 * MIB) /* it keeps for a while what was freed */
#else
#define MEMORY_SLACK (4 * MIB)
#endif

/* So many lines that they fill a fingerprint, and more. */
static struct buf
equal_head(void)
{
	struct buf head = {0};

	while (head.len <= FINGERPRINT_MAX + GUARD_MAX)
		buf_adds(&head, "every file of this log begins with these words\n");
	return head;
}

static bool
told_two(const struct bench *b)
{
	return b->told.p != NULL && strcmp(b->told.p, "one\ntwo\n") == 0;
}

/* The loop goes round for a while. */
static void
pass_time(struct bench *b, int64_t ms)
{
	int64_t until = clock_steady_ms() + ms;

	while (clock_steady_ms() < until)
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_NONBLOCK), -1);
}

/* The log was last written to so many seconds ago. */
static void
age(const struct bench *b, int seconds)
{
	const struct timespec at = {clock_utc_ms() / 1000 - seconds, 0};
	const struct timespec times[2] = {at, at};

	assert_int_equal(utimensat(AT_FDCWD, b->path, times, 0), 0);
}

static void
link_to(const char *target, const char *path, uid_t owner)
{
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(lchown(path, owner, owner), 0);
}

/* ---- the disk ----------------------------------------------------------------------------- */

static bool disk_fails;
static size_t disk_gave; /* bytes */

/* These stand before the C library's. */
ssize_t
pread(int fd, void *p, size_t len, off_t at)
{
	ssize_t n = -1;

	errno = EIO;
	if (!disk_fails)
		n = syscall(SYS_pread64, fd, p, len, at);
	disk_gave += n > 0 ? (size_t)n : 0;
	return n;
}

ssize_t
preadv(int fd, const struct iovec *parts, int count, off_t at)
{
	ssize_t n = -1;

	errno = EIO;
	if (!disk_fails)
		n = syscall(SYS_preadv, fd, parts, count, at, 0);
	disk_gave += n > 0 ? (size_t)n : 0;
	return n;
}

/* ---- truncated while down ------------------------------------------------------ */

/* It is shorter than the position, and no copy was made. */
static void
truncated_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "a long line that nobody keeps\n");
	begin(b);
	settle(b);
	b->told.len = 0;
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, "one\ntwo\n");
	begin(b);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->last_offset + b->last_len, 14);
	assert_int_equal(b->gaps, 1);
}

/* It is longer: only the bytes say that it is another text. */
static void
regrown_while_down_without_a_copy(void **state)
{
	struct bench *b = *state;

	append(b, "old\n");
	begin(b);
	settle(b);
	b->told.len = 0;
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, "one\ntwo\nthree\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 1);
}

/* And it begins with the very same bytes, more of them than a fingerprint has. */
static void
regrown_while_down_with_an_equal_head(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head();

	append(b, head.p);
	append(b, "zero\n");
	begin(b);
	settle(b);
	b->told.len = 0;
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, head.p);
	append(b, "one\ntwo\nthree\n");
	begin(b);
	settle(b);
	buf_adds(&head, "one\ntwo\nthree\n");
	assert_told(b, head.p);
	assert_int_equal(b->gaps, 1);
	buf_free(&head);
}

/* Where it is known how much was there, the gap says it. */
static void
truncated_while_behind_is_counted(void **state)
{
	struct bench *b = *state;
	struct buf text = {0};
	struct tail_stats st;

	while (text.len < 3 * MIB)
		buf_adds(&text, "a line of a backlog\n");
	b->refuse = true;
	append(b, text.p);
	begin(b);
	settle(b);
	truncate_to(b, "log", 0);
	b->refuse = false;
	tail_go_on(b->tail);
	settle(b);
	assert_int_equal(b->gaps, 1);
	tail_log_stats(b->log, &st);
	assert_true(st.lost_bytes > MIB);
	assert_int_equal(b->told.len + st.lost_bytes, text.len);
	buf_free(&text);
}

/* ---- which file is it? ----------------------------------------------------------- */

/* Two bytes are enough, also to know the file again under another name. */
static void
small_files(void **state)
{
	struct bench *b = *state;

	append(b, "x\n");
	begin(b);
	settle(b);
	assert_told(b, "x\n");
	commit_and_crash(b);
	append(b, "y\n");
	move(b, "log", "log.1");
	append(b, "x\n");
	begin(b);
	settle(b);
	assert_told(b, "x\ny\nx\n");
	append(b, "z\n");
	settle(b);
	assert_told(b, "x\ny\nx\nz\n");
	assert_int_equal(b->gaps, 0);
}

static void
small_files_of_a_glob(void **state)
{
	struct bench *b = *state;

	append_name(b, "a.log", "x\n");
	append_name(b, "b.log", "x\n");
	append_name(b, "c.log", "x\n");
	begin_glob(b, "*.log");
	settle(b);
	assert_told(b, "x\nx\nx\n");
}

/* Renamed while followed, and while down. */
static void
equal_heads(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head(), want = {0};

	append(b, head.p);
	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "two\n");
	settle(b);
	commit_and_crash(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "three\n");
	begin(b);
	settle(b);
	buf_addf(&want, "%sone\n%stwo\n%sthree\n", head.p, head.p, head.p);
	assert_told(b, want.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&head);
	buf_free(&want);
}

/* ---- gone while behind ------------------------------------------------------------- */

static void
deleted_while_nothing_is_taken(void **state)
{
	struct bench *b = *state;

	b->refuse = true;
	append(b, "one\n");
	begin(b);
	settle(b);
	delete (b, "log");
	append(b, "two\n");
	pass_time(b, 30);
	delete (b, "log");
	append(b, "three\n");
	pass_time(b, 30);
	assert_told(b, "");
	b->refuse = false;
	tail_go_on(b->tail);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

static bool
was_refused(const struct bench *b)
{
	return b->refusals > 0;
}

/*
 * The turn in which the first is refused opens the second, too, and a later turn
 * what came behind that.
 */
static void
found_and_deleted_while_nothing_is_taken(void **state)
{
	struct bench *b = *state;

	begin_glob(b, "*.log");
	settle(b);
	b->refuse = true;
	append_name(b, "1.log", "one\n");
	append_name(b, "2.log", "two\n");
	run_until(b, was_refused);
	delete (b, "2.log");
	append_name(b, "2.log", "three\n");
	pass_time(b, 30);
	delete (b, "2.log");
	pass_time(b, 30);
	assert_told(b, "");
	b->refuse = false;
	tail_go_on(b->tail);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* Also what a link led to, before it led elsewhere. */
static void
link_retargeted_while_behind(void **state)
{
	struct bench *b = *state;

	b->refuse = true;
	append_name(b, "0.log", "one\ntwo\n");
	append_name(b, "1.log", "three\n");
	link_to("0.log", b->path, geteuid());
	begin(b);
	settle(b);
	delete (b, "log");
	link_to("1.log", b->path, geteuid());
	delete (b, "0.log");
	settle(b);
	b->refuse = false;
	tail_go_on(b->tail);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* ---- lines -------------------------------------------------------------------------- */

/*
 * Whatever tail does by time is done between them, and the file has its own
 * time: nothing of it ends a line.
 */
static void
three_pieces_of_a_line(void **state)
{
	struct bench *b = *state;

	b->timing.slow_ms = 2;
	append(b, "one\nt");
	age(b, 12);
	begin(b);
	pass_time(b, 30);
	append(b, "w");
	age(b, 6);
	pass_time(b, 30);
	assert_told(b, "one\n");
	commit_and_crash(b);
	begin(b);
	pass_time(b, 30);
	assert_told(b, "one\n");
	append(b, "o\nthree\n");
	run_until(b, told_three);
	assert_int_equal(b->chunks, 2);
	assert_int_equal(b->finals, 0);
}

static size_t
peak_memory(void)
{
	struct rusage use;

	assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
	return (size_t)use.ru_maxrss * 1024;
}

/* HEARSAY_LINE_MIB=1024 for a GiB of it. */
static void
endless_line(void **state)
{
	struct bench *b = *state;
	const char *given = getenv("HEARSAY_LINE_MIB");
	unsigned mib = given != NULL ? (unsigned)strtoul(given, NULL, 10) : 64, i;
	char *piece = xcalloc(1, MIB + 1);
	struct tail_stats st;
	size_t before;

	memset(piece, 'x', MIB);
	append(b, "one\n");
	begin(b);
	settle(b);
	append(b, piece);
	settle(b);
	before = peak_memory();
	for (i = 1; i < mib; i++) {
		append(b, piece);
		if (i % 2 == 0)
			settle(b);
		assert_in_range(b->log->files->lines.cap, 0, 2 * LINE_MAX_BYTES);
	}
	append(b, "\ntwo\n");
	append(b, piece);
	append(b, piece);
	append(b, "\nthree\n");
	run_until(b, told_three);
	tail_log_stats(b->log, &st);
	assert_int_equal(st.long_lines, 2);
	assert_in_range(peak_memory() - before, 0, MEMORY_SLACK);
	free(piece);
}

/* Bytes are handed on as they are, whatever they mean. */
/* NULs that are no hole, and more of them: those that were passed over stay behind. */
static void
runs_of_nul(void **state)
{
	struct bench *b = *state;

	append(b, "");
	truncate_to(b, "log", 4 * (off_t)MIB);
	begin(b);
	settle(b);
	disk_gave = 0;
	truncate_to(b, "log", 4 * (off_t)MIB + 1);
	settle(b);
	assert_true(disk_gave < MIB);
	append(b, "one\ntwo\n");
	append(b, "three\n");
	run_until(b, told_three);
}

static void
bytes_of_no_text(void **state)
{
	struct bench *b = *state;

	append(b, "one\xff\xc3\n\xe2\x82\n");
	begin(b);
	append(b, "\xf0\x9f");
	settle(b);
	append(b, "\x98\x80\x80\n");
	settle(b);
	assert_told(b, "one\xff\xc3\n\xe2\x82\n\xf0\x9f\x98\x80\x80\n");
}

/* ---- what stands at the path ---------------------------------------------------------- */

static void
rotated_names_that_the_glob_matches(void **state)
{
	struct bench *b = *state;

	append_name(b, "log-20260101", "oldest\n");
	append_name(b, "log.1", "older\n");
	wait_for_the_clock(b);
	append(b, "one\n");
	begin_glob(b, "log*");
	settle(b);
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	move(b, "log", "log-20260102");
	append(b, "three\n");
	run_until(b, told_three);
	copy(b, "log", "log-20260103");
	truncate_to(b, "log", 0);
	append(b, "four\n");
	run_until(b, told_four);
	settle(b);
	assert_told(b, "one\ntwo\nthree\nfour\n");
	assert_string_equal(b->found.p, "log\n");
	assert_int_equal(b->gaps, 0);
}

/* The number stands before the extension, which has it for a log's, too. */
static void
numbers_before_the_extension(void **state)
{
	struct bench *b = *state;

	free(b->path);
	b->path = name_of(b, "l.log");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "l.log", "l.2.log");
	append(b, "three\n");
	move(b, "l.log", "l.1.log");
	append(b, "four\n");
	begin_glob(b, "*.log");
	run_until(b, told_four);
	move(b, "l.2.log", "l.3.log");
	move(b, "l.1.log", "l.2.log");
	move(b, "l.log", "l.1.log");
	append(b, "five\n");
	settle(b);
	assert_told(b, "one\ntwo\nthree\nfour\nfive\n");
	assert_string_equal(b->found.p, "l.log\n");
	assert_int_equal(b->gaps, 0);
}

/* More than nine pieces of a day; the times tell nothing. */
static void
many_pieces_of_a_day(void **state)
{
	const struct timespec times[2] = {{1, 0}, {1, 0}};
	struct bench *b = *state;
	char *name, *path;
	unsigned i;

	free(b->path);
	b->path = name_of(b, "l.log");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "l.log", "l.2026-01-01.8.log");
	for (i = 9; i <= 11; i++) {
		name = xasprintf("l.2026-01-01.%u.log", i);
		path = name_of(b, name);
		append_to(path, i == 9 ? "two\n" : i == 10 ? "three\n" : "four\n");
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
		free(name);
		free(path);
	}
	begin(b);
	settle(b);
	assert_true(told_four(b));
}

static void
is_missing(struct bench *b)
{
	struct tail_stats st;

	settle(b);
	tail_log_stats(b->log, &st);
	assert_true(st.missing);
	assert_told(b, "one\n");
}

/* While it is followed, and while nobody looks. */
static void
replaced_by_what_is_no_file(void **state)
{
	struct bench *b = *state;
	unsigned down;

	append(b, "one\n");
	begin(b);
	settle(b);
	for (down = 0; down < 2; down++) {
		if (down)
			commit_and_crash(b);
		delete (b, "log");
		assert_int_equal(mkfifo(b->path, 0600), 0);
		if (down)
			begin(b);
		is_missing(b);
		if (down)
			commit_and_crash(b);
		delete (b, "log");
		assert_int_equal(mkdir(b->path, 0700), 0);
		if (down)
			begin(b);
		is_missing(b);
		assert_int_equal(rmdir(b->path), 0);
		if (!down) {
			append(b, "one\n");
			b->told.len = 0;
			settle(b);
		}
	}
	append(b, "two\nthree\n");
	run_until(b, told_three);
}

/*
 * Who may write into the log's directory puts a link there to what only we may
 * read; or bends a link on the way of one that the operator made.
 */
static void
replaced_by_a_link_to_a_secret(void **state)
{
	struct bench *b = *state;
	char *hop = name_of(b, "hop"), *secret = name_of(b, "secret");

	if (geteuid() != 0) {
		free(hop);
		free(secret);
		skip();
	}
	append(b, "one\n");
	append_to(secret, "secret\n");
	begin(b);
	settle(b);
	delete (b, "log");
	link_to(secret, b->path, STRANGER);
	is_missing(b);
	commit_and_crash(b);
	begin(b);
	is_missing(b);
	delete (b, "log");
	link_to(secret, hop, STRANGER);
	link_to("hop", b->path, 0);
	is_missing(b);
	delete (b, "log");
	append(b, "two\nthree\n");
	run_until(b, told_three);
	free(hop);
	free(secret);
}

/* ---- what times don't tell ----------------------------------------------------------- */

/* The file name was last written to so many seconds after 1970. */
static void
date(const struct bench *b, const char *name, time_t seconds)
{
	const struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
	char *path = name_of(b, name);

	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	free(path);
}

/* As if each piece had the next higher number; but we know what log.3 is. */
static void
times_rise_with_the_number(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	move(b, "log", "log.3");
	append_name(b, "log.2", "two\n");
	append_name(b, "log.1", "three\n");
	append(b, "four\n");
	date(b, "log.1", 1);
	date(b, "log.2", 2);
	date(b, "log.3", 3);
	begin(b);
	settle(b);
	assert_true(told_four(b));
	assert_int_equal(b->gaps, 0);
}

/* Copied to another disk, the lowest number first; but log.2 was older than log.1. */
static void
times_of_copies(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.2");
	append(b, "two\n");
	settle(b);
	move(b, "log", "log.1");
	append(b, "3\n");
	settle(b);
	commit_and_crash(b);
	delete (b, "log.2");
	delete (b, "log.1");
	delete (b, "log");
	append_name(b, "log.4", "4\n");
	append_name(b, "log.3", "5\n");
	append_name(b, "log.2", "6\n");
	date(b, "log.2", 4000000000);
	date(b, "log.3", 4000000001);
	date(b, "log.4", 4000000002);
	begin(b);
	settle(b);
	assert_told(b, "one\ntwo\n3\n4\n5\n6\n");
}

/* The file that was read last is gone, and what came behind it has an old time. */
static void
old_times_behind_a_lost_file(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	b->cps[0].last_ts = clock_utc_ms();
	delete (b, "log");
	append_name(b, "log.1", "two\n");
	date(b, "log.1", 1);
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_true(told_three(b));
	assert_int_equal(b->gaps, 1);
}

/* ---- what can't be read ------------------------------------------------------------------ */

static void
disk_fails_while_behind(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	b->refuse = true;
	append(b, "two\n");
	settle(b);
	append(b, "three\n");
	disk_fails = true;
	move(b, "log", "log.1");
	append(b, "four\n");
	tail_go_on(b->tail);
	settle(b);
	disk_fails = false;
	b->refuse = false;
	tail_go_on(b->tail);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Nothing happens to a name or a file when it works again. */
static void
disk_fails_at_the_start(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	disk_fails = true;
	begin(b);
	settle(b);
	append(b, "three\n");
	settle(b);
	assert_told(b, "one\n");
	disk_fails = false;
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

static void
disk_fails_at_the_rotation(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntw");
	begin(b);
	settle(b);
	disk_fails = true;
	append(b, "o\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	settle(b);
	disk_fails = false;
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* Who owns all may read all, and is a user like others here. */
static void
as_anybody(const struct bench *b)
{
	assert_int_equal(chmod(b->dir, 0755), 0);
	if (geteuid() == 0)
		assert_int_equal(seteuid(STRANGER), 0);
}

/* The mode of name, or of the directory, as its owner sets it. */
static void
permit(const struct bench *b, const char *name, mode_t mode)
{
	char *path = name_of(b, name);
	uid_t uid = geteuid();

	assert_int_equal(seteuid(getuid()), 0);
	assert_int_equal(chmod(path, mode), 0);
	assert_int_equal(seteuid(uid), 0);
	free(path);
}

static int
tear_down_owned(void **state)
{
	struct bench *b = *state;

	disk_fails = false;
	if (seteuid(getuid()) == -1 || chmod(b->dir, 0700) == -1)
		return -1;
	return bench_tear_down(state);
}
#define TEST_UNREADABLE(f)                                                               \
	cmocka_unit_test_setup_teardown(f, bench_set_up, tear_down_owned)

/* One line was told of the log, and another one was written while down. */
static void
one_is_told(struct bench *b)
{
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	permit(b, "log", 0644);
}

static void
unreadable_at_the_start(void **state)
{
	struct bench *b = *state;

	one_is_told(b);
	append(b, "three\n");
	permit(b, "log", 0);
	as_anybody(b);
	begin(b);
	settle(b);
	permit(b, "log", 0644);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

static void
unreadable_directory(void **state)
{
	struct bench *b = *state;

	one_is_told(b);
	move(b, "log", "log.1");
	append(b, "three\n");
	permit(b, "log", 0644);
	as_anybody(b);
	permit(b, "", 0311);
	begin(b);
	settle(b);
	permit(b, "", 0);
	settle(b);
	assert_told(b, "one\n");
	permit(b, "", 0755);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* Away with what it is mounted on, and back: that is no loss. */
static void
away_at_the_start(void **state)
{
	struct bench *b = *state;

	char *away = xasprintf("%s-away", b->dir);

	append_name(b, "log.1", "old\n");
	one_is_told(b);
	assert_int_equal(rename(b->path, away), 0);
	begin(b);
	settle(b);
	assert_int_equal(rename(away, b->path), 0);
	free(away);
	append(b, "three\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* What is newer waits: told before it, it would be out of order. */
static void
unreadable_piece(void **state)
{
	struct bench *b = *state;

	one_is_told(b);
	permit(b, "log", 0);
	move(b, "log", "log.1");
	append(b, "three\n");
	permit(b, "log", 0644);
	as_anybody(b);
	begin(b);
	settle(b);
	assert_told(b, "one\n");
	assert_int_equal(b->gaps, 0);
	permit(b, "log.1", 0644);
	run_until(b, told_three);
}

/* Removed before it could be read: its size says how much is lost. */
static void
unreadable_piece_is_removed(void **state)
{
	struct bench *b = *state;

	one_is_told(b);
	permit(b, "log", 0);
	move(b, "log", "log.1");
	append(b, "three\n");
	permit(b, "log", 0644);
	as_anybody(b);
	begin(b);
	settle(b);
	assert_int_equal(seteuid(getuid()), 0);
	delete (b, "log.1");
	settle(b);
	assert_told(b, "one\nthree\n");
	assert_int_equal(b->gaps, 1);
	assert_int_equal(b->gap_bytes, 4);
}

/* Nobody waits for what is none of ours. */
static void
unreadable_and_old(void **state)
{
	struct bench *b = *state;

	append_name(b, "log.1", "old\n");
	permit(b, "log.1", 0);
	append(b, "one\n");
	permit(b, "log", 0644);
	as_anybody(b);
	begin(b);
	settle(b);
	assert_int_equal(seteuid(getuid()), 0);
	append(b, "two\n");
	move(b, "log", "log.0");
	append(b, "three\n");
	permit(b, "log", 0644);
	as_anybody(b);
	settle(b);
	permit(b, "log.1", 0644);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
}

/* ---- what torture found ------------------------------------------------------------------ */

/* Two unread pieces have the head of a file that is gone: neither is its copy. */
static void
heads_of_a_removed_file(void **state)
{
	struct bench *b = *state;

	append(b, "head\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	b->cps[0].last_ts = clock_utc_ms() - 5000;
	append(b, "lost\n");
	delete (b, "log");
	append(b, "head\none\n");
	move(b, "log", "log.2");
	append(b, "head\ntwo\n");
	move(b, "log", "log.1");
	append(b, "head\nthree\n");
	begin(b);
	settle(b);
	assert_told(b, "head\nhead\none\nhead\ntwo\nhead\nthree\n");
	assert_int_equal(b->gaps, 1);
}

/* All that was read are NULs, as every copy of a sparse log begins. */
static void
copies_of_a_sparse_log(void **state)
{
	struct bench *b = *state;
	const off_t hole = 2 * FINGERPRINT_MAX;

	append(b, "");
	truncate_to(b, "log", hole);
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "one\n");
	copy(b, "log", "log.2");
	wait_for_the_clock(b);
	truncate_to(b, "log", 0);
	truncate_to(b, "log", hole);
	append(b, "two\n");
	copy(b, "log", "log.1");
	wait_for_the_clock(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* A number that comes again under a name that is none of the log's. */
static void
inode_under_another_name(void **state)
{
	struct bench *b = *state;
	char *other = name_of(b, "other");
	struct stat st;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	delete (b, "log");
	append_to(other, "of another log\n");
	assert_int_equal(stat(other, &st), 0);
	b->cps[0].id.ino = st.st_ino;
	b->cps[0].id.btime_ns = 0;
	b->cps[0].last_ts = clock_utc_ms() - 5000;
	append(b, "two\nthree\n");
	begin(b);
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	free(other);
}

/* The start comes between the renaming of a log and its being made anew. */
static void
just_renamed_under_a_glob(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	begin_glob(b, "log*");
	settle(b);
	append(b, "three\n");
	run_until(b, told_three);
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_string_equal(b->found.p, "log\n");
}

static void
link_retargeted_while_down(void **state)
{
	struct bench *b = *state;
	char *first = name_of(b, "first"), *second = name_of(b, "second");

	assert_int_equal(mkdir(first, 0700), 0);
	assert_int_equal(mkdir(second, 0700), 0);
	append_name(b, "first/0.log", "one\n");
	link_to("first/0.log", b->path, geteuid());
	begin(b);
	settle(b);
	commit_and_crash(b);
	append_name(b, "first/0.log", "two\n");
	append_name(b, "second/0.log", "three\n");
	delete (b, "log");
	link_to("second/0.log", b->path, geteuid());
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
	free(first);
	free(second);
}

/* log.1 is there still while log.1.gz is being made of it. */
static void
piece_half_compressed(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	copy(b, "log.1", "spare");
	pack(b, "spare", "log.1.gz");
	truncate_to(b, "log.1.gz", 10); /* the head, and nothing of the text */
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	pack(b, "log.1", "log.1.gz");
	settle(b);
	append(b, "four\n");
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* ---- copies, and what is gone behind them ------------------------------------------ */

static bool
told_one(const struct bench *b)
{
	return b->told.p != NULL && strcmp(b->told.p, "one\n") == 0;
}

/* Written, copied and emptied again within a tick of the clock: its times tell nothing. */
static void
emptied_before_the_look(void **state)
{
	struct bench *b = *state;
	struct timespec times[2];
	struct stat before;

	append(b, "");
	begin(b);
	settle(b);
	assert_int_equal(stat(b->path, &before), 0);
	append(b, "one\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	times[0] = times[1] = before.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, b->path, times, 0), 0);
	run_until(b, told_one);
	assert_int_equal(b->gaps, 0);
}

/* The same, where nobody tells of it, and it is read before it is looked at. */
static void
emptied_before_the_reading(void **state)
{
	struct bench *b = *state;
	int fds[4096];
	size_t count = 0;

	append(b, "");
	while (count < sizeof(fds) / sizeof(fds[0]) &&
	    (fds[count] = inotify_init1(IN_CLOEXEC)) != -1)
		count++;
	begin(b);
	while (count > 0)
		(void)close(fds[--count]);
	settle(b);
	wait_for_the_clock(b);
	append(b, "one\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	tail_queue(b->log, false);
	(void)log_turn(b->log, LINE_MAX_BYTES);
	settle(b);
	assert_told(b, "one\n");
	assert_int_equal(b->gaps, 0);
}

/* Killed with a request open, of which the copy has only the beginning. */
static void
short_copy_is_read_again(void **state)
{
	struct bench *b = *state;

	append(b, "one\nit begins\nhalf a");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, " line\n");
	settle(b);
	assert_told(b, "one\nit begins\nhalf a line\n");
	commit(b);
	b->cps[0].resume = 4;
	b->keeps_resume = true;
	crash(b);
	truncate_to(b, "log", 0);
	append(b, "it ends\n");
	begin(b);
	settle(b);
	assert_string_equal(b->again.p, "it begins\n");
	assert_told(b, "one\nit begins\nhalf a line\nit ends\n");
	assert_int_equal(b->finals, 0);
	assert_int_equal(b->gaps, 0);

	/* And again, for it is known as what it is. */
	commit(b);
	b->cps[0].resume = 4;
	b->again.len = 0;
	crash(b);
	begin(b);
	settle(b);
	assert_int_equal(strncmp(b->again.p, "it begins\n", 10), 0);
	assert_told(b, "one\nit begins\nhalf a line\nit ends\n");
	assert_int_equal(b->gaps, 0);
}

/* Truncated before the kill: the copy was found then, and is known behind it. */
static void
short_copy_is_known_after_a_kill(void **state)
{
	struct bench *b = *state;

	append(b, "one\nit begins\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	append(b, "lost by the tool\n");
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "two\n");
	settle(b);
	commit(b);
	b->cps[0].resume = 4;
	b->keeps_resume = true;
	crash(b);
	begin(b);
	settle(b);
	assert_int_equal(strncmp(b->again.p, "it begins\n", 10), 0);
	assert_told(b, "one\nit begins\nlost by the tool\ntwo\n");
	assert_int_equal(b->gaps, 0);
}

/* What is in memory stands nowhere else; the copy is not told for that, now or later. */
static void
short_copy_while_nothing_is_taken(void **state)
{
	struct bench *b = *state;

	append(b, "the first line\n");
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	b->refuse = true;
	append(b, "lost by the tool\n");
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	move(b, "log.1", "log.2");
	move(b, "log", "log.1");
	append(b, "four\n");
	pass_time(b, 50);
	b->refuse = false;
	tail_go_on(b->tail);
	settle(b);
	assert_told(b, "the first line\nlost by the tool\nthree\nfour\n");
	commit_and_crash(b);
	begin(b);
	settle(b);
	assert_told(b, "the first line\nlost by the tool\nthree\nfour\n");
	assert_int_equal(b->gaps, 0);
}

/* An older copy, of half a line, begins as all lines do: the later one agrees in more. */
static void
short_copy_beside_a_shorter_one(void **state)
{
	struct bench *b = *state;

	append(b, "the first line of it\nthe second line\n");
	begin(b);
	settle(b);
	append_name(b, "log.2", "the first");
	copy(b, "log", "log.1");
	settle(b);
	append(b, "lost by the tool\n");
	settle(b);
	truncate_to(b, "log", 0);
	append(b, "three\n");
	settle(b);
	assert_told(
	    b, "the first line of it\nthe second line\nlost by the tool\nthree\n");
	assert_int_equal(b->gaps, 0);
}

/* As a server that begins each file with the same words; of the first no copy is left. */
static void
short_file_that_begins_as_all_do(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head();

	append(b, head.p);
	append(b, "one\n");
	begin(b);
	settle(b);
	b->told.len = 0;
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, head.p);
	append(b, "2\n");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, head.p);
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_int_equal(b->told.len, 2 * head.len + strlen("2\nthree\n"));
	buf_free(&head);
}

/* Opened for what it must tell again, and truncated before it is read. */
static void
truncated_before_it_is_read_again(void **state)
{
	struct bench *b = *state;

	append(b, "one\ntwo\nthree\n");
	begin(b);
	settle(b);
	commit(b);
	b->cps[0].resume = 4;
	b->keeps_resume = true;
	crash(b);
	begin(b);
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "four, five, six, seven\n");
	settle(b);
	assert_string_equal(b->again.p, "two\nthree\n");
	assert_told(b, "one\ntwo\nthree\nfour, five, six, seven\n");
	assert_int_equal(b->gaps, 0);
}

/* Truncated within a long line of one character, and regrown to one of the same. */
static void
regrown_within_a_long_line(void **state)
{
	struct bench *b = *state;
	struct buf line = {0};

	while (line.len < 4 * GUARD_MAX)
		buf_addc(&line, 'x');
	append(b, "one\n");
	append(b, line.p);
	begin(b);
	settle(b);
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "2wo\n");
	append(b, line.p);
	append(b, "yy\n");
	settle(b);
	assert_int_equal(strncmp(b->told.p, "one\n2wo\nxxx", 11), 0);
	assert_int_equal(b->gaps, 0);
	buf_free(&line);
}

/* Rotated and read to its end, it was only held for late writers. */
static void
held_is_deleted_while_down(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, "two\n");
	settle(b);
	commit_and_crash(b);
	delete (b, "log.1");
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_true(told_three(b));
	assert_int_equal(b->gaps, 0);
	commit_and_crash(b);
	delete (b, "log");
	append(b, "four\n");
	begin(b);
	settle(b);
	assert_true(told_four(b));
	assert_int_equal(b->gaps, 1);
}

static struct buf
text_of_a_log(void)
{
	struct buf text = {0};

	while (text.len < 2 * FINGERPRINT_MAX)
		buf_addf(&text, "line at %zu\n", text.len);
	return text;
}

/* The log was emptied twice: a line that was begun, and is gone, begins as what is there now. */
static void
begun_line_is_no_file(void **state)
{
	struct bench *b = *state;
	struct buf line = {0};
	const char *two;

	while (line.len < 2 * FINGERPRINT_MAX)
		buf_addc(&line, 'y');
	append(b, "one\n");
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, line.p);
	settle(b);
	commit_and_crash(b);
	move(b, "log.1", "log.2");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, "two\n");
	append(b, line.p);
	b->timing.hold_ms = 0;
	begin(b);
	settle(b);
	assert_non_null(strstr(b->told.p, "two\n"));
	commit_and_crash(b);
	move(b, "log.1", "log.3");
	copy(b, "log", "log.1");
	truncate_to(b, "log", 0);
	append(b, line.p);
	append(b, "\n");
	begin(b);
	settle(b);
	append(b, "three\n");
	settle(b);
	two = strstr(b->told.p, "two\n");
	assert_non_null(two);
	assert_null(strstr(two + 1, "two\n"));
	assert_non_null(strstr(b->told.p, "three\n"));
	buf_free(&line);
}

/* Moved to another disk, restored, edited in place by what makes a copy. */
static void
replaced_by_its_copy(void **state)
{
	struct bench *b = *state;
	struct buf text = text_of_a_log();

	append(b, text.p);
	begin(b);
	settle(b);
	copy(b, "log", "copy");
	move(b, "copy", "log");
	append(b, "more\n");
	buf_adds(&text, "more\n");
	settle(b);
	assert_told(b, text.p);
	commit_and_crash(b);
	copy(b, "log", "copy");
	move(b, "copy", "log");
	append(b, "and more\n");
	buf_adds(&text, "and more\n");
	begin(b);
	settle(b);
	assert_told(b, text.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&text);
}

static struct buf
banners_and_words(void)
{
	struct buf head = equal_head(), text = {0};

	buf_addf(&text, "%s%sone\ntwo\n%sthree\n", head.p, head.p, head.p);
	buf_free(&head);
	return text;
}

/* A file that has a banner alone, was rotated, held and deleted: the log begins with it, too. */
/* An editor renames the log, writes it anew, and takes its time; a writer goes on. */
static void
written_anew_slowly(void **state)
{
	struct bench *b = *state;
	struct buf text = equal_head();

	append(b, text.p);
	begin(b);
	settle(b);
	move(b, "log", "log~");
	append(b, "");
	settle(b);
	copy(b, "log~", "whole");
	truncate_to(b, "whole", 1000);
	copy(b, "whole", "log");
	settle(b);
	copy(b, "log~", "log");
	settle(b);
	assert_told(b, text.p);
	delete (b, "log~");
	append(b, "one\n");
	settle(b);
	append(b, "two\n");
	settle(b);
	buf_adds(&text, "one\ntwo\n");
	assert_told(b, text.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&text);
}

/* What rotation renamed only has the same banner; no copy is waited for. */
static void
rotated_within_a_banner(void **state)
{
	struct bench *b = *state;
	struct buf text = equal_head();

	append(b, text.p);
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, text.p);
	settle(b);
	assert_int_equal(b->told.len, 2 * text.len);
	append(b, "one\n");
	settle(b);
	assert_int_equal(b->told.len, 2 * text.len + strlen("one\n"));
	buf_free(&text);
}

static void
banner_is_no_copy(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head(), text = banners_and_words();

	append(b, head.p);
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "one\n");
	settle(b);
	delete (b, "log.1");
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "three\n");
	settle(b);
	assert_told(b, text.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&head);
	buf_free(&text);
}

static void
banner_is_no_copy_after_a_kill(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head(), text = banners_and_words();

	append(b, head.p);
	begin(b);
	settle(b);
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "one\n");
	settle(b);
	commit_and_crash(b);
	delete (b, "log.1");
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, head.p);
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_told(b, text.p);
	assert_int_equal(b->gaps, 0);
	buf_free(&head);
	buf_free(&text);
}

/* The copy of a banner is gone; the next file that begins with it is newer than the log's own. */
static void
banner_of_a_newer_file(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head(), text = {0};

	append(b, head.p);
	begin(b);
	settle(b);
	commit_and_crash(b);
	truncate_to(b, "log", 0);
	append(b, "one\n");
	copy(b, "log", "log.3");
	truncate_to(b, "log", 0);
	move(b, "log", "log.2");
	append(b, head.p);
	append(b, "two\n");
	move(b, "log", "log.1");
	append(b, "three\n");
	begin(b);
	settle(b);
	buf_addf(&text, "%sone\n%stwo\nthree\n", head.p, head.p);
	assert_told(b, text.p);
	buf_free(&head);
	buf_free(&text);
}

/* What was truncated is lost; it is not found again in the text that is put back. */
static void
text_is_put_back(void **state)
{
	struct bench *b = *state;
	struct buf text = text_of_a_log();
	size_t once = text.len;

	append(b, text.p);
	begin(b);
	settle(b);
	truncate_to(b, "log", 0);
	settle(b);
	append(b, text.p);
	settle(b);
	append(b, "more\n");
	settle(b);
	assert_int_equal(b->told.len, 2 * once + strlen("more\n"));
	assert_int_equal(b->gaps, 1);
	buf_free(&text);
}

/* Their names tell nothing of their order. */
static void
days_before_years(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log-31-01-2026");
	wait_for_the_clock(b);
	append(b, "three\n");
	move(b, "log", "log-01-02-2026");
	wait_for_the_clock(b);
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* As svlogd, multilog and s6-log name them. */
static void
pieces_of_current(void **state)
{
	struct bench *b = *state;

	free(b->path);
	b->path = name_of(b, "current");
	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "current", "@4000000065a1b2c30a1b2c3d.s");
	append(b, "three\n");
	move(b, "current", "@4000000065a1b2c40a1b2c3d.s");
	append(b, "four\n");
	begin(b);
	run_until(b, told_four);
	assert_int_equal(b->gaps, 0);
}

/* Rotated while down into a name that the glob does not match, and made anew, empty, later. */
static void
made_anew_under_a_glob(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	move(b, "log", "log.1");
	begin_glob(b, "lo[g]");
	settle(b);
	append(b, "");
	run_until(b, told_two);
	assert_int_equal(b->gaps, 0);
}

/* A file that was finished with is copied, first whole, then as it is being compressed. */
static void
finished_pieces_are_copied_under_a_glob(void **state)
{
	struct bench *b = *state;
	struct buf head = equal_head();

	b->timing.hold_ms = 0;
	append_name(b, "a.log", head.p);
	append_name(b, "a.log", "one\n");
	begin_glob(b, "*.log*");
	settle(b);
	move(b, "a.log", "a.log.1");
	append_name(b, "a.log", "two\n");
	settle(b);
	commit(b);
	copy(b, "a.log.1", "saved.log");
	settle(b);
	commit_and_crash(b);
	b->how.since_ms = clock_utc_ms();
	begin_glob(b, "*.log*");
	copy(b, "a.log.1", "saved-too.log");
	append_name(b, "a.log.1.tmp", "half of something compressed\n");
	settle(b);
	assert_string_equal(b->found.p, "a.log\na.log\n");
	append_name(b, "saved.log", "three\n");
	settle(b);
	assert_string_equal(b->found.p, "a.log\na.log\nsaved.log\n");
	assert_non_null(strstr(b->told.p, "three\n"));
	buf_free(&head);
}

/* What begins as a copy, and what is empty, are logs by what is written into them. */
static void
grows_into_a_log_under_a_glob(void **state)
{
	struct bench *b = *state;

	append_name(b, "a.log", "one\n");
	begin_glob(b, "*.log");
	settle(b);
	append_name(b, "b.log", "one\n");
	append_name(b, "c.log", "");
	pass_time(b, 30);
	assert_string_equal(b->found.p, "a.log\n");
	append_name(b, "c.log", "two\n");
	run_until(b, told_two);
	append_name(b, "b.log", "three\n");
	while (strstr(b->told.p, "three\n") == NULL)
		assert_int_equal(event_base_loop(b->base, EVLOOP_ONCE), 0);
	assert_string_equal(b->found.p, "a.log\nc.log\nb.log\n");
	assert_told(b, "one\ntwo\none\nthree\n");
}

/* Each level of the pattern comes after the one above it was seen. */
static void
directories_under_a_glob(void **state)
{
	struct bench *b = *state;
	static const char *const names[] = {"x", "x/y", "x/y/c", "x/y/c/z"};
	char *path;
	size_t i;

	append(b, "unrelated\n");
	begin_glob(b, "*/*/c/*/a.log");
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		pass_time(b, 10);
		path = name_of(b, names[i]);
		assert_int_equal(mkdir(path, 0700), 0);
		free(path);
	}
	pass_time(b, 10);
	append_name(b, "x/y/c/z/a.log", "one\ntwo\nthree\n");
	run_until(b, told_three);
}

static bool
two_are_over(const struct bench *b)
{
	return b->over == 2;
}

/* Thousands of pods that came and went are not kept in memory; one that comes back is known. */
static void
logs_of_a_glob_are_let_go(void **state)
{
	struct bench *b = *state;
	char *away = name_of(b, "away");
	struct tail_log *log;
	size_t count = 0;

	assert_int_equal(mkdir(away, 0700), 0);
	b->timing.hold_ms = 0;
	b->timing.slow_ms = 5;
	append_name(b, "a.log", "one\n");
	append_name(b, "b.log", "two\n");
	append_name(b, "c.log", "");
	begin_glob(b, "*.log");
	settle(b);
	commit(b);
	move(b, "a.log", "away/a.log");
	move(b, "b.log", "renamed.log");
	delete (b, "c.log");
	run_until(b, two_are_over);
	move(b, "away/a.log", "a.log");
	append_name(b, "a.log", "three\n");
	run_until(b, told_three);
	for (log = b->tail->logs; log != NULL; log = log->next)
		count++;
	assert_int_equal(count, 2);
	assert_int_equal(b->gaps, 0);
	free(away);
}

/* A few bytes that another file had too are a log's, and no copy. */
static void
little_is_no_copy_under_a_glob(void **state)
{
	struct bench *b = *state;

	b->timing.hold_ms = 0;
	append_name(b, "a.log", "one\n");
	begin_glob(b, "*.log");
	settle(b);
	move(b, "a.log", "a.log.1");
	append_name(b, "a.log", "two\n");
	settle(b);
	append_name(b, "b.log", "one\n");
	settle(b);
	assert_told(b, "one\ntwo\none\n");
}

/* One file under many names is one log, whichever name is found first. */
static void
links_under_a_glob(void **state)
{
	struct bench *b = *state;
	char *file = name_of(b, "a.log"), *hard = name_of(b, "b.log");
	char *soft = name_of(b, "0.log");

	append_name(b, "a.log", "one\n");
	link_to("a.log", soft, geteuid());
	assert_int_equal(link(file, hard), 0);
	begin_glob(b, "*.log");
	settle(b);
	append_name(b, "a.log", "two\n");
	settle(b);
	commit_and_crash(b);
	begin_glob(b, "*.log");
	settle(b);
	append_name(b, "a.log", "three\n");
	run_until(b, told_three);
	assert_string_equal(b->found.p, "a.log\na.log\n");
	assert_int_equal(b->gaps, 0);
	free(file);
	free(hard);
	free(soft);
}

/* A link to the newest of dated logs, which is found before the log itself is. */
static void
link_to_the_newest_under_a_glob(void **state)
{
	struct bench *b = *state;
	char *newest = name_of(b, "l.log");

	append_name(b, "day-1.log", "one\n");
	begin_glob(b, "*.log");
	settle(b);
	link_to("day-1.log", newest, geteuid());
	settle(b);
	delete (b, "l.log");
	append_name(b, "day-2.log", "two\n");
	link_to("day-2.log", newest, geteuid());
	settle(b);
	delete (b, "l.log");
	append_name(b, "day-3.log", "three\n");
	link_to("day-3.log", newest, geteuid());
	settle(b);
	assert_told(b, "one\ntwo\nthree\n");
	assert_string_equal(b->found.p, "day-1.log\nday-2.log\nday-3.log\n");
	free(newest);
}

static void
linked_directory_under_a_glob(void **state)
{
	struct bench *b = *state;
	char *v1 = name_of(b, "v1"), *current = name_of(b, "current");

	assert_int_equal(mkdir(v1, 0700), 0);
	append_name(b, "v1/a.log", "one\n");
	link_to("v1", current, geteuid());
	begin_glob(b, "*/a.log");
	settle(b);
	append_name(b, "v1/a.log", "two\n");
	settle(b);
	assert_told(b, "one\ntwo\n");
	assert_string_equal(b->found.p, "v1/a.log\n");
	free(v1);
	free(current);
}

/* Read to its end and finished with, it is the same file under whatever name. */
static void
renamed_directory_under_a_glob(void **state)
{
	struct bench *b = *state;
	char *p = name_of(b, "p");

	b->timing.hold_ms = 0;
	assert_int_equal(mkdir(p, 0700), 0);
	append_name(b, "p/a.log", "one\n");
	begin_glob(b, "*/a.log");
	settle(b);
	move(b, "p", "gone");
	settle(b);
	commit(b);
	assert_int_equal(mkdir(p, 0700), 0);
	append_name(b, "p/a.log", "two\n");
	settle(b);
	commit(b);
	settle(b);
	commit_and_crash(b);
	begin_glob(b, "*/a.log");
	settle(b);
	assert_told(b, "one\ntwo\n");
	append_name(b, "gone/a.log", "three\n");
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
	free(p);
}

/* Compressed while down, and nothing was made anew that the glob would match. */
static void
compressed_under_a_glob(void **state)
{
	struct bench *b = *state;

	append(b, "one\n");
	begin_glob(b, "lo[g]");
	settle(b);
	commit_and_crash(b);
	append(b, "two\n");
	pack(b, "log", "log.1.gz");
	begin_glob(b, "lo[g]");
	settle(b);
	assert_told(b, "one\ntwo\n");
	assert_int_equal(b->gaps, 0);
}

static bool
has_a_gap(const struct bench *b)
{
	return b->gaps > 0;
}

/* It may come back, for a while. */
static void
deleted_under_a_glob(void **state)
{
	struct bench *b = *state;

	append_name(b, "a-1", "one\n");
	begin_glob(b, "a-*");
	settle(b);
	commit_and_crash(b);
	delete (b, "a-1");
	append_name(b, "a-2", "two\n");
	b->timing.slow_ms = 5;
	begin_glob(b, "a-*");
	settle(b);
	assert_told(b, "one\ntwo\n");
	run_until(b, has_a_gap);
	assert_int_equal(b->gaps, 1);
}

/* All that is compared of the copy and of the log behind it is a hole; but not all of them. */
static void
sparse_copy_ends_in_a_hole(void **state)
{
	struct bench *b = *state;
	const off_t hole = 3 * FINGERPRINT_MAX;

	append(b, "one\n");
	begin(b);
	settle(b);
	commit_and_crash(b);
	copy(b, "log", "log.2");
	append_name(b, "log.1", "");
	truncate_to(b, "log.1", hole);
	append_name(b, "log.1", "two\n");
	truncate_to(b, "log.1", 2 * hole);
	truncate_to(b, "log", 0);
	truncate_to(b, "log", 2 * hole);
	append(b, "three\n");
	begin(b);
	run_until(b, told_three);
	assert_int_equal(b->gaps, 0);
}

/* One that was read to its end and deleted had little in it: others begin with that, too. */
static void
little_is_no_evidence(void **state)
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
	delete (b, "log.1");
	commit_and_crash(b);
	move(b, "log", "log.2");
	append_name(b, "log.1", "one\nmore\n");
	append(b, "three\n");
	begin(b);
	settle(b);
	assert_told(b, "one\ntwo\none\nmore\nthree\n");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(truncated_while_down),
	    TEST(regrown_while_down_without_a_copy),
	    TEST(regrown_while_down_with_an_equal_head),
	    TEST(truncated_while_behind_is_counted),
	    TEST(small_files),
	    TEST(small_files_of_a_glob),
	    TEST(equal_heads),
	    TEST(deleted_while_nothing_is_taken),
	    TEST(found_and_deleted_while_nothing_is_taken),
	    TEST(link_retargeted_while_behind),
	    TEST(three_pieces_of_a_line),
	    TEST(endless_line),
	    TEST(runs_of_nul),
	    TEST(bytes_of_no_text),
	    TEST(rotated_names_that_the_glob_matches),
	    TEST(numbers_before_the_extension),
	    TEST(many_pieces_of_a_day),
	    TEST(replaced_by_what_is_no_file),
	    TEST(replaced_by_a_link_to_a_secret),
	    TEST(times_rise_with_the_number),
	    TEST(times_of_copies),
	    TEST(old_times_behind_a_lost_file),
	    TEST_UNREADABLE(disk_fails_while_behind),
	    TEST_UNREADABLE(disk_fails_at_the_start),
	    TEST_UNREADABLE(disk_fails_at_the_rotation),
	    TEST_UNREADABLE(unreadable_at_the_start),
	    TEST_UNREADABLE(unreadable_directory),
	    TEST(away_at_the_start),
	    TEST_UNREADABLE(unreadable_piece),
	    TEST_UNREADABLE(unreadable_piece_is_removed),
	    TEST_UNREADABLE(unreadable_and_old),
	    TEST(heads_of_a_removed_file),
	    TEST(copies_of_a_sparse_log),
	    TEST(inode_under_another_name),
	    TEST(just_renamed_under_a_glob),
	    TEST(link_retargeted_while_down),
	    TEST(piece_half_compressed),
	    TEST(emptied_before_the_look),
	    TEST(emptied_before_the_reading),
	    TEST(short_copy_is_read_again),
	    TEST(short_copy_is_known_after_a_kill),
	    TEST(short_copy_while_nothing_is_taken),
	    TEST(short_copy_beside_a_shorter_one),
	    TEST(short_file_that_begins_as_all_do),
	    TEST(truncated_before_it_is_read_again),
	    TEST(regrown_within_a_long_line),
	    TEST(held_is_deleted_while_down),
	    TEST(begun_line_is_no_file),
	    TEST(replaced_by_its_copy),
	    TEST(written_anew_slowly),
	    TEST(rotated_within_a_banner),
	    TEST(banner_is_no_copy),
	    TEST(banner_is_no_copy_after_a_kill),
	    TEST(banner_of_a_newer_file),
	    TEST(text_is_put_back),
	    TEST(days_before_years),
	    TEST(pieces_of_current),
	    TEST(made_anew_under_a_glob),
	    TEST(finished_pieces_are_copied_under_a_glob),
	    TEST(little_is_no_copy_under_a_glob),
	    TEST(logs_of_a_glob_are_let_go),
	    TEST(grows_into_a_log_under_a_glob),
	    TEST(directories_under_a_glob),
	    TEST(links_under_a_glob),
	    TEST(link_to_the_newest_under_a_glob),
	    TEST(linked_directory_under_a_glob),
	    TEST(renamed_directory_under_a_glob),
	    TEST(compressed_under_a_glob),
	    TEST(deleted_under_a_glob),
	    TEST(sparse_copy_ends_in_a_hole),
	    TEST(little_is_no_evidence),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

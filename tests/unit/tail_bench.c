#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/err.h"
#include "tail/identity.h"
#include "tail_bench.h"

#define BOUND_MS 20000 /* nothing here takes longer, on any machine that works */

/* ---- a tail, its loop, and what it gave ------------------------------------- */

static int
take_lines(void *arg, const struct tail_chunk *c)
{
	struct bench *b = arg;
	void (*meanwhile)(struct bench * b);

	assert_int_not_equal(c->file, 0);
	if (c->before) {
		buf_reset(&b->before);
		buf_add(&b->before, c->data, c->len);
		b->looks_back++;
		assert_true(c->gap);
		return 0;
	}
	assert_true(c->len > 0);
	if (b->refuse) {
		b->refusals++;
		b->last_offset = c->offset;
		b->last_len = c->len;
		return 1;
	}
	b->chunks++;
	b->finals += c->final;
	b->chunk_gaps += c->gap;
	if (!c->final && !c->again)
		assert_int_equal(c->data[c->len - 1], '\n');
	buf_add(c->again ? &b->again : &b->told, c->data, c->len);
	b->last_file = c->file;
	b->last_offset = c->offset;
	b->last_len = c->len;
	meanwhile = b->meanwhile;
	b->meanwhile = NULL;
	if (meanwhile != NULL)
		meanwhile(b);
	return 0;
}

static struct checkpoint *
copy_of(const struct checkpoint *cps, size_t count)
{
	struct checkpoint *copy = xcalloc(count, sizeof(*copy));
	size_t i;

	for (i = 0; i < count; i++) {
		copy[i] = cps[i];
		copy[i].path = xstrdup(cps[i].path);
	}
	return copy;
}

static void *
path_found(void *arg, void *glob_cookie, const char *path, struct checkpoint **cps_r,
    size_t *count_r)
{
	struct bench *b = arg;
	size_t i;

	assert_ptr_equal(glob_cookie, b);
	buf_addf(&b->found, "%s\n", path + strlen(b->dir) + 1);
	for (i = 0; i < b->known_count; i++)
		if (strcmp(b->known[i].path, path) == 0) {
			*count_r = b->known[i].count;
			*cps_r = copy_of(b->known[i].cps, *count_r);
		}
	return b;
}

static bool
log_over(void *arg, struct tail_log *log)
{
	struct bench *b = arg;

	(void)log;
	b->over++;
	return true;
}

static void
file_moved(void *arg, struct tail_log *log)
{
	struct bench *b = arg;

	(void)log;
	b->moves++;
}

static void
bytes_lost(void *arg, struct tail_log *log, uint64_t bytes, const char *why)
{
	struct bench *b = arg;

	(void)log;
	b->gaps++;
	b->gap_bytes += bytes;
	free(b->gap_why);
	b->gap_why = xstrdup(why);
}

static const struct tail_hooks hooks = {.lines = take_lines,
    .found = path_found,
    .over = log_over,
    .moved = file_moved,
    .gap = bytes_lost};

int
bench_set_up(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct bench *b = xcalloc(1, sizeof(*b));

	b->dir = xasprintf("%s/hearsay-tail.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(b->dir) == NULL)
		return -1;
	b->path = xasprintf("%s/log", b->dir);
	b->base = event_base_new();
	b->timing = (struct tail_timing){
	    .hold_ms = 60000, .slow_ms = 0, .rest_ms = 1, .poll_ms = 10};
	b->how.start = TAIL_START_BEGINNING;
	*state = b;
	return b->base == NULL ? -1 : 0;
}

/* What was committed. */
static void
forget(struct bench *b)
{
	size_t i;

	for (i = 0; i < b->known_count; i++) {
		checkpoints_free(b->known[i].cps, b->known[i].count);
		free(b->known[i].path);
	}
	free(b->known);
	b->known = NULL;
	b->known_count = 0;
	checkpoints_free(b->cps, b->cp_count);
	b->cps = NULL;
	b->cp_count = 0;
}

void
remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	char *sub;

	while (d != NULL && (entry = readdir(d)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		sub = xasprintf("%s/%s", path, entry->d_name);
		if (unlink(sub) == -1)
			remove_tree(sub);
		free(sub);
	}
	if (d != NULL)
		(void)closedir(d);
	(void)rmdir(path);
}

int
bench_tear_down(void **state)
{
	struct bench *b = *state;

	tail_free(b->tail);
	event_base_free(b->base);
	forget(b);
	remove_tree(b->dir);
	buf_free(&b->told);
	buf_free(&b->before);
	buf_free(&b->again);
	buf_free(&b->found);
	free(b->gap_why);
	free(b->path);
	free(b->dir);
	free(b);
	return 0;
}

void
begin(struct bench *b)
{
	struct err e = {0};

	b->tail = tail_new_timed(b->base, &hooks, b, &b->timing, &e);
	assert_non_null(b->tail);
	b->log = tail_follow(b->tail, b->path, b->how, b->cps, b->cp_count, b, &e);
	assert_non_null(b->log);
	assert_int_equal(tail_start(b->tail, &e), 0);
}

static void
commit_log(struct bench *b, struct tail_log *log)
{
	struct bench_known *k;
	size_t i;

	b->known =
	    xreallocarray(b->known, b->known_count + 1, sizeof(struct bench_known));
	k = &b->known[b->known_count++];
	k->path = xstrdup(tail_log_path(log));
	tail_checkpoints(log, &k->cps, &k->count);
	for (i = 0; i < k->count; i++)
		if (!b->keeps_resume)
			k->cps[i].resume = k->cps[i].offset;
	if (log == b->log) {
		b->cps = copy_of(k->cps, k->count);
		b->cp_count = k->count;
	}
	tail_log_needs(log, 0);
}

void
commit(struct bench *b)
{
	struct tail_log *log;

	forget(b);
	for (log = b->tail->logs; log != NULL; log = log->next)
		commit_log(b, log);
	b->told_len = b->told.len;
}

void
crash(struct bench *b)
{
	tail_free(b->tail);
	b->tail = NULL;
	b->log = NULL;
	if (b->told.p != NULL) {
		b->told.len = b->told_len;
		b->told.p[b->told.len] = '\0';
	}
}

void
commit_and_crash(struct bench *b)
{
	commit(b);
	crash(b);
}

static void
on_bound(evutil_socket_t fd, short what, void *arg)
{
	struct bench *b = arg;

	(void)fd;
	(void)what;
	b->long_wait++;
}

void
run_until(struct bench *b, bool (*fact)(const struct bench *b))
{
	struct timeval tv = {BOUND_MS / 1000, 0};
	struct event *bound = evtimer_new(b->base, on_bound, b);

	assert_non_null(bound);
	b->long_wait = 0;
	assert_int_equal(event_add(bound, &tv), 0);
	while (!fact(b) && b->long_wait == 0)
		assert_int_not_equal(event_base_loop(b->base, EVLOOP_ONCE), -1);
	event_free(bound);
	assert_int_equal(b->long_wait, 0);
}

void
settle(struct bench *b)
{
	tail_drain(b->tail, BOUND_MS);
}

void
assert_told(const struct bench *b, const char *text)
{
	assert_string_equal(b->told.p == NULL ? "" : b->told.p, text);
}

bool
told_three(const struct bench *b)
{
	return b->told.p != NULL && strcmp(b->told.p, "one\ntwo\nthree\n") == 0;
}

bool
told_four(const struct bench *b)
{
	return b->told.p != NULL && strcmp(b->told.p, "one\ntwo\nthree\nfour\n") == 0;
}

void
begin_glob(struct bench *b, const char *pattern)
{
	char *path = name_of(b, pattern);
	char **known = xcalloc(b->known_count, sizeof(*known));
	struct err e = {0};
	size_t i;

	b->tail = tail_new_timed(b->base, &hooks, b, &b->timing, &e);
	assert_non_null(b->tail);
	for (i = 0; i < b->known_count; i++)
		known[i] = b->known[i].path;
	assert_int_equal(
	    tail_follow_glob(b->tail, path, b->how, known, b->known_count, b, &e), 0);
	assert_int_equal(tail_start(b->tail, &e), 0);
	free(known);
	free(path);
}

/* ---- files -------------------------------------------------------------------- */

char *
name_of(const struct bench *b, const char *name)
{
	return xasprintf("%s/%s", b->dir, name);
}

void
append_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	size_t len = strlen(text);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

void
append(const struct bench *b, const char *text)
{
	append_to(b->path, text);
}

void
append_name(const struct bench *b, const char *name, const char *text)
{
	char *path = name_of(b, name);

	append_to(path, text);
	free(path);
}

void
move(const struct bench *b, const char *from, const char *to)
{
	char *pf = name_of(b, from), *pt = name_of(b, to);

	assert_int_equal(rename(pf, pt), 0);
	free(pf);
	free(pt);
}

void
copy(const struct bench *b, const char *from, const char *to)
{
	char *pf = name_of(b, from), *pt = name_of(b, to);
	char p[4096];
	ssize_t n;
	int in = open(pf, O_RDONLY), out = open(pt, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(in, -1);
	assert_int_not_equal(out, -1);
	while ((n = read(in, p, sizeof(p))) > 0)
		assert_int_equal(write(out, p, (size_t)n), n);
	(void)close(in);
	(void)close(out);
	free(pf);
	free(pt);
}

void
pack(const struct bench *b, const char *from, const char *to)
{
	char *pf = name_of(b, from), *pt = name_of(b, to);
	struct timespec times[2];
	struct stat st;
	char p[4096];
	ssize_t n;
	int in = open(pf, O_RDONLY);
	gzFile out = gzopen(pt, "w1");

	assert_int_not_equal(in, -1);
	assert_non_null(out);
	while ((n = read(in, p, sizeof(p))) > 0)
		assert_int_equal(gzwrite(out, p, (unsigned)n), n);
	assert_int_equal(gzclose(out), Z_OK);
	assert_int_equal(fstat(in, &st), 0);
	times[0] = st.st_atim;
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, pt, times, 0), 0);
	(void)close(in);
	assert_int_equal(unlink(pf), 0);
	free(pf);
	free(pt);
}

void
truncate_to(const struct bench *b, const char *name, off_t size)
{
	char *path = name_of(b, name);

	assert_int_equal(truncate(path, size), 0);
	free(path);
}

void delete (const struct bench *b, const char *name)
{
	char *path = name_of(b, name);

	assert_int_equal(unlink(path), 0);
	free(path);
}

void
wait_for_the_clock(const struct bench *b)
{
	char *path = name_of(b, "clock");
	struct file_facts first, now;

	append_to(path, "x");
	assert_int_equal(identity_stat(path, true, &first), 0);
	do {
		append_to(path, "x");
		assert_int_equal(identity_stat(path, true, &now), 0);
	} while (now.mtime_ns <= first.mtime_ns + 10000000);
	free(path);
}

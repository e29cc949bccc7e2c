#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <lzma.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/checkpoint.h"
#include "tail/lines.h"
#include "tail/reader.h"
#include "tail/tail.h"

/* ---- a file in a directory of its own -------------------------------------- */

struct place {
	char *dir, *path;
};

static int
make_place(void **state)
{
	const char *tmp = getenv("TMPDIR");
	struct place *p = xcalloc(1, sizeof(*p));

	p->dir = xasprintf("%s/hearsay-reader.XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(p->dir) == NULL)
		return -1;
	p->path = xasprintf("%s/log", p->dir);
	*state = p;
	return 0;
}

static int
remove_place(void **state)
{
	struct place *p = *state;

	(void)unlink(p->path);
	(void)rmdir(p->dir);
	free(p->path);
	free(p->dir);
	free(p);
	return 0;
}

static void
put_file(const struct place *p, const void *data, size_t len)
{
	int fd = open(p->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	assert_int_equal(close(fd), 0);
}

/* All that r gives, put together; each chunk must follow the one before. */
static struct buf
read_rest(struct reader *r, uint64_t *next)
{
	struct buf all = {0};
	const char *data;
	struct err e = {0};
	uint64_t offset;
	size_t len;
	int got;

	while ((got = reader_next(r, &data, &len, &offset, &e)) == 1) {
		assert_true(len > 0);
		assert_true(offset >= *next);
		*next = offset + len;
		buf_add(&all, data, len);
	}
	if (got == -1)
		print_message("%s\n", e.text);
	assert_int_equal(got, 0);
	return all;
}

static struct buf
read_file(const struct place *p)
{
	struct err e = {0};
	struct reader *r = reader_open(p->path, &e);
	uint64_t next = 0;
	struct buf all;

	assert_non_null(r);
	all = read_rest(r, &next);
	reader_close(r);
	return all;
}

static void
assert_text(struct buf *b, const void *text, size_t len)
{
	assert_int_equal(b->len, len);
	if (len > 0)
		assert_memory_equal(b->p, text, len);
	buf_free(b);
}

static struct buf
numbered_lines(unsigned count)
{
	struct buf b = {0};
	unsigned i;

	for (i = 0; i < count; i++)
		buf_addf(&b, "line %u, %0*d\n", i, (int)(i % 200), 7);
	return b;
}

/* ---- plain ----------------------------------------------------------------- */

static void
plain_file(void **state)
{
	struct buf text = numbered_lines(20000), all;

	put_file(*state, text.p, text.len);
	all = read_file(*state);
	assert_text(&all, text.p, text.len);
	buf_free(&text);
}

static void
empty_file(void **state)
{
	struct buf all;

	put_file(*state, "", 0);
	all = read_file(*state);
	assert_int_equal(all.len, 0);
	buf_free(&all);
}

static void
last_line_without_newline(void **state)
{
	struct err e;
	const char *data;
	uint64_t offset;
	size_t len;
	struct reader *r;

	put_file(*state, "one\ntwo\nthr", 11);
	r = reader_open(((struct place *)*state)->path, &e);
	assert_non_null(r);
	assert_int_equal(reader_next(r, &data, &len, &offset, &e), 1);
	assert_int_equal(offset, 0);
	assert_int_equal(len, 8);
	assert_memory_equal(data, "one\ntwo\n", 8);
	assert_int_equal(reader_next(r, &data, &len, &offset, &e), 1);
	assert_int_equal(offset, 8);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "thr", 3);
	assert_int_equal(reader_next(r, &data, &len, &offset, &e), 0);
	assert_int_equal(reader_next(r, &data, &len, &offset, &e), 0);
	assert_int_equal(reader_size(r), 11);
	assert_int_equal(reader_consumed(r), 11);
	reader_close(r);
}

static void
time_of_the_file(void **state)
{
	struct place *p = *state;
	const struct timespec times[2] = {{1, 0}, {1700000000, 123456789}};
	struct reader *r;

	put_file(p, "x\n", 2);
	assert_int_equal(utimensat(AT_FDCWD, p->path, times, 0), 0);
	r = reader_open(p->path, NULL);
	assert_non_null(r);
	assert_int_equal(reader_mtime_ms(r), 1700000000123);
	reader_close(r);
}

static void
what_cannot_be_opened(void **state)
{
	struct place *p = *state;
	struct err e = {0};

	(void)unlink(p->path);
	assert_null(reader_open(p->path, &e));
	assert_non_null(strstr(e.text, p->path));
	assert_non_null(strstr(e.text, "No such file"));
	assert_null(reader_open(p->dir, &e));
	assert_non_null(strstr(e.text, "directory"));
	reader_close(NULL);
}

static void
standard_input(void **state)
{
	uint64_t next = 0;
	struct err e = {0};
	struct reader *r;
	struct buf all;
	int pipe_fds[2], saved;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	assert_int_equal(write(pipe_fds[1], "a\nbc\n", 5), 5);
	assert_int_equal(close(pipe_fds[1]), 0);
	saved = dup(STDIN_FILENO);
	assert_int_not_equal(dup2(pipe_fds[0], STDIN_FILENO), -1);
	r = reader_open("-", &e);
	assert_non_null(r);
	all = read_rest(r, &next);
	assert_int_equal(reader_size(r), 0);
	assert_true(reader_mtime_ms(r) > 1700000000000);
	reader_close(r);
	assert_int_not_equal(dup2(saved, STDIN_FILENO), -1);
	(void)close(saved);
	(void)close(pipe_fds[0]);
	assert_text(&all, "a\nbc\n", 5);
}

/* ---- long lines and NULs ----------------------------------------------------- */

/* A line of just the limit is given, one of a byte more is not. */
static void
long_lines_are_passed_over(void **state)
{
	struct place *p = *state;
	size_t fits = LINE_MAX_BYTES;
	struct buf text = {0}, all = {0};
	uint64_t next = 0;
	struct reader *r;

	buf_reserve(&text, 5 * fits);
	buf_adds(&text, "before\n");
	memset(text.p + text.len, 'a', fits);
	text.len += fits;
	buf_adds(&text, "\nbetween\n");
	memset(text.p + text.len, 'b', fits + 1);
	text.len += fits + 1;
	buf_adds(&text, "\n");
	memset(text.p + text.len, 'c', 2 * fits);
	text.len += 2 * fits;
	buf_adds(&text, "\nafter\n");
	put_file(p, text.p, text.len);
	r = reader_open(p->path, NULL);
	assert_non_null(r);
	all = read_rest(r, &next);
	assert_int_equal(next, text.len);
	assert_int_equal(reader_long_lines(r), 2);
	assert_false(reader_gap(r));
	reader_close(r);
	assert_int_equal(all.len, 7 + fits + 1 + 8 + 6);
	assert_memory_equal(all.p, text.p, 7 + fits + 9);
	assert_memory_equal(all.p + all.len - 14, "between\nafter\n", 14);
	buf_free(&all);
	buf_free(&text);
}

/* Nothing ends it, and it is as long as a line may be; or a byte longer. */
static void
last_line_of_the_limit(void **state)
{
	const size_t fits = LINE_MAX_BYTES;
	char *text = xmalloc(fits + 1);
	struct buf all;

	memset(text, 'a', fits + 1);
	put_file(*state, text, fits);
	all = read_file(*state);
	assert_text(&all, text, fits);
	buf_free(&all);
	put_file(*state, text, fits + 1);
	all = read_file(*state);
	assert_int_equal(all.len, 0);
	buf_free(&all);
	free(text);
}

/* What stands behind one may have been its rest. */
static void
long_lines_leave_a_gap(void **state)
{
	struct place *p = *state;
	struct buf text = {0};
	const char *data;
	struct reader *r;
	uint64_t offset;
	size_t len;

	buf_adds(&text, "before\n");
	buf_reserve(&text, 2 * LINE_MAX_BYTES);
	memset(text.p + text.len, 'a', 2 * LINE_MAX_BYTES);
	text.len += 2 * LINE_MAX_BYTES;
	buf_adds(&text, "\nafter\n");
	put_file(p, text.p, text.len);
	r = reader_open(p->path, NULL);
	assert_non_null(r);
	assert_int_equal(reader_next(r, &data, &len, &offset, NULL), 1);
	assert_false(reader_gap(r));
	assert_int_equal(reader_next(r, &data, &len, &offset, NULL), 1);
	assert_memory_equal(data, "after\n", 6);
	assert_true(reader_gap(r));
	assert_int_equal(reader_next(r, &data, &len, &offset, NULL), 0);
	assert_false(reader_gap(r));
	reader_close(r);
	buf_free(&text);
}

static void
nuls_before_a_line_are_dropped(void **state)
{
	static const char text[] = "\0\0\0one\n\0two\n\0\0th\0ree\n";
	struct buf all;

	put_file(*state, text, sizeof(text) - 1);
	all = read_file(*state);
	assert_text(&all, "one\n\0two\n\0\0th\0ree\n", sizeof(text) - 1 - 3);
}

/* ---- compressed -------------------------------------------------------------- */

static void
put_gzip(const struct place *p, const struct buf *text, const char *mode)
{
	gzFile gz = gzopen(p->path, mode);

	assert_non_null(gz);
	assert_int_equal(gzwrite(gz, text->p, (unsigned)text->len), text->len);
	assert_int_equal(gzclose(gz), Z_OK);
}

static void
gzip_file(void **state)
{
	struct buf text = numbered_lines(20000), all;

	put_gzip(*state, &text, "w");
	all = read_file(*state);
	assert_text(&all, text.p, text.len);
	buf_free(&text);
}

static void
gzip_members(void **state)
{
	struct buf text = numbered_lines(3000), all;

	put_gzip(*state, &text, "w");
	put_gzip(*state, &text, "a");
	all = read_file(*state);
	assert_int_equal(all.len, 2 * text.len);
	assert_memory_equal(all.p, text.p, text.len);
	assert_memory_equal(all.p + text.len, text.p, text.len);
	buf_free(&all);
	buf_free(&text);
}

static void
zstd_file(void **state)
{
	struct buf text = numbered_lines(20000), all;
	size_t size = ZSTD_compressBound(text.len), len;
	char *packed = xmalloc(2 * size);

	len = ZSTD_compress(packed, size, text.p, text.len, 3);
	assert_false(ZSTD_isError(len));
	memcpy(packed + len, packed, len);
	put_file(*state, packed, 2 * len);
	all = read_file(*state);
	assert_int_equal(all.len, 2 * text.len);
	assert_memory_equal(all.p, text.p, text.len);
	assert_memory_equal(all.p + text.len, text.p, text.len);
	buf_free(&all);
	buf_free(&text);
	free(packed);
}

static void
xz_file(void **state)
{
	struct buf text = numbered_lines(20000), all;
	size_t size = lzma_stream_buffer_bound(text.len), len = 0;
	uint8_t *packed = xmalloc(2 * size);

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC64, NULL,
			     (const uint8_t *)text.p, text.len, packed, &len, size),
	    LZMA_OK);
	memcpy(packed + len, packed, len);
	put_file(*state, packed, 2 * len);
	all = read_file(*state);
	assert_int_equal(all.len, 2 * text.len);
	assert_memory_equal(all.p + text.len, text.p, text.len);
	buf_free(&all);
	buf_free(&text);
	free(packed);
}

/* A compressed file that is cut anywhere gives an error, and no other lines. */
static void
compressed_and_cut(void **state)
{
	struct place *p = *state;
	struct buf text = numbered_lines(300), all = {0};
	char packed[16 * 1024];
	struct err e = {0};
	const char *data;
	struct reader *r;
	uint64_t offset;
	size_t len, cut;
	ssize_t n;
	int fd, got;

	put_gzip(p, &text, "w");
	fd = open(p->path, O_RDONLY);
	assert_int_not_equal(fd, -1);
	n = read(fd, packed, sizeof(packed));
	(void)close(fd);
	assert_in_range(n, 500, sizeof(packed) - 1);
	for (cut = (size_t)n - 1; cut > 3; cut -= 1 + cut / 50) {
		put_file(p, packed, cut);
		r = reader_open(p->path, &e);
		assert_non_null(r);
		buf_reset(&all);
		while ((got = reader_next(r, &data, &len, &offset, &e)) == 1)
			buf_add(&all, data, len);
		assert_int_equal(got, -1);
		assert_non_null(strstr(e.text, "cut short"));
		assert_in_range(all.len, 0, text.len);
		if (all.len > 0)
			assert_memory_equal(all.p, text.p, all.len);
		reader_close(r);
	}
	buf_free(&all);
	buf_free(&text);
}

static void
compressed_and_damaged(void **state)
{
	static const char bad[] = "\x1f\x8b\x08\0\0\0\0\0\0\0\xff\xff\xff\xff";
	struct place *p = *state;
	struct err e = {0};
	const char *data;
	struct reader *r;
	uint64_t offset;
	size_t len;

	put_file(p, bad, sizeof(bad) - 1);
	r = reader_open(p->path, &e);
	assert_non_null(r);
	assert_int_equal(reader_next(r, &data, &len, &offset, &e), -1);
	assert_non_null(strstr(e.text, "gzip"));
	reader_close(r);
}

/* ---- the window by itself ------------------------------------------------------ */

static void
add(struct lines *l, const char *p, size_t len)
{
	size_t room, n;
	char *to;

	while (len > 0) {
		to = lines_room(l, &room);
		n = len < room ? len : room;
		memcpy(to, p, n);
		lines_added(l, n);
		p += n;
		len -= n;
	}
}

/* Add a piece and take out what is complete. */
static void
add_and_take(struct lines *l, const char *p, size_t len, struct buf *out, uint64_t *next)
{
	const char *data;
	uint64_t offset;
	size_t n;

	add(l, p, len);
	while (lines_whole(l, &data, &n, &offset) == 1) {
		assert_int_equal(offset, *next);
		assert_int_equal(data[n - 1], '\n');
		buf_add(out, data, n);
		*next = offset + n;
		lines_take(l, *next);
	}
}

/* Cut the stream at every two places: the lines are the same. */
static void
cut_at_every_byte(void **state)
{
	static const char text[] = "one\n\n\r\nfour \xff\nlast but one\nrest";
	const size_t len = sizeof(text) - 1, whole = len - 4;
	size_t i, j;

	(void)state;
	for (i = 0; i <= len; i++) {
		for (j = i; j <= len; j++) {
			struct lines l = {0};
			struct buf out = {0};
			const char *data;
			uint64_t next = 1000, offset;
			size_t n;

			lines_begin(&l, next);
			add_and_take(&l, text, i, &out, &next);
			lines_trim(&l);
			add_and_take(&l, text + i, j - i, &out, &next);
			add_and_take(&l, text + j, len - j, &out, &next);
			assert_text(&out, text, whole);
			assert_int_equal(lines_rest(&l, &data, &n, &offset), 1);
			assert_int_equal(offset, 1000 + whole);
			assert_int_equal(n, 4);
			assert_memory_equal(data, "rest", 4);
			lines_free(&l);
		}
	}
}

/* Memory stays what it is while a line without end goes by; the bytes before are kept. */
static void
endless_line(void **state)
{
	static char block[64 * 1024];
	struct lines l = {0};
	struct buf out = {0};
	uint64_t next = 0;
	unsigned i;
	size_t cap;

	(void)state;
	memset(block, 'x', sizeof(block));
	for (i = 0; i < 64; i++)
		add_and_take(&l, block, sizeof(block), &out, &next);
	cap = l.cap;
	assert_true(l.passing);
	assert_true(l.start >= GUARD_MAX);
	for (i = 0; i < 2000; i++)
		add_and_take(&l, block, sizeof(block), &out, &next);
	assert_int_equal(l.cap, cap);
	assert_in_range(cap, 0, LINE_MAX_BYTES + 64 * 1024);
	assert_int_equal(out.len, 0);
	assert_int_equal(l.long_lines, 1);
	next = 2064 * sizeof(block) + 2;
	add_and_take(&l, "x\nend\nre", 8, &out, &next);
	assert_text(&out, "end\n", 4);
	assert_int_equal(lines_start(&l), next);
	assert_int_equal(l.long_lines, 1);
	lines_free(&l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_file),
	    cmocka_unit_test(empty_file),
	    cmocka_unit_test(last_line_without_newline),
	    cmocka_unit_test(time_of_the_file),
	    cmocka_unit_test(what_cannot_be_opened),
	    cmocka_unit_test(standard_input),
	    cmocka_unit_test(long_lines_are_passed_over),
	    cmocka_unit_test(last_line_of_the_limit),
	    cmocka_unit_test(long_lines_leave_a_gap),
	    cmocka_unit_test(nuls_before_a_line_are_dropped),
	    cmocka_unit_test(gzip_file),
	    cmocka_unit_test(gzip_members),
	    cmocka_unit_test(zstd_file),
	    cmocka_unit_test(xz_file),
	    cmocka_unit_test(compressed_and_cut),
	    cmocka_unit_test(compressed_and_damaged),
	    cmocka_unit_test(cut_at_every_byte),
	    cmocka_unit_test(endless_line),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_place, remove_place);
}

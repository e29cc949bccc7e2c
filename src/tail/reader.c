#include "tail/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/lines.h"
#include "tail/stream.h"

struct reader {
	struct stream *stream;
	struct lines lines;
	uint64_t long_lines; /* before the newest chunk was looked for */
	uint64_t size;
	int64_t mtime_ms;
	bool ended;
};

static int64_t
ms_of(struct timespec ts)
{
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* -1 on error.  A directory is told at once, and not by a read that fails. */
static int
open_path(struct reader *r, const char *path, struct err *e)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd == -1)
		return err_errno(e, "cannot open %s", path);
	if (fstat(fd, &st) == -1) {
		(void)err_errno(e, "cannot look at %s", path);
		goto close_fd;
	}
	if (S_ISDIR(st.st_mode)) {
		(void)err_set(e, "cannot read %s: it is a directory", path);
		goto close_fd;
	}
	if (S_ISREG(st.st_mode)) {
		r->size = (uint64_t)st.st_size;
		r->mtime_ms = ms_of(st.st_mtim);
	}
	return fd;

close_fd:
	(void)close(fd);
	return -1;
}

static int
open_stdin(struct err *e)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);

	if (fd == -1)
		return err_errno(e, "cannot read standard input");
	return fd;
}

struct reader *
reader_open(const char *path, struct err *e)
{
	struct reader *r = xcalloc(1, sizeof(*r));
	bool is_stdin = strcmp(path, "-") == 0;
	struct timespec now;
	int fd;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	r->mtime_ms = ms_of(now);
	fd = is_stdin ? open_stdin(e) : open_path(r, path, e);
	if (fd == -1)
		goto close;
	r->stream = stream_open(fd, is_stdin ? "standard input" : path, e);
	if (r->stream == NULL)
		goto close;
	return r;

close:
	reader_close(r);
	return NULL;
}

void
reader_close(struct reader *r)
{
	if (r == NULL)
		return;
	stream_close(r->stream);
	lines_free(&r->lines);
	free(r);
}

/* 1 where bytes came, 0 at the end, -1 on error. */
static int
fill(struct reader *r, struct err *e)
{
	size_t room, len;
	char *p = lines_room(&r->lines, &room);
	int got = stream_read(r->stream, p, room, &len, e);

	lines_added(&r->lines, len);
	return got;
}

int
reader_next(struct reader *r, const char **data_r, size_t *len_r, uint64_t *offset_r,
    struct err *e)
{
	int got;

	r->long_lines = r->lines.long_lines;
	lines_take(&r->lines, r->lines.base + r->lines.whole);
	while (lines_whole(&r->lines, data_r, len_r, offset_r) == 0) {
		if (r->ended)
			return 0;
		got = fill(r, e);
		if (got == -1)
			return -1;
		if (got == 0) {
			r->ended = true;
			got = lines_rest(&r->lines, data_r, len_r, offset_r);
			lines_take(&r->lines, lines_end(&r->lines));
			return got;
		}
	}
	return 1;
}

bool
reader_gap(const struct reader *r)
{
	return r->lines.long_lines != r->long_lines;
}

int64_t
reader_mtime_ms(const struct reader *r)
{
	return r->mtime_ms;
}

uint64_t
reader_size(const struct reader *r)
{
	return r->size;
}

uint64_t
reader_consumed(const struct reader *r)
{
	return stream_consumed(r->stream);
}

uint64_t
reader_long_lines(const struct reader *r)
{
	return r->lines.long_lines;
}

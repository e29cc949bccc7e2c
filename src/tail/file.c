#include "tail/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "tail/content.h"
#include "tail/stream.h"
#include "tail/tail.h"

#define SKIP_SHARE (64 * 1024) /* bytes unpacked in one call, to be forgotten */

/* ---- making and opening ------------------------------------------------------ */

static uint64_t
new_key(void)
{
	uint64_t key = 0;

	while (key == 0)
		if (getrandom(&key, sizeof(key), 0) != sizeof(key))
			key = 0;
	return key;
}

struct file *
file_new(uint64_t generation)
{
	struct file *f = xcalloc(1, sizeof(*f));

	f->cp.file = new_key();
	f->cp.generation = generation;
	f->cp.last_ts = INT64_MIN;
	f->blank = true;
	f->cp.path = xstrdup("");
	f->fd = -1;
	return f;
}

struct file *
file_of(const struct checkpoint *cp)
{
	struct file *f = xcalloc(1, sizeof(*f));

	f->blank = cp->offset == 0 && !cp->finished;
	f->cp = *cp;
	f->cp.path = xstrdup(cp->path != NULL ? cp->path : "");
	f->fd = -1;
	f->pos = cp->resume < cp->offset ? cp->resume : cp->offset;
	f->size = cp->offset;
	f->mtime_ns = INT64_MIN;
	lines_begin(&f->lines, f->pos);
	return f;
}

void
file_free(struct file *f)
{
	if (f == NULL)
		return;
	file_drop(f);
	lines_free(&f->lines);
	free(f->cp.path);
	free(f);
}

bool
file_unread(const struct file *f)
{
	return !f->cp.finished || f->pos < f->cp.offset || f->fd != -1 ||
	    f->stream != NULL;
}

bool
file_deleted(const struct file *f, uint64_t *size_r)
{
	struct stat st;

	if (f->fd == -1 || fstat(f->fd, &st) == -1 || st.st_nlink > 0)
		return false;
	*size_r = (uint64_t)st.st_size;
	return true;
}

bool
file_awaited(const struct file *f)
{
	return f->source == FILE_UNSOUGHT && file_unread(f);
}

void
file_restart(struct file *f)
{
	f->cp.id.head_len = 0;
	lines_begin(&f->lines, 0);
	f->at_end = f->cut = false;
	/* An error comes again when it is read. */
	(void)identity_head(f->fd, &f->cp.id);
}

void
file_set_path(struct file *f, const char *path)
{
	char *copy;

	if (strcmp(f->cp.path, path) == 0)
		return;
	copy = xstrdup(path);
	free(f->cp.path);
	f->cp.path = copy;
}

/*
 * Who may write into a directory on the way may put a link there to a file that
 * only we can read.  So a link counts only where its owner is root, ourselves,
 * or owner of the file too.  What was opened must be where they end, for they
 * may have led elsewhere a moment ago.
 */
static int
check_links(const char *path, const struct file_facts *opened)
{
	char *at = xstrdup(path), *next;
	struct file_facts facts;
	int rc = -1, i;

	errno = ELOOP;
	for (i = 0; i <= LINKS_MAX && identity_stat(at, false, &facts) == 0; i++) {
		if (!S_ISLNK(facts.mode)) {
			rc = identity_same_inode(&facts.id, &opened->id) ? 0 : -1;
			errno = ENOENT;
			break;
		}
		if (facts.uid != 0 && facts.uid != geteuid() &&
		    facts.uid != opened->uid) {
			errno = EPERM;
			break;
		}
		next = identity_link_target(at);
		if (next == NULL)
			break;
		free(at);
		at = next;
	}
	free(at);
	return rc;
}

int
file_open_path(const char *path, struct file_facts *facts_r)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY), error;
	char first;

	if (fd == -1)
		return -1;
	if (identity_fstat(fd, facts_r) == -1)
		goto close_fd;
	if (!S_ISREG(facts_r->mode)) {
		errno = EINVAL;
		goto close_fd;
	}
	if (check_links(path, facts_r) == -1)
		goto close_fd;
	/* What can't be read must not be taken for a file with other bytes. */
	if (read_at(fd, &first, 1, 0) == -1)
		goto close_fd;
	return fd;

close_fd:
	error = errno;
	(void)close(fd);
	errno = error;
	return -1;
}

void
file_drop(struct file *f)
{
	if (f->fd != -1)
		(void)close(f->fd);
	stream_close(f->stream);
	f->fd = -1;
	f->stream = NULL;
	f->cut = false;
}

static void
put_guard(struct checkpoint *cp, const struct guard *g)
{
	cp->guard_len = g->len;
	memcpy(cp->guard, g->hash, HASH_SIZE);
}

/* ---- is it as it was? ------------------------------------------------------------ */

bool
file_was_cut(const struct file *f)
{
	const struct lines *l = &f->lines;
	size_t len = l->end < GUARD_MAX ? l->end : GUARD_MAX;

	if (f->cut || content_is(f->fd, &f->cp) == 0)
		return true;
	return len > 0 &&
	    content_has_bytes(f->fd, lines_end(l) - len, l->data + l->end - len, len) ==
	    0;
}

/* ---- taking a source ------------------------------------------------------------- */

static void
see(struct file *f, const struct stat *st)
{
	f->size = (uint64_t)st->st_size;
	f->mtime_ns = st->st_mtim.tv_sec * 1000000000LL + st->st_mtim.tv_nsec;
}

static void
take_facts(struct file *f, const struct file_facts *facts)
{
	f->cp.id.dev = facts->id.dev;
	f->cp.id.ino = facts->id.ino;
	f->cp.id.btime_ns = facts->id.btime_ns;
	f->size = facts->size;
	f->mtime_ns = facts->mtime_ns;
}

static int
take_packed(struct file *f, int fd, const char *path, struct err *e)
{
	char p[FINGERPRINT_MAX];

	/* One that is met compressed for the first time gets its fingerprint at once. */
	if (f->cp.id.head_len == 0)
		identity_set_head(&f->cp.id, p, content_head(fd, path, p, sizeof(p)));
	f->stream = content_stream(fd, path, e);
	(void)close(fd);
	if (f->stream == NULL)
		return -1;
	f->skip = f->pos;
	f->source = FILE_PACKED;
	return 0;
}

/*
 * What is in the window was read from another file of the same bytes, or from
 * before a truncation; it is read again.  The guard before pos is known only
 * where pos is the position of the last run.
 */
int
file_take(struct file *f, int fd, const char *path, struct err *e)
{
	struct file_facts facts;

	if (identity_fstat(fd, &facts) == -1) {
		(void)close(fd);
		return err_errno(e, "cannot look at %s", path);
	}
	file_drop(f);
	take_facts(f, &facts);
	file_set_path(f, path);
	f->at_end = false;
	f->here = f->pos == f->cp.offset ? content_guard(&f->cp) : guard_of(NULL, 0);
	lines_free(&f->lines);
	lines_begin(&f->lines, f->pos);
	if (content_packed(fd))
		return take_packed(f, fd, path, e);
	f->fd = fd;
	f->source = FILE_PLAIN;
	/* An error comes again when it is read. */
	if (f->cp.id.head_len == 0)
		(void)identity_head(fd, &f->cp.id);
	return 0;
}

/* The position is the byte offset, and the guard what stands before it. */
static int
put_position(struct file *f, uint64_t offset, struct err *e)
{
	char p[GUARD_MAX];
	size_t len = offset < GUARD_MAX ? (size_t)offset : GUARD_MAX;
	ssize_t n = read_at(f->fd, p, len, offset - len);

	if (n == -1)
		return err_errno(e, "cannot read %s", f->cp.path);
	f->pos = f->cp.offset = f->cp.resume = offset;
	f->here = guard_of(p, n < (ssize_t)len ? 0 : len);
	put_guard(&f->cp, &f->here);
	lines_begin(&f->lines, f->pos);
	f->blank = f->pos == 0;
	return 0;
}

/* The position becomes the end of what is there, so that this is known for f later. */
int
file_take_shorter(struct file *f, int fd, const char *path, struct err *e)
{
	struct file_facts facts;
	uint64_t again = f->pos;

	f->shorter = true;
	if (identity_fstat(fd, &facts) == -1) {
		(void)close(fd);
		return err_errno(e, "cannot look at %s", path);
	}
	if (facts.size < f->cp.id.head_len && !content_packed(fd))
		f->cp.id.head_len = 0;
	if (file_take(f, fd, path, e) == -1 ||
	    (f->source == FILE_PLAIN && put_position(f, facts.size, e) == -1))
		return -1;
	f->cp.finished = true;
	if (again >= f->cp.offset) {
		file_finish(f);
		return 0;
	}
	f->pos = f->cp.resume = again;
	f->here = guard_of(NULL, 0);
	if (f->source == FILE_PLAIN)
		lines_begin(&f->lines, again);
	return 0;
}

/* What can't be read is known by less: it is none of ours anyway. */
void
file_pass(struct file *f, int fd, const struct file_facts *facts, const char *path)
{
	struct err e;

	take_facts(f, facts);
	file_set_path(f, path);
	if (fd == -1)
		f->pos = f->cp.offset = f->cp.resume = facts->size;
	else if (file_take(f, fd, path, &e) == 0 && f->source == FILE_PLAIN)
		(void)put_position(f, f->size, &e);
	f->blank = false;
	file_finish(f);
}

/* Where does the line begin that the byte before end belongs to? */
static int64_t
line_start(int fd, uint64_t end)
{
	char p[16 * 1024];
	uint64_t at = end;
	const char *newline;
	size_t len;
	ssize_t n;

	while (at > 0 && end - at < LINE_MAX_BYTES) {
		len = at < sizeof(p) ? (size_t)at : sizeof(p);
		at -= len;
		n = read_at(fd, p, len, at);
		if (n == -1)
			return -1;
		newline = memrchr(p, '\n', (size_t)n);
		if (newline != NULL)
			return (int64_t)at + (newline - p) + 1;
	}
	return at == 0 ? 0 : (int64_t)end;
}

int
file_to_end(struct file *f, struct err *e)
{
	int64_t start;

	if (f->source != FILE_PLAIN)
		return 0;
	start = line_start(f->fd, f->size);
	if (start == -1)
		return err_errno(e, "cannot read %s", f->cp.path);
	return put_position(f, (uint64_t)start, e);
}

/* ---- reading ------------------------------------------------------------------------ */

void
file_wake(struct file *f)
{
	f->at_end = false;
}

/*
 * The fingerprint grows with the file.  Bytes that are in the window are taken
 * from there: in the file they may be others by now.
 */
static void
grow_head(struct file *f)
{
	if (f->cp.id.head_len == FINGERPRINT_MAX || f->size <= f->cp.id.head_len)
		return;
	if (f->lines.base > 0 || f->lines.end < f->cp.id.head_len) {
		(void)identity_head(f->fd, &f->cp.id);
		return;
	}
	identity_set_head(&f->cp.id, f->lines.data, f->lines.end);
}

/*
 * Begin a window: with the bytes before pos, or at the file's first byte with
 * those that its fingerprint knows.
 */
static enum file_answer
read_first(struct file *f)
{
	struct guard known = f->here;
	size_t room;
	char *p;
	ssize_t n;

	if (f->pos == 0) {
		known.len = f->cp.id.head_len;
		memcpy(known.hash, f->cp.id.head, HASH_SIZE);
	}
	lines_begin(&f->lines, f->pos - (f->pos == 0 ? 0 : known.len));
	p = lines_room(&f->lines, &room);
	n = read_at(f->fd, p, room, f->lines.base);
	if (n == -1)
		return FILE_BROKEN;
	if (!guard_holds(&known, p, (size_t)n)) {
		lines_begin(&f->lines, f->pos);
		return FILE_CUT;
	}
	lines_added(&f->lines, (size_t)n);
	lines_take(&f->lines, f->pos);
	f->at_end = (size_t)n < room;
	return lines_end(&f->lines) > f->pos ? FILE_LINES : FILE_AT_END;
}

/* Go on behind the window's end; the bytes before that are read once more and compared. */
static enum file_answer
read_on(struct file *f)
{
	char again[GUARD_MAX];
	size_t room, overlap;
	char *p = lines_room(&f->lines, &room);
	struct iovec parts[2] = {{again, 0}, {p, room}};
	ssize_t n;

	overlap = f->lines.end < GUARD_MAX ? f->lines.end : GUARD_MAX;
	parts[0].iov_len = overlap;
	do {
		n = preadv(f->fd, parts, 2, (off_t)(lines_end(&f->lines) - overlap));
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return FILE_BROKEN;
	if ((size_t)n < overlap || memcmp(again, p - overlap, overlap) != 0)
		return FILE_CUT;
	lines_added(&f->lines, (size_t)n - overlap);
	f->at_end = (size_t)n < overlap + room;
	return (size_t)n > overlap ? FILE_LINES : FILE_AT_END;
}

/* A hole of gigabytes is passed in one step. */
static void
pass_hole(struct file *f)
{
	off_t data;

	if (f->lines.start < f->lines.end || f->lines.end == 0 || f->lines.passing ||
	    f->lines.data[f->lines.end - 1] != '\0')
		return;
	data = lseek(f->fd, (off_t)lines_end(&f->lines), SEEK_DATA);
	if (data != -1 && (uint64_t)data > lines_end(&f->lines))
		lines_begin(&f->lines, (uint64_t)data);
}

/* The end of a line that was too long: what is behind it does not need it any more. */
static void
pass_long_line(struct file *f)
{
	const struct lines *l = &f->lines;
	size_t len = l->start < GUARD_MAX ? l->start : GUARD_MAX;

	f->blank = false;
	f->pos = lines_start(l);
	f->here = guard_of(l->data + l->start - len, len);
	if (f->pos > f->cp.offset) {
		f->cp.offset = f->pos;
		put_guard(&f->cp, &f->here);
	}
}

/*
 * The bytes before the last reading agree; do others, too?  What is read again
 * begins before the position, where no guard is known: that before the position
 * tells.  And within a long line of one character all bytes agree: those before
 * the line tell.
 */
static bool
is_of_another(const struct file *f)
{
	const struct guard guard = content_guard(&f->cp);

	if (f->pos < f->cp.offset)
		return identity_guard(f->fd, f->cp.offset, &guard) == 0;
	return lines_end(&f->lines) - f->pos > GUARD_MAX &&
	    identity_guard(f->fd, f->pos, &f->here) == 0;
}

static enum file_answer
read_plain(struct file *f)
{
	bool passing = f->lines.passing;
	enum file_answer answer;
	struct stat st;

	if (f->lines.data == NULL || (f->lines.end == 0 && f->lines.base == f->pos))
		answer = read_first(f);
	else
		answer = read_on(f);
	if (answer == FILE_CUT || answer == FILE_BROKEN)
		return answer;
	if (is_of_another(f)) {
		lines_begin(&f->lines, f->pos);
		return FILE_CUT;
	}
	/* That one was emptied again unread a look must see, not we. */
	if ((answer == FILE_LINES || !f->blank) && fstat(f->fd, &st) == 0)
		see(f, &st);
	if (answer == FILE_LINES)
		grow_head(f);
	if (passing && !f->lines.passing)
		pass_long_line(f);
	return answer;
}

/* Gigabytes may stand before the position, and others wait for their turn. */
static enum file_answer
skip_share(struct file *f, struct err *e)
{
	uint64_t share = f->skip < SKIP_SHARE ? f->skip : SKIP_SHARE;
	int got = stream_skip(f->stream, share, e);

	if (got == -1)
		return FILE_BROKEN;
	f->skip = got == 0 ? 0 : f->skip - share;
	return FILE_SKIPS;
}

static enum file_answer
read_packed(struct file *f, struct err *e)
{
	size_t room, len;
	char *p = lines_room(&f->lines, &room);
	int got = stream_read(f->stream, p, room, &len, e);

	if (got == -1)
		return FILE_BROKEN;
	lines_added(&f->lines, len);
	f->at_end = got == 0;
	return got == 0 ? FILE_AT_END : FILE_LINES;
}

/*
 * At the end nothing needs memory but an unfinished line, and the place behind
 * what is passed over: NULs, a line that is too long.
 */
static void
rest_at_end(struct file *f)
{
	if (f->lines.start == f->lines.end && lines_start(&f->lines) == f->pos)
		lines_free(&f->lines);
	else
		lines_trim(&f->lines);
}

/*
 * What is left of a file that can't grow: its last line, whole or not; but for
 * one that went on where we can't see it.
 */
static enum file_answer
last_rest(struct file *f, struct piece *p_r)
{
	p_r->final = true;
	if (f->source != FILE_LOST && !f->shorter && f->lines.data != NULL &&
	    !f->lines.passing &&
	    lines_rest(&f->lines, &p_r->data, &p_r->len, &p_r->offset) == 1)
		return FILE_LINES;
	return FILE_AT_END;
}

enum file_answer
file_next(struct file *f, bool final, struct piece *p_r, struct err *e)
{
	enum file_answer answer;

	p_r->final = false;
	for (;;) {
		if (f->lines.data != NULL &&
		    lines_whole(&f->lines, &p_r->data, &p_r->len, &p_r->offset) == 1)
			return FILE_LINES;
		if (f->source == FILE_LOST || f->source == FILE_UNSOUGHT)
			return last_rest(f, p_r);
		if (f->at_end && (final || f->source == FILE_PACKED))
			return last_rest(f, p_r);
		if (f->at_end) {
			rest_at_end(f);
			return FILE_AT_END;
		}
		if (f->source == FILE_PACKED && f->skip > 0)
			return skip_share(f, e);
		if (f->source == FILE_PACKED) {
			answer = read_packed(f, e);
		} else {
			pass_hole(f);
			answer = read_plain(f);
		}
		if (answer == FILE_BROKEN && f->source == FILE_PLAIN)
			(void)err_errno(e, "cannot read %s", f->cp.path);
		if (answer == FILE_BROKEN || answer == FILE_CUT)
			return answer;
		if (answer == FILE_AT_END)
			f->at_end = true;
	}
}

size_t
file_before(const struct file *f, uint64_t offset, char *p, size_t size)
{
	const size_t len = offset < size ? (size_t)offset : size;
	struct file_facts facts;
	size_t got = 0;
	int fd = f->fd;

	if (f->source == FILE_PACKED)
		fd = file_open_path(f->cp.path, &facts);
	if (fd == -1)
		return 0;
	got = content_at(fd, f->cp.path, offset - len, p, len);
	if (fd != f->fd)
		(void)close(fd);
	return got == len ? len : 0;
}

void
file_taken(struct file *f, uint64_t offset)
{
	const struct lines *l = &f->lines;
	size_t len;

	lines_take(&f->lines, offset);
	len = l->start < GUARD_MAX ? l->start : GUARD_MAX;
	f->pos = offset;
	f->here = guard_of(l->data + l->start - len, len);
	if (f->pos > f->cp.offset) {
		f->cp.offset = f->pos;
		put_guard(&f->cp, &f->here);
	}
}

void
file_finish(struct file *f)
{
	if (f->pos < f->cp.offset)
		f->pos = f->cp.offset;
	file_drop(f);
	lines_free(&f->lines);
	f->source = FILE_UNSOUGHT;
	f->held = false;
	f->live = false;
	f->cp.finished = true;
}

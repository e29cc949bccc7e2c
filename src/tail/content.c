#include "tail/content.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "tail/identity.h"
#include "tail/stream.h"

struct guard
content_guard(const struct checkpoint *cp)
{
	struct guard g = {.len = cp->guard_len};

	memcpy(g.hash, cp->guard, HASH_SIZE);
	return g;
}

enum holding { HOLDS, DIFFERS, ENDS_BEFORE };

static enum holding
plain_holds(int fd, uint64_t at, const struct guard *g)
{
	char p[FINGERPRINT_MAX];
	struct stat st;
	ssize_t n;

	if (g->len > sizeof(p) || fstat(fd, &st) == -1)
		return DIFFERS;
	if ((uint64_t)st.st_size < at + g->len)
		return ENDS_BEFORE;
	n = read_at(fd, p, g->len, at);
	return n != -1 && guard_holds(g, p, (size_t)n) ? HOLDS : DIFFERS;
}

/* A compressed file can't be looked into elsewhere than from its beginning. */
struct stream *
content_stream(int fd, const char *path, struct err *e)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy == -1 || lseek(copy, 0, SEEK_SET) == -1) {
		(void)err_errno(e, "cannot read %s", path);
		if (copy != -1)
			(void)close(copy);
		return NULL;
	}
	return stream_open(copy, path, e);
}

/* Up to len bytes; the count. */
static size_t
read_some(struct stream *s, char *p, size_t len)
{
	size_t done = 0, n;
	int got = 1;

	while (done < len && got == 1) {
		got = stream_read(s, p + done, len - done, &n, NULL);
		done += n;
	}
	return done;
}

static enum holding
packed_holds(int fd, const char *path, uint64_t at, const struct guard *g)
{
	struct stream *s = content_stream(fd, path, NULL);
	enum holding answer = DIFFERS;
	char p[FINGERPRINT_MAX];
	int got;

	if (s == NULL || g->len > sizeof(p))
		goto close;
	got = stream_skip(s, at, NULL);
	if (got == 0 || (got == 1 && read_some(s, p, g->len) < g->len))
		answer = ENDS_BEFORE;
	else if (got == 1 && guard_holds(g, p, g->len))
		answer = HOLDS;

close:
	stream_close(s);
	return answer;
}

bool
content_packed(int fd)
{
	char head[8];
	ssize_t n = read_at(fd, head, sizeof(head), 0);

	return n > 0 && stream_is_compressed(head, (size_t)n);
}

/* The first len bytes of what is open in fd, plain or compressed, or fewer: the count. */
size_t
content_head(int fd, const char *path, char *p, size_t len)
{
	struct stream *s;
	ssize_t n;

	if (!content_packed(fd)) {
		n = read_at(fd, p, len, 0);
		return n == -1 ? 0 : (size_t)n;
	}
	s = content_stream(fd, path, NULL);
	if (s == NULL)
		return 0;
	len = read_some(s, p, len);
	stream_close(s);
	return len;
}

size_t
content_at(int fd, const char *path, uint64_t at, char *p, size_t len)
{
	struct stream *s;
	ssize_t n;

	if (!content_packed(fd)) {
		n = read_at(fd, p, len, at);
		return n == -1 ? 0 : (size_t)n;
	}
	s = content_stream(fd, path, NULL);
	len = s != NULL && stream_skip(s, at, NULL) == 1 ? read_some(s, p, len) : 0;
	stream_close(s);
	return len;
}

static bool
has_fingerprint(const struct file_identity *id, const char *p, size_t len)
{
	struct guard head = {.len = id->head_len};

	memcpy(head.hash, id->head, HASH_SIZE);
	return head.len > 0 && guard_holds(&head, p, len);
}

bool
content_has_head(int fd, const char *path, const struct checkpoint *cp)
{
	char p[FINGERPRINT_MAX];

	return has_fingerprint(&cp->id, p, content_head(fd, path, p, sizeof(p)));
}

bool
content_ends_at(int fd, const char *path, uint64_t offset)
{
	char p[FINGERPRINT_MAX];

	return content_head(fd, path, p, sizeof(p)) == offset;
}

bool
content_begin_alike(
    int fd, const char *path, int other, const char *other_path, size_t len)
{
	char a[FINGERPRINT_MAX], b[FINGERPRINT_MAX];

	if (len > FINGERPRINT_MAX)
		len = FINGERPRINT_MAX;
	return content_head(fd, path, a, len) == len &&
	    content_head(other, other_path, b, len) == len && memcmp(a, b, len) == 0;
}

enum content_copy
content_copied(int fd, const char *path, const struct checkpoint *cp)
{
	const struct guard guard = content_guard(cp);
	bool packed = content_packed(fd);
	uint64_t at = cp->offset - guard.len;
	char p[FINGERPRINT_MAX];
	size_t len = content_head(fd, path, p, sizeof(p));
	enum holding answer;

	if (identity_begins(&cp->id, p, len))
		return COPY_BRIEF;
	if (!has_fingerprint(&cp->id, p, len))
		return COPY_NONE;
	answer =
	    packed ? packed_holds(fd, path, at, &guard) : plain_holds(fd, at, &guard);
	if (answer == DIFFERS)
		return COPY_NONE;
	return answer == HOLDS ? COPY_WHOLE : COPY_SHORT;
}

int
content_is(int fd, const struct checkpoint *cp)
{
	struct file_identity id = cp->id;
	const struct guard guard = content_guard(cp);
	struct stat st;
	int got;

	/* Where nothing of it is to be read, it is not unpacked to its end. */
	if (content_packed(fd))
		return cp->finished ? content_has_head(fd, cp->path, cp)
				    : content_copied(fd, cp->path, cp) == COPY_WHOLE;
	if (fstat(fd, &st) == -1)
		return -1;
	if ((uint64_t)st.st_size < cp->offset)
		return 0;
	got = identity_head(fd, &id);
	if (got != 1)
		return got;
	return identity_guard(fd, cp->offset, &guard);
}

int
content_has_bytes(int fd, uint64_t at, const char *p, size_t len)
{
	char there[FINGERPRINT_MAX];
	ssize_t n = read_at(fd, there, len, at);

	if (n == -1)
		return -1;
	return n == (ssize_t)len && memcmp(there, p, len) == 0;
}

static bool
is_nul(const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (p[i] != '\0')
			return false;
	return true;
}

/* Does whole hold the same len bytes at this place as fd does? */
static int
agree_at(int whole, int fd, uint64_t at, size_t len)
{
	char p[FINGERPRINT_MAX];
	ssize_t n = read_at(fd, p, len, at);

	if (n == -1)
		return -1;
	return n > 0 ? content_has_bytes(whole, at, p, (size_t)n) : 0;
}

/* Do the first size bytes of both agree?  Of a hole these are read fast enough. */
static int
agree(int whole, int fd, uint64_t size)
{
	uint64_t at;
	int got = 1;

	for (at = 0; got == 1 && at < size; at += FINGERPRINT_MAX)
		got = agree_at(whole, fd, at, FINGERPRINT_MAX);
	return got;
}

/* Does the file end in len bytes of NUL? */
static bool
ends_in_nul(int fd, uint64_t size, size_t len)
{
	char p[GUARD_MAX];

	return read_at(fd, p, len, size - len) == (ssize_t)len && is_nul(p, len);
}

/* The ends tell, but for those of sparse files. */
static int
begins_with_plain(int whole, int fd)
{
	struct stat st;
	uint64_t size;
	size_t tail;
	int got;

	if (fstat(fd, &st) == -1)
		return -1;
	if (st.st_size == 0)
		return 0;
	size = (uint64_t)st.st_size;
	tail = size < GUARD_MAX ? (size_t)size : GUARD_MAX;
	got = agree_at(whole, fd, 0, FINGERPRINT_MAX);
	if (got == 1)
		got = agree_at(whole, fd, size - tail, tail);
	if (got == 1 && ends_in_nul(fd, size, tail))
		got = agree(whole, fd, size);
	return got;
}

/* Its size is known only at its end, so each piece of it is compared. */
static int
begins_with_packed(int whole, int fd)
{
	struct stream *s = content_stream(fd, "", NULL);
	char p[FINGERPRINT_MAX];
	uint64_t at = 0;
	bool same = s != NULL;
	size_t n;

	do {
		n = s == NULL ? 0 : read_some(s, p, sizeof(p));
		same = same && content_has_bytes(whole, at, p, n) == 1;
		at += n;
	} while (same && n == sizeof(p));
	stream_close(s);
	return same && at > 0;
}

int
content_begins_with(int whole, int fd)
{
	return content_packed(fd) ? begins_with_packed(whole, fd)
				  : begins_with_plain(whole, fd);
}

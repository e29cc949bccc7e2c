#include "tail/stream.h"

#include <errno.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"

#define INPUT_SIZE (64 * 1024)
#define XZ_MEMORY (256ULL * 1024 * 1024) /* a preset of -9 needs 65 MiB */
#define ZSTD_WINDOW_LOG 27               /* 128 MiB, the format's own default bound */

/*
 * A way to decompress.  step takes from the input and puts into p: 1 where it
 * may go on, 0 where one member ended behind which another may begin, -1 and
 * a sentence where the data is bad.
 */
struct codec {
	const char *name;
	const char *magic;
	size_t magic_len;
	void *(*begin)(void);
	int (*step)(
	    struct stream *s, char *p, size_t size, size_t *len_r, const char **why_r);
	void (*end)(void *state);
};

struct stream {
	int fd;
	char *name;
	const struct codec *codec; /* NULL: plain */
	void *state;
	unsigned char input[INPUT_SIZE];
	size_t in_start, in_end;
	bool file_ended;
	bool between; /* no member is open */
	uint64_t consumed;
};

/* ---- gzip ------------------------------------------------------------------ */

static void *
gzip_begin(void)
{
	z_stream *z = xcalloc(1, sizeof(*z));

	if (inflateInit2(z, 16 + MAX_WBITS) != Z_OK)
		mem_exhausted();
	return z;
}

static int
gzip_step(struct stream *s, char *p, size_t size, size_t *len_r, const char **why_r)
{
	z_stream *z = s->state;
	int got;

	z->next_in = s->input + s->in_start;
	z->avail_in = (uInt)(s->in_end - s->in_start);
	z->next_out = (Bytef *)p;
	z->avail_out = (uInt)size;
	got = inflate(z, Z_NO_FLUSH);
	s->in_start = s->in_end - z->avail_in;
	*len_r = size - z->avail_out;
	if (got == Z_STREAM_END) {
		(void)inflateReset(z);
		return 0;
	}
	if (got == Z_OK || got == Z_BUF_ERROR)
		return 1;
	*why_r = z->msg != NULL ? z->msg : "damaged data";
	return -1;
}

static void
gzip_end(void *state)
{
	(void)inflateEnd(state);
	free(state);
}

/* ---- zstd ------------------------------------------------------------------ */

static void *
zstd_begin(void)
{
	ZSTD_DCtx *z = ZSTD_createDCtx();

	if (z == NULL ||
	    ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
		mem_exhausted();
	return z;
}

static int
zstd_step(struct stream *s, char *p, size_t size, size_t *len_r, const char **why_r)
{
	ZSTD_inBuffer in = {s->input, s->in_end, s->in_start};
	ZSTD_outBuffer out = {p, size, 0};
	size_t got = ZSTD_decompressStream(s->state, &out, &in);

	s->in_start = in.pos;
	*len_r = out.pos;
	if (!ZSTD_isError(got))
		return got == 0 ? 0 : 1;
	*why_r = ZSTD_getErrorName(got);
	return -1;
}

static void
zstd_end(void *state)
{
	(void)ZSTD_freeDCtx(state);
}

/* ---- xz -------------------------------------------------------------------- */

static void *
xz_begin(void)
{
	lzma_stream *z = xcalloc(1, sizeof(*z));

	if (lzma_stream_decoder(z, XZ_MEMORY, LZMA_CONCATENATED) != LZMA_OK)
		mem_exhausted();
	return z;
}

/* lzma joins members by itself, and must be told where the file ends. */
static int
xz_step(struct stream *s, char *p, size_t size, size_t *len_r, const char **why_r)
{
	lzma_stream *z = s->state;
	lzma_ret got;

	z->next_in = s->input + s->in_start;
	z->avail_in = s->in_end - s->in_start;
	z->next_out = (uint8_t *)p;
	z->avail_out = size;
	got = lzma_code(z, s->file_ended ? LZMA_FINISH : LZMA_RUN);
	s->in_start = s->in_end - z->avail_in;
	*len_r = size - z->avail_out;
	if (got == LZMA_STREAM_END)
		return 0;
	if (got == LZMA_OK || got == LZMA_BUF_ERROR)
		return 1;
	*why_r = got == LZMA_MEMLIMIT_ERROR ? "it needs too much memory" : "damaged data";
	return -1;
}

static void
xz_end(void *state)
{
	lzma_end(state);
	free(state);
}

static const struct codec codecs[] = {
    {"gzip", "\x1f\x8b\x08", 3, gzip_begin, gzip_step, gzip_end},
    {"zstd", "\x28\xb5\x2f\xfd", 4, zstd_begin, zstd_step, zstd_end},
    {"xz",
	"\xfd"
	"7zXZ\0",
	6, xz_begin, xz_step, xz_end},
};

/* ---- the stream ------------------------------------------------------------ */

static const struct codec *
codec_of(const void *head, size_t len)
{
	size_t i;

	for (i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
		if (len >= codecs[i].magic_len &&
		    memcmp(head, codecs[i].magic, codecs[i].magic_len) == 0)
			return &codecs[i];
	return NULL;
}

bool
stream_is_compressed(const void *head, size_t len)
{
	return codec_of(head, len) != NULL;
}

/* More input behind what is there; 0, or -1 on error.  At the end file_ended is set. */
static int
read_input(struct stream *s, struct err *e)
{
	ssize_t n;

	if (s->in_start == s->in_end)
		s->in_start = s->in_end = 0;
	if (s->file_ended || s->in_end == sizeof(s->input))
		return 0;
	do {
		n = read(s->fd, s->input + s->in_end, sizeof(s->input) - s->in_end);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return err_errno(e, "cannot read %s", s->name);
	if (n == 0)
		s->file_ended = true;
	s->in_end += (size_t)n;
	s->consumed += (uint64_t)n;
	return 0;
}

struct stream *
stream_open(int fd, const char *name, struct err *e)
{
	struct stream *s = xcalloc(1, sizeof(*s));
	const size_t magic_max = 6;

	s->fd = fd;
	s->name = xstrdup(name);
	s->between = true;
	while (s->in_end < magic_max && !s->file_ended) {
		if (read_input(s, e) == -1)
			goto close;
	}
	s->codec = codec_of(s->input, s->in_end);
	if (s->codec != NULL)
		s->state = s->codec->begin();
	return s;

close:
	stream_close(s);
	return NULL;
}

void
stream_close(struct stream *s)
{
	if (s == NULL)
		return;
	if (s->codec != NULL)
		s->codec->end(s->state);
	(void)close(s->fd);
	free(s->name);
	free(s);
}

static int
read_plain(struct stream *s, char *p, size_t size, size_t *len_r, struct err *e)
{
	size_t len;

	if (s->in_start == s->in_end && read_input(s, e) == -1)
		return -1;
	len = s->in_end - s->in_start;
	if (len > size)
		len = size;
	if (len == 0)
		return 0;
	memcpy(p, s->input + s->in_start, len);
	s->in_start += len;
	*len_r = len;
	return 1;
}

static int
read_compressed(struct stream *s, char *p, size_t size, size_t *len_r, struct err *e)
{
	const char *why = NULL;
	int more;

	for (;;) {
		if (s->in_start == s->in_end && read_input(s, e) == -1)
			return -1;
		if (s->between && s->file_ended && s->in_start == s->in_end)
			return 0;
		more = s->codec->step(s, p, size, len_r, &why);
		if (more == -1)
			return err_set(e, "cannot decompress %s (%s): %s", s->name,
			    s->codec->name, why);
		s->between = more == 0;
		if (*len_r > 0)
			return 1;
		if (!s->between && s->file_ended && s->in_start == s->in_end)
			return err_set(e, "cannot decompress %s (%s): it is cut short",
			    s->name, s->codec->name);
	}
}

int
stream_read(struct stream *s, char *p, size_t size, size_t *len_r, struct err *e)
{
	*len_r = 0;
	if (s->codec == NULL)
		return read_plain(s, p, size, len_r, e);
	return read_compressed(s, p, size, len_r, e);
}

int
stream_skip(struct stream *s, uint64_t count, struct err *e)
{
	char scratch[16 * 1024];
	size_t len;
	int got = 1;

	while (count > 0 && got == 1) {
		got = stream_read(s, scratch,
		    count < sizeof(scratch) ? (size_t)count : sizeof(scratch), &len, e);
		count -= len;
	}
	return got;
}

uint64_t
stream_consumed(const struct stream *s)
{
	return s->consumed;
}

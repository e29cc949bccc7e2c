#include "tail/pipe.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "tail/lines.h"
#include "tail/source.h"
#include "tail/tail.h"

struct pipe {
	struct source source;
	int fd;
	char *path;
	struct event *readable;
	struct source_hooks hooks;
	void *arg;
	struct lines lines;
	uint64_t file; /* drawn anew each time: nothing of the last run comes again */
	bool held;     /* a chunk was not taken */
	bool ended;
};

/* Hand out what is whole, and at the end the rest. */
static void
offer(struct pipe *p)
{
	struct tail_chunk c = {.file = p->file, .mtime_ms = clock_utc_ms()};

	while (!p->held) {
		if (lines_whole(&p->lines, &c.data, &c.len, &c.offset) != 1) {
			c.final = true;
			if (!p->ended ||
			    lines_rest(&p->lines, &c.data, &c.len, &c.offset) != 1)
				return;
		}
		c.gap = p->lines.long_lines != p->source.stats.long_lines;
		p->held = p->hooks.lines(p->arg, &c) != 0;
		if (p->held)
			break;
		lines_take(&p->lines, c.offset + c.len);
		p->source.stats.bytes += c.len;
		p->source.stats.long_lines = p->lines.long_lines;
	}
	(void)event_del(p->readable);
}

static void
end_reading(struct pipe *p)
{
	p->ended = true;
	(void)event_del(p->readable);
	say(LOG_NOTICE, "log=%s has ended", p->path);
}

static void
read_some(struct pipe *p)
{
	size_t room;
	char *to = lines_room(&p->lines, &room);
	ssize_t n = read(p->fd, to, room);

	if (n > 0) {
		lines_added(&p->lines, (size_t)n);
	} else if (n == 0) {
		end_reading(p);
	} else if (errno != EINTR && errno != EAGAIN) {
		say(LOG_ERR, "log=%s cannot be read: %s", p->path, strerror(errno));
		end_reading(p);
	}
	offer(p);
}

static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	read_some(arg);
}

static int
open_fd(const char *path, struct err *e)
{
	struct stat st;
	int fd;

	if (strcmp(path, "-") == 0) {
		if (fstat(STDIN_FILENO, &st) == -1)
			return err_errno(e, "standard input");
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
			return err_set(e,
			    "standard input is a file; write its path instead of \"-\"");
		if (S_ISCHR(st.st_mode) && isatty(STDIN_FILENO) == 0)
			return err_set(e, "standard input is closed, or no pipe");
		return fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
	}
	/* Open for writing as well, it does not end with its writers, nor waits for one. */
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1)
		return err_errno(e, "%s", path);
	if (fstat(fd, &st) == -1 || !S_ISFIFO(st.st_mode)) {
		(void)close(fd);
		return err_set(e, "%s: is no FIFO", path);
	}
	return fd;
}

static void
pipe_close(struct source *s)
{
	struct pipe *p = (struct pipe *)s;

	if (p->readable != NULL)
		event_free(p->readable);
	lines_free(&p->lines);
	(void)close(p->fd);
	free(p->path);
	free(p);
}

static void
pipe_go_on(struct source *s)
{
	struct pipe *p = (struct pipe *)s;

	if (!p->held)
		return;
	p->held = false;
	offer(p);
	if (!p->held && !p->ended)
		clock_listen(p->readable);
}

static void
pipe_drain(struct source *s, int64_t limit_ms)
{
	struct pipe *p = (struct pipe *)s;
	struct pollfd ready = {.fd = p->fd, .events = POLLIN};
	int64_t end = clock_steady_ms() + limit_ms;

	while (
	    !p->held && !p->ended && clock_steady_ms() < end && poll(&ready, 1, 0) == 1)
		read_some(p);
}

static const struct source_kind pipe_kind = {
    .close = pipe_close, .go_on = pipe_go_on, .drain = pipe_drain};

struct source *
pipe_open(struct event_base *base, const char *path, const struct source_hooks *hooks,
    void *arg, struct err *e)
{
	int fd = open_fd(path, e);
	struct pipe *p;

	if (fd == -1)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->source.kind = &pipe_kind;
	p->fd = fd;
	p->path = xstrdup(path);
	p->hooks = *hooks;
	p->arg = arg;
	lines_begin(&p->lines, 0);
	p->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, p);
	if (getrandom(&p->file, sizeof(p->file), 0) != sizeof(p->file) ||
	    p->readable == NULL || event_add(p->readable, NULL) == -1) {
		(void)err_set(e, "%s: cannot be waited for", path);
		pipe_close(&p->source);
		return NULL;
	}
	return &p->source;
}

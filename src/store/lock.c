#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

/*
 * The file has two lines of this size, the pid and the commits, so that each is
 * written over in its place: on a full disk there may be no other.
 */
#define LINE 24

/* The number that the holder wrote, 0 where it did not get to that yet. */
static int64_t
number_at(int fd, off_t line)
{
	char text[LINE + 1];
	ssize_t n = pread(fd, text, LINE, line * LINE);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtoll(text, NULL, 10);
}

/* It is for messages and for finding damage: without it all goes on. */
static void
put_number(int fd, off_t line, int64_t n)
{
	char text[LINE + 1];

	(void)snprintf(text, sizeof(text), "%-*" PRId64 "\n", LINE - 1, n);
	(void)!pwrite(fd, text, LINE, line * LINE);
}

static int
refuse(int fd, const char *path, struct err *e)
{
	int64_t pid;

	if (errno != EWOULDBLOCK)
		return err_errno(e, "cannot lock %s.lock", path);
	pid = number_at(fd, 0);
	if (pid <= 0)
		return err_set(e,
		    "the store %s is in use by another process; stop that first", path);
	return err_set(e,
	    "the store %s is in use by process %" PRId64 "; stop that first", path, pid);
}

int
lock_take(const char *path, struct err *e)
{
	char *file = xasprintf("%s.lock", path);
	int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	free(file);
	if (fd == -1)
		return err_errno(e,
		    "the directory of the store must be there and writable: cannot open %s.lock",
		    path);

	/*
	 * flock belongs to this one open file.  A lock of fcntl(2) would belong
	 * to the process, and be lost with the first close of any descriptor of
	 * the file.
	 */
	if (flock(fd, LOCK_EX | LOCK_NB) == -1) {
		(void)refuse(fd, path, e);
		(void)close(fd);
		return -1;
	}

	put_number(fd, 0, getpid());
	return fd;
}

int64_t
lock_commits(const char *path)
{
	char *file = xasprintf("%s.lock", path);
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int64_t commits = fd == -1 ? 0 : number_at(fd, 1);

	/* The lock is of its open file: this one's end takes none away. */
	if (fd != -1)
		(void)close(fd);
	free(file);
	return commits;
}

void
lock_note_commits(int fd, int64_t commits)
{
	put_number(fd, 1, commits);
}

/* The file stays: removed, it could be locked by one and made anew by another. */
void
lock_release(int fd)
{
	if (fd != -1)
		(void)close(fd);
}

/* Without the file, or where it is another's, no owner is there to be told. */
void
lock_touch(const char *path)
{
	char *file = xasprintf("%s.lock", path);

	(void)utimensat(AT_FDCWD, file, NULL, AT_SYMLINK_NOFOLLOW);
	free(file);
}

int
lock_watch(const char *path)
{
	char *file = xasprintf("%s.lock", path);
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	if (fd != -1 && inotify_add_watch(fd, file, IN_ATTRIB) == -1) {
		(void)close(fd);
		fd = -1;
	}
	free(file);
	return fd;
}

void
lock_watch_file(int fd, const char *path, const char *end)
{
	char *file = xasprintf("%s%s", path, end);

	/* What is removed loses a name, though it is open: that is a change of it. */
	if (fd != -1)
		(void)inotify_add_watch(fd, file, IN_ATTRIB | IN_MOVE_SELF);
	free(file);
}

void
lock_watched(int fd)
{
	char news[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (read(fd, news, sizeof(news)) > 0)
		;
}

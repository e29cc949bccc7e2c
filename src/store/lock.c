#include "store/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"

/* The pid that the holder wrote, 0 where it did not get to that yet. */
static long
holder(int fd)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return strtol(text, NULL, 10);
}

static int
refuse(int fd, const char *path, struct err *e)
{
	long pid;

	if (errno != EWOULDBLOCK)
		return err_errno(e, "cannot lock %s.lock", path);
	pid = holder(fd);
	if (pid <= 0)
		return err_set(e,
		    "the store %s is in use by another process; stop that first", path);
	return err_set(
	    e, "the store %s is in use by process %ld; stop that first", path, pid);
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

	/* The pid is for the other's message only: on a full disk it is missing there. */
	if (ftruncate(fd, 0) == 0)
		(void)!dprintf(fd, "%ld\n", (long)getpid());
	return fd;
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
lock_watched(int fd)
{
	char news[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

	while (read(fd, news, sizeof(news)) > 0)
		;
}

/*
 * shim - a disk and a clock that fail on request.
 *
 * Preloaded into hearsay.  What it does to the files of one store, and to the
 * wall clock, stands in a small file of numbers that the harness writes to
 * while hearsay runs; it is mapped, so that a change counts at once and
 * outlives the process.
 *
 * HEARSAY_FAULTS_CONTROL is that file, HEARSAY_FAULTS_STORE the path that the
 * names of the store's files begin with.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define UNSYNCED_MAX 4096 /* writes remembered for a power cut */

enum how { DIE_BEFORE = 1, DIE_AFTER, DIE_WITHIN, CUT_POWER };
enum calls { WRITES = 1, SYNCS = 2, TRUNCATES = 4, OPENS = 8, READS = 16 };

/* As the harness knows it: numbers of 64 bits, in this order. */
struct control {
	_Atomic int64_t calls;    /* on the store's files, so far */
	_Atomic int64_t at;       /* end at this call; 0: don't */
	_Atomic int64_t how;      /* enum how */
	_Atomic int64_t error;    /* errno of the calls that fail; 0: none do */
	_Atomic int64_t which;    /* enum calls */
	_Atomic int64_t short_of; /* every so many writes one is short; 0: none is */
	_Atomic int64_t clock_ms; /* added to the wall clock */
	_Atomic int64_t failed;   /* calls that were made to fail */
	_Atomic int64_t ended;    /* processes that were made to end */
};

/* What a write replaced, until it is synced. */
struct unsynced {
	char *path;
	off_t offset;
	size_t len, had; /* of the bytes written; of those that were there */
	char *old;
};

static struct control nothing;
static struct control *control = &nothing;
static const char *store;
static struct unsynced unsynced[UNSYNCED_MAX];
static size_t unsynced_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

/* A pointer to data is not one to a function; POSIX says that it may be read as one. */
static void
find(void *function_r, const char *name)
{
	*(void **)function_r = dlsym(RTLD_NEXT, name);
}

static void
find_all(void)
{
	find(&real_write, "write");
	find(&real_pwrite, "pwrite");
	find(&real_read, "read");
	find(&real_pread, "pread");
	find(&real_fsync, "fsync");
	find(&real_fdatasync, "fdatasync");
	find(&real_ftruncate, "ftruncate");
	find(&real_open, "open");
	find(&real_clock_gettime, "clock_gettime");
}

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("HEARSAY_FAULTS_CONTROL");
	void *p;
	int fd;

	find_all();
	store = getenv("HEARSAY_FAULTS_STORE");
	fd = path == NULL ? -1 : real_open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return;
	p = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p != MAP_FAILED)
		control = p;
	(void)close(fd);
}

/* ---- which files ------------------------------------------------------- */

static bool
is_stores(const char *path)
{
	return store != NULL && strncmp(path, store, strlen(store)) == 0;
}

/* The path of fd, if it is a file of the store. */
static bool
path_of(int fd, char path_r[4096])
{
	char link[64];
	ssize_t n;

	if (store == NULL)
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path_r, 4095);
	if (n <= 0)
		return false;
	path_r[n] = '\0';
	return is_stores(path_r);
}

/* ---- a power cut ------------------------------------------------------- */

static void
forget(struct unsynced *u)
{
	free(u->path);
	free(u->old);
}

static void
remember(const char *path, int fd, size_t len, off_t offset)
{
	struct unsynced *u;
	ssize_t had;

	if (strstr(path, "-shm") != NULL || strstr(path, ".lock") != NULL)
		return;
	(void)pthread_mutex_lock(&lock);
	if (unsynced_count < UNSYNCED_MAX) {
		u = &unsynced[unsynced_count];
		u->path = strdup(path);
		u->old = malloc(len);
		if (u->path == NULL || u->old == NULL)
			abort();
		had = real_pread(fd, u->old, len, offset);
		u->offset = offset;
		u->len = len;
		u->had = had < 0 ? 0 : (size_t)had;
		unsynced_count++;
	}
	(void)pthread_mutex_unlock(&lock);
}

static void
synced(const char *path)
{
	size_t i, kept = 0;

	(void)pthread_mutex_lock(&lock);
	for (i = 0; i < unsynced_count; i++) {
		if (strcmp(unsynced[i].path, path) == 0)
			forget(&unsynced[i]);
		else
			unsynced[kept++] = unsynced[i];
	}
	unsynced_count = kept;
	(void)pthread_mutex_unlock(&lock);
}

static void
undo(const struct unsynced *u)
{
	int fd = real_open(u->path, O_RDWR | O_CLOEXEC);
	char *zeros;

	if (fd == -1)
		return;
	if (u->had > 0)
		(void)!real_pwrite(fd, u->old, u->had, u->offset);
	/* The length reached the disk before the bytes, which is allowed. */
	zeros = calloc(1, u->len - u->had + 1);
	if (zeros != NULL && u->had < u->len)
		(void)!real_pwrite(fd, zeros, u->len - u->had, u->offset + (off_t)u->had);
	(void)close(fd);
}

/*
 * Of what was written and not synced, some reached the disk and some did not, in
 * no order; and memory that was shared is gone.
 */
static void
cut_power(void)
{
	struct timespec ts;
	unsigned seed;
	char shm[4096];
	bool all;
	size_t i;

	(void)real_clock_gettime(CLOCK_MONOTONIC, &ts);
	seed = (unsigned)ts.tv_nsec;
	all = rand_r(&seed) % 3 == 0;
	for (i = unsynced_count; i-- > 0;)
		if (all || rand_r(&seed) % 2 == 0)
			undo(&unsynced[i]);
	(void)snprintf(shm, sizeof(shm), "%s-shm", store);
	(void)unlink(shm);
}

/* ---- each call --------------------------------------------------------- */

static void
end(void)
{
	control->at = 0;
	control->ended++;
	if (control->how == CUT_POWER)
		cut_power();
	_exit(137);
}

/* A call on a file of the store is about to be made; is it the last one? */
static bool
is_last(void)
{
	bool last = ++control->calls == control->at;

	if (last && (control->how == DIE_BEFORE))
		end();
	return last;
}

static bool
fails(int64_t which)
{
	if (control->error == 0 || (control->which & which) == 0)
		return false;
	control->failed++;
	errno = (int)control->error;
	return true;
}

static ssize_t
put(int fd, const void *p, size_t len, off_t offset, bool at)
{
	return at ? real_pwrite(fd, p, len, offset) : real_write(fd, p, len);
}

static ssize_t
faulty_write(int fd, const void *p, size_t len, off_t offset, bool at)
{
	char path[4096];
	ssize_t n;
	bool last;

	if (!path_of(fd, path))
		return put(fd, p, len, offset, at);
	last = is_last();
	if (fails(WRITES))
		return -1;
	remember(path, fd, len, at ? offset : lseek(fd, 0, SEEK_CUR));
	if (last && control->how == DIE_WITHIN)
		len = len / 2;
	else if (control->short_of > 0 && control->calls % control->short_of == 0 &&
	    len > 1) {
		control->failed++;
		len = len / 2;
	}
	n = put(fd, p, len, offset, at);
	if (last)
		end();
	return n;
}

/* Reads change nothing, and are no places to end at. */
static bool
read_fails(int fd)
{
	char path[4096];

	return (control->which & READS) != 0 && control->error != 0 &&
	    path_of(fd, path) && fails(READS);
}

static int
faulty_sync(int fd, int (*sync)(int))
{
	char path[4096];
	bool last;
	int rc;

	if (!path_of(fd, path))
		return sync(fd);
	last = is_last();
	if (last && control->how != DIE_AFTER)
		end();
	if (fails(SYNCS))
		return -1;
	rc = sync(fd);
	synced(path);
	if (last)
		end();
	return rc;
}

ssize_t
write(int fd, const void *p, size_t len)
{
	if (real_write == NULL)
		find_all();
	return faulty_write(fd, p, len, 0, false);
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t offset)
{
	return faulty_write(fd, p, len, offset, true);
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off64_t offset)
{
	return faulty_write(fd, p, len, offset, true);
}

ssize_t
read(int fd, void *p, size_t len)
{
	if (real_read == NULL)
		find_all();
	return read_fails(fd) ? -1 : real_read(fd, p, len);
}

ssize_t
pread(int fd, void *p, size_t len, off_t offset)
{
	return read_fails(fd) ? -1 : real_pread(fd, p, len, offset);
}

ssize_t
pread64(int fd, void *p, size_t len, off64_t offset)
{
	return pread(fd, p, len, offset);
}

int
fsync(int fd)
{
	return faulty_sync(fd, real_fsync);
}

int
fdatasync(int fd)
{
	return faulty_sync(fd, real_fdatasync);
}

int
ftruncate(int fd, off_t len)
{
	char path[4096];
	bool last;
	int rc;

	if (!path_of(fd, path))
		return real_ftruncate(fd, len);
	last = is_last();
	if (fails(TRUNCATES))
		return -1;
	rc = real_ftruncate(fd, len);
	if (last)
		end();
	return rc;
}

int
ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (real_open == NULL)
		find_all();
	if (is_stores(path) && fails(OPENS))
		return -1;
	return real_open(path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return open(path, flags, mode);
}

/* ---- the clock --------------------------------------------------------- */

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t ms;
	int rc;

	if (real_clock_gettime == NULL)
		find_all();
	rc = real_clock_gettime(id, ts);
	ms = control->clock_ms;
	if (rc == -1 || ms == 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return rc;
	ts->tv_sec += (time_t)(ms / 1000);
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_nsec -= 1000000000;
		ts->tv_sec++;
	} else if (ts->tv_nsec < 0) {
		ts->tv_nsec += 1000000000;
		ts->tv_sec--;
	}
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return -1;
	if (t != NULL)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
